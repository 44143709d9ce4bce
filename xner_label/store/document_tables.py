"""The tables of documents: long texts, each sentence of which is a task."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from xner_label.store.base import Base, utc_now


class Document(Base):
    """A whole text, of which ``sentences`` tasks are parts. ``external_id`` is the user's id, as text."""

    __tablename__ = "documents"

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    external_id: Mapped[str]
    text: Mapped[str]
    sentences: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(default=utc_now)

    __table_args__ = (UniqueConstraint("project_id", "external_id"),)


class DocumentSentence(Base):
    """Where a task's text begins in its document, in code points."""

    __tablename__ = "document_sentences"

    task_id: Mapped[int] = mapped_column(ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True)
    document_id: Mapped[int] = mapped_column(ForeignKey("documents.id", ondelete="CASCADE"), index=True)
    start: Mapped[int]
