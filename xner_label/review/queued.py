"""Stored predictions as the orders of review see them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy.orm import Session

from xner_label.entities import Tokens
from xner_label.review.name_audit import is_drawn
from xner_label.review.name_groups import NameKey, name_form
from xner_label.review.queue import QueuedSpan, QueuedTask
from xner_label.store import candidates


def queued_tasks(session: Session, chosen: Sequence[tuple[int, int, float]]) -> list[QueuedTask]:
    """What could be chosen, as the orders of review see it: (task id, prediction id, confidence) each."""
    texts = candidates.texts_of(session, [task for task, _, _ in chosen])
    spans = candidates.spans_of(session, [prediction for _, prediction, _ in chosen])
    return [
        QueuedTask(len(Tokens.of(*texts[task])), confidence, _queued_spans(task, spans.get(prediction, ())))
        for task, prediction, confidence in chosen
    ]


def _queued_spans(task_id: int, rows: Iterable[candidates.CandidateSpan]) -> list[QueuedSpan]:
    return [
        QueuedSpan(
            name=row.source_text or row.text,
            confidence=row.confidence,
            tagger=row.tagger,
            key=None if row.answer else NameKey(name_form(row.source_text or ""), name_form(row.text), row.label),
            audited=bool(row.answer) and is_drawn(task_id, row.start),
        )
        for row in rows
    ]
