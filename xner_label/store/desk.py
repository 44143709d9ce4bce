"""What the review desk keeps and reads in bulk: calibrations, plans, every predicted entity with its
outcome."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import ForeignKey, Select, UniqueConstraint, func, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from xner_label.store import set_aside
from xner_label.store.base import Base, utc_now
from xner_label.store.database import id_batches, insert_new
from xner_label.store.pipelines import made_by
from xner_label.store.tables import Annotation, PipelineVersion, Prediction, ProjectedEntity, ReviewItem, Task

# The splits whose tasks are labelled for training: a corpus's own text.
LABELLED_SPLITS = ("pool", "train")
_ROWS = 10_000

_Query = TypeVar("_Query", bound=Select[*tuple[Any, ...]])


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


class TaskRow(NamedTuple):
    """A labelled task that a version predicted. ``length`` in code points; ``confidence``: P(all of it is right);
    ``sources``: how many source entities it has; ``drawn`` at random for review, None where it wasn't chosen at
    all; ``blind``: served without the prediction."""

    id: int
    length: int
    confidence: float
    sources: int
    drawn: bool | None
    blind: bool


class EntityRow(NamedTuple):
    """A predicted entity, offsets in code points. ``tagger``: P by the tagger of the target language;
    ``projected``: it has a source entity."""

    task: int
    start: int
    end: int
    label: str
    text: str
    confidence: float
    tagger: float | None
    projected: bool


def count_predicted(session: Session, version: str) -> int:
    """How many predictions a version made."""
    return session.scalar(select(func.count()).select_from(Prediction).where(made_by(version))) or 0


def predicted_ids(session: Session, project_id: int, version: str) -> array[int]:
    """Ids of the labelled tasks that a version predicted, in order."""
    query = _labelled(select(Prediction.task_id), project_id, version).order_by(Prediction.task_id)
    return array("q", session.scalars(query.execution_options(yield_per=_ROWS)))


def predicted_tasks(
    session: Session, project_id: int, version: str, task_ids: Sequence[int] | None = None
) -> Iterator[TaskRow]:
    """Every labelled task that a version predicted, in task order; of ``task_ids`` (ascending) alone."""
    query = (
        _labelled(
            select(
                Task.id,
                func.length(Task.text),
                Prediction.confidence,
                func.coalesce(func.json_array_length(Task.source_entities), 0),
                ReviewItem.drawn,
                ReviewItem.id.is_not(None) & ReviewItem.prediction_id.is_(None),
            ),
            project_id,
            version,
        )
        .outerjoin(ReviewItem, ReviewItem.task_id == Task.id)
        .order_by(Task.id)
    )
    # by the prediction's column, whose index then serves: SQLite would read all that the version predicted
    for part in _parts(query, Prediction.task_id, task_ids):
        for row in session.execute(part.execution_options(yield_per=_ROWS)):
            yield TaskRow(*row)


def predicted_entities(
    session: Session, project_id: int, version: str, task_ids: Sequence[int] | None = None
) -> Iterator[EntityRow]:
    """Every entity that a version predicted in labelled tasks, in task order; in ``task_ids`` (ascending)
    alone."""
    query = (
        _labelled(
            select(
                *(Prediction.task_id, ProjectedEntity.start, ProjectedEntity.end, ProjectedEntity.label),
                *(ProjectedEntity.text, ProjectedEntity.confidence),
                ProjectedEntity.provenance["tagger"].as_float(),
                ProjectedEntity.source_start.is_not(None),
            ),
            project_id,
            version,
        )
        .join(ProjectedEntity, ProjectedEntity.prediction_id == Prediction.id)
        .order_by(Prediction.task_id, ProjectedEntity.position)
    )
    for part in _parts(query, Prediction.task_id, task_ids):
        for row in session.execute(part.execution_options(yield_per=_ROWS)):
            yield EntityRow(*row)


def predicted_spans(
    session: Session, version: str, task_ids: Sequence[int]
) -> dict[int, set[tuple[int, int, str]]]:
    """(start, end, label) of what a version predicted for tasks, also where that is nothing."""
    query = (
        select(Prediction.task_id, ProjectedEntity.start, ProjectedEntity.end, ProjectedEntity.label)
        .outerjoin(ProjectedEntity, ProjectedEntity.prediction_id == Prediction.id)
        .where(made_by(version))
    )
    spans_of: dict[int, set[tuple[int, int, str]]] = {}
    for part in _parts(query, Prediction.task_id, task_ids):
        for task, start, end, label in session.execute(part):
            spans = spans_of.setdefault(task, set())
            if label is not None:
                spans.add((start, end, label))
    return spans_of


def confidences_of(session: Session, version: str, task_ids: Sequence[int]) -> dict[int, float]:
    """P(all is right) of a version's predictions for tasks, by task id."""
    query = select(Prediction.task_id, Prediction.confidence).where(made_by(version))
    confidences: dict[int, float] = {}
    for part in _parts(query, Prediction.task_id, task_ids):
        confidences.update((task, confidence) for task, confidence in session.execute(part))
    return confidences


def created_at(session: Session, first: int) -> datetime | None:
    """When the first task from an id on came; None without one."""
    query = select(Task.created_at).where(Task.id >= first).order_by(Task.id).limit(1)
    return session.scalars(query).first()


def first_task_since(session: Session, project_id: int, since: datetime) -> int | None:
    """The lowest id of a project's tasks that came at or after a moment; None without one."""
    return session.scalar(select(func.min(Task.id)).where(Task.project_id == project_id, Task.created_at >= since))


def _labelled(query: _Query, project_id: int, version: str) -> _Query:
    """Restricted to predictions of labelled tasks that nobody set aside."""
    return (
        query.select_from(Prediction)
        .join(Task, Task.id == Prediction.task_id)
        .where(Task.project_id == project_id, Task.split.in_(LABELLED_SPLITS), made_by(version))
        .where(set_aside.not_excluded())
    )


def _parts(query: _Query, column: Any, task_ids: Sequence[int] | None) -> Iterator[_Query]:
    """The query, or its parts for so many tasks at a time."""
    if task_ids is None:
        yield query
        return
    for batch in id_batches(task_ids):
        yield query.where(column.in_(batch))


def external_ids(session: Session, task_ids: Sequence[int]) -> dict[int, str]:
    """The tasks' external ids by their ids."""
    external: dict[int, str] = {}
    for batch in id_batches(task_ids):
        query = select(Task.id, Task.external_id).where(Task.id.in_(batch))
        external.update((task_id, external_id) for task_id, external_id in session.execute(query))
    return external


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


def newest_known(session: Session, version: str) -> int:
    """The newest annotation that there was when a pipeline version was first used; 0 where there was none."""
    began = select(PipelineVersion.created_at).where(PipelineVersion.name == version).scalar_subquery()
    return session.scalar(select(func.max(Annotation.id)).where(Annotation.created_at <= began)) or 0


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


def note_drift(session: Session, project_id: int, content: dict[str, Any]) -> None:
    """Note a verdict on new text beside the newest calibration; nothing where there is none."""
    noted = newest_calibration(session, project_id)
    if noted is not None:
        noted.content = {**noted.content, "drift": content}


def add_plan(session: Session, project_id: int, annotation_id: int, content: dict[str, Any]) -> None:
    """Store a plan."""
    session.add(ReviewPlan(project_id=project_id, annotation_id=annotation_id, content=content))


def newest_plans(session: Session, project_id: int, count: int) -> list[ReviewPlan]:
    """The plans that were made last, the newest first."""
    query = select(ReviewPlan).where(ReviewPlan.project_id == project_id).order_by(ReviewPlan.id.desc())
    return list(session.scalars(query.limit(count)))
