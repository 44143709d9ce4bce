"""Queries about review batches, their items, and how far synchronisation has come."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from xner_label.store.database import insert_new
from xner_label.store.models import ReviewBatch, ReviewItem, SyncState, Task, utc_now


def chosen_task_ids(session: Session, project_id: int) -> set[int]:
    """Tasks that already belong to a review batch."""
    query = (
        select(ReviewItem.task_id).join(Task, Task.id == ReviewItem.task_id).where(Task.project_id == project_id)
    )
    return set(session.scalars(query))


def add_batch(
    session: Session, project_id: int, strategy: str, items: Sequence[tuple[int, int | None]]
) -> ReviewBatch:
    """Make a batch of (task id, prediction id) in the order of review; tasks already chosen are left out."""
    batch = ReviewBatch(project_id=project_id, strategy=strategy)
    session.add(batch)
    session.flush()
    insert_new(
        session,
        ReviewItem,
        [
            {"batch_id": batch.id, "task_id": task, "prediction_id": prediction, "position": position}
            for position, (task, prediction) in enumerate(items)
        ],
    )
    return batch


def unpushed_items(session: Session, project_id: int) -> list[tuple[ReviewItem, Task]]:
    """Items that Label Studio isn't known to hold, in the order of review."""
    query = (
        select(ReviewItem, Task)
        .join(Task, Task.id == ReviewItem.task_id)
        .where(Task.project_id == project_id, ReviewItem.pushed_at.is_(None))
        .order_by(ReviewItem.batch_id, ReviewItem.position)
    )
    return list(session.execute(query).all())


def mark_pushed(session: Session, studio_tasks: dict[int, int]) -> None:
    """Record that Label Studio holds these tasks (our task id -> its task id)."""
    for task_id, studio_task in studio_tasks.items():
        session.execute(update(Task).where(Task.id == task_id).values(studio_task=studio_task))
        session.execute(update(ReviewItem).where(ReviewItem.task_id == task_id).values(pushed_at=utc_now()))


def count_items(session: Session, project_id: int) -> tuple[int, int]:
    """How many items are chosen, and how many of them Label Studio holds."""
    query = (
        select(func.count(), func.count(ReviewItem.pushed_at))
        .join(Task, Task.id == ReviewItem.task_id)
        .where(Task.project_id == project_id)
    )
    chosen, pushed = session.execute(query).one()
    return chosen, pushed


def get_cursor(session: Session, project_id: int) -> datetime | None:
    """Up to which time changes in Label Studio have been taken over; None before the first sync."""
    state = session.get(SyncState, project_id)
    return None if state is None else state.cursor


def set_cursor(session: Session, project_id: int, cursor: datetime) -> None:
    """Move the cursor; call it in the transaction that writes the rows it covers."""
    state = session.get(SyncState, project_id)
    if state is None:
        session.add(SyncState(project_id=project_id, cursor=cursor))
    else:
        state.cursor = cursor
