import json
import os
from io import BytesIO
from threading import Thread

import pytest

from xner_label.errors import RecordError
from xner_label.pipeline.json_stream import BATCH_LINES, annotate_stream, line_batches


def lengths(tasks):
    return [{"length": len(task.text)} if task.text else RecordError("text", "empty") for task in tasks]


def test_a_stage_adds_its_fields_and_leaves_the_others_alone():
    lines = b"""{"id": 1, "text": "abc", "more": [1,  2], "length": 9}

{"id": 2}
no
{"id": 3, "text": ""}
{"id":4,"text":"e"}"""
    sink, bad = BytesIO(), []
    summary = annotate_stream(BytesIO(lines), sink, lengths, report=bad.append)
    assert [json.loads(line) for line in sink.getvalue().splitlines()] == [
        {"id": 1, "text": "abc", "more": [1, 2], "length": 3},
        {"id": 4, "text": "e", "length": 1},
    ]
    assert b"[1,  2]" in sink.getvalue()
    assert (summary.predicted, summary.bad) == (2, 3)
    assert [(error.line, error.field) for error in bad] == [(3, "text"), (4, "json"), (5, "text")]
    with pytest.raises(RecordError, match=r"^line 3: text: "):
        annotate_stream(BytesIO(lines), BytesIO(), lengths, strict=True, report=bad.append)


def test_a_stage_that_learns_gets_everything_at_once():
    sizes = []

    def annotate(tasks):
        sizes.append(len(tasks))
        return lengths(tasks)

    lines = b'{"id": 1, "text": "abc"}\n' * (2 * BATCH_LINES + 1)
    assert annotate_stream(BytesIO(lines), BytesIO(), annotate, whole=True, report=pytest.fail).predicted == 1025
    annotate_stream(BytesIO(lines), BytesIO(), annotate, report=pytest.fail)
    assert sizes == [1025, 512, 512, 1]


def test_a_pipe_gives_what_is_there_and_full_batches_when_there_is_more():
    reader, writer = os.pipe()
    with open(reader, "rb") as source:
        batches = line_batches(source)
        os.write(writer, b"one\ntwo\nth")
        assert next(batches) == [(1, b"one"), (2, b"two")]
        text = b"ree\n" + b"x" * 1000 + b"\n"

        def write():
            with open(writer, "wb") as sink:
                sink.write(text + (b"y" * 500 + b"\n") * 2 * BATCH_LINES)

        thread = Thread(target=write)
        thread.start()
        sizes = [len(batch) for batch in batches]
        thread.join()
    assert sum(sizes) == 2 + 2 * BATCH_LINES
