"""Stages over a stream of JSON Lines: same order, batch by batch, bad lines reported and left out."""

from __future__ import annotations

import select
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from itertools import chain
from typing import IO, Any, Protocol, TypeVar

import msgspec

from xner_label.entities import Entity, Prediction, SilverTask, Task, check_offsets
from xner_label.errors import IncompleteError, RecordError, UsageError
from xner_label.jsonl import READ_BYTES, LineSplitter, Numbered, decode_line
from xner_label.pipeline.pipeline import Pipeline
from xner_label.progress import SILENCE, Progress

T = TypeVar("T")
Batch = list[Numbered[bytes]]
# Makes a task of a line and its number, or says what is wrong with it.
Reader = Callable[[int, bytes | RecordError], Task | RecordError]

BATCH_LINES = 512
# Lines that go through a translation model at a time.
_SLOW_LINES = 64
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


class _LabelledLine(msgspec.Struct):
    """A labelled source text; without an ``id`` it is named after its text."""

    text: str
    entities: tuple[Entity, ...]
    id: str | int | None = None


class SilverMaker(Protocol):
    """Makes silver of tasks that have a source and source entities, and an empty text."""

    @property
    def learns(self) -> bool:
        """Whether it wants to see all tasks before it answers the first."""
        ...

    def learn(self, tasks: Sequence[Task]) -> None:
        """See all tasks."""
        ...

    def answer(self, tasks: Sequence[Task]) -> list[SilverTask | RecordError]:
        """The silver of each task, or what keeps it from having any."""
        ...


def silver_stream(
    source: IO[bytes],
    sink: IO[bytes],
    maker: SilverMaker,
    *,
    labels: Collection[str] | None = None,
    strict: bool = False,
    report: Callable[[RecordError], None],
    progress: Progress = SILENCE,
) -> StreamSummary:
    """Write the silver made of each labelled source text: a line with ``text``, ``entities``, perhaps an ``id``.

    Entities with a label outside ``labels`` are left out before anything is made of them (None: all are kept).
    Few lines go through at a time, so that little is lost when the command is stopped. Bad lines go to
    ``report``; with ``strict`` the first one is raised instead.
    """
    encode_into = msgspec.json.Encoder().encode_into
    decoder = msgspec.json.Decoder(_LabelledLine)

    def write(silver: SilverTask, _: bytes, output: bytearray) -> None:
        encode_into(silver, output, -1)

    def read(_: int, line: bytes | RecordError) -> Task | RecordError:
        if isinstance(line, RecordError):
            return line
        try:
            labelled = decode_line(line, decoder)
            check_offsets(labelled.text, labelled.entities, "entities")
        except RecordError as error:
            return error
        entities = tuple(entity for entity in labelled.entities if labels is None or entity.label in labels)
        name = labelled.id
        if name is None:
            name = f"text-{sha256(labelled.text.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"
        return Task(id=name, text="", source=labelled.text, source_entities=entities)

    batches: Iterable[Batch] = (
        batch[first : first + _SLOW_LINES]
        for batch in line_batches(source)
        for first in range(0, len(batch), _SLOW_LINES)
    )
    if maker.learns:
        batches = list(batches)
        decoded = (read(*line) for line in chain.from_iterable(batches))
        maker.learn([task for task in decoded if not isinstance(task, RecordError)])
    return _answer(batches, sink, maker.answer, write, strict, report, progress, read)


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
