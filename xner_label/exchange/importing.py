"""Importing tasks, gold and labelled source data into the store.

Good lines are stored in chunks, bad ones reported; importing the same file again adds nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import msgspec

from xner_label.entities import Entity, Task, check_offsets
from xner_label.errors import RecordError
from xner_label.exchange.reading import Line, read_lines
from xner_label.projection.problem import build_instance
from xner_label.store import projects, tasks
from xner_label.store.database import Store
from xner_label.store.gold import add_imported_gold

_CHUNK = 2_000
# Where tasks that name no split go.
DEFAULT_SPLIT = "pool"


class ImportReport(msgspec.Struct):
    """What an import did. ``errors`` holds one RecordError per bad line, with its line number."""

    added: int = 0
    known: int = 0
    gold: int = 0
    errors: list[RecordError] = msgspec.field(default_factory=list)


class ImportOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a file is read.

    ``split`` overrides what the lines say; ``gold`` stores each line's ``entities`` as gold; ``source_labelled``
    takes the lines as labelled source data for the source tagger; ``drop_unknown_labels`` leaves entities with
    a label outside the project's set out instead of refusing their line.
    """

    format: str | None = None
    split: str | None = None
    gold: bool = False
    source_labelled: bool = False
    drop_unknown_labels: bool = False


def import_file(
    store: Store, project: str, labels: Sequence[str], path: Path, options: ImportOptions
) -> ImportReport:
    """Import one file into a project, which is made when it doesn't exist.

    Raises UsageError when the file can't be read or its format isn't clear.
    """
    report = ImportReport()
    with store.write() as session:
        project_id = projects.ensure_project(session, project, labels).id
    lines = _validated(read_lines(path, options.format), frozenset(labels), options, report)
    write = _write_source_sentences if options.source_labelled else _write_tasks
    while chunk := list(islice(lines, _CHUNK)):
        write(store, project_id, chunk, options, report)
    return report


def _validated(
    lines: Iterable[Line], labels: frozenset[str], options: ImportOptions, report: ImportReport
) -> Iterator[Line]:
    for line in lines:
        if line.error is not None:
            report.errors.append(line.error)
        elif line.task is not None:
            try:
                task = _checked(line.task, labels, options)
            except RecordError as error:
                report.errors.append(error.at_line(line.number))
            else:
                yield Line(line.number, task, line.split)


def _checked(task: Task, labels: frozenset[str], options: ImportOptions) -> Task:
    """The task with its unknown labels handled. Raises RecordError for anything the store must not hold."""
    if str(task.id) == "":
        raise RecordError("id", "empty; give every line an id of its own")
    if not task.text.strip():
        raise RecordError("text", "empty; leave the line out")
    for field in ("id", "text", "source"):
        if "\0" in str(getattr(task, field)):
            raise RecordError(field, "holds a NUL character, which databases refuse; remove it")
    build_instance(task)
    gold = _known(task.entities, labels, "entities", options.drop_unknown_labels)
    source_entities = _known(task.source_entities, labels, "source_entities", options.drop_unknown_labels)
    if options.gold or options.source_labelled:
        if gold is None:
            raise RecordError("entities", "missing; gold needs them, an empty list when there are none")
        check_offsets(task.text, gold, "entities")
    return msgspec.structs.replace(task, entities=gold, source_entities=source_entities)


def _known(
    found: tuple[Entity, ...] | None, labels: frozenset[str], field: str, drop: bool
) -> tuple[Entity, ...] | None:
    if found is None:
        return None
    for index, entity in enumerate(found):
        if entity.label not in labels and not drop:
            raise RecordError(
                f"{field}[{index}]",
                f"label {entity.label!r} isn't in the project's set ({', '.join(sorted(labels))}); add it to "
                "`labels` in xner-label.toml or give --drop-unknown-labels",
            )
    return tuple(entity for entity in found if entity.label in labels)


def _write_tasks(
    store: Store, project_id: int, lines: Sequence[Line], options: ImportOptions, report: ImportReport
) -> None:
    with store.write() as session:
        known = tasks.texts_by_external(session, project_id, [str(line.task.id) for line in lines if line.task])
        new: list[tuple[Task, str]] = []
        gold: dict[str, tuple[Entity, ...]] = {}
        for line in lines:
            assert line.task is not None
            external = str(line.task.id)
            if known.setdefault(external, line.task.text) != line.task.text:
                problem = f"{external!r} already belongs to another text; give every text an id of its own"
                report.errors.append(RecordError("id", problem, line=line.number))
                continue
            new.append((line.task, options.split or line.split or DEFAULT_SPLIT))
            gold[external] = line.task.entities or ()
        added = tasks.add_tasks(session, project_id, new)
        report.added += added
        report.known += len(new) - added
        if options.gold:
            ids = tasks.ids_by_external(session, project_id, list(gold))
            report.gold += add_imported_gold(session, {ids[key]: found for key, found in gold.items()})


def _write_source_sentences(
    store: Store, project_id: int, lines: Sequence[Line], options: ImportOptions, report: ImportReport
) -> None:
    rows = [(str(line.task.id), line.task.text, line.task.entities or ()) for line in lines if line.task]
    with store.write() as session:
        added = tasks.add_source_sentences(session, project_id, rows)
    report.added += added
    report.known += len(rows) - added
