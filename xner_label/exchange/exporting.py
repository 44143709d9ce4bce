"""Exporting gold and silver, task by task, in the formats of :mod:`xner_label.exchange.writers`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from pathlib import Path

import msgspec

from xner_label.entities import Entity, Task, with_cut_words
from xner_label.errors import RecordError, UsageError
from xner_label.exchange.brat_writer import write_brat
from xner_label.exchange.documents import whole_documents
from xner_label.exchange.exported import ExportedTask, ExportReport, SilverEntity
from xner_label.exchange.writers import ON_TOKENS, WRITERS
from xner_label.jsonl import open_output
from xner_label.new_folder import new_folder
from xner_label.projection.problem import build_instance
from xner_label.store.database import Store
from xner_label.store.labelled import LabelledTask, labelled_tasks
from xner_label.store.tables import Prediction
from xner_label.store.tasks import to_record

# Formats that are folders of files.
FOLDER_WRITERS: Mapping[str, Callable[[Iterable[ExportedTask], ExportReport, Path], None]] = {"brat": write_brat}
Accepted = Mapping[int, Set[tuple[int, int, str]]]


def export(
    store: Store,
    project: str,
    output: Path | str,
    *,
    gold: bool,
    silver: bool,
    format: str = "jsonl",
    full: bool = False,
    accepted: Accepted | None = None,
    whole: bool = False,
    documents: bool = False,
) -> ExportReport:
    """Write gold, silver or both in the order the tasks came; a task with gold never appears as silver.

    ``full`` adds the source, its entities, the tokens and the links (JSON Lines only): what `project`,
    `fit-projector` and `choose-projector` need. Raises UsageError when the project doesn't exist or what is
    asked for contradicts itself.

    ``accepted``: (start, end, label) of the silver entities to be written, by task id, None for all; ``whole``
    leaves out the silver tasks that aren't in it. ``documents`` writes tasks that are sentences of one as the
    whole document; one that lacks a sentence is left out and named.
    """
    if not (gold or silver):
        raise UsageError("nothing to export", hint="give --gold, --silver or both")
    if full and format != "jsonl":
        raise UsageError(f"the format {format} can't hold everything", hint="leave out --full or use jsonl")
    if full and documents:
        raise UsageError("--full is about single sentences", hint="leave out --full or --documents")
    if format in FOLDER_WRITERS and (str(output) == "-" or _is_taken(Path(output))):
        raise UsageError(f"the format {format} is a folder of files", hint="name a new folder with -o")
    report = ExportReport()
    labelled = labelled_tasks(store, project, gold=gold, silver=silver, links=full)
    if whole and accepted is not None:
        labelled = (task for task in labelled if task.gold is not None or task.task.id in accepted)
    converted = _converted(labelled, full, format, accepted)
    tasks = _counted(
        whole_documents(store, converted, report) if documents else (task for _, task in converted), report
    )
    first = next(tasks, None)  # an unknown project leaves no file behind
    rows = _with_first(first, tasks)
    if format in FOLDER_WRITERS:
        with new_folder(Path(output)) as folder:
            FOLDER_WRITERS[format](rows, report, folder)
        return report
    with open_output(output) as stream:
        for row in WRITERS[format](rows, report):
            stream.write(row)
    return report


def _counted(tasks: Iterator[ExportedTask], report: ExportReport) -> Iterator[ExportedTask]:
    for task in tasks:
        report.tasks += 1
        report.entities += len(task.entities)
        yield task


def _converted(
    tasks: Iterator[LabelledTask], full: bool, format: str, accepted: Accepted | None
) -> Iterator[tuple[int, ExportedTask]]:
    """Each task as it is written, by its id in the store."""
    for labelled in tasks:
        task = _exported(labelled)
        if accepted is not None and labelled.gold is None:
            kept = accepted.get(labelled.task.id, frozenset())
            entities = tuple(
                entity for entity in task.entities if (entity.start, entity.end, entity.label) in kept
            )
            task = msgspec.structs.replace(task, entities=entities)
        if not full:
            task = msgspec.structs.replace(
                task,
                source=task.source if format == "label-studio" else None,
                source_entities=None,
                tokens=task.tokens if format in ON_TOKENS else None,
                source_tokens=None,
                alignment=None,
            )
        yield labelled.task.id, task


def _is_taken(path: Path) -> bool:
    """Whether something is there that a new folder can't replace."""
    return path.exists() and not (path.is_dir() and next(path.iterdir(), None) is None)


def _with_first(first: ExportedTask | None, rest: Iterator[ExportedTask]) -> Iterator[ExportedTask]:
    if first is not None:
        yield first
    yield from rest


def _exported(labelled: LabelledTask) -> ExportedTask:
    record = to_record(labelled.task)
    if labelled.alignment is not None:
        record = _with_fitting_links(record, labelled.alignment)
    entities = labelled.gold.entities if labelled.gold is not None else _silver(labelled.prediction)
    return ExportedTask(
        id=labelled.task.external_id,
        text=record.text,
        entities=tuple(entities),
        split=labelled.task.split,
        origin="silver" if labelled.gold is None else "gold",
        source=record.source,
        source_entities=record.source_entities,
        tokens=record.tokens,
        source_tokens=record.source_tokens,
        alignment=record.alignment,
    )


def _with_fitting_links(task: Task, alignment: str) -> Task:
    """The task with these links and the words that an aligner counted, unless they were made for a source that it
    has no longer."""
    linked = msgspec.structs.replace(with_cut_words(task), alignment=alignment)
    try:
        build_instance(linked)
    except RecordError:
        return task
    return linked


def _silver(prediction: Prediction | None) -> tuple[Entity, ...]:
    if prediction is None:
        return ()
    return tuple(
        SilverEntity(
            entity.start,
            entity.end,
            entity.label,
            entity.score,
            confidence=entity.confidence,
            settled_by_name=(entity.provenance or {}).get("answer"),
        )
        for entity in prediction.entities
    )
