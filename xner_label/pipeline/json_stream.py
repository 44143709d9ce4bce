"""Stages over a stream of JSON Lines: same order, batch by batch, bad lines reported and left out."""

from __future__ import annotations

import select
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import IO, Any, TypeVar

import msgspec

from xner_label.entities import Prediction, Task
from xner_label.errors import IncompleteError, RecordError, UsageError
from xner_label.jsonl import READ_BYTES, LineSplitter, Numbered, decode_line
from xner_label.pipeline.pipeline import Pipeline
from xner_label.progress import SILENCE, Progress

T = TypeVar("T")
Batch = list[Numbered[bytes]]
# Makes a task of a line and its number, or says what is wrong with it.
Reader = Callable[[int, bytes | RecordError], Task | RecordError]

BATCH_LINES = 512
_OUTPUT_FIELDS = frozenset(Prediction.__struct_fields__)
_ECHOED = frozenset({"id", "text"})


class StreamSummary(msgspec.Struct, frozen=True):
    """What became of a stream's lines: answered, bad, or failing the pipeline's filters."""

    predicted: int
    bad: int
    incomplete: int = 0


def project_stream(
    source: IO[bytes],
    sink: IO[bytes],
    pipeline: Pipeline,
    *,
    keep: Sequence[str] = (),
    strict: bool = False,
    report: Callable[[RecordError], None],
    progress: Progress = SILENCE,
) -> StreamSummary:
    """Write one prediction line for each good task line of ``source``.

    Line by line, unless a stage of the pipeline learns from its input: then everything is read first. ``keep``
    names input fields that are copied to the output as they stand. Each bad line is handed to ``report``, with its
    number; with ``strict`` the first one is raised instead. Raises UsageError for a kept field that the output has
    already.
    """
    keep = [name for name in keep if name not in _ECHOED]
    clashes = _OUTPUT_FIELDS.intersection(keep)
    if clashes:
        raise UsageError(f"--keep {', '.join(sorted(clashes))}: the output has that field of its own")
    encode_into = msgspec.json.Encoder().encode_into
    kept_fields = _KeptFields(keep) if keep else None

    def write(prediction: Prediction, line: bytes, output: bytearray) -> None:
        encode_into(prediction, output, -1)
        if kept_fields is not None:
            kept_fields.append(line, output)

    batches: Iterable[Batch] = line_batches(source)
    if pipeline.learns:
        batches = list(batches)
        pipeline.learn(_readable(batches))
    return _answer(batches, sink, pipeline.predict, write, strict, report, progress)


def answer_stream(
    source: IO[bytes],
    sink: IO[bytes],
    answer: Callable[[Sequence[Task]], Sequence[Prediction | RecordError]],
    *,
    plain_text: bool = False,
    strict: bool = False,
    report: Callable[[RecordError], None],
    progress: Progress = SILENCE,
) -> StreamSummary:
    """Write one prediction line for each good line of ``source``: a task, or with ``plain_text`` a bare text.

    A bare text is named after its line's number. Bad lines go to ``report``; with ``strict`` the first one is
    raised instead.
    """
    encode_into = msgspec.json.Encoder().encode_into

    def write(prediction: Prediction, _: bytes, output: bytearray) -> None:
        encode_into(prediction, output, -1)

    read = _text_of_line if plain_text else _task_of_line
    return _answer(line_batches(source), sink, answer, write, strict, report, progress, read)


def annotate_stream(
    source: IO[bytes],
    sink: IO[bytes],
    annotate: Callable[[Sequence[Task]], Sequence[Mapping[str, Any] | RecordError]],
    *,
    whole: bool = False,
    strict: bool = False,
    report: Callable[[RecordError], None],
    progress: Progress = SILENCE,
) -> StreamSummary:
    """Write each good task line of ``source`` with the fields that a stage adds; all others stay as they are.

    ``annotate`` gives, for a batch of tasks, the fields of each, or the error that keeps a task from having them.
    ``whole`` hands it all tasks at once, for stages that learn from the text they are given. Bad lines go to
    ``report``; with ``strict`` the first one is raised instead.
    """
    decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
    encode_into = msgspec.json.Encoder().encode_into

    def write(added: Mapping[str, Any], line: bytes, output: bytearray) -> None:
        encode_into({**decode(line), **added}, output, -1)

    batches: Iterable[Batch] = line_batches(source)
    if whole:
        batches = [list(chain.from_iterable(batches))]
    return _answer(batches, sink, annotate, write, strict, report, progress)


def _answer(
    batches: Iterable[Batch],
    sink: IO[bytes],
    answer: Callable[[Sequence[Task]], Sequence[T | RecordError]],
    write: Callable[[T, bytes, bytearray], None],
    strict: bool,
    report: Callable[[RecordError], None],
    progress: Progress,
    read: Reader | None = None,
) -> StreamSummary:
    """Decode each batch, ``answer`` its tasks, let ``write`` append each answer (given its line) to the output."""
    answered = bad = incomplete = 0
    read = read or _task_of_line
    for batch in batches:
        decoded = [read(number, line) for number, line in batch]
        results = iter(answer([task for task in decoded if not isinstance(task, RecordError)]))
        output = bytearray()
        for (number, line), task in zip(batch, decoded, strict=True):
            result = task if isinstance(task, RecordError) else next(results)
            if not isinstance(result, RecordError):
                assert isinstance(line, bytes)  # a task was read from it
                write(result, line, output)
                output += b"\n"
                answered += 1
            elif isinstance(result, IncompleteError):
                incomplete += 1
            else:
                error = result.at_line(number)
                if strict:
                    raise error
                report(error)
                bad += 1
        sink.write(output)
        sink.flush()
        progress.advance(len(batch))
    return StreamSummary(answered, bad, incomplete)


_TASKS = msgspec.json.Decoder(Task)


def _task_of_line(_: int, line: bytes | RecordError) -> Task | RecordError:
    """The task of a JSON line, or what is wrong with it; the caller knows the number."""
    if isinstance(line, RecordError):
        return line
    try:
        return decode_line(line, _TASKS)
    except RecordError as error:
        return error


def _text_of_line(number: int, line: bytes | RecordError) -> Task | RecordError:
    """The line as a task's text."""
    if isinstance(line, RecordError):
        return line
    try:
        return Task(id=number, text=line.decode())
    except UnicodeDecodeError as error:
        return RecordError("text", f"not UTF-8 ({error.reason} at byte {error.start}); convert it with `iconv`")


def _readable(batches: Iterable[Batch]) -> list[Task]:
    """The tasks of all lines that can be read; the others are reported when their turn comes."""
    decoded = (_task_of_line(*line) for line in chain.from_iterable(batches))
    return [task for task in decoded if not isinstance(task, RecordError)]


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


def line_batches(source: IO[bytes]) -> Iterator[Batch]:
    """The non-blank lines, numbered from 1, in batches of what can be read without waiting.

    A slow producer at the other end of a pipe gets its answers as its lines come in; a quick one gets the
    throughput of full batches. A line that is too long is an error in its place. Raises UsageError for UTF-16.
    """
    splitter = LineSplitter()
    read = getattr(source, "read1", source.read)
    lines: Batch = []
    while True:
        chunk = read(READ_BYTES)
        lines += splitter.feed(chunk) if chunk else splitter.finish()
        while len(lines) >= BATCH_LINES:
            yield lines[:BATCH_LINES]
            del lines[:BATCH_LINES]
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
