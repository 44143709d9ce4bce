"""The formats that `import` reads, each as a stream of numbered tasks or the error that a line deserves."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import msgspec

from xner_label.entities import Task
from xner_label.errors import RecordError, UsageError
from xner_label.jsonl import checked, decoded_lines, numbered_lines, open_input
from xner_label.store.tasks import text_hash


class Line(msgspec.Struct, frozen=True):
    """One input line: a task with its split (None when the line names none), or what is wrong with it."""

    number: int
    task: Task | None = None
    split: str | None = None
    error: RecordError | None = None


class _Record(Task, frozen=True, kw_only=True):
    """A task as it stands in a JSON line."""

    split: str | None = None


def read_jsonl(stream: IO[bytes]) -> Iterator[Line]:
    """Tasks in the format of `xner-label project`, with an optional ``split``."""
    for number, record in decoded_lines(stream, _Record):
        if isinstance(record, RecordError):
            yield Line(number, error=record)
        else:
            yield Line(number, record, record.split)


def read_text(stream: IO[bytes]) -> Iterator[Line]:
    """One sentence a line; the id is made from the text, so that the same file adds nothing twice."""
    for number, task in checked(numbered_lines(stream), _text_task):
        if isinstance(task, RecordError):
            yield Line(number, error=task)
        else:
            yield Line(number, task)


def _text_task(line: bytes) -> Task:
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise RecordError("text", f"not UTF-8 ({error.reason}); convert the file to UTF-8") from None
    return Task(id=_id_of(text), text=text)


def read_csv(stream: IO[bytes]) -> Iterator[Line]:
    """A header line, then one task a row: ``text``, and optionally ``id``, ``source``, ``split``.

    Raises UsageError when the header has no ``text`` or the file is not UTF-8.
    """
    rows = csv.DictReader(io.TextIOWrapper(stream, encoding="utf-8-sig", newline=""), strict=True)
    try:
        if "text" not in (rows.fieldnames or ()):
            raise UsageError("the CSV file has no column 'text'", hint="name the columns in the first line")
        for row in rows:
            text = row["text"] or ""
            source = row.get("source") or None
            split = row.get("split") or None
            yield Line(rows.line_num, Task(id=row.get("id") or _id_of(text), text=text, source=source), split)
    except UnicodeDecodeError:
        raise UsageError("the CSV file is not UTF-8", hint="save or convert it as UTF-8") from None
    except csv.Error as error:
        raise UsageError(
            f"the CSV file breaks off at line {rows.line_num}: {error}", hint="check its quotes"
        ) from None


def _id_of(text: str) -> str:
    return f"text-{text_hash(text)[:16]}"


FORMATS: dict[str, Callable[[IO[bytes]], Iterator[Line]]] = {
    "jsonl": read_jsonl,
    "csv": read_csv,
    "text": read_text,
}


def read_lines(path: Path, format: str | None) -> Iterator[Line]:
    """Read a file in the named format, or in the one its ending suggests (``.txt`` is text)."""
    if format is None:
        format = {".jsonl": "jsonl", ".json": "jsonl", ".csv": "csv", ".txt": "text"}.get(path.suffix.lower())
    if format is None:
        raise UsageError(f"can't tell the format of {path}", hint=f"give --format {'|'.join(FORMATS)}")
    with open_input(path) as stream:
        yield from FORMATS[format](stream)
