"""Queries about what Label Studio shows of a task beside its text: place in the queue, doubts, hints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import msgspec
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from xner_label.entities import Entity
from xner_label.store.database import id_batches
from xner_label.store.gold import current_annotations
from xner_label.store.reviews import unanswered
from xner_label.store.tables import Correction, ReviewBatch, ReviewItem, ShownConflict, Task


class ShownFields(msgspec.Struct, frozen=True):
    """What was sent of an item: a ``digest`` of the fields, and the hints among them."""

    digest: str
    hints: list[dict[str, Any]]


def queue_ranks(session: Session, project_id: int) -> dict[int, int]:
    """The places of all items in the queue, from 1, by item id.

    Batches follow each other, and a batch's own order holds, with its blind tasks spread evenly over it: people
    must not meet them all at the end, when nobody is left to answer, or know them by their place. An item keeps
    its place when others are answered or added.
    """
    query = (
        select(ReviewItem.batch_id, ReviewItem.id, ReviewItem.prediction_id)
        .join(ReviewBatch, ReviewBatch.id == ReviewItem.batch_id)
        .where(ReviewBatch.project_id == project_id)
        .order_by(ReviewItem.batch_id, ReviewItem.position, ReviewItem.id)
    )
    order: list[int] = []
    for _, rows in groupby(session.execute(query).all(), key=lambda row: row.batch_id):
        parts: dict[bool, list[int]] = {False: [], True: []}
        for _, item, prediction in rows:
            parts[prediction is None].append(item)
        placed = [
            ((number + 0.5) / len(part), blind, item)
            for blind, part in parts.items()
            for number, item in enumerate(part)
        ]
        order += [item for _, _, item in sorted(placed)]
    return {item: rank for rank, item in enumerate(order, 1)}


def waiting_digests(session: Session, project_id: int) -> dict[int, str | None]:
    """By item id of what waits in Label Studio, the digest of the fields that it is known to hold."""
    query = (
        select(ReviewItem.id, ReviewItem.fields_digest)
        .join(Task, Task.id == ReviewItem.task_id)
        .where(Task.project_id == project_id, Task.studio_task.is_not(None))
        .where(ReviewItem.pushed_at.is_not(None), unanswered())
        .order_by(ReviewItem.id)
    )
    return dict(session.execute(query).all())


def mark_fields(session: Session, fields: Mapping[int, ShownFields]) -> None:
    """Record which fields Label Studio holds (item id -> fields)."""
    rows = [{"id": item, "fields_digest": sent.digest, "hints": sent.hints} for item, sent in fields.items()]
    if rows:
        session.execute(update(ReviewItem), rows)


def answered_hints(session: Session, project_id: int) -> list[tuple[list[dict[str, Any]], list[Entity]]]:
    """The hints of each task that somebody answered, and the entities that the newest answer adds there."""
    hinted = select(ReviewItem.task_id).where(ReviewItem.hints.is_not(None))
    by_task = {row.task_id: row.id for row in current_annotations(session, project_id, Task.id.in_(hinted))}
    answered: list[tuple[list[dict[str, Any]], list[Entity]]] = []
    for ids in id_batches(sorted(by_task)):
        query = select(ReviewItem.task_id, ReviewItem.hints).where(ReviewItem.task_id.in_(ids))
        hints = {task: stored for task, stored in session.execute(query) if stored}
        added: dict[int, list[Entity]] = {task: [] for task in hints}
        rows = {by_task[task]: task for task in hints}
        corrections = select(Correction).where(Correction.annotation_id.in_(rows), Correction.kind == "added")
        for row in session.scalars(corrections):
            if row.start is not None and row.end is not None and row.label is not None:
                added[rows[row.annotation_id]].append(Entity(row.start, row.end, row.label))
        answered += [(stored, added[task]) for task, stored in hints.items()]
    return answered


def shown_conflicts(session: Session, project_id: int) -> dict[int, str]:
    """The tasks that Label Studio shows as disputed, by id, with a digest of what it shows."""
    query = select(ShownConflict.task_id, ShownConflict.digest).join(Task, Task.id == ShownConflict.task_id)
    return dict(session.execute(query.where(Task.project_id == project_id)).all())


def note_conflicts(session: Session, digests: Mapping[int, str]) -> None:
    """Record that Label Studio shows these tasks as disputed (task id -> digest)."""
    forget_conflicts(session, list(digests))
    session.add_all(ShownConflict(task_id=task, digest=digest) for task, digest in digests.items())


def forget_conflicts(session: Session, task_ids: Sequence[int]) -> None:
    """Record that Label Studio shows these tasks as disputed no more."""
    for ids in id_batches(task_ids):
        session.execute(delete(ShownConflict).where(ShownConflict.task_id.in_(ids)))


def studio_rows(session: Session, task_ids: Sequence[int]) -> dict[int, int]:
    """Label Studio's numbers of these tasks, by our id, where it holds them."""
    rows: dict[int, int] = {}
    for ids in id_batches(task_ids):
        query = select(Task.id, Task.studio_task).where(Task.id.in_(ids), Task.studio_task.is_not(None))
        rows.update((task, row) for task, row in session.execute(query) if row is not None)
    return rows
