"""What monitoring wants to know of a project, in a few quick queries."""

from __future__ import annotations

from datetime import datetime

import msgspec
from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from xner_label.store import reviews, sync_state
from xner_label.store.gold import acceptance, count_corrections
from xner_label.store.pipelines import made_by
from xner_label.store.tables import Job, Prediction, Project, ProjectedEntity, Task

# Upper ends of the bands of confidence, the last one closed.
BANDS = (0.5, 0.7, 0.8, 0.9, 0.95, 1.0)


class Gauges(msgspec.Struct, frozen=True):
    """``entities`` of the current pipeline's predictions by the upper end of their band of confidence; tasks
    ``waiting`` for review; ``last_sync`` in UTC; share of shown entities that people left as they were;
    ``jobs`` by kind and state."""

    entities: dict[float, int]
    waiting: int
    last_sync: datetime | None
    acceptance: float | None
    jobs: dict[tuple[str, str], int]


def gauges(session: Session, name: str) -> Gauges | None:
    """Read a project's; None where the store has none of that name."""
    project = session.scalars(select(Project).where(Project.name == name)).one_or_none()
    if project is None:
        return None
    counted = select(Job.kind, Job.state, func.count()).where(Job.project_id == project.id)
    jobs = session.execute(counted.group_by(Job.kind, Job.state)).all()
    return Gauges(
        entities=_entities(session, project),
        waiting=reviews.count_open(session, project.id),
        last_sync=sync_state.last_sync(session, project.id),
        acceptance=acceptance(count_corrections(session, project.id)),
        jobs={(kind, state): count for kind, state, count in jobs},
    )


def _entities(session: Session, project: Project) -> dict[float, int]:
    if project.pipeline is None:
        return {}
    band = case(*((ProjectedEntity.confidence < end, end) for end in BANDS[:-1]), else_=BANDS[-1])
    query = (
        select(band, func.count())
        .join(Prediction, Prediction.id == ProjectedEntity.prediction_id)
        .join(Task, Task.id == Prediction.task_id)
        .where(Task.project_id == project.id, made_by(project.pipeline.name))
        .group_by(band)
    )
    return {float(end): count for end, count in session.execute(query)}
