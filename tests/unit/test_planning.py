"""Seconds that review takes and plans made of them, against what comes."""

from __future__ import annotations

import numpy as np
import pytest

from tests.soak import rounds
from xner_label.confidence.lead_times import MIN_MEASURED, USUAL, fit_lead_times
from xner_label.confidence.planning import (
    ModelPoint,
    NameHistory,
    TaskHistory,
    forecast,
    forecast_names,
    model_outlook,
)


class TestLeadTimes:
    def test_stay_usual_before_twenty_are_measured(self):
        few = np.ones(MIN_MEASURED - 1)
        fitted = fit_lead_times(10 * few, few, 5 * few)
        assert (fitted.per_token, fitted.per_change, fitted.per_task, fitted.measured) == (*USUAL, 0)
        nothing = np.zeros(0)
        assert fit_lead_times(nothing, nothing, nothing).measured == 0

    def test_leave_out_breaks(self):
        generator = np.random.default_rng(0)
        tokens, changes = generator.integers(5, 40, 200).astype(float), generator.integers(0, 4, 200).astype(float)
        seconds = (2.0 + 0.4 * tokens + 3.0 * changes) * generator.lognormal(0.0, 0.2, 200)
        seconds[::20] += 3600.0
        fitted = fit_lead_times(tokens, changes, seconds)
        assert fitted.interrupted == 10
        total = fitted.seconds(tokens, changes).sum()
        assert total == pytest.approx((2.0 + 0.4 * tokens + 3.0 * changes).sum(), rel=0.1)


class TestPlan:
    def test_intervals_hold_what_comes(self):
        generator = np.random.default_rng(5)
        held = []
        for _ in range(200):
            tokens = generator.integers(8, 40, 400).astype(float)
            doubt = generator.gamma(0.5, 1.0, 400)
            changes = generator.poisson(1.3 * doubt + 0.01 * tokens).astype(float)
            outlook = forecast(TaskHistory(tokens[:100], doubt[:100], changes[:100]))
            expected = outlook.total(tokens[100:200], doubt[100:200])
            held.append(expected.low <= changes[100:200].sum() <= expected.high)
        assert np.mean(held) > 0.9

    def test_without_history_and_without_tasks(self):
        outlook = forecast(TaskHistory(*np.zeros((3, 0))))
        assert outlook.total(np.zeros(0), np.zeros(0)).value == 0.0

    def test_names_change_as_a_whole_and_intervals_hold_it(self):
        """Names whose answers change 0.3 of what is expected to be wrong, by lumps of up to 60 places."""
        generator = np.random.default_rng(6)
        held = []
        for _ in range(rounds(200)):
            occurrences = np.floor(2.0 + generator.pareto(1.5, 120)).clip(max=60)
            doubt = occurrences * generator.beta(1.0, 4.0, 120)
            made = occurrences * (generator.random(120) < 0.3 * doubt / occurrences)
            known, rest = slice(0, 60), slice(60, 120)
            outlook = forecast_names(NameHistory(occurrences[known], doubt[known], made[known]))
            expected = outlook.total(occurrences[rest], doubt[rest])
            held.append(expected.low <= made[rest].sum() <= expected.high)
        assert np.mean(held) > 0.9

    def test_names_without_history_and_without_questions(self):
        outlook = forecast_names(NameHistory(*np.zeros((3, 0))))
        assert outlook.answered == 0
        assert outlook.total(np.zeros(0), np.zeros(0)).high == 0.0
        expected = outlook.total(np.array([10.0]), np.array([4.0]))
        assert (expected.low, expected.high) == (0.0, 10.0)

    def test_the_next_model_follows_the_runs_there_are(self):
        points = [ModelPoint(gold, 0.6 + 0.03 * np.log(gold / 100), 0.0, 0.0) for gold in (100, 200, 400)]
        expected = model_outlook(
            [point._replace(low=point.f1 - 0.02, high=point.f1 + 0.02) for point in points], 400, 400
        )
        assert expected is not None
        assert expected.now.value == pytest.approx(points[-1].f1, abs=0.01)
        assert 0.005 < expected.after.value - expected.now.value < 0.025
        assert expected.after.low < expected.after.value < expected.after.high
        assert model_outlook([], 100, 50) is None
        assert model_outlook([ModelPoint(100, 0.7, 0.6, 0.8)], 100, 0).after.value == pytest.approx(0.7, abs=0.01)


def test_the_last_answers_tell_most_about_those_to_come():
    tokens, doubt = np.full(400, 20.0), np.full(400, 0.5)
    changes = np.where(np.arange(400) < 300, 1.0, 0.25)
    age = 399.0 - np.arange(400)
    alike, recent = (
        forecast(TaskHistory(tokens, doubt, changes, which)).total(tokens[:100], doubt[:100]).value
        for which in (None, age)
    )
    assert recent < 0.75 * alike
