"""All that `xner-label report` shows, as data: the page and the JSON document have the same numbers."""

from __future__ import annotations

from datetime import datetime

import msgspec
from sqlalchemy.orm import Session

from xner_label.reporting.judged import answers, reviewed_tasks
from xner_label.reporting.status import Status, status
from xner_label.review.desk import (
    CalibrationReport,
    GuaranteeReport,
    calibration_report,
    guarantee_report,
    is_predicted,
)
from xner_label.review.drift import DriftReport, drift_of
from xner_label.review.error_sources import ErrorSources, error_sources
from xner_label.review.finishing import StopReport, judged
from xner_label.review.name_patterns import NamePattern, name_patterns
from xner_label.review.people import Person, people
from xner_label.review.plan_outcomes import PlanOutcome, plan_outcomes
from xner_label.review.plans import next_hour
from xner_label.store import names, projects, runs
from xner_label.store.base import utc_now
from xner_label.store.database import Store
from xner_label.store.tables import ModelRun, Project


class ReviewDesk(msgspec.Struct, frozen=True, kw_only=True):
    """What the review desk knows: how good labels and confidences are, what may be accepted unseen at 5 and 10 %
    error per entity and for whole sentences, whether to stop, whether new text is like the old, and the plans
    there were against what came of them."""

    calibration: CalibrationReport
    guarantees: dict[str, GuaranteeReport]
    stop: StopReport
    drift: DriftReport
    plans: list[PlanOutcome]


class SettledName(msgspec.Struct, frozen=True):
    """A name that was settled on a card: what the answer was, whose, and how many occurrences the card had."""

    source: str
    target: str
    label: str
    answers: dict[str, str]
    occurrences: int


class RunRow(msgspec.Struct, frozen=True):
    """A model run with its strict F1 on held-out gold and the interval, None without any."""

    version: str
    created_at: datetime
    gold_tasks: int
    silver_tasks: int
    f1: float | None
    low: float | None
    high: float | None
    promoted: bool


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """``signature`` names the software and the data; ``made_at`` is in UTC. None: nobody has reviewed anything
    that was predicted before."""

    signature: str
    made_at: datetime
    status: Status
    advice: list[str]
    desk: ReviewDesk | None
    errors: ErrorSources | None
    patterns: list[NamePattern]
    names: list[SettledName]
    people: list[Person]
    runs: list[RunRow]


def report(store: Store, project: str) -> Report:
    """Gather the report of a project. Raises UsageError when the store has none of that name."""
    state = status(store, project)
    desk = _desk(store, project)
    with store.read() as session:
        row = projects.get_project(session, project)
        reviewed = list(reviewed_tasks(session, row))
        return Report(
            signature=state.signature,
            made_at=utc_now(),
            status=state,
            advice=[*state.advice, *([] if desk is None else [desk.stop.verdict.line])],
            desk=desk,
            errors=error_sources(reviewed) if reviewed else None,
            patterns=name_patterns(reviewed),
            names=_settled_names(session, row),
            people=people(answers(session, row)),
            runs=_runs(session, row),
        )


def _desk(store: Store, project: str) -> ReviewDesk | None:
    """The desk of a project; None where nothing is predicted."""
    if not is_predicted(store, project):
        return None
    with store.read() as session:
        hour = next_hour(session, project)
        seen = hour.seen
        verdict, drift = judged(session, hour), drift_of(session, seen)
    return ReviewDesk(
        calibration=calibration_report(seen),
        guarantees={
            "entities, 5 %": guarantee_report(seen, 0.05),
            "entities, 10 %": guarantee_report(seen, 0.10),
            "sentences, 10 %": guarantee_report(seen, 0.10, per="sentence"),
        },
        stop=verdict,
        drift=drift,
        plans=plan_outcomes(store, project),
    )


def _settled_names(session: Session, project: Project) -> list[SettledName]:
    return [
        SettledName(
            question.source_name,
            question.target_text,
            question.label,
            {person: state.value or state.kind for person, state in states.items()},
            question.occurrences,
        )
        for question, states in names.answers_in_force(session, project.id)
    ]


def _runs(session: Session, project: Project) -> list[RunRow]:
    promoted = runs.promoted_run(session, project.id)
    return [_run(row, promoted) for row in runs.model_runs(session, project.id)]


def _run(row: ModelRun, promoted: ModelRun | None) -> RunRow:
    held_out = row.metrics.get("test") or row.metrics.get("dev")
    model = None if held_out is None else held_out["model"]
    low, high = (None, None) if model is None else model["ci95"]
    return RunRow(
        version=row.version,
        created_at=row.created_at,
        gold_tasks=row.gold_tasks,
        silver_tasks=row.silver_tasks,
        f1=None if model is None else model["f1"],
        low=low,
        high=high,
        promoted=promoted is not None and promoted.id == row.id,
    )
