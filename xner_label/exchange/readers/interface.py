"""What every reader gives: numbered records, each a task or what is wrong with it.

A reader takes a file as a stream of UTF-8 and yields, for each record, the line on which it begins (from 1) and
either an :class:`ImportedTask` or a RecordError. It holds one record in memory at a time, and a bad one never
stops the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from io import BufferedReader
from pathlib import Path

import msgspec

from xner_label import jsonl
from xner_label.entities import Entity, Task, text_hash


class ImportedTask(msgspec.Struct, frozen=True):
    """One task of a file, with the split that the file names for it.

    ``unlabelled`` is True where the format says that nobody has labelled the task yet: no fault in a file of gold.
    ``entities_field`` is what the format calls the entities. ``place`` is where the record stands in a file that
    is one JSON array (``[0]``), else empty. ``notes`` says what of the record isn't taken over, in words that are
    the same for every record with the same trouble, so that they can be counted.
    """

    task: Task
    split: str | None = None
    unlabelled: bool = False
    entities_field: str = "entities"
    place: str = ""
    notes: tuple[str, ...] = ()


class ReadOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a file is read, where its content leaves that open.

    ``columns`` names the columns of a table without a header or of CoNLL lines, in order, ``_`` for those
    to pass over; ``tag_names`` the names of numbered tags, from 0; ``encoding`` the file's, as Python calls it.
    """

    format: str | None = None
    encoding: str | None = None
    columns: tuple[str, ...] = ()
    tag_names: tuple[str, ...] = ()


Numbered = jsonl.Numbered[ImportedTask]
Reader = Callable[[BufferedReader, ReadOptions], Iterator[Numbered]]
# Of what isn't one stream of text: binary files, folders.
PathReader = Callable[[Path, ReadOptions], Iterator[Numbered]]


def id_of(text: str) -> str:
    """An id made from the text, so that a file without ids adds nothing when it is imported twice."""
    return f"text-{text_hash(text)[:16]}"


def in_order(entities: Iterable[Entity]) -> tuple[Entity, ...]:
    """Entities by their beginning, the longer of several first."""
    return tuple(sorted(entities, key=lambda entity: (entity.start, -entity.end, entity.label)))
