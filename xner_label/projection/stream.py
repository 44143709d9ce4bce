"""Stages over a stream of JSON Lines: same order, batch by batch, bad lines reported and left out."""

from __future__ import annotations

import select
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import IO, Any

import msgspec

from xner_label.entities import Prediction, Task
from xner_label.errors import RecordError, UsageError
from xner_label.jsonl import decode_line
from xner_label.projection.pipeline import Pipeline

BATCH_LINES = 512
_READ_BYTES = 1 << 18
_OUTPUT_FIELDS = frozenset(Prediction.__struct_fields__)
_ECHOED = frozenset({"id", "text"})


class StreamSummary(msgspec.Struct, frozen=True):
    """What became of a stream: lines that gave an output line, and lines that were bad."""

    predicted: int
    bad: int


def project_stream(
    source: IO[bytes],
    sink: IO[bytes],
    pipeline: Pipeline,
    *,
    keep: Sequence[str] = (),
    strict: bool = False,
    report: Callable[[RecordError], None],
) -> StreamSummary:
    """Write one prediction line for each good task line of ``source``.

    ``keep`` names input fields that are copied to the output as they stand. Each bad line is handed to
    ``report``, with its number; with ``strict`` the first one is raised instead. Raises UsageError for a kept
    field that the output has already.
    """
    keep = [name for name in keep if name not in _ECHOED]
    clashes = _OUTPUT_FIELDS.intersection(keep)
    if clashes:
        raise UsageError(f"--keep {', '.join(sorted(clashes))}: the output has that field of its own")
    decoder = msgspec.json.Decoder(Task)
    encoder = msgspec.json.Encoder()
    kept_fields = _KeptFields(keep) if keep else None
    predicted = bad = 0
    for batch in line_batches(source):
        tasks: list[Task] = []
        slots: list[tuple[int, bytes, RecordError | None]] = []
        for number, line in batch:
            try:
                tasks.append(decode_line(line, decoder))
                slots.append((number, line, None))
            except RecordError as error:
                slots.append((number, line, error))
        results = iter(pipeline.predict(tasks))
        output = bytearray()
        for number, line, problem in slots:
            result = next(results) if problem is None else problem
            if isinstance(result, RecordError):
                result.line = number
                if strict:
                    raise result
                report(result)
                bad += 1
                continue
            predicted += 1
            encoder.encode_into(result, output, len(output))
            if kept_fields is not None:
                kept_fields.append(line, output)
            output += b"\n"
        sink.write(output)
        sink.flush()
    return StreamSummary(predicted, bad)


def annotate_stream(
    source: IO[bytes],
    sink: IO[bytes],
    annotate: Callable[[Sequence[Task]], Sequence[Mapping[str, Any] | RecordError]],
    *,
    whole: bool = False,
    strict: bool = False,
    report: Callable[[RecordError], None],
) -> StreamSummary:
    """Write each good task line of ``source`` with the fields that a stage adds; all others stay as they are.

    ``annotate`` gives, for a batch of tasks, the fields of each, or the error that keeps a task from having them.
    ``whole`` hands it all tasks at once, for stages that learn from the text they are given. Bad lines go to
    ``report``; with ``strict`` the first one is raised instead.
    """
    decoder = msgspec.json.Decoder(Task)
    fields_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
    encoder = msgspec.json.Encoder()
    written = bad = 0
    batches = line_batches(source)
    for batch in [list(chain.from_iterable(batches))] if whole else batches:
        tasks: list[Task] = []
        slots: list[tuple[int, bytes, RecordError | None]] = []
        for number, line in batch:
            try:
                tasks.append(decode_line(line, decoder))
                slots.append((number, line, None))
            except RecordError as error:
                slots.append((number, line, error))
        results = iter(annotate(tasks))
        output = bytearray()
        for number, line, problem in slots:
            result = next(results) if problem is None else problem
            if isinstance(result, RecordError):
                result.line = number
                if strict:
                    raise result
                report(result)
                bad += 1
                continue
            written += 1
            fields: dict[str, Any] = {**fields_decoder.decode(line), **result}
            encoder.encode_into(fields, output, len(output))
            output += b"\n"
        sink.write(output)
        sink.flush()
    return StreamSummary(written, bad)


class _KeptFields:
    """Copies fields from an input line to the end of an output object, byte for byte."""

    def __init__(self, names: Sequence[str]) -> None:
        self._keys = [(name, b"," + msgspec.json.encode(name) + b":") for name in dict.fromkeys(names)]
        self._decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])

    def append(self, line: bytes, output: bytearray) -> None:
        fields = self._decoder.decode(line)
        del output[-1]
        for name, key in self._keys:
            value = fields.get(name)
            if value is not None:
                output += key
                output += value
        output += b"}"


def line_batches(source: IO[bytes]) -> Iterator[list[tuple[int, bytes]]]:
    """The non-blank lines, numbered from 1, in batches of what can be read without waiting.

    A slow producer at the other end of a pipe gets its answers as its lines come in; a quick one gets the
    throughput of full batches.
    """
    read = getattr(source, "read1", source.read)
    rest = b""
    number = 0
    lines: list[tuple[int, bytes]] = []
    while True:
        chunk = read(_READ_BYTES)
        pieces = (rest + chunk).split(b"\n") if rest else chunk.split(b"\n")
        rest = pieces.pop() if chunk else b""
        for line in pieces:
            number += 1
            if line and not line.isspace():
                lines.append((number, line))
            if len(lines) == BATCH_LINES:
                yield lines
                lines = []
        if lines and not (chunk and _has_more(source)):
            yield lines
            lines = []
        if not chunk:
            return


def _has_more(source: IO[bytes]) -> bool:
    """Whether a read would return at once (with data or at the end), as far as the system can say."""
    try:
        return bool(select.select([source], [], [], 0)[0])
    except (OSError, ValueError, TypeError):
        return False
