"""Queries about predictions that people have judged: what stood before them, and what they did with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from xner_label.store.database import id_batches
from xner_label.store.predictions import by_id
from xner_label.store.tables import Annotation, Correction, Prediction


class Kept(msgspec.Struct, frozen=True):
    """Of the ``shown`` entities of a prediction a person left ``kept`` as they were."""

    shown: int
    kept: int


def kept_by_annotation(session: Session, annotations: Sequence[int]) -> dict[int, Kept]:
    """What became of the entities that a person saw, by annotation; one without corrections is left out."""
    kept: dict[int, Kept] = {}
    for ids in id_batches(annotations):
        query = (
            select(Correction.annotation_id, func.count(), func.count().filter(Correction.kind == "kept"))
            .where(Correction.annotation_id.in_(ids), Correction.projected_entity_id.is_not(None))
            .group_by(Correction.annotation_id)
        )
        kept.update((annotation, Kept(shown, left)) for annotation, shown, left in session.execute(query))
    return kept


def judged_predictions(session: Session, task_ids: Sequence[int]) -> Mapping[int, Prediction]:
    """For each answered task the prediction made before people answered, with its entities.

    That is the one that the first person to answer saw; where nobody saw one (blind tasks, imported gold), the
    newest made before the first answer came. Later predictions know the answer and would flatter.
    """
    chosen: dict[int, int] = {}
    for ids in id_batches(task_ids):
        first = (
            select(Annotation.task_id, func.min(Annotation.created_at).label("at"))
            .where(Annotation.task_id.in_(ids))
            .group_by(Annotation.task_id)
            .subquery()
        )
        before = (
            select(Prediction.task_id, func.max(Prediction.id))
            .join(first, first.c.task_id == Prediction.task_id)
            .where(Prediction.created_at <= first.c.at)
            .group_by(Prediction.task_id)
        )
        chosen.update(session.execute(before).all())
        shown = (
            select(Annotation.task_id, Annotation.prediction_id)
            .where(Annotation.task_id.in_(ids), Annotation.prediction_id.is_not(None))
            .order_by(Annotation.id.desc())
        )
        chosen.update((task, prediction) for task, prediction in session.execute(shown) if prediction is not None)
    return {task.id: prediction for task, prediction in by_id(session, list(chosen.values()))}
