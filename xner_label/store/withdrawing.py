"""Withdrawing what people settled: their answers stay in the history and count no more."""

from __future__ import annotations

from datetime import datetime

import msgspec
from sqlalchemy.orm import Session

from xner_label.store import names
from xner_label.store.gold import current_annotations
from xner_label.store.names import AnswerState
from xner_label.store.tables import Annotation


def answers_of(
    session: Session, project_id: int, annotator: str | None = None, since: datetime | None = None
) -> list[Annotation]:
    """The answers that count now, by a person and from a moment on; None: by anybody, from any moment on."""
    return [
        row
        for row in current_annotations(session, project_id)
        if annotator in (None, row.annotator) and (since is None or _moment(row) >= since)
    ]


def withdraw(session: Session, answers: list[Annotation]) -> None:
    """Say that answers count no more. Synchronising doesn't bring one back before it changes in Label Studio."""
    session.add_all(
        Annotation(
            task_id=answer.task_id,
            origin=answer.origin,
            studio_annotation=answer.studio_annotation,
            studio_updated_at=answer.studio_updated_at,
            annotator=answer.annotator,
            deleted=True,
            withdrawn=True,
            regions=[],
            entities=[],
        )
        for answer in answers
    )


def name_answers_of(
    session: Session, project_id: int, annotator: str | None = None, since: datetime | None = None
) -> list[AnswerState]:
    """The answers about names that count now, by a person and from a moment on; None as in :func:`answers_of`."""
    return [
        state
        for state in names.answer_states(session, project_id)
        if not state.withdrawn
        and annotator in (None, state.annotator)
        and (since is None or state.updated_at >= since)
    ]


def annotators(session: Session, project_id: int) -> set[str]:
    """Who has answers that count now, about sentences or names."""
    people = {row.annotator for row in answers_of(session, project_id)}
    people.update(state.annotator for state in name_answers_of(session, project_id))
    return {person for person in people if person}


def withdraw_name_answers(session: Session, answers: list[AnswerState]) -> None:
    """Say that answers about names count no more, until they change in Label Studio."""
    names.add_answers(session, [msgspec.structs.replace(state, withdrawn=True) for state in answers], {})


def _moment(row: Annotation) -> datetime:
    return row.created_at if row.studio_updated_at is None else row.studio_updated_at
