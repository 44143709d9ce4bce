"""What people are asked in a time: `xner-label plan` foresees it, and `xner-label push` sends the same.

What waits for people already is done first; new sentences and questions about names take what is left of the time.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from sqlalchemy.orm import Session

from xner_label.review.costs import Costs, measured_costs
from xner_label.review.desk import score_of_tasks
from xner_label.review.name_audit import drawn_removals
from xner_label.review.name_groups import NameKey
from xner_label.review.pool import Floats
from xner_label.review.queue import (
    QueuedName,
    QueuedTask,
    count_in_time,
    order_tasks,
    plan_tasks_and_names,
    pool_seconds,
    review_pool,
)
from xner_label.review.queued import queued_tasks
from xner_label.settings.choices import DEFAULT_STRATEGY
from xner_label.store import eligible_tasks, lead_times, names, queue_positions, reviews, runs
from xner_label.store.tables import Project

# Of more open tasks than this, only the least confident are weighed against each other: people can't read as many
# in weeks, and nearly all doubt about names lies in them.
CANDIDATES = 20_000

# The order that makes every task part of the audit slice.
RANDOM = "random"
# Tokens of a task of which nothing is known.
_USUAL_TOKENS = 20.0

# (task id, prediction id, confidence) of a task that may be chosen.
EligibleTask = tuple[int, int, float]


class Waiting(NamedTuple):
    """What waits for people: ``tasks`` (ids) in the order of their queue, the ``seconds`` (n,) that each should
    take, and the open questions about names."""

    tasks: list[int]
    seconds: Floats
    names: list[QueuedName]

    def taken(self, costs: Costs) -> float:
        """The seconds that all of it should take."""
        return float(self.seconds.sum()) + len(self.names) * costs.name


class Selection(NamedTuple):
    """What is new: ids of tasks that measure decisions by name (``audit``) and of those to be read, names to be
    asked about, and the seconds that they should take."""

    audit: list[int]
    tasks: list[int]
    names: Sequence[QueuedName]
    seconds: float


def costs_of(session: Session, project_id: int) -> Costs:
    """What sentences and questions take in this project, by Label Studio's clock."""
    return measured_costs(
        lead_times.sentence_times(session, project_id), lead_times.name_times(session, project_id)
    )


def waiting(session: Session, project: Project, costs: Costs) -> Waiting:
    """What people were given and haven't answered. A task served blind takes what the others take."""
    items = queue_positions.waiting_items(session, project.id)
    queued = queued_tasks(session, [(item.task, item.prediction, item.confidence) for item in items])
    each = pool_seconds(review_pool(queued), costs) if queued else np.zeros(0)
    blind = max(reviews.count_open(session, project.id) - len(items), 0)
    usual = float(each.mean()) if len(each) else costs.task + _USUAL_TOKENS * costs.token
    return Waiting(
        [item.task for item in items],
        np.concatenate([each, np.full(blind, usual)]),
        _open_questions(session, project.id),
    )


def _open_questions(session: Session, project_id: int) -> list[QueuedName]:
    answered = {question.id for question, _ in names.answers_in_force(session, project_id)}
    return [
        QueuedName(
            NameKey(row.source_name, row.target_text, row.label),
            row.occurrences,
            _doubt(row.occurrences, row.expected_errors),
            _doubt(row.occurrences, row.expected_errors),
        )
        for row in names.questions(session, project_id).values()
        if row.id not in answered
    ]


def _doubt(occurrences: int, expected: float | None) -> float:
    """Questions of before these were counted: as doubtful as names are that people are asked about."""
    return 0.2 * occurrences if expected is None else expected


def select(
    session: Session,
    project: Project,
    seconds: float,
    costs: Costs,
    split: str,
    max_confidence: float | None = None,
) -> Selection:
    """The sentences and the questions about names that are worth most of a time of ``seconds``."""
    version = runs.reviewed_version(session, project, split)
    if version is None:
        return Selection([], [], (), 0.0)
    eligible = eligible_tasks.least_confident(
        session, project.id, version, split, max_confidence, limit=CANDIDATES
    )
    asked = names.asked_names(session, project.id)
    queued = [_unasked(task, asked) for task in queued_tasks(session, eligible)]
    each = pool_seconds(review_pool(queued), costs)
    removals = drawn_removals(session, project.id)
    drawn = [
        number
        for number, task in enumerate(queued)
        if any(span.audited for span in task.spans) or eligible[number][0] in removals
    ]
    drawn = drawn[: count_in_time(each[drawn], seconds)]
    of_audit = float(each[drawn].sum())
    left_out = set(drawn)
    others = [number for number in range(len(queued)) if number not in left_out]
    queue = plan_tasks_and_names([queued[number] for number in others], seconds - of_audit, costs)
    return Selection(
        audit=[eligible[number][0] for number in drawn],
        tasks=[eligible[others[number]][0] for number in queue.tasks],
        names=queue.names,
        seconds=queue.seconds + of_audit,
    )


def in_order(
    session: Session,
    project: Project,
    version: str,
    strategy: str,
    count: int,
    *,
    split: str,
    max_confidence: float | None = None,
    seed: int = 0,
    seconds: float | None = None,
    costs: Costs | None = None,
) -> tuple[list[EligibleTask], float]:
    """Up to ``count`` tasks that may be chosen in the order of a strategy, as many as people can do in
    ``seconds``.

    Raises UsageError for an unknown strategy, or one that lacks what it needs.
    """
    if strategy == RANDOM:
        chosen = eligible_tasks.draw(session, project.id, version, split, count, seed, max_confidence)
    elif strategy == DEFAULT_STRATEGY:
        chosen = _least_confident(session, project, version, split, max_confidence)[:count]
    else:
        every = eligible_tasks.least_confident(
            session, project.id, version, split, max_confidence, limit=CANDIDATES
        )
        chosen = [every[number] for number in order_tasks(queued_tasks(session, every), strategy, count, seed)]
    if seconds is None:
        return chosen, 0.0
    each = pool_seconds(review_pool(queued_tasks(session, chosen)), costs or costs_of(session, project.id))
    fitting = count_in_time(each, seconds)
    return chosen[:fitting], float(each[:fitting].sum())


def _least_confident(
    session: Session, project: Project, version: str, split: str, max_confidence: float | None
) -> list[EligibleTask]:
    """What could be chosen, the tasks first that are least likely to be all right: by the calibration where there
    is one, else by the pipeline."""
    eligible = eligible_tasks.least_confident(
        session, project.id, version, split, max_confidence, limit=CANDIDATES
    )
    score = score_of_tasks(session, project.id, version, [task for task, _, _ in eligible])
    return sorted(eligible, key=lambda row: score.get(row[0], row[2])) if score else eligible


def _unasked(task: QueuedTask, asked: Collection[tuple[str, str, str]]) -> QueuedTask:
    """The task without the questions that were asked already."""
    spans = [
        msgspec.structs.replace(span, key=None)
        if span.key is not None and (span.key.source, span.key.target, span.key.label) in asked
        else span
        for span in task.spans
    ]
    return msgspec.structs.replace(task, spans=spans)
