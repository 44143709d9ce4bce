"""What people said about predictions, gathered from the store for the report."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy.orm import Session

from xner_label import entities
from xner_label.entities import Entity, Tokens
from xner_label.errors import RecordError
from xner_label.review.error_sources import ReviewedTask
from xner_label.review.people import Answer
from xner_label.store import predictions, stages, tasks
from xner_label.store.database import id_batches
from xner_label.store.gold import Gold, current_annotations, gold_of
from xner_label.store.judged import judged_predictions, kept_by_annotation
from xner_label.store.reviews import blind_tasks
from xner_label.store.tables import Prediction, Project


def reviewed_tasks(session: Session, project: Project) -> Iterator[ReviewedTask]:
    """Each settled task that was predicted before people answered, with that prediction, in task order."""
    gold = {item.task.id: item for item in gold_of(session, project.id)}
    for ids in id_batches(list(gold)):
        judged = judged_predictions(session, ids)
        links = stages.newest_links(session, list(judged))
        for task_id in ids:
            if task_id in judged:
                task = _reviewed(gold[task_id], judged[task_id], links.get(task_id))
                if task is not None:
                    yield task


def _reviewed(gold: Gold, prediction: Prediction, alignment: str | None) -> ReviewedTask | None:
    """The task; without its links where these don't fit its tokens any more."""
    record: entities.Task = tasks.to_record(gold.task)
    counted = record.alignment is not None
    try:
        tokens = Tokens.of(record.text, record.tokens, letters=counted)
        source = None
        if record.source is not None:
            source = Tokens.of(record.source, record.source_tokens, "source_tokens", letters=counted)
    except RecordError:
        return None
    return ReviewedTask(
        id=gold.task.external_id,
        text=record.text,
        tokens=tokens,
        predicted=predictions.projected_entities(prediction),
        gold=gold.entities,
        source=record.source,
        source_tokens=source,
        source_entities=record.source_entities or (),
        alignment=record.alignment or alignment,
    )


def answers(session: Session, project: Project) -> list[Answer]:
    """What each person says in the end about each task, from Label Studio."""
    rows = [row for row in current_annotations(session, project.id) if row.origin == "studio" and row.annotator]
    newest = {(row.annotator, row.task_id): row for row in rows}
    kept = kept_by_annotation(session, [row.id for row in newest.values()])
    blind = blind_tasks(session, sorted({row.task_id for row in newest.values()}))
    return [
        Answer(
            task=row.task_id,
            annotator=row.annotator or "",
            moment=row.studio_updated_at or row.created_at,
            entities=tuple(Entity(item["start"], item["end"], item["label"]) for item in row.entities),
            seconds=row.lead_time,
            shown=kept[row.id].shown if row.id in kept else 0,
            kept=kept[row.id].kept if row.id in kept else 0,
            blind=row.task_id in blind,
        )
        for row in newest.values()
    ]
