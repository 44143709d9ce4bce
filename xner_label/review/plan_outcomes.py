"""Plans against what people did since: sentences answered, names settled, and what that changed."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise

import msgspec
import numpy as np
from sqlalchemy.orm import Session

from xner_label.confidence.estimates import Interval
from xner_label.projection.loglinear.columns import Floats
from xner_label.review.plans import PlanReport, answer_changes, question_keys
from xner_label.store import desk, names, predictions, projects
from xner_label.store.database import Store, id_batches
from xner_label.store.gold import Gold, gold_of
from xner_label.store.lead_times import first_answer_times
from xner_label.store.tables import Task

# A lead time so many times as long as expected holds a break: it counts as expected.
_INTERRUPTED = 5.0
# Plans that the comparison goes back to.
_NEWEST = 50


class PlanOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """A stored plan against what people did since, and before the next plan: of ``planned`` tasks ``answered``
    were, with ``changes`` where ``expected`` were foreseen for just these; ``minutes`` they took by their lead
    times (None: unknown) where ``expected_minutes`` were. ``held``: whether the changes lie in the interval. The
    same of questions about names: ``planned_names``, ``answered_names``, and the occurrences that answers
    changed."""

    made_at: datetime
    planned: int
    answered: int
    changes: int
    expected: Interval
    held: bool
    minutes: float | None
    expected_minutes: float
    planned_names: int
    answered_names: int
    name_changes: int
    expected_name_changes: Interval
    names_held: bool


def compare_plan(store: Store, name: str) -> PlanOutcome | None:
    """The newest plan against what people have done since; None without a plan, or before anything was done."""
    with store.read() as session:
        project_id = projects.get_project(session, name).id
        stored = desk.newest_plans(session, project_id, 1)
        return _outcome(session, project_id, stored[0], None) if stored else None


def plan_outcomes(store: Store, name: str) -> list[PlanOutcome]:
    """Every plan of the last ones of which anything was done, oldest first, up to the plan after it."""
    with store.read() as session:
        project_id = projects.get_project(session, name).id
        stored: list[desk.ReviewPlan | None] = [*desk.newest_plans(session, project_id, _NEWEST)[::-1], None]
        outcomes = [
            _outcome(session, project_id, plan, following)
            for plan, following in pairwise(stored)
            if plan is not None and (following is None or following.annotation_id != plan.annotation_id)
        ]
        return [outcome for outcome in outcomes if outcome is not None]


def _outcome(
    session: Session, project_id: int, stored: desk.ReviewPlan, following: desk.ReviewPlan | None
) -> PlanOutcome | None:
    report = msgspec.convert(stored.content, PlanReport)
    until = None if following is None else following.annotation_id
    answered = _answered(session, project_id, report, until)
    occurrences, doubt, made = _settled(session, project_id, report, following)
    if not answered and not len(made):
        return None
    shown = predictions.of_tasks(session, [gold.task.id for gold in answered], report.version)
    # what was pruned since can't be compared any more
    answered = [gold for gold in answered if gold.task.id in shown]
    seconds = first_answer_times(session, project_id, [gold.task.id for gold in answered])
    changes = 0
    for gold in answered:
        said = {(entity.start, entity.end, entity.label) for entity in gold.entities}
        before = {(row.start, row.end, row.label) for row in shown[gold.task.id].entities}
        changes += max(len(before - said), len(said - before))
    place = {task_id: number for number, task_id in enumerate(report.task_ids)}
    expected = np.array(stored.content["expected"], np.float64).reshape(-1, 2)
    tokens, suspected = expected[[place[gold.task.id] for gold in answered]].T
    foreseen = report.forecast.total(tokens, suspected)
    usual = report.lead_times.seconds(tokens, report.forecast.changes(tokens, suspected))
    taken = np.array([seconds.get(gold.task.id, np.nan) for gold in answered])
    taken = np.where(taken > _INTERRUPTED * usual, usual, taken)
    of_names = report.name_forecast.total(occurrences, doubt)
    return PlanOutcome(
        made_at=stored.created_at,
        planned=len(report.tasks),
        answered=len(answered),
        changes=changes,
        expected=foreseen,
        held=foreseen.low <= changes <= foreseen.high,
        minutes=None if np.isnan(taken).any() or not len(taken) else round(float(taken.sum()) / 60.0, 1),
        expected_minutes=round(float(usual.sum()) / 60.0, 1),
        planned_names=len(report.names),
        answered_names=len(made),
        name_changes=int(made.sum()),
        expected_name_changes=of_names,
        names_held=of_names.low <= float(made.sum()) <= of_names.high,
    )


def _answered(session: Session, project_id: int, report: PlanReport, until: int | None) -> list[Gold]:
    """The tasks of a plan that people have settled since."""
    since = desk.answered_since(session, project_id, report.annotation_id, until)
    return [
        gold
        for batch in id_batches([task_id for task_id in report.task_ids if task_id in since])
        for gold in gold_of(session, project_id, Task.id.in_(batch))
    ]


def _settled(
    session: Session, project_id: int, report: PlanReport, following: desk.ReviewPlan | None
) -> tuple[Floats, Floats, Floats]:
    """Occurrences, doubt and changes of the questions of a plan that were answered since."""
    planned = {(row.source, row.target, row.label): row for row in report.names}
    known = set() if following is None else question_keys(msgspec.convert(following.content, PlanReport).names)
    rows = []
    for question, states in names.answers_in_force(session, project_id) if planned else ():
        key = (question.source_name, question.target_text, question.label)
        if key in planned and key not in known:
            row = planned[key]
            rows.append((row.occurrences, row.doubt, answer_changes(question, states)))
    occurrences, doubt, changes = np.array(rows, np.float64).reshape(-1, 3).T
    return occurrences, doubt, changes
