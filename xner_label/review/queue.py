"""Stored predictions as a pool for the orders of review."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from xner_label.review.costs import Costs
from xner_label.review.name_groups import MIN_OCCURRENCES, NameKey
from xner_label.review.one_queue import Question, plan_queue
from xner_label.review.pool import Floats, ReviewPool
from xner_label.review.strategies import make_strategy

# What stands in the store for the order of sentences that share a queue with names.
ONE_QUEUE = "one-queue"


class QueuedSpan(msgspec.Struct, frozen=True):
    """A predicted entity: its name (source, or text where there is none), P(right), and P by a tagger of the
    target language, None without one. ``key``: the group that a question could be about, None where there is none
    to ask; ``audited``: whether it is one of those by which decisions by name are measured."""

    name: str
    confidence: float
    tagger: float | None
    key: NameKey | None = None
    audited: bool = False


class QueuedTask(msgspec.Struct, frozen=True):
    """A task that may be chosen. ``confidence``: P(all of it is right); ``tokens``: its length."""

    tokens: int
    confidence: float
    spans: Sequence[QueuedSpan]


def order_tasks(tasks: Sequence[QueuedTask], strategy: str, count: int, seed: int = 0) -> list[int]:
    """The numbers of up to ``count`` tasks in the order of review.

    Raises UsageError for an unknown strategy, or one that lacks what it needs.
    """
    return make_strategy(strategy).choose(review_pool(tasks), count, np.random.default_rng(seed))


def pool_seconds(pool: ReviewPool, costs: Costs) -> Floats:
    """(S,) what a review of each sentence is expected to take."""
    return costs.sentences(pool.tokens.astype(np.float64), pool.expected_errors)


def count_in_time(each: Floats, seconds: float) -> int:
    """How many of the first ones, which take ``each`` (n,) seconds, people can do in ``seconds``."""
    return int((np.cumsum(each) <= seconds).sum())


class QueuedName(msgspec.Struct, frozen=True):
    """A group to ask about: its open ``occurrences``, of which ``doubt`` are expected to be wrong, ``outside`` of
    these in sentences that the same queue doesn't read."""

    key: NameKey
    occurrences: int
    doubt: float
    outside: float


class MixedQueue(msgspec.Struct, frozen=True):
    """What people should see next: numbers of tasks, and groups of names; ``seconds`` is what it should take."""

    tasks: Sequence[int]
    names: Sequence[QueuedName]
    seconds: float


def plan_tasks_and_names(tasks: Sequence[QueuedTask], seconds: float, costs: Costs) -> MixedQueue:
    """The sentences and the questions about names, of at least two occurrences, that are worth most in a time."""
    rows: dict[NameKey, list[int]] = {}
    row = 0
    for task in tasks:
        for span in task.spans:
            if span.key is not None:
                rows.setdefault(span.key, []).append(row)
            row += 1
        row += 1  # what isn't shown
    keys = sorted(key for key, members in rows.items() if len(members) >= MIN_OCCURRENCES)
    questions = [Question(np.array(rows[key], np.int64)) for key in keys]
    pool = review_pool(tasks)
    plan = plan_queue(pool, questions, seconds, costs)
    read = np.zeros(len(tasks), bool)
    read[plan.sentences] = True
    names = []
    for number in plan.questions:
        members = questions[number].rows
        doubt = pool.doubt[members]
        outside = doubt[~read[pool.sentence[members]]]
        names.append(QueuedName(keys[number], len(members), float(doubt.sum()), float(outside.sum())))
    return MixedQueue(plan.sentences, names, plan.seconds)


def review_pool(tasks: Sequence[QueuedTask]) -> ReviewPool:
    """Spans below the cut aren't stored one by one: what a task's confidence lacks beside that of its spans stands
    for all of them together, under a name of its own."""
    codes: dict[object, int] = {}
    sentence: list[int] = []
    confidence: list[float] = []
    name: list[int] = []
    disagreement = np.zeros(len(tasks))
    tagged = False
    for number, task in enumerate(tasks):
        shown = 1.0
        for span in task.spans:
            sentence.append(number)
            confidence.append(span.confidence)
            name.append(codes.setdefault(span.name, len(codes)))
            shown *= span.confidence
            if span.tagger is not None:
                tagged = True
                disagreement[number] += 1.0 - span.tagger
        hidden = min(task.confidence / shown, 1.0) if shown > 0 else 1.0
        sentence.append(number)
        confidence.append(hidden)
        name.append(codes.setdefault(number, len(codes)))
        disagreement[number] += 1.0 - hidden
    return ReviewPool(
        tokens=np.array([task.tokens for task in tasks], np.int64),
        open=np.ones(len(tasks), bool),
        sentence=np.array(sentence, np.int64),
        confidence=np.array(confidence, np.float64),
        name=np.array(name, np.int64),
        cut=0.0,
        disagreement=disagreement if tagged else None,
    )
