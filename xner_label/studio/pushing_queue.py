"""Pushing sentences and name cards together, as many as people can do in a time: what is worth most of both."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from xner_label.errors import UsageError
from xner_label.progress import SILENCE, Progress
from xner_label.review import name_audit
from xner_label.review.costs import Costs
from xner_label.review.queue import ONE_QUEUE
from xner_label.review.selection import costs_of, select, waiting
from xner_label.settings.table import Settings
from xner_label.store import projects, reviews
from xner_label.store.database import Store
from xner_label.studio.asking_names import AskReport, ask_names
from xner_label.studio.push import PushOptions, PushReport, push


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
        costs = costs_of(session, project.id)
        taken = waiting(session, project, costs).taken(costs)
        count = reviews.count_open(session, project.id)
        left = max(60.0 * minutes - taken, 0.0)
        chosen = select(session, project, left, costs, options.split, options.max_confidence)
    if chosen.audit:
        push(store, settings, _exactly(options, count, chosen.audit, name_audit.STRATEGY), progress)
        count += 0 if options.dry_run else len(chosen.audit)
    tasks = push(store, settings, _exactly(options, count, chosen.tasks, ONE_QUEUE), progress)
    cards = ask_names(store, settings, 0, only=[name.key for name in chosen.names], dry_run=options.dry_run)
    return QueueReport(
        minutes=round(chosen.seconds / 60, 1),
        waiting_minutes=round(taken / 60, 1),
        costs=costs,
        audited=len(chosen.audit),
        tasks=tasks,
        names=cards,
    )


def _exactly(options: PushOptions, count: int, tasks: Sequence[int], strategy: str) -> PushOptions:
    """Options that choose these tasks beside ``count`` waiting ones."""
    slices = {"blind_share": 0.0} if strategy == name_audit.STRATEGY else {}
    return msgspec.structs.replace(
        options, limit=count + len(tasks), strategy=strategy, tasks=tuple(tasks), minutes=None, **slices
    )
