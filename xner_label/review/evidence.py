"""What a project's answers say about its predictions, as columns: what calibration and estimates work on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from sqlalchemy.orm import Session

from xner_label.confidence.calibration import Calibrated
from xner_label.confidence.estimates import TaskCounts
from xner_label.confidence.signals import EntitySignals
from xner_label.entities import Tokens
from xner_label.projection.loglinear.columns import Bools, Floats, Ints
from xner_label.store import desk, lead_times
from xner_label.store.gold import Gold, conflicts_of, gold_of
from xner_label.store.tables import Task
from xner_label.word_forms import fold

# Tasks that tell how many code points a token has.
_SAMPLE = 300
# Entities that wait to become arrays.
_CHUNK = 100_000


class Evidence(NamedTuple):
    """Every labelled task of a project that a pipeline version predicted, and its entities.

    signals: (n,) columns, whose ``task`` is a place in the columns of tasks span: (n, 2) start and end in code
    points labels: names of ``signals.label`` ids, confidence: (S,) the tasks' ids, and P(all of it is right) by
    the pipeline reviewed, audited, blind: (S,) whether people settled it, it was drawn at random before that,
    and people didn't see the prediction open: (S,) whether nobody has been asked about it gold: (S,) settled
    entities tokens: (S,) lengths, about seconds: (S,) what people took, NaN where unknown
    """

    version: str
    signals: EntitySignals
    span: Ints
    labels: list[str]
    ids: Ints
    confidence: Floats
    reviewed: Bools
    audited: Bools
    blind: Bools
    open: Bools
    gold: Floats
    tokens: Floats
    seconds: Floats

    def counts(self, confidence: Floats) -> TaskCounts:
        """The tasks as estimates want them; ``confidence`` (n,) is calibrated."""
        task, size = self.signals.task, len(self.ids)
        return TaskCounts(
            shown=np.bincount(task, minlength=size).astype(np.float64),
            expected=np.bincount(task, confidence, size).astype(np.float64),
            reviewed=self.reviewed,
            audited=self.audited & self.reviewed,
            right=np.bincount(task, self.signals.right, size).astype(np.float64),
            gold=self.gold,
        )

    @property
    def audited_entities(self) -> Bools:
        """(n,) entities of reviewed tasks that were drawn at random."""
        return (self.audited & self.reviewed)[self.signals.task]

    @property
    def unread(self) -> Bools:
        """(n,) entities of tasks nobody has reviewed."""
        return ~self.signals.reviewed


def read_evidence(session: Session, project_id: int, version: str) -> Evidence:
    """Read all of a project's evidence about a version. Tasks about which people disagree are left out."""
    in_splits = Task.split.in_(desk.LABELLED_SPLITS)
    settled = {gold.task.id: gold for gold in gold_of(session, project_id, in_splits)}
    disputed = {conflict.task.id for conflict in conflicts_of(session, project_id, in_splits)}
    rows = [row for row in desk.predicted_tasks(session, project_id, version) if row[0] not in disputed]
    place = {row[0]: number for number, row in enumerate(rows)}
    taken = lead_times.first_answer_times(session, project_id)
    lengths = np.array([row[1] for row in rows], np.float64)
    signals, span, labels = _signals(desk.predicted_entities(session, project_id, version), place, settled)
    return Evidence(
        version=version,
        signals=signals,
        span=span,
        labels=labels,
        ids=np.array([row[0] for row in rows], np.int64),
        confidence=np.array([row[2] for row in rows], np.float64),
        reviewed=np.array([row[0] in settled for row in rows], bool),
        audited=np.array([bool(row[3]) for row in rows], bool),
        blind=np.array([bool(row[4]) for row in rows], bool),
        open=np.array([row[3] is None and row[0] not in settled for row in rows], bool),
        gold=np.array([len(settled[row[0]].entities) if row[0] in settled else 0 for row in rows], np.float64),
        tokens=lengths / _code_points_per_token(session, [row[0] for row in rows[:_SAMPLE]]),
        seconds=np.array([taken.get(row[0], np.nan) for row in rows], np.float64),
    )


def _signals(
    entities: Iterable[desk.EntityRow], place: dict[int, int], settled: dict[int, Gold]
) -> tuple[EntitySignals, Ints, list[str]]:
    texts: dict[str, int] = {}
    labels: dict[str, int] = {}
    right_of = {
        task_id: {(entity.start, entity.end, entity.label) for entity in gold.entities}
        for task_id, gold in settled.items()
    }
    numbers = [np.zeros((0, 7), np.int64)]
    probabilities = [np.zeros((0, 2))]
    waiting: list[tuple[int, int, int, int, int, bool, bool]] = []
    sure: list[tuple[float, float]] = []

    def keep() -> None:
        """Rows of Python numbers take ten times the room of arrays."""
        numbers.append(np.array(waiting, np.int64).reshape(-1, 7))
        probabilities.append(np.array(sure, np.float64).reshape(-1, 2))
        waiting.clear()
        sure.clear()

    for task_id, start, end, label, text, confidence, tagger in entities:
        if task_id not in place:
            continue
        gold = right_of.get(task_id)
        waiting.append(
            (
                place[task_id],
                texts.setdefault(fold(text), len(texts)),
                labels.setdefault(label, len(labels)),
                start,
                end,
                gold is not None,
                gold is not None and (start, end, label) in gold,
            )
        )
        sure.append((confidence, np.nan if tagger is None else tagger))
        if len(waiting) == _CHUNK:
            keep()
    keep()
    table, odds = np.concatenate(numbers), np.concatenate(probabilities)
    signals = EntitySignals(
        task=table[:, 0],
        confidence=odds[:, 0],
        tagger=odds[:, 1],
        text=table[:, 1],
        label=table[:, 2],
        reviewed=table[:, 5].astype(bool),
        right=table[:, 6].astype(bool),
    )
    return signals, table[:, 3:5], list(labels)


def _code_points_per_token(session: Session, task_ids: list[int]) -> float:
    tasks = [session.get_one(Task, task_id) for task_id in task_ids]
    tokens = sum(len(Tokens.of(task.text, task.tokens)) for task in tasks)
    return sum(len(task.text) for task in tasks) / tokens if tokens else 1.0


def expected_sentences(evidence: Evidence, calibrated: Calibrated) -> Floats:
    """(S,) P(nothing shown is wrong) of each task, from the calibrated confidences of its entities."""
    odds = np.bincount(evidence.signals.task, np.log(np.maximum(calibrated.confidence, 1e-9)), len(evidence.ids))
    probability: Floats = np.exp(odds)
    return probability
