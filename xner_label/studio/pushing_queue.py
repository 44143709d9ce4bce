"""Pushing sentences and name cards together, as many as people can do in a time: what is worth most of both."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from sqlalchemy.orm import Session

from xner_label.errors import UsageError
from xner_label.progress import SILENCE, Progress
from xner_label.review import name_audit
from xner_label.review.costs import Costs, measured_costs
from xner_label.review.name_groups import NameKey
from xner_label.review.queue import ONE_QUEUE, QueuedTask, plan_tasks_and_names, review_pool
from xner_label.settings.table import Settings
from xner_label.store import lead_times, names, projects, reviews, runs
from xner_label.store.database import Store
from xner_label.store.tables import Project
from xner_label.studio.asking_names import AskReport, ask_names, count_waiting
from xner_label.studio.push import PushOptions, PushReport, push
from xner_label.studio.queued import queued_tasks


class QueueReport(msgspec.Struct, frozen=True):
    """``minutes`` is what the new ones should take, by the ``costs`` in seconds; what waited before takes
    ``waiting_minutes``. ``audited`` tasks are read to measure decisions by name, beside ``tasks``, ``names``."""

    minutes: float
    waiting_minutes: float
    costs: Costs
    audited: int
    tasks: PushReport
    names: AskReport


def push_queue(
    store: Store, settings: Settings, minutes: float, options: PushOptions, progress: Progress = SILENCE
) -> QueueReport:
    """Send sentences and name cards until what waits takes people ``minutes``.

    ``options`` gives the split, the largest confidence and the slices; its limit and strategy don't count. Raises
    what :func:`push` and :func:`ask_names` do.
    """
    if minutes < 0:
        raise UsageError("the time must not be negative", hint="give --minutes 60, for example")
    with store.read() as session:
        project = projects.get_project(session, settings.project)
        costs = measured_costs(
            lead_times.sentence_times(session, project.id), lead_times.name_times(session, project.id)
        )
        waiting = reviews.count_open(session, project.id)
        plan = _plan(session, project, 60.0 * minutes, waiting, costs, options)
    audit, chosen = plan.audit, plan.tasks
    if audit:
        push(store, settings, _exactly(options, waiting, audit, name_audit.STRATEGY), progress)
        waiting += 0 if options.dry_run else len(audit)
    tasks = push(store, settings, _exactly(options, waiting, chosen, ONE_QUEUE), progress)
    cards = ask_names(store, settings, 0, only=plan.names, dry_run=options.dry_run)
    return QueueReport(
        minutes=round(plan.seconds / 60, 1),
        waiting_minutes=round(plan.taken / 60, 1),
        costs=costs,
        audited=len(audit),
        tasks=tasks,
        names=cards,
    )


def _exactly(options: PushOptions, waiting: int, tasks: Sequence[int], strategy: str) -> PushOptions:
    """Options that choose these tasks."""
    slices = {"blind_share": 0.0} if strategy == name_audit.STRATEGY else {}
    return msgspec.structs.replace(
        options, limit=waiting + len(tasks), strategy=strategy, tasks=tuple(tasks), minutes=None, **slices
    )


class _Plan(NamedTuple):
    """Ids of tasks for the audit of decisions by name and of those for the queue, groups to ask about, the seconds
    that they should take, and those that what waits takes."""

    audit: list[int]
    tasks: list[int]
    names: Sequence[NameKey]
    seconds: float
    taken: float


def _plan(
    session: Session, project: Project, seconds: float, waiting: int, costs: Costs, options: PushOptions
) -> _Plan:
    version = runs.reviewed_version(session, project, options.split)
    if version is None:
        return _Plan([], [], (), 0.0, 0.0)
    found = reviews.eligible(session, project.id, version, options.split, options.max_confidence)
    asked = names.asked_names(session, project.id)
    queued = [_unasked(task, asked) for task in queued_tasks(session, found)]
    pool = review_pool(queued)
    each = costs.sentences(pool.tokens.astype(np.float64), pool.expected_errors)
    taken = count_waiting(session, project.id) * costs.name
    taken += waiting * (float(each.mean()) if len(each) else 0.0)
    left = max(seconds - taken, 0.0)
    removals = name_audit.drawn_removals(session, project.id)
    drawn = [
        number
        for number, task in enumerate(queued)
        if any(span.audited for span in task.spans) or found[number][0] in removals
    ]
    drawn = [number for number, spent in zip(drawn, np.cumsum(each[drawn]), strict=True) if spent <= left]
    of_audit = float(each[drawn].sum())
    others = [number for number in range(len(queued)) if number not in set(drawn)]
    queue = plan_tasks_and_names([queued[number] for number in others], left - of_audit, costs)
    return _Plan(
        audit=[found[number][0] for number in drawn],
        tasks=[found[others[number]][0] for number in queue.tasks],
        names=queue.names,
        seconds=queue.seconds + of_audit,
        taken=taken,
    )


def _unasked(task: QueuedTask, asked: Collection[tuple[str, str, str]]) -> QueuedTask:
    """The task without the questions that were asked already."""
    spans = [
        msgspec.structs.replace(span, key=None)
        if span.key is not None and (span.key.source, span.key.target, span.key.label) in asked
        else span
        for span in task.spans
    ]
    return msgspec.structs.replace(task, spans=spans)
