"""JSON records, one a line or as the items of one array, without holding more than one of them.

What a record means is another's business (:data:`RecordReader`): our own format, Hugging Face, doccano ...
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from io import BufferedReader
from typing import Any, TextIO, TypeVar

import msgspec

from xner_label.errors import RecordError, UsageError
from xner_label.exchange.readers.interface import ImportedTask, Numbered, ReadOptions
from xner_label.exchange.readers.lines import MAX_LINE, text_of
from xner_label.jsonl import decode_line, numbered_lines

T = TypeVar("T")
# Turns one record, a JSON object in UTF-8, into a task. Raises RecordError that names the field.
RecordReader = Callable[[bytes, ReadOptions], ImportedTask]

_CHARACTERS_READ = 1 << 20
# A whole string, the beginning of one that isn't whole yet, or what divides an array.
_STEP = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|"|[\[\]{},]', re.DOTALL)


def read_records(stream: BufferedReader, options: ReadOptions, read_record: RecordReader) -> Iterator[Numbered]:
    """The tasks of a file of JSON records."""
    for number, place, record in numbered_records(stream):
        if isinstance(record, RecordError):
            yield number, record
            continue
        try:
            task = read_record(record, options)
        except RecordError as error:
            yield number, error.inside(place)
        else:
            yield number, msgspec.structs.replace(task, place=place) if place else task


def numbered_records(stream: BufferedReader) -> Iterator[tuple[int, str, bytes | RecordError]]:
    """Each record of a JSON array or of JSON Lines as it stands, in UTF-8.

    Before it the line on which it begins, and its place in the array (``[0]``; empty for JSON Lines). Raises
    UsageError for a single object over several lines.
    """
    head = stream.peek().lstrip()
    if head.startswith(b"["):
        for number, place, item in _array_items(text_of(stream)):
            yield number, place, item if isinstance(item, RecordError) else item.encode("utf-8", "surrogateescape")
        return
    if re.match(rb"\{[ \t]*[\r\n]", head):
        raise UsageError(
            "a JSON object goes over several lines", hint="write one object per line, or one array of all of them"
        )
    for number, line in numbered_lines(stream):
        yield number, "", line


def _array_items(text: TextIO) -> Iterator[tuple[int, str, str | RecordError]]:
    """The items of the array that the text is."""
    opening, _, buffer = text.read(_CHARACTERS_READ).partition("[")
    number = 1 + _line_ends(opening)
    start = position = depth = index = 0
    while True:
        match = _STEP.search(buffer, position)
        if match is None or match[0] == '"':
            position = len(buffer) if match is None else match.start()
            chunk = text.read(_CHARACTERS_READ)
            if len(buffer) - start > MAX_LINE or not chunk:
                problem = "is longer than can be read" if chunk else "isn't closed; the file seems cut off"
                number += _line_ends(_leading(buffer[start:]))
                yield number, "", RecordError("json", f"the array, or its item that begins here, {problem}")
                return
            buffer, start, position = buffer[start:] + chunk, 0, position - start
            continue
        position = match.end()
        if match[0] in "[{":
            depth += 1
        elif depth and match[0] in "]}":
            depth -= 1
        elif not depth and match[0] == "}":
            yield number, "", RecordError("json", "a closing brace without an opening one; the rest can't be read")
            return
        elif not depth:
            raw = buffer[start : match.start()]
            if item := raw.strip():
                yield number + _line_ends(_leading(raw)), f"[{index}]", item
                index += 1
            number += _line_ends(raw)
            start = position
            if match[0] == "]":
                if (buffer[position:] + text.read(_CHARACTERS_READ)).strip():
                    problem = "something stands after the array; write one array, or one object per line"
                    yield number, "", RecordError("json", problem)
                return


def _leading(text: str) -> str:
    """The white space that a text begins with."""
    return text[: len(text) - len(text.lstrip())]


def _line_ends(text: str) -> int:
    return text.count("\n") + text.count("\r") - text.count("\r\n")


_OBJECT = msgspec.json.Decoder(dict[str, Any])


def decode_object(record: bytes) -> dict[str, Any]:
    """Any JSON object. Raises RecordError for anything else."""
    return decode_line(record, _OBJECT)


def converted(value: Any, kind: type[T], field: str, expected: str) -> T:
    """A decoded value as the type it must have. Raises RecordError that names the field and what is expected."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        problem, _, path = str(error).partition(" - at `$")
        raise RecordError(f"{field}{path.rstrip('`')}", f"{problem}; give {expected}") from None


def first_present(fields: dict[str, Any], names: tuple[str, ...]) -> str | None:
    """The first of these names that the object has with a value."""
    return next((name for name in names if fields.get(name) is not None), None)
