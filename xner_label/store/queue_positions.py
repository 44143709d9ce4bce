"""The order of what waits for people: read, and changed when answers elsewhere have moved what is doubtful."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from xner_label.store.tables import Annotation, Prediction, ReviewBatch, ReviewItem


class WaitingItem(msgspec.Struct, frozen=True):
    """An item without an answer that shows a prediction: its batch, that one's strategy, and where it stands."""

    batch: int
    strategy: str
    item: int
    position: int
    task: int
    prediction: int
    confidence: float


def waiting_items(session: Session, project_id: int) -> list[WaitingItem]:
    """What waits, in the order of review; blind items aren't among it."""
    query = (
        select(
            *(ReviewItem.batch_id, ReviewBatch.strategy, ReviewItem.id, ReviewItem.position),
            *(ReviewItem.task_id, Prediction.id, Prediction.confidence),
        )
        .join(ReviewBatch, ReviewBatch.id == ReviewItem.batch_id)
        .join(Prediction, Prediction.id == ReviewItem.prediction_id)
        .where(ReviewBatch.project_id == project_id)
        .where(ReviewItem.task_id.not_in(select(Annotation.task_id)))
        .order_by(ReviewItem.batch_id, ReviewItem.position)
    )
    return [WaitingItem(*row) for row in session.execute(query)]


def set_positions(session: Session, positions: Mapping[int, int]) -> None:
    """Move items, by id, to other positions of their batches."""
    for item, position in positions.items():
        session.execute(update(ReviewItem).where(ReviewItem.id == item).values(position=position))
