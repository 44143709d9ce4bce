"""Stored predictions as the orders of review see them."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.orm import Session

from xner_label.entities import Tokens
from xner_label.review.name_audit import is_drawn
from xner_label.review.name_groups import NameKey, name_form
from xner_label.review.queue import QueuedSpan, QueuedTask
from xner_label.store import predictions
from xner_label.store.tables import ProjectedEntity


def queued_tasks(session: Session, found: Sequence[tuple[int, int, float]]) -> list[QueuedTask]:
    """What could be chosen, as the orders of review see it."""
    pairs = predictions.by_id(session, [prediction for _, prediction, _ in found])
    stored = {prediction.id: (task, prediction) for task, prediction in pairs}
    queued = []
    for _, prediction_id, confidence in found:
        task, prediction = stored[prediction_id]
        spans = [_queued_span(task.id, row) for row in prediction.entities]
        queued.append(QueuedTask(len(Tokens.of(task.text, task.tokens)), confidence, spans))
    return queued


def _queued_span(task_id: int, row: ProjectedEntity) -> QueuedSpan:
    provenance = row.provenance or {}
    settled = bool(provenance.get("answer"))
    key = NameKey(name_form(row.source_text or ""), name_form(row.text), row.label)
    return QueuedSpan(
        name=row.source_text or row.text,
        confidence=row.confidence,
        tagger=provenance.get("tagger"),
        key=None if settled else key,
        audited=settled and is_drawn(task_id, row.start),
    )
