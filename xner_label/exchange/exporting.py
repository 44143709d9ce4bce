"""Exporting gold and silver as JSON Lines or as CoNLL columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
from sqlalchemy.orm import Session

from xner_label.entities import Entity, Tokens
from xner_label.errors import UsageError
from xner_label.iob2 import tags_of
from xner_label.jsonl import open_output
from xner_label.store import predictions, projects, tables
from xner_label.store.database import Store
from xner_label.store.gold import gold_of


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
    with store.read() as session, open_output(output) as stream:
        for task, found, origin in _rows(session, projects.get_project(session, project), gold, silver):
            report.tasks += 1
            report.entities += len(found)
            if format == "jsonl":
                row = Labelled(task.external_id, task.text, tuple(found), task.split, origin)
                stream.write(msgspec.json.encode(row) + b"\n")
            else:
                stream.writelines(line.encode() + b"\n" for line in _conll(task, found, report))
    return report


def _rows(
    session: Session, project: tables.Project, gold: bool, silver: bool
) -> Iterator[tuple[tables.Task, Sequence[Entity], str]]:
    settled = gold_of(session, project.id)
    if gold:
        yield from ((item.task, item.entities, "gold") for item in settled)
    if not silver or project.pipeline is None:
        return
    reviewed = {item.task.id for item in settled}
    found = predictions.predictions_of(session, project.id, project.pipeline.name)
    for task, prediction in sorted(found, key=lambda pair: pair[0].id):
        if task.id not in reviewed:
            yield task, [_silver(entity) for entity in prediction.entities], "silver"


def _silver(entity: tables.ProjectedEntity) -> SilverEntity:
    return SilverEntity(entity.start, entity.end, entity.label, entity.score, confidence=entity.confidence)


def _conll(task: tables.Task, found: Sequence[Entity], report: ExportReport) -> Iterator[str]:
    """Lines ``token<TAB>tag`` in IOB2 and a blank line at the end."""
    tokens = Tokens.of(task.text, task.tokens)
    report.widened += sum(not tokens.covering(entity.start, entity.end)[2] for entity in found)
    tags = tags_of(tokens, found)
    yield from (f"{word}\t{tag}" for word, tag in zip(tokens, tags, strict=True))
    yield ""
