"""The one reader of JSON Lines: line ends, marks, bounds, and errors that say where they are."""

from __future__ import annotations

import gzip
import os
import pickle
import stat
import time
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xner_label import jsonl
from xner_label.errors import IncompleteError, RecordError, UsageError
from xner_label.jsonl import LineSplitter, checked, decoded_lines, numbered_lines, open_output, read_checked


class Row(msgspec.Struct):
    id: int


def lines_of(data: bytes, *cuts: int) -> list[tuple[int, bytes | RecordError]]:
    splitter = LineSplitter()
    borders = [0, *sorted(cuts), len(data)]
    chunks = [data[start:end] for start, end in pairwise(borders)]
    return [line for chunk in chunks for line in splitter.feed(chunk)] + splitter.finish()


@given(st.lists(st.sampled_from([b"a", b"\n", b"\r", b"\r\n", b" ", b"bc", "ü".encode()])), st.data())
def test_lines_are_those_of_universal_newlines_however_the_stream_is_cut(pieces, data):
    whole = b"".join(pieces)
    expected = [(number, line) for number, line in enumerate(whole.splitlines(), start=1) if line.strip()]
    cuts = data.draw(st.lists(st.integers(0, len(whole)), max_size=4))
    assert lines_of(whole, *cuts) == expected


@pytest.mark.parametrize("cut", range(8))
def test_byte_order_marks_are_no_part_of_a_line(cut):
    mark = b"\xef\xbb\xbf"
    assert lines_of(mark + b"{}\n" + mark + b"{}\n", cut) == [(1, b"{}"), (2, b"{}")]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_is_refused_once_and_says_what_to_do(encoding):
    with pytest.raises(UsageError, match=r"UTF-16.*iconv"):
        list(numbered_lines(BytesIO('{"id": 1}\n{"id": 2}\n'.encode(encoding))))


@pytest.mark.parametrize(
    ("head", "way"),
    [(gzip.compress(b"{}\n", mtime=0), "gzip -dc"), (b"\x28\xb5\x2f\xfd\x04", "zstd -dc"), (b"PAR1", "predict")],
    ids=["gzip", "zstd", "parquet"],
)
def test_packed_files_are_refused_once_and_say_what_to_do(head, way):
    with pytest.raises(UsageError, match=way):
        list(numbered_lines(BytesIO(head)))


@pytest.mark.parametrize(
    ("text", "problem"), [(r"a\ud800b", "surrogate"), (r"\udc00\ud800", "surrogate"), (r"a\u00", "JSON")]
)
def test_half_of_a_surrogate_pair_is_named(text, problem):
    [(_, error)] = decoded_lines(BytesIO(f'{{"text": "{text}"}}\n'.encode()), Row)
    assert problem in str(error)


def test_a_line_that_nests_too_deeply_is_one_error_and_the_next_line_is_read():
    data = b'{"id": 1, "more": ' + b"[" * 100_000 + b"]" * 100_000 + b'}\n{"id": 2}\n'
    (number, error), (_, last) = decoded_lines(BytesIO(data), Row)
    assert (number, last.id) == (1, 2)
    assert "nested too deeply" in str(error)


def test_a_long_line_is_one_error_and_the_next_line_is_read(monkeypatch):
    monkeypatch.setattr(jsonl, "MAX_LINE_BYTES", 1000)
    monkeypatch.setattr(jsonl, "READ_BYTES", 64)
    data = b'{"id": 1}\n[' + b"1," * 5000 + b'1]\n{"id": 2}\n'
    (_, first), (number, error), (_, last) = decoded_lines(BytesIO(data), Row)
    assert (first.id, last.id, number) == (1, 2, 2)
    assert str(error).startswith("line 2: json: the line is longer than")
    assert "jq -c" in str(error)


def test_a_long_line_is_never_held_whole():
    splitter = LineSplitter()
    for _ in range(jsonl.MAX_LINE_BYTES // (1 << 20) + 50):
        assert splitter.feed(b"x" * (1 << 20)) == []
        assert sum(map(len, splitter._pieces)) <= jsonl.MAX_LINE_BYTES + (2 << 20)
    [(number, error)] = splitter.finish()
    assert number == 1
    assert isinstance(error, RecordError)


def test_a_line_in_many_pieces_takes_linear_time():
    def seconds(pieces):
        splitter = LineSplitter()
        begun = time.process_time()
        for _ in range(pieces):
            splitter.feed(b"x" * 64)
        splitter.finish()
        return time.process_time() - begun

    seconds(1000)
    # quadratic, the second would copy gigabytes: half a minute instead of tens of milliseconds
    assert seconds(200_000) < 5.0


def test_errors_come_with_their_line_and_values_go_through_the_check():
    def positive(row: Row) -> int:
        if row.id < 0:
            raise RecordError("id", "negative")
        return row.id

    data = b'\xef\xbb\xbf{"id": 1}\r\n\r\n{"id": -1}\rno\r[{"id": 3}]\r\n{"id": 4}'
    checked_lines = list(checked(decoded_lines(BytesIO(data), Row), positive))
    assert [number for number, _ in checked_lines] == [1, 3, 4, 5, 6]
    assert [value for _, value in checked_lines if not isinstance(value, RecordError)] == [1, 4]
    errors = [value for _, value in checked_lines if isinstance(value, RecordError)]
    assert [(error.line, error.field) for error in errors] == [(3, "id"), (4, "json"), (5, "json")]
    assert "array" in errors[2].problem


def test_the_first_bad_line_of_a_file_is_raised_and_names_it(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"id": 1}\n\n{"id": "x"}\n')
    rows = read_checked(path, Row, lambda row: row.id)
    assert next(rows) == 1
    with pytest.raises(RecordError) as caught:
        next(rows)
    assert str(caught.value).startswith(f"{path} line 3: id: ")


def test_errors_are_not_changed_on_their_way():
    error = RecordError("id", "negative")
    placed = error.at_line(7)
    assert (error.line, placed.line, str(placed)) == (None, 7, "line 7: id: negative")
    again = pickle.loads(pickle.dumps(placed.in_file("a.jsonl")))
    assert str(again) == "a.jsonl line 7: id: negative"
    assert pickle.loads(pickle.dumps(IncompleteError(["aligned"]))).filters == ["aligned"]


def test_a_rewritten_file_keeps_its_permissions_and_its_link(tmp_path):
    target = tmp_path / "private.jsonl"
    target.write_text("old")
    target.chmod(0o600)
    link = tmp_path / "link.jsonl"
    link.symlink_to(target.name)
    with open_output(link) as stream:
        stream.write(b"new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert stat.S_IMODE(os.stat(target).st_mode) == 0o600
    assert sorted(path.name for path in Path(tmp_path).iterdir()) == ["link.jsonl", "private.jsonl"]


def test_a_folder_is_no_output(tmp_path):
    with pytest.raises(UsageError, match="it is a folder"), open_output(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []
