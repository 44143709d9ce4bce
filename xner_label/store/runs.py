"""Queries about model runs and promotions."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import func, select
from sqlalchemy.orm import Session, defer

from xner_label.store.database import insert_new
from xner_label.store.pipelines import made_by
from xner_label.store.tables import (
    Annotation,
    ExcludedTask,
    LearnedAnnotation,
    ModelRun,
    Prediction,
    Project,
    Promotion,
    Task,
)


class Serving(msgspec.Struct, frozen=True):
    """What a project serves: the promoted model run, else its current ``pipeline`` (by name).

    ``version`` is what Label Studio sees as model_version, both of pushed predictions and of those that the ML
    backend gives; None as long as nothing has been predicted. ``source_field`` is where the connected project of
    Label Studio shows the source, if not where ours do.
    """

    project_id: int
    studio_project: int | None
    pipeline: str | None
    run: ModelRun | None
    source_field: str | None = None

    @property
    def version(self) -> str | None:
        """What predictions of it carry as their version."""
        return self.pipeline if self.run is None else self.run.version


def serving(session: Session, project: str) -> Serving | None:
    """What the project of that name serves now; None when the store doesn't have it yet."""
    row = session.scalars(select(Project).where(Project.name == project)).one_or_none()
    if row is None:
        return None
    current = None if row.pipeline is None else row.pipeline.name
    run = promoted_run(session, row.id)
    return Serving(row.id, row.studio_project, current, run, row.studio_source_field)


def reviewed_version(session: Session, project: Project, split: str) -> str | None:
    """Whose predictions of a split go to review: the promoted run's once it has predicted all of them, till then
    those of the project's pipeline; None as long as nothing has been predicted."""
    run = promoted_run(session, project.id)
    if project.pipeline is None:
        return None
    if run is None or count_unpredicted(session, project, split):
        return project.pipeline.name
    return run.version


def count_unpredicted(session: Session, project: Project, split: str) -> int:
    """How many tasks of a split the promoted run has yet to predict; 0 where none is promoted."""
    run = promoted_run(session, project.id)
    if run is None or project.pipeline is None:
        return 0
    of_run = select(Prediction.task_id).where(made_by(run.version))
    missing = (
        select(func.count())
        .select_from(Prediction)
        .join(Task, Task.id == Prediction.task_id)
        .where(Task.project_id == project.id, Task.split == split, made_by(project.pipeline.name))
        .where(Task.id.not_in(of_run), Task.id.not_in(select(ExcludedTask.task_id)))
    )
    return session.scalar(missing) or 0


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


def promote(session: Session, run: ModelRun, reason: str, promoted_by: str | None) -> None:
    """Make a run the one that is served, and say why and who said so."""
    session.add(Promotion(project_id=run.project_id, model_run_id=run.id, reason=reason, promoted_by=promoted_by))


def promotions_of(session: Session, project_id: int) -> list[tuple[Promotion, str]]:
    """Every promotion of a project with the version it made the served one, oldest first."""
    query = (
        select(Promotion, ModelRun.version)
        .join(ModelRun, ModelRun.id == Promotion.model_run_id)
        .where(Promotion.project_id == project_id)
        .order_by(Promotion.id)
    )
    return [(promotion, version) for promotion, version in session.execute(query)]


def add_run(session: Session, run: ModelRun, annotations: Sequence[int]) -> None:
    """Record a run and the annotations (ids of rows) that it has learned from as gold."""
    session.add(run)
    session.flush()
    rows = [{"model_run_id": run.id, "annotation_id": number} for number in dict.fromkeys(annotations)]
    insert_new(session, LearnedAnnotation, rows)


def annotations_of(session: Session, run: ModelRun) -> list[Annotation]:
    """The annotations that a run has learned from as gold, oldest first."""
    query = (
        select(Annotation)
        .join(LearnedAnnotation, LearnedAnnotation.annotation_id == Annotation.id)
        .where(LearnedAnnotation.model_run_id == run.id)
        .order_by(Annotation.id)
        .options(defer(Annotation.regions))
    )
    return list(session.scalars(query))


def find_run(session: Session, project_id: int, version: str) -> ModelRun | None:
    """The model run of that version."""
    query = select(ModelRun).where(ModelRun.project_id == project_id, ModelRun.version == version)
    return session.scalars(query).one_or_none()
