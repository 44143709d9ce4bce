"""How long people took: the times that Label Studio measured while a sentence or a card was open."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, func, select, true
from sqlalchemy.orm import Session

from xner_label.entities import Tokens
from xner_label.store.database import id_batches
from xner_label.store.tables import Annotation, Correction, NameAnswer, NameQuestion, Task

# The newest times of each kind: people get quicker.
_NEWEST = 500


def sentence_times(session: Session, project_id: int) -> list[tuple[float, int, int]]:
    """(seconds, tokens, entities put right) of answers to sentences, the newest ones."""
    changes = func.count(Correction.id).filter(Correction.kind != "kept")
    query = (
        select(Annotation.lead_time, Task.text, Task.tokens, changes)
        .join(Task, Task.id == Annotation.task_id)
        .outerjoin(Correction, Correction.annotation_id == Annotation.id)
        .where(Task.project_id == project_id, Annotation.lead_time.is_not(None), ~Annotation.deleted)
        .group_by(Annotation.id, Task.id)
        .order_by(Annotation.id.desc())
        .limit(_NEWEST)
    )
    return [
        (seconds, len(Tokens.of(text, tokens)), count) for seconds, text, tokens, count in session.execute(query)
    ]


def name_times(session: Session, project_id: int) -> list[float]:
    """Seconds of answers to name cards, the newest ones."""
    query = (
        select(NameAnswer.lead_time)
        .join(NameQuestion)
        .where(NameQuestion.project_id == project_id, NameAnswer.lead_time.is_not(None), ~NameAnswer.withdrawn)
        .order_by(NameAnswer.id.desc())
        .limit(_NEWEST)
    )
    return [seconds for seconds in session.scalars(query) if seconds]


def first_answer_times(
    session: Session, project_id: int, task_ids: Sequence[int] | None = None
) -> dict[int, float]:
    """Seconds that people took for a task, by task id: of the first answer, since a second look is another
    thing. ``task_ids``: of these tasks alone."""
    if task_ids is not None:
        times: dict[int, float] = {}
        for batch in id_batches(task_ids):
            times.update(_first_times(session, project_id, Annotation.task_id.in_(batch)))
        return times
    return _first_times(session, project_id, true())


def _first_times(session: Session, project_id: int, which: ColumnElement[bool]) -> dict[int, float]:
    query = (
        select(Annotation.task_id, Annotation.lead_time)
        .join(Task, Task.id == Annotation.task_id)
        .where(Task.project_id == project_id, Annotation.lead_time.is_not(None), which)
        .where(Annotation.deleted.is_(False), Annotation.skipped.is_(False))
        .order_by(Annotation.id.desc())
    )
    return {task_id: seconds for task_id, seconds in session.execute(query) if seconds is not None}
