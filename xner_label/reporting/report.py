"""All that `xner-label report` shows, as data: the page and the JSON document have the same numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

import msgspec
import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from xner_label.evaluation import metrics
from xner_label.reporting.judged import answers, reviewed_tasks
from xner_label.reporting.status import Status, status
from xner_label.review.error_sources import ErrorSources, ReviewedTask, error_sources
from xner_label.review.name_patterns import NamePattern, name_patterns
from xner_label.review.people import Person, people
from xner_label.store import names, projects, runs
from xner_label.store.base import utc_now
from xner_label.store.database import Store
from xner_label.store.tables import ModelRun, Project

BINS = 10


class Bin(msgspec.Struct, frozen=True):
    """Entities whose confidence lies in one tenth: their mean confidence, how many there are and are right, and
    the Wilson interval (95 %) of that share."""

    low: float
    high: float
    confidence: float
    entities: int
    right: int
    share_low: float
    share_high: float


class Reliability(msgspec.Struct, frozen=True):
    """What the confidence was worth, on ``entities`` shown entities of ``tasks`` settled tasks. People saw the
    doubtful ones first, so that these are harder than the corpus."""

    tasks: int
    entities: int
    auroc: float | None
    ap_errors: float | None
    brier: float | None
    ece: float | None
    bins: tuple[Bin, ...]


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
    reliability: Reliability | None
    errors: ErrorSources | None
    patterns: list[NamePattern]
    names: list[SettledName]
    people: list[Person]
    runs: list[RunRow]


def report(store: Store, project: str) -> Report:
    """Gather the report of a project. Raises UsageError when the store has none of that name."""
    state = status(store, project)
    with store.read() as session:
        row = projects.get_project(session, project)
        reviewed = list(reviewed_tasks(session, row))
        return Report(
            signature=state.signature,
            made_at=utc_now(),
            status=state,
            advice=state.advice,
            reliability=reliability(reviewed),
            errors=error_sources(reviewed) if reviewed else None,
            patterns=name_patterns(reviewed),
            names=_settled_names(session, row),
            people=people(answers(session, row)),
            runs=_runs(session, row),
        )


def reliability(reviewed: Sequence[ReviewedTask]) -> Reliability | None:
    """How the confidences of predicted entities compare with what people settled; None without entities."""
    rows = []
    for task in reviewed:
        gold = {(entity.start, entity.end, entity.label) for entity in task.gold}
        rows += [
            (entity.confidence, (entity.start, entity.end, entity.label) in gold) for entity in task.predicted
        ]
    if not rows:
        return None
    confidence, right = (np.array(column) for column in zip(*rows, strict=True))
    return Reliability(
        tasks=len(reviewed),
        entities=len(rows),
        auroc=metrics.auroc(confidence, right),
        ap_errors=metrics.average_precision_of_errors(confidence, right),
        brier=metrics.brier(confidence, right),
        ece=metrics.expected_calibration_error(confidence, right, BINS),
        bins=tuple(_bins(confidence, right)),
    )


def _bins(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> Iterator[Bin]:
    from scipy.stats import binomtest

    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    for number in range(BINS):
        inside = place == number
        if count := int(inside.sum()):
            hits = int(right[inside].sum())
            interval = binomtest(hits, count).proportion_ci(method="wilson")
            mean = float(confidence[inside].mean())
            low, high = number / BINS, (number + 1) / BINS
            yield Bin(low, high, mean, count, hits, float(interval.low), float(interval.high))


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
