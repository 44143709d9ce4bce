"""What the review desk keeps and reads in bulk: calibrations, plans, every predicted entity with its
outcome."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, UniqueConstraint, func, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from xner_label.store import set_aside
from xner_label.store.base import Base, utc_now
from xner_label.store.database import id_batches, insert_new
from xner_label.store.pipelines import made_by
from xner_label.store.tables import Annotation, Prediction, ProjectedEntity, ReviewItem, Task

# The splits whose tasks are labelled for training: a corpus's own text.
LABELLED_SPLITS = ("pool", "train")
_ROWS = 10_000


class StoredCalibration(Base):
    """A calibration of one pipeline version's confidences, from the answers up to ``annotation_id``;
    ``content`` is a document of ``review``. The newest row of a version counts."""

    __tablename__ = "calibrations"

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    pipeline_id: Mapped[int] = mapped_column(ForeignKey("pipelines.id"), index=True)
    annotation_id: Mapped[int]
    content: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(default=utc_now)

    __table_args__ = (UniqueConstraint("project_id", "pipeline_id", "annotation_id"),)


class ReviewPlan(Base):
    """What a review was expected to find, from the answers up to ``annotation_id``; ``content`` is a document
    of ``review``. The newest row counts."""

    __tablename__ = "review_plans"

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), index=True)
    annotation_id: Mapped[int]
    content: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


TaskRow = tuple[int, int, float, bool | None, bool]
EntityRow = tuple[int, int, int, str, str, float, float | None]


def predicted_tasks(session: Session, project_id: int, version: str) -> Iterator[TaskRow]:
    """(task id, length in code points, confidence, whether it was drawn at random for review: None where it
    wasn't chosen at all, whether it was served blind) of every labelled task that a version predicted, in task
    order."""
    query = (
        select(
            Task.id,
            func.length(Task.text),
            Prediction.confidence,
            ReviewItem.drawn,
            ReviewItem.id.is_not(None) & ReviewItem.prediction_id.is_(None),
        )
        .join(Prediction, Prediction.task_id == Task.id)
        .outerjoin(ReviewItem, ReviewItem.task_id == Task.id)
        .where(Task.project_id == project_id, Task.split.in_(LABELLED_SPLITS), made_by(version))
        .where(set_aside.not_excluded())
        .order_by(Task.id)
    )
    yield from session.execute(query.execution_options(yield_per=_ROWS))


def predicted_entities(session: Session, project_id: int, version: str) -> Iterator[EntityRow]:
    """(task id, start, end, label, text, confidence, P by the tagger of the target language) of every entity
    that a version predicted in labelled tasks, in task order."""
    query = (
        select(
            Prediction.task_id,
            ProjectedEntity.start,
            ProjectedEntity.end,
            ProjectedEntity.label,
            ProjectedEntity.text,
            ProjectedEntity.confidence,
            ProjectedEntity.provenance["tagger"].as_float(),
        )
        .join(Prediction, Prediction.id == ProjectedEntity.prediction_id)
        .join(Task, Task.id == Prediction.task_id)
        .where(Task.project_id == project_id, Task.split.in_(LABELLED_SPLITS), made_by(version))
        .where(set_aside.not_excluded())
        .order_by(Prediction.task_id, ProjectedEntity.position)
    )
    yield from session.execute(query.execution_options(yield_per=_ROWS))


def external_ids(session: Session, task_ids: Sequence[int]) -> dict[int, str]:
    """The tasks' external ids by their ids."""
    found: dict[int, str] = {}
    for batch in id_batches(task_ids):
        query = select(Task.id, Task.external_id).where(Task.id.in_(batch))
        found.update((task_id, external_id) for task_id, external_id in session.execute(query))
    return found


def answered_since(session: Session, project_id: int, annotation_id: int, until: int | None = None) -> set[int]:
    """Ids of the tasks that people first answered after that annotation, and no later than ``until``."""
    query = (
        select(Annotation.task_id)
        .join(Task, Task.id == Annotation.task_id)
        .where(Task.project_id == project_id)
        .group_by(Annotation.task_id)
        .having(func.min(Annotation.id) > annotation_id)
    )
    if until is not None:
        query = query.having(func.min(Annotation.id) <= until)
    return set(session.scalars(query))


def add_calibration(
    session: Session, project_id: int, pipeline_id: int, annotation_id: int, content: dict[str, Any]
) -> bool:
    """Store a calibration; whether it is new."""
    row = {
        "project_id": project_id,
        "pipeline_id": pipeline_id,
        "annotation_id": annotation_id,
        "content": content,
    }
    return insert_new(session, StoredCalibration, [row]) > 0


def newest_calibration(session: Session, project_id: int) -> StoredCalibration | None:
    """The calibration that was made last."""
    query = select(StoredCalibration).where(StoredCalibration.project_id == project_id)
    return session.scalars(query.order_by(StoredCalibration.id.desc()).limit(1)).first()


def add_plan(session: Session, project_id: int, annotation_id: int, content: dict[str, Any]) -> None:
    """Store a plan."""
    session.add(ReviewPlan(project_id=project_id, annotation_id=annotation_id, content=content))


def newest_plans(session: Session, project_id: int, count: int) -> list[ReviewPlan]:
    """The plans that were made last, the newest first."""
    query = select(ReviewPlan).where(ReviewPlan.project_id == project_id).order_by(ReviewPlan.id.desc())
    return list(session.scalars(query.limit(count)))
