"""Which old predictions and stage results may go, and deleting them."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import msgspec
from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.orm import Session

from xner_label.store.archiving import archive
from xner_label.store.database import Store, id_batches
from xner_label.store.desk import StoredCalibration
from xner_label.store.runs import promoted_run
from xner_label.store.stages import GIVEN
from xner_label.store.tables import (
    Annotation,
    Correction,
    PipelineVersion,
    Prediction,
    Project,
    ProjectedEntity,
    ReviewItem,
    StageResult,
    StageVersion,
    Task,
)
from xner_label.store.tasks import is_target_text

# Rows deleted in one transaction: other writers wait for a second or two at most.
_BATCH = 2_000


class PruneReport(msgspec.Struct, frozen=True):
    """What may go, or has gone.

    ``predictions`` counts those of old pipeline versions by name, ``stage_results`` by stage those that no
    pipeline version with a prediction needs. ``kept`` old predictions stay because people have seen or corrected
    them. ``deleted`` is False after a dry run; ``archive`` names the file that holds them now.
    """

    predictions: dict[str, int]
    stage_results: dict[str, int]
    kept: int
    deleted: bool
    archive: str | None = None


def unused() -> ColumnElement[bool]:
    """No review, annotation or correction refers to the prediction."""
    shown = select(ReviewItem.id).where(ReviewItem.prediction_id == Prediction.id)
    annotated = select(Annotation.id).where(Annotation.prediction_id == Prediction.id)
    corrected = (
        select(Correction.id)
        .join(ProjectedEntity, ProjectedEntity.id == Correction.projected_entity_id)
        .where(ProjectedEntity.prediction_id == Prediction.id)
    )
    return ~shown.exists() & ~annotated.exists() & ~corrected.exists()


def delete_unused(session: Session, task_ids: Sequence[int]) -> None:
    """Delete the predictions of these tasks that nothing refers to."""
    for ids in id_batches(task_ids):
        session.execute(
            delete(Prediction)
            .where(Prediction.task_id.in_(ids), unused())
            .execution_options(synchronize_session=False)
        )


def prune(
    store: Store, *, dry_run: bool, before: datetime | None = None, archive_path: Path | None = None
) -> PruneReport:
    """Delete what can be made again and nobody needs, in all projects.

    Predictions of a project stay where its current pipeline or the promoted run made them, and where a review, an
    annotation or a correction refers to them. Results of a stage stay while a pipeline version with predictions
    names the stage, and where they are newer than the current pipelines: an interrupted run may be about to use
    them. Interrupting it loses nothing but what was to be deleted. ``before``: only predictions that were made
    before then. With ``archive_path`` nothing is deleted before a new file holds it (:mod:`archiving`). Raises
    UsageError where that can't be written.
    """
    with store.read() as session:
        old = _old_predictions(session)
        if before is not None:
            old &= Prediction.created_at < before
        counts = _count_predictions(session, old & unused())
        total = sum(_count_predictions(session, old).values())
        present = _count_predictions(session, Prediction.id.is_not(None))
    leaving = {name for name, count in counts.items() if present[name] == count}
    if not dry_run:
        with store.read() as session:
            ids = array("q", session.scalars(select(Prediction.id).where(old & unused()).order_by(Prediction.id)))
        if archive_path is not None:
            archive(store, ids, archive_path)
        _delete_predictions(store, ids, old & unused())
    with store.read() as session:
        stages = _unneeded_stages(session, leaving if dry_run else set())
        results = _count_results(session, stages)
    if not dry_run:
        _delete_results(store, stages)
        _delete_empty_versions(store)
    where = None if dry_run or archive_path is None else str(archive_path)
    return PruneReport(counts, results, total - sum(counts.values()), not dry_run, where)


def _old_predictions(session: Session) -> ColumnElement[bool]:
    """Neither the current pipeline of the prediction's project made it nor the promoted run; nor is it silver that
    was imported, which can't be made again here."""
    old: ColumnElement[bool] = Prediction.id.is_(None)
    for project in session.scalars(select(Project)):
        run = promoted_run(session, project.id)
        current = select(PipelineVersion.id).where(
            (PipelineVersion.id == project.pipeline_id) | (PipelineVersion.name == (run.version if run else ""))
        )
        ours = select(Task.id).where(Task.project_id == project.id, is_target_text())
        old |= Prediction.task_id.in_(ours) & Prediction.pipeline_id.not_in(current)
    return old


def _count_predictions(session: Session, which: ColumnElement[bool]) -> dict[str, int]:
    query = (
        select(PipelineVersion.name, func.count())
        .join(Prediction, Prediction.pipeline_id == PipelineVersion.id)
        .where(which)
        .group_by(PipelineVersion.id, PipelineVersion.name)
        .order_by(PipelineVersion.id)
    )
    return dict(session.execute(query).all())


def _delete_predictions(store: Store, ids: Sequence[int], which: ColumnElement[bool]) -> None:
    for start in range(0, len(ids), _BATCH):
        with store.write() as session:
            batch = Prediction.id.in_(ids[start : start + _BATCH])
            # looked at again: meanwhile one may have been chosen for review
            session.execute(delete(Prediction).where(batch, which).execution_options(synchronize_session=False))


def _unneeded_stages(session: Session, leaving: set[str]) -> dict[int, str]:
    """The stages, as role and signature by id, that no pipeline version names but those that are ``leaving``."""
    with_predictions = select(Prediction.id).where(Prediction.pipeline_id == PipelineVersion.id)
    current = select(Project.id).where(Project.pipeline_id == PipelineVersion.id)
    versions = session.execute(
        select(
            PipelineVersion.name, PipelineVersion.signature, current.exists(), PipelineVersion.created_at
        ).where(with_predictions.exists() | current.exists())
    ).all()
    kept = [f"{signature} " for name, signature, is_current, _ in versions if is_current or name not in leaving]
    newest = max((made for _, _, is_current, made in versions if is_current), default=None)
    unneeded: dict[int, str] = {}
    for stage in session.scalars(select(StageVersion)):
        named = f"{stage.role}={stage.signature}"
        last = select(func.max(StageResult.created_at)).where(StageResult.stage_id == stage.id)
        moment = session.scalar(last)
        fresh = newest is None or (moment is not None and moment >= newest)
        if (
            not fresh
            and stage.signature != GIVEN
            and not any(f" {named} " in f" {signature}" for signature in kept)
        ):
            unneeded[stage.id] = named
    return unneeded


def _count_results(session: Session, stages: dict[int, str]) -> dict[str, int]:
    query = (
        select(StageResult.stage_id, func.count())
        .where(StageResult.stage_id.in_(stages))
        .group_by(StageResult.stage_id)
    )
    return {stages[stage_id]: count for stage_id, count in session.execute(query)}


def _delete_results(store: Store, stages: dict[int, str]) -> None:
    with store.read() as session:
        ids = list(session.scalars(select(StageResult.id).where(StageResult.stage_id.in_(stages))))
    for start in range(0, len(ids), _BATCH):
        with store.write() as session:
            session.execute(delete(StageResult).where(StageResult.id.in_(ids[start : start + _BATCH])))


def _delete_empty_versions(store: Store) -> None:
    """Delete the pipeline versions without predictions that no project is at and no calibration speaks of."""
    with store.write() as session:
        predicted = select(Prediction.id).where(Prediction.pipeline_id == PipelineVersion.id)
        current = select(Project.id).where(Project.pipeline_id == PipelineVersion.id)
        calibrated = select(StoredCalibration.id).where(StoredCalibration.pipeline_id == PipelineVersion.id)
        session.execute(
            delete(PipelineVersion).where(~predicted.exists(), ~current.exists(), ~calibrated.exists())
        )
