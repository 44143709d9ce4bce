"""Plain text, one sentence a line."""

from __future__ import annotations

from collections.abc import Iterator
from io import BufferedReader

from xner_label.entities import Task
from xner_label.exchange.readers.interface import ImportedTask, Numbered, ReadOptions, id_of
from xner_label.jsonl import checked, numbered_lines


def read_text(stream: BufferedReader, _: ReadOptions) -> Iterator[Numbered]:
    """A task for each line, its id made from the text, so that the same file adds nothing twice."""
    return checked(numbered_lines(stream), _task)


def _task(line: bytes) -> ImportedTask:
    text = line.decode("utf-8", "surrogateescape")
    return ImportedTask(Task(id=id_of(text), text=text))
