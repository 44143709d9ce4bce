"""Queries about review batches and their items."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

import msgspec
from sqlalchemy import ColumnElement, case, delete, func, select, update
from sqlalchemy.orm import Session, aliased, selectinload

from xner_label.store import sync_state
from xner_label.store.base import utc_now
from xner_label.store.database import database_time, id_batches, insert_new
from xner_label.store.pipelines import made_by
from xner_label.store.tables import (
    Annotation,
    ExcludedTask,
    PipelineVersion,
    Prediction,
    ReviewBatch,
    ReviewItem,
    ShownConflict,
    Task,
)


def add_batch(
    session: Session,
    project_id: int,
    strategy: str,
    items: Sequence[tuple[int, int | None]],
    drawn: Collection[int] = (),
) -> ReviewBatch:
    """Make a batch of (task id, prediction id) in the order of review; tasks already chosen are left out.

    ``drawn``: ids of the tasks that were drawn at random from all that could be chosen.
    """
    batch = ReviewBatch(project_id=project_id, strategy=strategy)
    session.add(batch)
    session.flush()
    insert_new(
        session,
        ReviewItem,
        [
            {
                "batch_id": batch.id,
                "task_id": task,
                "prediction_id": prediction,
                "position": position,
                "drawn": task in drawn,
            }
            for position, (task, prediction) in enumerate(items)
        ],
    )
    return batch


class Outgoing(msgspec.Struct, frozen=True):
    """An item with what is sent of it. ``prediction`` has its entities; None where the task is served blind."""

    item: ReviewItem
    task: Task
    prediction: Prediction | None


class UnpushedItem(msgspec.Struct, frozen=True):
    """An item that Label Studio isn't known to hold; ``sent_at`` where it may be on its way."""

    id: int
    task: int
    external_id: str
    sent_at: datetime | None


def unpushed_items(session: Session, project_id: int) -> list[UnpushedItem]:
    """Items that Label Studio isn't known to hold, in the order of review."""
    query = (
        select(ReviewItem.id, Task.id, Task.external_id, ReviewItem.sent_at)
        .join(Task, Task.id == ReviewItem.task_id)
        .where(Task.project_id == project_id, ReviewItem.pushed_at.is_(None))
        .where(Task.id.not_in(select(ExcludedTask.task_id)))
        .order_by(ReviewItem.batch_id, ReviewItem.position)
    )
    return [UnpushedItem(*row) for row in session.execute(query)]


def claim_items(session: Session, items: Sequence[int]) -> set[int]:
    """Note that these items are about to be sent; returns those that no other process is sending."""
    now = database_time(session)
    free = (
        update(ReviewItem)
        .where(ReviewItem.id.in_(items), ReviewItem.sent_at.is_(None), ReviewItem.pushed_at.is_(None))
        .values(sent_at=now, prediction_sent_at=now, shown_version=None)
        .returning(ReviewItem.id)
    )
    return set(session.scalars(free))


def release_items(session: Session, items: Sequence[int]) -> None:
    """Note that these items are not in Label Studio and not on their way either."""
    for batch in id_batches(items):
        session.execute(
            update(ReviewItem)
            .where(ReviewItem.id.in_(batch), ReviewItem.pushed_at.is_(None))
            .values(sent_at=None, prediction_sent_at=None)
        )


def mark_pushed(session: Session, studio_tasks: Mapping[int, int]) -> None:
    """Record that Label Studio holds these tasks (our task id -> its task id).

    Label Studio is right about its ids: another task that was thought to have one of them isn't there, and goes
    out again if people were to look at it.
    """
    if studio_tasks:
        _take_away(session, studio_tasks)
        rows = [{"id": task_id, "studio_task": studio_task} for task_id, studio_task in studio_tasks.items()]
        session.execute(update(Task), rows)
    now, ids = utc_now(), list(studio_tasks)
    for batch in id_batches(ids):
        session.execute(update(ReviewItem).where(ReviewItem.task_id.in_(batch)).values(pushed_at=now))


def _take_away(session: Session, studio_tasks: Mapping[int, int]) -> None:
    """Free these ids of Label Studio's, whoever has them in the same project."""
    numbers, ids = list(studio_tasks.values()), list(studio_tasks)
    project = select(Task.project_id).where(Task.id == ids[0]).scalar_subquery()
    displaced: list[int] = []
    for batch in id_batches(numbers):
        holders = (
            update(Task)
            .where(Task.project_id == project, Task.studio_task.in_(batch))
            .values(studio_task=None)
            .returning(Task.id)
        )
        displaced += [task for task in session.scalars(holders) if task not in studio_tasks]
    if displaced:
        _send_again(session, ReviewItem.task_id.in_(displaced))


def _send_again(session: Session, items: ColumnElement[bool]) -> None:
    """Let items that nobody has answered be pushed once more."""
    answered = select(Annotation.task_id).where(Annotation.origin == "studio")
    session.execute(
        update(ReviewItem)
        .where(items, ReviewItem.task_id.not_in(answered))
        .values(pushed_at=None, sent_at=None, prediction_sent_at=None, shown_version=None, fields_digest=None)
    )


def mark_shown(session: Session, versions: Mapping[int, str]) -> None:
    """Record under which version Label Studio holds the predictions of these items (item id -> version)."""
    rows = [
        {"id": item, "shown_version": version, "prediction_sent_at": None} for item, version in versions.items()
    ]
    if rows:
        session.execute(update(ReviewItem), rows)


def forget_sending(session: Session, items: Sequence[int]) -> None:
    """Note that the predictions of these items are not on their way to Label Studio."""
    for batch in id_batches(items):
        session.execute(update(ReviewItem).where(ReviewItem.id.in_(batch)).values(prediction_sent_at=None))


def lost_items(session: Session, items: Sequence[int], settle: timedelta) -> list[int]:
    """Those of the items, which Label Studio doesn't hold, that were sent so long ago that they never arrived.

    What seems to be sent in the future is from before a clock was set back: its time begins now.
    """
    now = database_time(session)
    lost: list[int] = []
    for batch in id_batches(items):
        chosen = ReviewItem.id.in_(batch)
        session.execute(update(ReviewItem).where(chosen, ReviewItem.sent_at > now).values(sent_at=now))
        lost += session.scalars(select(ReviewItem.id).where(chosen, ReviewItem.sent_at < now - settle))
    return lost


def claim_predictions(session: Session, items: Sequence[int], settle: timedelta) -> set[int]:
    """Note that the predictions of these items are about to be sent; returns those that aren't on their way
    already, sent by another process or by one that was killed less than ``settle`` ago."""
    now = database_time(session)
    claimed: set[int] = set()
    for batch in id_batches(items):
        chosen = ReviewItem.id.in_(batch)
        ahead = chosen & (ReviewItem.prediction_sent_at > now)
        session.execute(update(ReviewItem).where(ahead).values(prediction_sent_at=now))
        free = (
            update(ReviewItem)
            .where(chosen)
            .where(ReviewItem.prediction_sent_at.is_(None) | (ReviewItem.prediction_sent_at < now - settle))
            .values(prediction_sent_at=now)
            .returning(ReviewItem.id)
        )
        claimed.update(session.scalars(free))
    return claimed


def waiting_versions(session: Session, project_id: int) -> list[tuple[int, str | None, str | None]]:
    """(item id, version that Label Studio is known to hold, version of the prediction) of what waits for a person
    in Label Studio; the latter is None where the task is served blind."""
    query = (
        select(ReviewItem.id, ReviewItem.shown_version, PipelineVersion.name)
        .join(Task, Task.id == ReviewItem.task_id)
        .outerjoin(Prediction, Prediction.id == ReviewItem.prediction_id)
        .outerjoin(PipelineVersion, PipelineVersion.id == Prediction.pipeline_id)
        .where(Task.project_id == project_id, Task.studio_task.is_not(None))
        .where(ReviewItem.pushed_at.is_not(None), unanswered())
        .order_by(ReviewItem.id)
    )
    return [(item, shown, version) for item, shown, version in session.execute(query)]


def items_by_id(session: Session, items: Sequence[int]) -> list[Outgoing]:
    """These items with their tasks and predictions, in the order in which they were chosen."""
    outgoing: list[Outgoing] = []
    for batch in id_batches(items):
        query = (
            select(ReviewItem, Task, Prediction)
            .join(Task, Task.id == ReviewItem.task_id)
            .outerjoin(Prediction, Prediction.id == ReviewItem.prediction_id)
            .where(ReviewItem.id.in_(batch))
            .order_by(ReviewItem.id)
            .options(selectinload(Prediction.entities))
        )
        outgoing += [Outgoing(item, task, prediction) for item, task, prediction in session.execute(query)]
    return outgoing


def items_of_tasks(session: Session, task_ids: Sequence[int]) -> list[Outgoing]:
    """The items of these tasks, where they were chosen for review."""
    items: list[int] = []
    for batch in id_batches(task_ids):
        items += session.scalars(select(ReviewItem.id).where(ReviewItem.task_id.in_(batch)))
    return items_by_id(session, items)


def open_confidences(session: Session, project_id: int) -> list[float]:
    """The confidences of the predictions that wait for a person, in Label Studio or on their way there."""
    query = (
        select(Prediction.confidence)
        .join(ReviewItem, ReviewItem.prediction_id == Prediction.id)
        .join(Task, Task.id == ReviewItem.task_id)
        .where(Task.project_id == project_id, unanswered())
    )
    return list(session.scalars(query))


def forget_studio(session: Session, project_id: int) -> None:
    """Start anew with another project of Label Studio: no task is there yet, and nothing has been synchronised.

    Items that people have already answered stay as they are; the others can be pushed again.
    """
    ours = select(Task.id).where(Task.project_id == project_id)
    session.execute(update(Task).where(Task.project_id == project_id).values(studio_task=None))
    session.execute(delete(ShownConflict).where(ShownConflict.task_id.in_(ours)))
    _send_again(session, ReviewItem.task_id.in_(ours))
    # a sync that is under way must find that it was overtaken
    sync_state.set_cursor(session, project_id, None)


def unanswered() -> ColumnElement[bool]:
    """No annotation of the task, skipped or not, is left; one that changed after it was withdrawn is."""
    later = aliased(Annotation)
    undone = (
        select(later.id)
        .where(later.task_id == Annotation.task_id, later.studio_annotation == Annotation.studio_annotation)
        .where(later.deleted, later.studio_updated_at >= Annotation.studio_updated_at)
    )
    answered = (
        select(Annotation.id)
        .where(Annotation.task_id == Task.id, Annotation.origin == "studio", Annotation.deleted.is_(False))
        .where(~undone.exists())
        .correlate(Task)
    )
    return ~answered.exists()


def outdated_items(session: Session, project_id: int, version: str) -> list[Outgoing]:
    """Items waiting in Label Studio with another version's prediction, each with this version's if it has one."""
    query = (
        select(ReviewItem, Task, Prediction)
        .join(Task, Task.id == ReviewItem.task_id)
        .join(Prediction, Prediction.task_id == Task.id)
        .where(Task.project_id == project_id, Task.studio_task.is_not(None), made_by(version))
        .where(ReviewItem.pushed_at.is_not(None), ReviewItem.prediction_id != Prediction.id, unanswered())
        .order_by(ReviewItem.id)
        .options(selectinload(Prediction.entities))
    )
    return [Outgoing(item, task, prediction) for item, task, prediction in session.execute(query)]


def set_shown(session: Session, shown: Mapping[int, int]) -> None:
    """Record which prediction people are to see from now on (item id -> prediction id); it must be sent."""
    rows = [
        {"id": item, "prediction_id": prediction, "prediction_sent_at": None, "shown_version": None}
        for item, prediction in shown.items()
    ]
    if rows:
        session.execute(update(ReviewItem), rows)


def count_open(session: Session, project_id: int) -> int:
    """How many chosen items wait for a person, in Label Studio or on their way there.

    An item stops waiting when its task is annotated or skipped, and when somebody deletes the task there; it waits
    again when the annotation is deleted.
    """
    query = (
        select(func.count())
        .select_from(ReviewItem)
        .join(Task, Task.id == ReviewItem.task_id)
        .where(Task.project_id == project_id, unanswered(), Task.id.not_in(select(ExcludedTask.task_id)))
        .where(ReviewItem.pushed_at.is_(None) | Task.studio_task.is_not(None))
    )
    return session.scalar(query) or 0


def unshown_items(session: Session, project_id: int) -> int:
    """How many tasks wait in Label Studio without being known to show the prediction they should show."""
    query = (
        select(func.count())
        .select_from(ReviewItem)
        .join(Task, Task.id == ReviewItem.task_id)
        .where(Task.project_id == project_id, Task.studio_task.is_not(None), ReviewItem.pushed_at.is_not(None))
        .where(ReviewItem.shown_version.is_(None), unanswered())
    )
    return session.scalar(query) or 0


def blind_tasks(session: Session, task_ids: Sequence[int]) -> set[int]:
    """Those of the tasks that belong to the control slice: people must not see a prediction of them."""
    blind: set[int] = set()
    for batch in id_batches(task_ids):
        query = select(ReviewItem.task_id).where(
            ReviewItem.task_id.in_(batch),
            ReviewItem.prediction_id.is_(None),
        )
        blind.update(session.scalars(query))
    return blind


def count_items(session: Session, project_id: int) -> tuple[int, int]:
    """How many items are chosen, and how many of them Label Studio holds: not those whose task was deleted
    there."""
    query = (
        select(func.count(), func.count(case((ReviewItem.pushed_at.is_not(None), Task.studio_task))))
        .select_from(ReviewItem)
        .join(Task, Task.id == ReviewItem.task_id)
        .where(Task.project_id == project_id)
    )
    chosen, pushed = session.execute(query).one()
    return chosen, pushed
