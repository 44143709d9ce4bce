"""Withdrawing what people settled: their answers stay in the history and count no more."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from xner_label.store.gold import current_annotations
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
            regions=[],
            entities=[],
        )
        for answer in answers
    )


def _moment(row: Annotation) -> datetime:
    return row.created_at if row.studio_updated_at is None else row.studio_updated_at
