"""Importing silver that was made elsewhere: what `xner-label translate-train` writes, to learn from.

Its texts are translations, so they get a split of their own: nobody is asked about them and no pipeline predicts
them. Each keeps its entities as a prediction of the pipeline that the line names.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from pathlib import Path

import msgspec

from xner_label.entities import Entity, SilverTask, Task
from xner_label.errors import RecordError, UsageError
from xner_label.exchange.checking import checked_task
from xner_label.exchange.importing import BATCH_RECORDS, ImportOptions, ImportReport
from xner_label.exchange.readers.interface import ImportedTask
from xner_label.jsonl import decoded_lines, open_input
from xner_label.progress import SILENCE, Progress
from xner_label.store import predictions, projects, tasks
from xner_label.store.database import Store
from xner_label.store.task_import import import_tasks

# Before an id, so that a translation never passes for the text of the target language that has the same one.
PREFIX = "silver:"
_Numbered = tuple[int, Task, SilverTask]


def import_silver(
    store: Store,
    project: str,
    labels: Sequence[str],
    path: Path,
    options: ImportOptions,
    progress: Progress = SILENCE,
) -> ImportReport:
    """Import a file of silver (``-``: standard input) into a project, which is made when it doesn't exist.

    Of ``options`` only ``drop_unknown_labels`` and a ``format`` of jsonl go with silver. Importing the same file
    again adds nothing. Raises UsageError for other options and for a file that can't be read.
    """
    allowed = ImportOptions(format=options.format, drop_unknown_labels=options.drop_unknown_labels)
    if options != allowed or options.format not in (None, "jsonl"):
        raise UsageError(
            "--silver takes the lines that `xner-label translate-train` writes",
            hint="leave the other options out, but for --drop-unknown-labels",
        )
    report = ImportReport(format="jsonl")
    with open_input(path) as stream:
        with store.write() as session:
            project_id = projects.ensure_project(session, project, labels).id
        good = _checked(decoded_lines(stream, SilverTask), frozenset(labels), options.drop_unknown_labels, report)
        while batch := list(islice(good, BATCH_RECORDS)):
            _write(store, project_id, batch, report)
            progress.advance(len(batch))
    return report


def _checked(
    lines: Iterator[tuple[int, SilverTask | RecordError]],
    labels: Collection[str],
    drop: bool,
    report: ImportReport,
) -> Iterator[_Numbered]:
    """The lines that may be stored: their number, the task and its silver; the others are counted."""
    for number, silver in lines:
        try:
            if isinstance(silver, RecordError):
                raise silver
            yield number, *_stored(silver, labels, drop)
        except RecordError as error:
            report.add_error(error.at_line(number))


def _stored(silver: SilverTask, labels: Collection[str], drop: bool) -> tuple[Task, SilverTask]:
    if not silver.pipeline.strip() or "\0" in silver.pipeline:
        raise RecordError("pipeline", "empty, or with a NUL character; it says what made the entities")
    if not 0.0 <= silver.confidence <= 1.0:
        raise RecordError("confidence", f"{silver.confidence:g} isn't a probability; give 0..1")
    task = Task(
        id=f"{PREFIX}{silver.id}",
        text=silver.text,
        source=silver.source,
        source_entities=silver.source_entities,
        entities=tuple(
            Entity(entity.start, entity.end, entity.label, entity.confidence, entity.text)
            for entity in silver.entities
        ),
    )
    checked, trimmed = checked_task(ImportedTask(task), labels, drop=drop, needs_entities=True)
    if trimmed:
        raise RecordError("entities", "white space at their borders; cut it off, in their `text`, too")
    kept = {(entity.start, entity.end, entity.label) for entity in checked.entities or ()}
    entities = tuple(entity for entity in silver.entities if (entity.start, entity.end, entity.label) in kept)
    return msgspec.structs.replace(checked, entities=None), msgspec.structs.replace(silver, entities=entities)


def _write(store: Store, project_id: int, batch: Sequence[_Numbered], report: ImportReport) -> None:
    with store.write() as session:
        outcome = import_tasks(session, project_id, [(task, tasks.TRANSLATED) for _, task, _ in batch])
        taken = {
            str(task.id): silver for place, (_, task, silver) in enumerate(batch) if place not in outcome.refused
        }
        ids = tasks.ids_by_external(session, project_id, list(taken))
        predictions.add_predictions(session, [(ids[key], silver) for key, silver in taken.items()])
    for place, problem in outcome.refused.items():
        report.add_error(problem.at_line(batch[place][0]))
    report.added += outcome.added
    report.known += outcome.known
