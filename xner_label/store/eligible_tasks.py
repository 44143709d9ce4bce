"""Which tasks may be chosen for review."""

from __future__ import annotations

import random
from array import array
from collections.abc import Sequence
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Select, and_, func, select
from sqlalchemy.orm import Session

from xner_label.store import reviews
from xner_label.store.database import id_batches
from xner_label.store.pipelines import made_by
from xner_label.store.tables import Annotation, ExcludedTask, Prediction, ReviewItem, Task

_Query = TypeVar("_Query", bound=Select[*tuple[Any, ...]])

_PER_FETCH = 5_000
# Of more tasks than so many for each that is wanted, numbers are drawn instead of listing all.
_DRAWN_FROM = 100


def least_confident(
    session: Session,
    project_id: int,
    version: str,
    split: str,
    max_confidence: float | None = None,
    *,
    limit: int | None = None,
) -> list[tuple[int, int, float]]:
    """(task id, prediction id, confidence) of what may be chosen for review, least confident first; no more than
    ``limit``.

    That is what a version predicted in a split, nobody has been asked about or has settled, and isn't in Label
    Studio already: tasks made there get their predictions from the ML backend.
    """
    columns = (Task.id, Prediction.id, Prediction.confidence)
    query = _of_version(select(*columns), project_id, version, split, max_confidence)
    query = query.order_by(Prediction.confidence, Prediction.task_id).limit(limit)
    return [(task, prediction, confidence) for task, prediction, confidence in session.execute(query)]


def among(
    session: Session, project_id: int, version: str, split: str, task_ids: Sequence[int]
) -> list[tuple[int, int, float]]:
    """Those of the tasks that may be chosen, in the given order."""
    best: dict[int, tuple[int, int, float]] = {}
    for batch in id_batches(task_ids):
        columns = (Task.id, Prediction.id, Prediction.confidence)
        query = _of_version(select(*columns), project_id, version, split, None)
        query = query.where(Task.id.in_(batch))
        best.update((task, (task, prediction, sure)) for task, prediction, sure in session.execute(query))
    return [best[task] for task in task_ids if task in best]


def draw(
    session: Session,
    project_id: int,
    version: str,
    split: str,
    count: int,
    seed: int,
    max_confidence: float | None = None,
) -> list[tuple[int, int, float]]:
    """Up to ``count`` tasks that may be chosen, drawn at random, each as likely as every other. The same seed and
    the same tasks give the same draw.

    Of many tasks numbers are drawn until enough of them may be chosen; only where few may are all listed.
    """
    first, last = (session.scalar(select(end(Task.id))) or 0 for end in (func.min, func.max))
    if last - first > _DRAWN_FROM * count > 0:
        chosen, _ = reviews.count_items(session, project_id)
        numbers = random.Random(f"{seed}-{chosen}").sample(range(first, last + 1), _DRAWN_FROM // 2 * count)  # noqa: S311
        picked: list[tuple[int, int, float]] = []
        for start in range(0, len(numbers), 4 * count):
            part = numbers[start : start + 4 * count]
            rows = among(session, project_id, version, split, part)
            picked += [row for row in rows if max_confidence is None or row[2] <= max_confidence]
            if len(picked) >= count:
                return picked[:count]
    query = _of_version(select(Task.id), project_id, version, split, max_confidence).order_by(Task.id)
    ids = array("q", session.scalars(query.execution_options(yield_per=_PER_FETCH)))
    drawn = random.Random(f"{seed}-{len(ids)}").sample(ids, min(count, len(ids)))  # noqa: S311
    return among(session, project_id, version, split, drawn)


def _of_version(query: _Query, project_id: int, version: str, split: str, max_confidence: float | None) -> _Query:
    query = (
        query.join_from(Prediction, Task, Prediction.task_id == Task.id)
        .where(Task.project_id == project_id, made_by(version), Task.split == split)
        .where(_choosable())
    )
    return query if max_confidence is None else query.where(Prediction.confidence <= max_confidence)


def count_by_split(session: Session, project_id: int, version: str) -> dict[str, int]:
    """How many tasks of each split may be chosen for review."""
    query = (
        select(Task.split, func.count())
        .join(Prediction, Prediction.task_id == Task.id)
        .where(Task.project_id == project_id, made_by(version))
        .where(_choosable())
        .group_by(Task.split)
    )
    return dict(session.execute(query).all())


def _choosable() -> ColumnElement[bool]:
    """Nobody has been asked about the task, has settled it or set it aside, and Label Studio doesn't hold it."""
    tables = (ReviewItem, Annotation, ExcludedTask)
    return and_(
        Task.studio_task.is_(None),
        *(~select(table.task_id).where(table.task_id == Task.id).correlate(Task).exists() for table in tables),
    )
