"""The tables of questions about names and their answers; some of :mod:`xner_label.store.tables`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from xner_label.store.base import Base, utc_now


class NameQuestion(Base):
    """One question about all occurrences of a name, and its card in Label Studio.

    ``source_name`` and ``target_text`` are in the form in which names are compared; ``card`` is the task's data
    as it goes out; ``expected_errors`` of the occurrences were expected to be wrong when it was made.
    ``sent_at`` without ``studio_task`` means that the card is on its way, or that the process which sent it
    never learned whether it arrived; ``studio_task`` without ``sent_at`` that the card is to be taken out of
    Label Studio again.
    """

    __tablename__ = "name_questions"

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    source_name: Mapped[str]
    target_text: Mapped[str]
    label: Mapped[str]
    occurrences: Mapped[int]
    expected_errors: Mapped[float | None]
    card: Mapped[dict[str, Any]]
    sent_at: Mapped[datetime | None]
    studio_task: Mapped[int | None]
    created_at: Mapped[datetime] = mapped_column(default=utc_now)

    __table_args__ = (
        UniqueConstraint("project_id", "source_name", "target_text", "label"),
        UniqueConstraint("project_id", "studio_task"),
    )


class NameAnswer(Base):
    """One state of an answer to a name card; the newest row of an annotation counts.

    ``kind`` and ``value`` are the verdict (see :class:`xner_label.review.name_answers.Verdict`); ``lead_time`` is
    in seconds. ``withdrawn`` says that the annotation was deleted, or that the answer was taken back here.
    """

    __tablename__ = "name_answers"

    id: Mapped[int] = mapped_column(primary_key=True)
    question_id: Mapped[int] = mapped_column(ForeignKey("name_questions.id", ondelete="CASCADE"), index=True)
    studio_annotation: Mapped[int]
    studio_updated_at: Mapped[datetime]
    annotator: Mapped[str | None]
    kind: Mapped[str]
    value: Mapped[str]
    lead_time: Mapped[float | None]
    withdrawn: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(default=utc_now)

    __table_args__ = (
        UniqueConstraint("question_id", "studio_annotation", "studio_updated_at", "withdrawn"),
        CheckConstraint("kind IN ('label', 'span', 'no-name', 'depends')", name="kind_is_known"),
    )


class NameProject(Base):
    """The second project of Label Studio, which holds a project's name cards, and how far it has been read."""

    __tablename__ = "name_projects"

    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True)
    studio_url: Mapped[str]
    studio_project: Mapped[int]
    studio_created_at: Mapped[datetime]
    cursor: Mapped[datetime | None]
