"""Stored predictions in the order of a strategy."""

from __future__ import annotations

import pytest

from xner_label.review.costs import Costs
from xner_label.review.queue import (
    QueuedSpan,
    QueuedTask,
    count_in_time,
    order_tasks,
    pool_seconds,
    review_pool,
)


def task(*spans, hidden=1.0, tokens=10):
    confidence = hidden
    for _, sure, _ in spans:
        confidence *= sure
    return QueuedTask(tokens, confidence, [QueuedSpan(*span) for span in spans])


TASKS = [
    task(("Asha", 0.99, 0.9)),
    task(("Kenya", 0.6, 0.2), hidden=0.9),
    task(("Kenya", 0.62, 0.9), ("Tanga", 0.9, 0.9)),
    task(hidden=0.5),
    task(("Lindi", 0.58, 0.9)),
]


def test_what_was_left_out_counts_as_one_span():
    pool = review_pool(TASKS)
    assert pool.expected_errors.tolist() == pytest.approx([0.01, 0.5, 0.48, 0.5, 0.42])
    assert pool.disagreement.tolist() == pytest.approx([0.1, 0.9, 0.2, 0.5, 0.1])


def test_names_that_are_doubtful_elsewhere_come_first():
    assert order_tasks(TASKS, "leverage", 2)[0] == 1
    assert order_tasks(TASKS, "disagreement", 2) == [1, 3]
    assert order_tasks(TASKS, "random", 5, seed=1) != order_tasks(TASKS, "random", 5, seed=2)


def test_as_many_as_the_time_allows():
    each = pool_seconds(review_pool(TASKS), Costs())
    order = order_tasks(TASKS, "least-confident", 5)
    assert len(order) == 5
    assert count_in_time(each[order], float(each[order[:2]].sum()) + 0.01) == 2
    assert count_in_time(each[order], 0.0) == 0
    assert order_tasks([], "leverage", 5) == []
