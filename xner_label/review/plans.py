"""A plan of review in minutes, and what became of the plans there were.

A plan asks what `xner-label push` would send (:mod:`xner_label.review.selection`); what it expects of that comes
from the calibrated confidences and from what people changed so far.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from sqlalchemy.orm import Session

from xner_label.confidence.estimates import Interval, estimate
from xner_label.confidence.lead_times import LeadTimes, fit_lead_times
from xner_label.confidence.planning import (
    Forecast,
    ModelOutlook,
    ModelPoint,
    NameForecast,
    NameHistory,
    TaskHistory,
    forecast,
    forecast_names,
    model_outlook,
)
from xner_label.projection.loglinear.columns import Bools, Floats
from xner_label.review.costs import Costs
from xner_label.review.desk import View, view
from xner_label.review.queue import QueuedName, count_in_time
from xner_label.review.selection import Selection, Waiting, costs_of, in_order, select, waiting
from xner_label.store import desk, names, projects, runs
from xner_label.store.database import Store
from xner_label.store.tables import NameQuestion, Project

# The split that people are given tasks of, unless they say otherwise.
SPLIT = "pool"


class PlannedTask(msgspec.Struct, frozen=True):
    """A task by its external id, the changes expected in it, and whether it waits for people already."""

    id: str
    changes: float
    waiting: bool


class PlannedName(msgspec.Struct, frozen=True):
    """A question about a name: its ``occurrences``, of which ``doubt`` are expected to be wrong, the changes
    expected of its answer, and whether it waits for people already."""

    source: str
    target: str
    label: str
    occurrences: int
    doubt: float
    changes: float
    waiting: bool


class PlanReport(msgspec.Struct, frozen=True, kw_only=True):
    """A plan for so many ``minutes``: ``tasks`` in order with ``changes`` expected in them, and ``names`` with
    ``name_changes``. ``strategy`` is None where sentences and names share one queue.

    F1 now and after it, without what the answers teach the other sentences: ``f1_*`` of the whole corpus's labels,
    people's answers included, ``silver_*`` of those that nobody will have read; None without an audit slice.
    ``model``: what the next model run reaches; None before the first run. ``annotation_id`` is the newest answer
    that the plan knew, ``name_answer_id`` the newest answer about a name.
    """

    signature: str
    project: str
    version: str
    annotation_id: int
    minutes: float
    tasks: list[str]
    task_ids: list[int]
    changes: Interval
    f1_now: Interval | None
    f1_after: Interval | None
    lead_times: LeadTimes
    forecast: Forecast
    strategy: str | None = None
    name_answer_id: int = 0
    planned_tasks: list[PlannedTask] = []
    names: list[PlannedName] = []
    name_changes: Interval = Interval(0.0, 0.0, 0.0)
    name_forecast: NameForecast = NameForecast(0.5, 0.35, 0)
    seconds_per_name: float = 6.0
    silver_now: Interval | None = None
    silver_after: Interval | None = None
    model: ModelOutlook | None = None


def make_plan(
    store: Store,
    name: str,
    minutes: float,
    *,
    strategy: str | None = None,
    seed: int = 0,
    split: str = SPLIT,
    keep: bool = True,
) -> PlanReport:
    """What people can do in ``minutes`` and what they are going to find: what waits for them, and what `push`
    would send. Without a ``strategy`` that is sentences and names in one queue, with one it is sentences.
    ``keep`` stores the plan, so that :func:`xner_label.review.plan_outcomes.compare_plan` can hold it against
    what comes.

    Raises UsageError for an unknown strategy, or where nothing is predicted.
    """
    with store.read() as session:
        project = projects.get_project(session, name)
        costs = costs_of(session, project.id)
        given = waiting(session, project, costs)
        chosen = selected(session, project, 60.0 * minutes - given.taken(costs), costs, strategy, seed, split)
        version = runs.reviewed_version(session, project, split)
        seen = view(session, name, version, beside={*given.tasks, *chosen.audit, *chosen.tasks})
        report, expected = _report(session, project, seen, minutes, given, chosen, costs)
    report = msgspec.structs.replace(
        report, strategy=strategy, signature=f"{report.signature} strategy={strategy or 'one-queue'} seed={seed}"
    )
    if keep:
        content = {**msgspec.to_builtins(report), "expected": expected.tolist()}
        with store.write() as session:
            desk.add_plan(session, seen.project_id, seen.annotation_id, content)
    return report


def selected(
    session: Session,
    project: Project,
    seconds: float,
    costs: Costs,
    strategy: str | None = None,
    seed: int = 0,
    split: str = SPLIT,
) -> Selection:
    """What `push` would send for so many seconds of people's time."""
    seconds = max(seconds, 0.0)
    version = runs.reviewed_version(session, project, split)
    if strategy is None or version is None:
        return select(session, project, seconds, costs, split)
    # nobody reads a sentence in less than the time of a token
    most = int(seconds / max(costs.token, 0.01)) + 1
    tasks, spent = in_order(
        session, project, version, strategy, most, split=split, seed=seed, seconds=seconds, costs=costs
    )
    return Selection([], [task for task, _, _ in tasks], (), spent)


def _report(
    session: Session,
    project: Project,
    seen: View,
    minutes: float,
    given: Waiting,
    chosen: Selection,
    costs: Costs,
) -> tuple[PlanReport, Floats]:
    """A plan, and (tasks, 2) tokens and doubt of each of its tasks."""
    evidence, counts = seen.evidence, seen.counts
    outlook, of_names = forecast_of(seen), forecast_names(name_history(session, project.id))
    old, cards, spent = _in_time(given, 60.0 * minutes, costs)
    ids = [*old, *chosen.audit, *chosen.tasks]
    place = {int(task_id): number for number, task_id in enumerate(evidence.ids.tolist())}
    known = [task_id for task_id in ids if task_id in place]
    places = np.array([place[task_id] for task_id in known], np.int64)
    tokens, doubt = evidence.tokens[places], counts.doubt[places]
    expected = outlook.changes(tokens, doubt)
    asked = [*cards, *chosen.names]
    occurrences = np.array([row.occurrences for row in asked], np.float64)
    of_answers = of_names.changes(occurrences, np.array([row.doubt for row in asked], np.float64))
    read: Bools = np.zeros(len(evidence.ids), bool)
    read[places] = True
    outside = np.array([row.outside for row in asked], np.float64)
    now = estimate(counts)
    after = estimate(counts, chosen=read, mended=of_names.total(occurrences, outside))
    external = desk.external_ids(session, known)
    waits = set(given.tasks)
    report = PlanReport(
        signature=seen.signature,
        project=seen.project,
        version=evidence.version,
        annotation_id=seen.annotation_id,
        minutes=round((spent + chosen.seconds) / 60.0, 1),
        tasks=[external[task_id] for task_id in known],
        task_ids=known,
        changes=outlook.total(tokens, doubt),
        f1_now=None if now is None else now.f1,
        f1_after=None if after is None else after.f1,
        silver_now=None if now is None else now.rest_f1,
        silver_after=None if after is None else after.rest_f1,
        lead_times=lead_times_of(seen),
        forecast=outlook,
        name_answer_id=names.newest_answer(session, project.id),
        planned_tasks=[
            PlannedTask(external[task_id], round(changes, 2), task_id in waits)
            for task_id, changes in zip(known, expected.tolist(), strict=True)
        ],
        names=[
            PlannedName(
                row.key.source,
                row.key.target,
                row.key.label,
                row.occurrences,
                round(row.doubt, 3),
                round(changes, 2),
                number < len(cards),
            )
            for number, (row, changes) in enumerate(zip(asked, of_answers.tolist(), strict=True))
        ],
        name_changes=of_names.total(occurrences, np.array([row.doubt for row in asked], np.float64)),
        name_forecast=of_names,
        seconds_per_name=costs.name,
        model=_model(session, project, int(evidence.reviewed.sum()), len(known)),
    )
    return report, np.column_stack([tokens, doubt]).round(4)


def _in_time(given: Waiting, seconds: float, costs: Costs) -> tuple[list[int], list[QueuedName], float]:
    """What waits and can be done in so many seconds, sentences first, then questions; and what that takes."""
    shown = count_in_time(given.seconds[: len(given.tasks)], seconds)
    read = count_in_time(given.seconds, seconds)
    spent = float(given.seconds[:read].sum())
    cards = given.names[: int((seconds - spent) / max(costs.name, 0.1))] if read == len(given.seconds) else []
    return given.tasks[:shown], cards, spent + len(cards) * costs.name


def _model(session: Session, project: Project, gold: int, more: int) -> ModelOutlook | None:
    """What the next model run will reach, by the runs of the kind that was trained last."""
    every = runs.model_runs(session, project.id)
    points = []
    for run in every:
        judged = (run.metrics.get("test") or run.metrics.get("dev") or {}).get("model")
        if run.kind == every[-1].kind and judged is not None:
            points.append(ModelPoint(run.gold_tasks, judged["f1"], *judged["ci95"]))
    return model_outlook(points, gold, more)


def lead_times_of(seen: View) -> LeadTimes:
    """What reviews of this project take, by Label Studio's clock."""
    evidence = seen.evidence
    known = evidence.reviewed & np.isfinite(evidence.seconds)
    return fit_lead_times(evidence.tokens[known], seen.counts.changes[known], evidence.seconds[known])


def forecast_of(seen: View) -> Forecast:
    """What the reviewed tasks teach about those to come."""
    evidence, counts = seen.evidence, seen.counts
    read = evidence.reviewed
    answered = evidence.answered[read]
    age = len(answered) - np.searchsorted(np.sort(answered), answered, side="right").astype(np.float64)
    return forecast(TaskHistory(evidence.tokens[read], counts.doubt[read], counts.changes[read], age))


def name_history(session: Session, project_id: int) -> NameHistory:
    """The answered questions of a project, without those that were made before expectations were stored."""
    rows = [
        (question.occurrences, question.expected_errors, answer_changes(question, states))
        for question, states in names.answers_in_force(session, project_id)
        if question.expected_errors is not None
    ]
    return NameHistory(*np.array(rows, np.float64).reshape(-1, 3).T)


def answer_changes(question: NameQuestion, states: Mapping[str, names.AnswerState]) -> int:
    """How many occurrences the newest answer to a question changes: all of them, or none."""
    newest = max(states.values(), key=lambda state: state.updated_at)
    confirms = newest.kind == "depends" or (newest.kind == "label" and newest.value == question.label)
    return 0 if confirms else question.occurrences


class Hour(NamedTuple):
    """What another hour of people's time would bring: ``changes`` in sentences and by names together; ids of the
    ``tasks`` that would be read; ``mended``: wrong entities of others that names would put right. ``seen``: the
    project, with these tasks."""

    changes: Interval
    tasks: list[int]
    mended: Interval
    seen: View


def next_hour(session: Session, name: str) -> Hour:
    """The next hour by the project's current pipeline. Raises UsageError where nothing is predicted."""
    project = projects.get_project(session, name)
    costs = costs_of(session, project.id)
    given = waiting(session, project, costs)
    chosen = selected(session, project, 3600.0 - given.taken(costs), costs)
    seen = view(session, name, beside={*given.tasks, *chosen.audit, *chosen.tasks})
    report, _ = _report(session, project, seen, 60.0, given, chosen, costs)
    asked = report.names[len(report.names) - len(chosen.names) :]
    occurrences = np.array([row.occurrences for row in asked], np.float64)
    outside = np.array([row.outside for row in chosen.names], np.float64)
    mended = report.name_forecast.total(occurrences, outside)
    return Hour(_sum(report.changes, report.name_changes), report.task_ids, mended, seen)


def _sum(first: Interval, second: Interval) -> Interval:
    """The sum of two independent numbers."""
    value = first.value + second.value
    below = float(np.hypot(first.value - first.low, second.value - second.low))
    above = float(np.hypot(first.high - first.value, second.high - second.value))
    return Interval(value, max(value - below, 0.0), value + above)


def question_keys(planned: Sequence[PlannedName]) -> set[tuple[str, str, str]]:
    """What the questions of a plan are known by."""
    return {(row.source, row.target, row.label) for row in planned}
