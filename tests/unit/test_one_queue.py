"""Sentences and names in one queue: the better of both per second, within a person's time."""

from __future__ import annotations

import numpy as np
import pytest

from xner_label.review.costs import Costs, measured_costs
from xner_label.review.name_groups import NameKey
from xner_label.review.one_queue import Question, plan_queue
from xner_label.review.pool import ReviewPool
from xner_label.review.queue import QueuedSpan, QueuedTask, plan_tasks_and_names

ASHA, TANGA = NameKey("asha", "asha", "PER"), NameKey("tanga", "tanga", "LOC")


def pool(confidence, name, tokens=30):
    count = len(confidence)
    return ReviewPool(
        tokens=np.full(count, tokens),
        open=np.ones(count, bool),
        sentence=np.arange(count),
        confidence=np.array(confidence),
        name=np.array(name, np.int64),
        cut=0.0,
    )


def test_a_name_of_many_doubtful_places_comes_before_their_sentences():
    shared = pool([0.6] * 10 + [0.3], [0] * 10 + [1])
    plan = plan_queue(shared, [Question(np.arange(10))], 60.0, Costs())
    assert plan.questions == [0]
    assert plan.sentences[0] == 10
    assert plan.seconds <= 60.0


def test_a_name_that_was_asked_about_is_worth_less_in_its_sentences():
    shared = pool([0.5, 0.5, 0.5, 0.62], [0, 0, 0, 1])
    alone = plan_queue(shared, [], 1e9, Costs())
    asked = plan_queue(shared, [Question(np.arange(3))], 1e9, Costs(name=0.1))
    assert alone.sentences[0] == 0
    assert (asked.questions, asked.sentences[0]) == ([0], 3)


@pytest.mark.parametrize("seconds", [0.0, 1.0])
def test_no_time_and_no_tasks_plan_nothing(seconds):
    assert plan_queue(pool([0.5], [0]), [], seconds, Costs()) == ([], [], 0.0)
    assert plan_queue(pool([], []), [], 1e9, Costs()) == ([], [], 0.0)


def test_a_large_pool_is_planned_within_the_time():
    draw = np.random.default_rng(0)
    shared = pool(draw.random(20_000), draw.integers(0, 500, 20_000))
    questions = [Question(np.flatnonzero(shared.name == code)) for code in range(500)]
    plan = plan_queue(shared, questions, 3600.0, Costs())
    assert 3000.0 < plan.seconds <= 3600.0
    assert plan.sentences
    assert plan.questions


def test_stored_tasks_are_planned_with_the_groups_of_their_spans():
    def task(key, confidence):
        return QueuedTask(30, confidence, [QueuedSpan(key.source if key else "x", confidence, None, key)])

    tasks = [task(ASHA, 0.5), task(ASHA, 0.5), task(TANGA, 0.5), task(None, 0.9)]
    queue = plan_tasks_and_names(tasks, 1e9, Costs())
    assert [name.key for name in queue.names] == [ASHA]  # a name with one place is read in its sentence
    assert (queue.names[0].occurrences, queue.names[0].doubt, queue.names[0].outside) == (2, 1.0, 0.0)
    assert sorted(queue.tasks) == [0, 1, 2, 3]
    few = plan_tasks_and_names(tasks, 6.0, Costs())
    assert few.tasks == []
    assert few.names[0].outside == 1.0


def test_costs_follow_measured_times_once_there_are_enough():
    usual = Costs()
    slow = [
        (2 * (tokens * usual.token + changes * usual.change), tokens, changes)
        for tokens in (5, 10, 20, 30, 40)
        for changes in range(4)
    ]
    assert measured_costs(slow[:19], [9.0] * 19) == usual
    assert measured_costs([], []) == usual
    measured = measured_costs(slow, [9.0] * 20)
    assert measured.token == pytest.approx(2 * usual.token, rel=0.05)
    assert measured.change == pytest.approx(2 * usual.change, rel=0.05)
    assert measured.name == pytest.approx(9.0)
    lunch = [*slow, (3600.0, 10, 1)]
    assert measured_costs(lunch, []).sentences(np.array([10.0]), np.array([1.0])) == pytest.approx(
        2 * (10 * usual.token + usual.change), rel=0.05
    )
