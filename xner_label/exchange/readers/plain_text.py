"""Plain text, one sentence a line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TextIO

from xner_label.entities import Task
from xner_label.exchange.readers.interface import ImportedTask, Numbered, ReadOptions, id_of
from xner_label.exchange.readers.lines import numbered_lines


def read_text(text: TextIO, _: ReadOptions) -> Iterator[Numbered]:
    """A task for each line, its id made from the text, so that the same file adds nothing twice."""
    for number, line in numbered_lines(text):
        yield number, ImportedTask(Task(id=id_of(line), text=line))
