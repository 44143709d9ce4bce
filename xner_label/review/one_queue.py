"""One queue of sentences and names, by wrong entities expected to be put right in the corpus per second.

A sentence is worth what its own doubtful spans lack, and what its answers will settle elsewhere; a question about
a name half of the doubt of its spans. Whatever is chosen makes the same names worth less for what comes after.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from xner_label.review.costs import Costs
from xner_label.review.greedy import AGAIN, LEFT, REMOVES
from xner_label.review.pool import Ints, ReviewPool


class Question(NamedTuple):
    """A question about a name: the rows of the pool's spans that its answer would settle."""

    rows: Ints


class Plan(NamedTuple):
    """Numbers of sentences and of questions, each in the order of the queue, and the seconds they should take."""

    sentences: list[int]
    questions: list[int]
    seconds: float


def plan_queue(pool: ReviewPool, questions: Sequence[Question], seconds: float, costs: Costs) -> Plan:
    """The best of both that people can do in ``seconds``, greedily."""
    state = _State(pool, questions, costs)
    count = len(pool.tokens)
    items = [*pool.candidates.tolist(), *range(count, count + len(questions))]
    heap = [(-state.gain(item), item) for item in items]
    heapq.heapify(heap)
    plan = Plan([], [], 0.0)
    while heap:
        _, item = heapq.heappop(heap)
        now = state.gain(item)
        if heap and now < -heap[0][0] - 1e-12:
            heapq.heappush(heap, (-now, item))
            continue
        if now <= 0.0 or plan.seconds + state.seconds(item) > seconds:
            break
        plan = plan._replace(seconds=plan.seconds + state.seconds(item))
        (plan.sentences if item < count else plan.questions).append(item if item < count else item - count)
        state.take(item)
    return plan


class _State:
    """What is still to gain; items are the sentences and after them the questions."""

    def __init__(self, pool: ReviewPool, questions: Sequence[Question], costs: Costs) -> None:
        self._name, self._doubt = pool.name, pool.doubt.copy()
        self._count = len(pool.tokens)
        open_ = pool.open[pool.sentence]
        self._elsewhere = np.bincount(
            self._name[open_], self._doubt[open_], int(self._name.max(initial=-1)) + 1
        ).astype(np.float64)
        self._worth = np.ones(len(self._elsewhere))
        by_sentence = np.argsort(pool.sentence, kind="stable")
        borders = np.searchsorted(pool.sentence[by_sentence], np.arange(self._count + 1))
        self._rows: list[Ints] = [by_sentence[first:last] for first, last in pairwise(borders)]
        self._rows += [question.rows for question in questions]
        read = costs.sentences(pool.tokens.astype(np.float64), pool.expected_errors)
        self._seconds = [*read.tolist(), *(costs.name for _ in questions)]

    def seconds(self, item: int) -> float:
        """What a person is expected to need for it."""
        return float(self._seconds[item])

    def gain(self, item: int) -> float:
        """Wrong entities that it is expected to put right, per second."""
        rows = self._rows[item]
        doubt = self._doubt[rows]
        if item >= self._count:
            total = REMOVES * float(doubt.sum())
        else:
            names, first = np.unique(self._name[rows], return_index=True)
            rest = np.maximum(self._elsewhere[names] - doubt[first], 0.0)
            spread = REMOVES * self._worth[names] * np.minimum(1.0, 2.0 * doubt[first]) * rest
            total = float(doubt.sum() + spread.sum())
        return total / self.seconds(item)

    def take(self, item: int) -> None:
        """What is left once it is answered."""
        rows = self._rows[item]
        names = np.unique(self._name[rows])
        self._worth[names] *= AGAIN
        if item >= self._count:
            np.subtract.at(self._elsewhere, self._name[rows], REMOVES * self._doubt[rows])
            self._doubt[rows] *= 1.0 - REMOVES
        else:
            self._elsewhere[names] *= LEFT
            self._doubt[rows] = 0.0
