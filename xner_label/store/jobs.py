"""Queries about jobs: asking for one, taking one, keeping it, ending it.

PostgreSQL lets workers skip rows that another one is taking (SKIP LOCKED); on SQLite a write transaction keeps all
others out anyway. Times are the database's, not those of each worker's machine; what lies in its future was
written before its clock was set back, and isn't waited for.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, and_, case, delete, func, or_, select, update
from sqlalchemy.orm import Session, aliased

from xner_label.store.database import database_time, insert_new
from xner_label.store.tables import Job

# A job is given up when so many workers have died of it.
MAX_ATTEMPTS = 3
# Among the options of a job: the run and the request that asked for it, and the trace they belong to.
ASKED_BY = "asked_by"
# While reasons for a job go on arriving, it is put off by at most so many delays.
_PATIENCE = 10
# How long jobs that are done stay.
_KEPT = timedelta(days=30)


class Claim(msgspec.Struct, frozen=True):
    """A job that a worker has taken."""

    id: int
    project_id: int
    kind: str
    options: dict[str, Any]
    attempt: int


class JobState(msgspec.Struct, frozen=True):
    """The newest job of a kind in a state; times in UTC."""

    kind: str
    state: str
    attempts: int
    due_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    problem: str | None


def enqueue(
    session: Session, project_id: int, kind: str, options: Mapping[str, Any] | None = None, delay: float = 0.0
) -> bool:
    """Ask for a job in ``delay`` seconds; False where one of the kind waits already.

    Asking again puts a waiting job off to the new time, at most ten delays after it was first asked for, so that
    a burst of reasons is worked off once. It never brings other options, but asking without any takes those of the
    waiting job away: they are conditions, ASKED_BY apart.
    """
    now = database_time(session)
    row = {
        "project_id": project_id,
        "kind": kind,
        "options": dict(options or {}),
        "state": "waiting",
        "due_at": now + timedelta(seconds=delay),
        "attempts": 0,
        "created_at": now,
    }
    if insert_new(session, Job, [row]):
        return True
    waiting = session.scalars(
        select(Job).where(Job.project_id == project_id, Job.kind == kind, Job.state == "waiting").with_for_update()
    ).one_or_none()
    if waiting is None:
        return False
    if not (options or {}).keys() - {ASKED_BY}:
        waiting.options = {name: value for name, value in waiting.options.items() if name == ASKED_BY}
    if waiting.created_at > now:
        waiting.created_at, waiting.due_at = now, now + timedelta(seconds=delay)
    elif delay:
        latest = waiting.created_at + timedelta(seconds=_PATIENCE * delay)
        waiting.due_at = max(waiting.due_at, min(now + timedelta(seconds=delay), latest))
    return False


def claim(session: Session, project_id: int, worker: str, kinds: Collection[str], lease: float) -> Claim | None:
    """Take the project's job that has been due for longest, for ``lease`` seconds; None when nothing is due.

    Of a kind one job runs at a time. A job whose lease has run out is due again, until workers have
    died of it three times; then it has failed.
    """
    now = database_time(session)
    _give_up(session, project_id, now)
    other = aliased(Job)
    busy = (
        select(other.id)
        .where(other.project_id == Job.project_id, other.kind == Job.kind, other.state == "running")
        .exists()
    )
    abandoned = and_(Job.state == "running", _lease_is_over(now))
    due = and_(Job.state == "waiting", or_(Job.due_at <= now, Job.created_at > now), ~busy)
    query = (
        select(Job)
        .where(Job.project_id == project_id, Job.kind.in_(kinds), or_(due, abandoned))
        .order_by(Job.due_at, Job.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    job = session.scalars(query).one_or_none()
    if job is None:
        return None
    job.state, job.worker, job.lease_until = "running", worker, now + timedelta(seconds=lease)
    job.started_at, job.attempts = now, job.attempts + 1
    return Claim(job.id, job.project_id, job.kind, dict(job.options), job.attempts)


def _give_up(session: Session, project_id: int, now: datetime) -> None:
    session.execute(
        update(Job)
        .where(
            Job.project_id == project_id,
            Job.state == "running",
            _lease_is_over(now),
            Job.attempts >= MAX_ATTEMPTS,
        )
        .values(state="failed", finished_at=now, problem=f"its worker died {MAX_ATTEMPTS} times")
    )


def _lease_is_over(now: datetime) -> ColumnElement[bool]:
    """Whether a job's worker has shown no sign of life for so long, or since the clock was set back."""
    return or_(Job.lease_until < now, Job.started_at > now)


def prolong(session: Session, job_id: int, worker: str, lease: float) -> bool:
    """Keep a job for another ``lease`` seconds; False when it isn't the worker's any more."""
    now = database_time(session)
    kept = session.scalars(
        update(Job)
        .where(Job.id == job_id, Job.worker == worker, Job.state == "running")
        .values(
            lease_until=now + timedelta(seconds=lease),
            started_at=case((Job.started_at > now, now), else_=Job.started_at),
        )
        .returning(Job.id)
    )
    return kept.one_or_none() is not None


def finish(
    session: Session, job_id: int, worker: str, outcome: Mapping[str, Any] | None, problem: str | None
) -> bool:
    """End a job, well or with a problem; False, and nothing done, when it isn't the worker's any more."""
    ended = session.scalars(
        update(Job)
        .where(Job.id == job_id, Job.worker == worker, Job.state == "running")
        .values(
            state="done" if problem is None else "failed",
            outcome=None if outcome is None else dict(outcome),
            problem=problem,
            finished_at=database_time(session),
            lease_until=None,
        )
        .returning(Job.id)
    )
    if ended.one_or_none() is None:
        return False
    _forget_old(session, job_id)
    return True


def _forget_old(session: Session, job_id: int) -> None:
    """Drop what was done long ago: a sync every minute would leave half a million rows a year."""
    job = session.get_one(Job, job_id)
    old = database_time(session) - _KEPT
    session.execute(
        delete(Job).where(
            Job.project_id == job.project_id, Job.kind == job.kind, Job.state == "done", Job.finished_at < old
        )
    )


def release(session: Session, job_id: int, worker: str) -> None:
    """Give a job back, to be taken again at once; this attempt doesn't count."""
    session.execute(
        update(Job)
        .where(Job.id == job_id, Job.worker == worker, Job.state == "running")
        .values(lease_until=database_time(session), attempts=Job.attempts - 1)
    )


def job_states(session: Session, project_id: int) -> list[JobState]:
    """The newest job of each kind and state of a project, by kind."""
    newest = (
        select(func.max(Job.id))
        .where(Job.project_id == project_id)
        .group_by(Job.kind, Job.state)
        .scalar_subquery()
    )
    rows = session.scalars(select(Job).where(Job.id.in_(newest)).order_by(Job.kind, Job.id))
    return [
        JobState(row.kind, row.state, row.attempts, row.due_at, row.started_at, row.finished_at, row.problem)
        for row in rows
    ]


def is_due_again(session: Session, project_id: int, kind: str, seconds: float) -> bool:
    """Whether no job of the kind was begun within so many seconds."""
    last = session.scalar(select(func.max(Job.started_at)).where(Job.project_id == project_id, Job.kind == kind))
    if last is None:
        return True
    age = (database_time(session) - last).total_seconds()
    return not 0 <= age < seconds
