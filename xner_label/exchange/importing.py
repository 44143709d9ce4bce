"""Importing tasks, gold and labelled source data into the store.

Records are stored in whole batches, each in a transaction of its own: an import that is interrupted leaves those
that were finished, and importing the same file again adds the rest. Bad records are counted and named, and the
others go on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy.orm import Session

from xner_label.entities import Span
from xner_label.errors import RecordError, UsageError
from xner_label.exchange.checking import checked_task
from xner_label.exchange.documents import sentence_tasks
from xner_label.exchange.readers.formats import FORMATS, WITHOUT_ENTITIES, open_records
from xner_label.exchange.readers.interface import ImportedTask, Numbered, ReadOptions
from xner_label.progress import SILENCE, Progress
from xner_label.store import projects, tasks
from xner_label.store.database import Store
from xner_label.store.documents import add_documents, add_sentences, documents_by_external
from xner_label.store.gold import add_imported_gold
from xner_label.store.task_import import import_tasks

# A batch ends after so many records, or so many characters of text.
BATCH_RECORDS = 2_000
_BATCH_CHARACTERS = 1 << 24
# How many bad records a report names.
NAMED_ERRORS = 100
# Where tasks that name no split go.
DEFAULT_SPLIT = "pool"


class ImportReport(msgspec.Struct):
    """What an import did.

    ``completed`` of the ``known`` tasks got a source, source entities, tokens or links that they lacked;
    ``gold_corrected`` had other gold before, which stays in the history. ``bad`` counts the records that were left
    out; ``errors`` names the first ``NAMED_ERRORS`` of them, with their line numbers. ``trimmed`` counts entities
    that lost white space at their borders. ``documents`` were cut into sentences. ``notes`` says, with the number
    of records, what of the file wasn't taken over. ``format`` is the one that the file was read in.
    """

    format: str = ""
    added: int = 0
    known: int = 0
    completed: int = 0
    gold: int = 0
    gold_corrected: int = 0
    bad: int = 0
    trimmed: int = 0
    documents: int = 0
    notes: Counter[str] = msgspec.field(default_factory=Counter)
    errors: list[RecordError] = msgspec.field(default_factory=list)

    def add_error(self, error: RecordError) -> None:
        """Count a bad record, and keep what is wrong with it if it is among the first."""
        self.bad += 1
        if len(self.errors) < NAMED_ERRORS:
            self.errors.append(error)

    def summary(self) -> dict[str, Any]:
        """The report as plain values, its errors as text."""
        return {**msgspec.structs.asdict(self), "errors": [str(error) for error in self.errors]}


class ImportOptions(ReadOptions, frozen=True, kw_only=True):
    """How a file is read, and what of it is stored.

    ``split`` overrides what the records say; ``gold`` stores each record's ``entities`` as gold;
    ``source_labelled`` takes the records as labelled source data for the source tagger; ``drop_unknown_labels``
    leaves entities with a label outside the project's set out instead of refusing their record. ``sentences``
    takes each record for a document and makes its sentences the tasks.
    """

    split: str | None = None
    gold: bool = False
    source_labelled: bool = False
    drop_unknown_labels: bool = False
    sentences: bool = False


def import_file(
    store: Store,
    project: str,
    labels: Sequence[str],
    path: Path,
    options: ImportOptions,
    progress: Progress = SILENCE,
) -> ImportReport:
    """Import one file (``-``: standard input) into a project, which is made when it doesn't exist.

    Raises UsageError when the file can't be read or its format isn't clear; then nothing is written, unless that
    shows only further on in the file.
    """
    if options.sentences and options.source_labelled:
        raise UsageError("labelled source data isn't cut into sentences", hint="leave out one of the two flags")
    report = ImportReport()
    with open_records(path, options) as (report.format, records):
        if (options.gold or options.source_labelled) and report.format in WITHOUT_ENTITIES:
            raise UsageError(
                f"{path} is read as {FORMATS[report.format].description}, which holds no entities",
                hint="leave out --gold and --source-labelled, or say what the file is: --format "
                + "|".join(name for name in FORMATS if name not in WITHOUT_ENTITIES),
            )
        valid = _validated(records, frozenset(labels), options, report)
        first = next(valid, None)
        with store.write() as session:
            project_id = projects.ensure_project(session, project, labels).id
        write = (
            _write_source_sentences
            if options.source_labelled
            else _write_documents
            if options.sentences
            else _write_tasks
        )
        for batch in _batches(valid, first):
            write(store, project_id, batch, options, report)
            progress.advance(len(batch))
    if report.added:
        store.refresh_statistics()
    return report


def _validated(
    records: Iterable[Numbered], labels: frozenset[str], options: ImportOptions, report: ImportReport
) -> Iterator[tuple[int, ImportedTask]]:
    """The records that may be stored; the others are counted in the report."""
    needs_entities = options.gold or options.source_labelled
    allowed = labels if options.drop_unknown_labels else None
    for number, record in records:
        if isinstance(record, RecordError):
            problem = record
        else:
            try:
                task, trimmed = checked_task(
                    record, labels, drop=allowed is not None, needs_entities=needs_entities
                )
            except RecordError as error:
                problem = error.inside(record.place)
            else:
                report.trimmed += trimmed
                report.notes.update(record.notes)
                if record.task.entities and not needs_entities:
                    report.notes[f"`{record.entities_field}` ignored: give --gold to take it as gold"] += 1
                yield number, msgspec.structs.replace(record, task=task)
                continue
        report.add_error(problem.at_line(number))


def _batches(
    records: Iterator[tuple[int, ImportedTask]], first: tuple[int, ImportedTask] | None
) -> Iterator[list[tuple[int, ImportedTask]]]:
    """The records, ``first`` before the others, in batches of bounded size."""
    batch = [] if first is None else [first]
    characters = 0
    for number, record in records:
        batch.append((number, record))
        characters += len(record.task.text)
        if len(batch) >= BATCH_RECORDS or characters >= _BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def _write_tasks(
    store: Store,
    project_id: int,
    batch: Sequence[tuple[int, ImportedTask]],
    options: ImportOptions,
    report: ImportReport,
) -> None:
    with store.write() as session:
        _store_tasks(session, project_id, batch, options, report)


def _write_documents(
    store: Store,
    project_id: int,
    batch: Sequence[tuple[int, ImportedTask]],
    options: ImportOptions,
    report: ImportReport,
) -> None:
    """Store the sentences of documents as tasks, and where they stand in them."""
    with store.write() as session:
        stored = documents_by_external(session, project_id, [str(record.task.id) for _, record in batch])
        parts: dict[str, list[tuple[Span, ImportedTask]]] = {}
        texts: dict[str, tuple[str, int]] = {}
        numbered = []
        for number, record in batch:
            name = str(record.task.id)
            try:
                if texts.get(name, (record.task.text,))[0] != record.task.text:
                    raise RecordError("id", f"{name!r} belongs to another document of this file")
                parts[name] = sentence_tasks(record, stored.get(name))
            except RecordError as error:
                report.add_error(error.at_line(number))
                continue
            texts[name] = record.task.text, len(parts[name])
            numbered += [(number, task) for _, task in parts[name]]
        _store_tasks(session, project_id, numbered, options, report)
        ids = add_documents(session, project_id, texts)
        places = {str(task.task.id): (ids[name], span.start) for name in parts for span, task in parts[name]}
        task_ids = tasks.ids_by_external(session, project_id, list(places))
        add_sentences(session, [(task_ids[key], *place) for key, place in places.items() if key in task_ids])
    report.documents += len(texts)


def _store_tasks(
    session: Session,
    project_id: int,
    batch: Sequence[tuple[int, ImportedTask]],
    options: ImportOptions,
    report: ImportReport,
) -> None:
    rows = [(record.task, options.split or record.split or DEFAULT_SPLIT) for _, record in batch]
    outcome = import_tasks(session, project_id, rows)
    gold = {
        str(record.task.id): record.task.entities or ()
        for place, (_, record) in enumerate(batch)
        if options.gold and not record.unlabelled and place not in outcome.refused
    }
    ids = tasks.ids_by_external(session, project_id, list(gold))
    imported = add_imported_gold(session, {ids[key]: entities for key, entities in gold.items()})
    if outcome.known:
        _note_other_splits(session, project_id, batch, options, report)
    for place, problem in outcome.refused.items():
        report.add_error(problem.at_line(batch[place][0]))
    report.added += outcome.added
    report.known += outcome.known
    report.completed += outcome.completed
    report.gold += imported.added
    report.gold_corrected += imported.corrected


def _note_other_splits(
    session: Session,
    project_id: int,
    batch: Sequence[tuple[int, ImportedTask]],
    options: ImportOptions,
    report: ImportReport,
) -> None:
    """Count the tasks that were said to be of another split than they are in: nothing moves them, since a model
    may have learned from them."""
    asked = {str(record.task.id): options.split or record.split for _, record in batch}
    named = [name for name, split in asked.items() if split]
    for name, split in tasks.splits_by_external(session, project_id, named).items():
        if split != asked[name]:
            report.notes[f"already there in the split `{split}`, where it stays"] += 1


def _write_source_sentences(
    store: Store,
    project_id: int,
    batch: Sequence[tuple[int, ImportedTask]],
    options: ImportOptions,
    report: ImportReport,
) -> None:
    rows = [
        (str(record.task.id), record.task.text, record.task.entities or ())
        for _, record in batch
        if not record.unlabelled
    ]
    with store.write() as session:
        added = tasks.add_source_sentences(session, project_id, rows)
    report.added += added
    report.known += len(rows) - added
