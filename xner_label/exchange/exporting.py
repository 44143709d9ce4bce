"""Exporting gold and silver as JSON Lines or as CoNLL columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from xner_label.entities import Entity, Tokens
from xner_label.errors import UsageError
from xner_label.iob2 import tags_of
from xner_label.jsonl import open_output
from xner_label.store import predictions, projects, tables, tasks
from xner_label.store.database import Store
from xner_label.store.gold import gold_of, gold_task_ids

# Tasks read at a time.
_CHUNK = 2_000


class SilverEntity(Entity, frozen=True, omit_defaults=True, kw_only=True):
    """A projected entity; ``confidence`` is the probability that it is exactly right."""

    confidence: float


class Labelled(msgspec.Struct, frozen=True):
    """One exported task."""

    id: str
    text: str
    entities: tuple[Entity, ...]
    split: str
    origin: str


class ExportReport(msgspec.Struct):
    """What an export wrote. ``widened`` counts entities whose border lay inside a token (CoNLL only)."""

    tasks: int = 0
    entities: int = 0
    widened: int = 0


def export(
    store: Store, project: str, output: Path | str, *, gold: bool, silver: bool, format: str
) -> ExportReport:
    """Write gold, silver or both; a task with gold never appears as silver.

    Raises UsageError when the project doesn't exist or neither kind was asked for.
    """
    if not (gold or silver):
        raise UsageError("nothing to export", hint="give --gold, --silver or both")
    report = ExportReport()
    with open_output(output) as stream:
        for task, found, origin in _rows(store, project, gold=gold, silver=silver):
            report.tasks += 1
            report.entities += len(found)
            if format == "jsonl":
                row = Labelled(task.external_id, task.text, tuple(found), task.split, origin)
                stream.write(msgspec.json.encode(row) + b"\n")
            else:
                stream.writelines(line.encode() + b"\n" for line in _conll(task, found, report))
    return report


def _rows(
    store: Store, project: str, *, gold: bool, silver: bool
) -> Iterator[tuple[tables.Task, Sequence[Entity], str]]:
    """Tasks with their entities and where those are from, some at a time.

    Between two reads no transaction is open: whoever takes the lines may be slow.
    """
    with store.read() as session:
        row = projects.get_project(session, project)
        settled = gold_task_ids(session, row.id)
        pipeline = row.pipeline.name if silver and row.pipeline is not None else None
        predicted = predictions.predicted_task_ids(session, row.id, pipeline) if pipeline is not None else set()
    for start in range(0, len(settled) if gold else 0, _CHUNK):
        with store.read() as session:
            chunk = gold_of(session, row.id, tables.Task.id.in_(settled[start : start + _CHUNK]))
        yield from ((item.task, item.entities, "gold") for item in chunk)
    unreviewed = sorted(predicted.difference(settled))
    for start in range(0, len(unreviewed), _CHUNK):
        ids = unreviewed[start : start + _CHUNK]
        with store.read() as session:
            found = predictions.of_tasks(session, ids, pipeline or "")
            rows = list(tasks.iterate_tasks(session, row.id, tables.Task.id.in_(ids)))
        for task in rows:
            yield task, [_silver(entity) for entity in found[task.id].entities], "silver"


def _silver(entity: tables.ProjectedEntity) -> SilverEntity:
    return SilverEntity(entity.start, entity.end, entity.label, entity.score, confidence=entity.confidence)


def _conll(task: tables.Task, found: Sequence[Entity], report: ExportReport) -> Iterator[str]:
    """Lines ``token<TAB>tag`` in IOB2 and a blank line at the end."""
    tokens = Tokens.of(task.text, task.tokens)
    report.widened += sum(not tokens.covering(entity.start, entity.end)[2] for entity in found)
    tags = tags_of(tokens, found)
    yield from (f"{word}\t{tag}" for word, tag in zip(tokens, tags, strict=True))
    yield ""
