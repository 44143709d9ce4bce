"""What could be asked about, in columns: tasks and predicted entities without the rows that hold them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from xner_label.store.database import id_batches
from xner_label.store.tables import ProjectedEntity, Task


class CandidateSpan(NamedTuple):
    """A predicted entity; ``start`` in code points, ``tagger``: P by a tagger of the target language, ``answer``:
    who settled it by an answer about its name."""

    start: int
    text: str
    source_text: str | None
    label: str
    confidence: float
    tagger: float | None
    answer: str | None


def texts_of(session: Session, task_ids: Sequence[int]) -> dict[int, tuple[str, list[Any] | None]]:
    """Text and tokens of tasks, by task id."""
    texts: dict[int, tuple[str, list[Any] | None]] = {}
    for batch in id_batches(task_ids):
        query = select(Task.id, Task.text, Task.tokens).where(Task.id.in_(batch))
        texts.update((task_id, (text, tokens)) for task_id, text, tokens in session.execute(query))
    return texts


def spans_of(session: Session, prediction_ids: Sequence[int]) -> dict[int, list[CandidateSpan]]:
    """The entities of predictions, by prediction id, in the predictions' order; those without any are absent."""
    spans: dict[int, list[CandidateSpan]] = {}
    for batch in id_batches(prediction_ids):
        query = (
            select(
                *(ProjectedEntity.prediction_id, ProjectedEntity.start, ProjectedEntity.text),
                *(ProjectedEntity.source_text, ProjectedEntity.label, ProjectedEntity.confidence),
                ProjectedEntity.provenance["tagger"].as_float(),
                ProjectedEntity.provenance["answer"].as_string(),
            )
            .where(ProjectedEntity.prediction_id.in_(batch))
            .order_by(ProjectedEntity.prediction_id, ProjectedEntity.position)
        )
        for prediction, *row in session.execute(query):
            spans.setdefault(prediction, []).append(CandidateSpan(*row))
    return spans
