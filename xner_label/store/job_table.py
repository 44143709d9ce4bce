"""The table of jobs; one of :mod:`xner_label.store.tables`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from xner_label.store.base import Base, utc_now


class Job(Base):
    """Something to be done by a worker: ``kind`` names what, ``options`` how.

    ``state`` is waiting, running, done or failed; at most one job of a kind waits in a project, which is what
    makes asking again free. It may start at ``due_at``. ``worker`` holds it until ``lease_until``, which it moves
    on while it works; a job whose lease has run out belongs to a worker that was killed, and is taken again.
    ``attempts`` counts how often it was taken. ``outcome`` is what it answered, ``problem`` why it failed.
    """

    __tablename__ = "jobs"

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), index=True)
    kind: Mapped[str]
    options: Mapped[dict[str, Any]]
    state: Mapped[str] = mapped_column(default="waiting")
    due_at: Mapped[datetime] = mapped_column(default=utc_now)
    attempts: Mapped[int] = mapped_column(default=0)
    worker: Mapped[str | None]
    lease_until: Mapped[datetime | None]
    outcome: Mapped[dict[str, Any] | None]
    problem: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]

    __table_args__ = (
        Index(
            "uq_jobs_waiting",
            "project_id",
            "kind",
            unique=True,
            sqlite_where=text("state = 'waiting'"),
            postgresql_where=text("state = 'waiting'"),
        ),
        CheckConstraint("state IN ('waiting', 'running', 'done', 'failed')", name="state_is_known"),
    )
