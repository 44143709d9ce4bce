"""Queries about model runs and promotions."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from xner_label.store.models import ModelRun, Promotion


def model_runs(session: Session, project_id: int) -> list[ModelRun]:
    """The model runs of a project, oldest first."""
    query = select(ModelRun).where(ModelRun.project_id == project_id).order_by(ModelRun.id)
    return list(session.scalars(query))


def promoted_run(session: Session, project_id: int) -> ModelRun | None:
    """The model run that is served; None before the first promotion."""
    query = (
        select(ModelRun)
        .join(Promotion, Promotion.model_run_id == ModelRun.id)
        .where(Promotion.project_id == project_id)
        .order_by(Promotion.id.desc())
        .limit(1)
    )
    return session.scalars(query).first()


def promote(session: Session, run: ModelRun, reason: str) -> None:
    """Make a run the one that is served, and say why."""
    session.add(Promotion(project_id=run.project_id, model_run_id=run.id, reason=reason))


def find_run(session: Session, project_id: int, version: str) -> ModelRun | None:
    """The model run of that version."""
    query = select(ModelRun).where(ModelRun.project_id == project_id, ModelRun.version == version)
    return session.scalars(query).one_or_none()
