"""What a project's answers say about its predictions, as columns: what calibration and estimates work on."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from sqlalchemy.orm import Session

from xner_label.confidence.estimates import TaskCounts
from xner_label.confidence.signals import EntitySignals
from xner_label.confidence.task_scores import TaskSignals
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
# Of more unread tasks than this a sample speaks for all, so that time and memory stay the same at any size.
MOST_UNREAD = 50_000
# Multiplier of a hash that orders ids at random, the same for ever (Knuth, TAOCP 3, 6.4).
_SCATTER = np.uint64(0x9E3779B97F4A7C15)


class Evidence(NamedTuple):
    """The labelled tasks of a project that a pipeline version predicted, and their entities: all that people
    settled, and the others or a sample of them.

    signals: (n,) columns, whose ``task`` is a place in the columns of tasks
    span: (n, 2) start and end in code points
    labels: names of ``signals.label``
    ids, confidence: (S,) the tasks' ids, and P(all of it is right) by the pipeline
    reviewed, audited, blind: (S,) whether people settled it, it was drawn at random before that, and people didn't
    see the prediction
    weight: (S,) how many tasks it stands for
    gold, missed: (S,) settled entities, and those of them that no predicted one overlaps
    tokens: (S,) lengths, about
    lost: (S,) source entities that nothing was projected from
    answered: (S,) the place of people's answer among all answers, 0 where nobody settled it
    seconds: (S,) what people took, NaN where unknown
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
    weight: Floats
    gold: Floats
    missed: Floats
    tokens: Floats
    lost: Floats
    answered: Ints
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
            weight=self.weight,
        )

    def task_signals(self, confidence: Floats) -> TaskSignals:
        """The tasks as their score wants them; ``confidence`` (n,) is calibrated."""
        task, size = self.signals.task, len(self.ids)
        shown = np.exp(np.bincount(task, np.log(np.maximum(self.signals.confidence, 1e-9)), size))
        return TaskSignals(
            sure=np.exp(np.bincount(task, np.log(np.maximum(confidence, 1e-9)), size)),
            hidden=np.minimum(self.confidence / np.maximum(shown, 1e-9), 1.0),
            lost=self.lost,
            tokens=self.tokens,
            reviewed=self.reviewed,
            audited=self.audited & self.reviewed,
            complete=self.reviewed & (self.missed == 0),
        )

    @property
    def whole(self) -> Bools:
        """(S,) whether people settled a task exactly as it was predicted."""
        task, size = self.signals.task, len(self.ids)
        wrong = np.bincount(task, ~self.signals.right, size)
        whole: Bools = self.reviewed & (wrong == 0) & (self.missed == 0)
        return whole

    @property
    def stands_for(self) -> float:
        """How many unread tasks one of them stands for, on average."""
        unread = ~self.reviewed
        return float(self.weight[unread].mean()) if unread.any() else 1.0

    @property
    def audited_entities(self) -> Bools:
        """(n,) entities of reviewed tasks that were drawn at random."""
        return (self.audited & self.reviewed)[self.signals.task]

    @property
    def unread(self) -> Bools:
        """(n,) entities of tasks nobody has reviewed."""
        return ~self.signals.reviewed


def read_evidence(
    session: Session,
    project_id: int,
    version: str,
    *,
    most: int | None = None,
    beside: Collection[int] = (),
    only: Collection[int] | None = None,
) -> Evidence:
    """Read a project's evidence about a version. Tasks about which people disagree are left out.

    All that people settled is read. Of more than ``most`` other tasks (None: of any number) a sample of as many
    is, and those whose ids are ``beside``; or those of ``only`` alone.
    """
    in_splits = Task.split.in_(desk.LABELLED_SPLITS)
    settled = {gold.task.id: gold for gold in gold_of(session, project_id, in_splits)}
    disputed = {conflict.task.id for conflict in conflicts_of(session, project_id, in_splits)}
    weight_of, ids = 1.0, None
    if only is not None:
        ids = sorted({*settled, *only})
    elif most is not None and desk.count_predicted(session, version) > most + len(settled):
        ids, weight_of = _sample(session, project_id, version, {*settled, *disputed}, beside, most)
        ids = sorted({*ids, *settled, *beside})
    certain = {*settled, *beside}
    rows = [row for row in desk.predicted_tasks(session, project_id, version, ids) if row.id not in disputed]
    place = {row.id: number for number, row in enumerate(rows)}
    taken = lead_times.first_answer_times(session, project_id)
    lengths = np.array([row.length for row in rows], np.float64)
    predicted = _signals(desk.predicted_entities(session, project_id, version, ids), place, settled)
    sources = np.array([row.sources for row in rows], np.float64)
    return Evidence(
        version=version,
        signals=predicted.signals,
        span=predicted.span,
        labels=predicted.labels,
        ids=np.array([row.id for row in rows], np.int64),
        confidence=np.array([row.confidence for row in rows], np.float64),
        reviewed=np.array([row.id in settled for row in rows], bool),
        audited=np.array([bool(row.drawn) for row in rows], bool),
        blind=np.array([bool(row.blind) for row in rows], bool),
        weight=np.array([1.0 if row.id in certain else weight_of for row in rows], np.float64),
        gold=np.array([len(settled[row.id].entities) if row.id in settled else 0 for row in rows], np.float64),
        missed=_missed([row.id for row in rows], settled, predicted),
        tokens=lengths / _code_points_per_token(session, [row.id for row in rows[:_SAMPLE]]),
        lost=np.maximum(sources - np.bincount(predicted.signals.task, predicted.projected, len(rows)), 0.0),
        answered=np.array(
            [min(settled[row.id].annotations, default=0) if row.id in settled else 0 for row in rows], np.int64
        ),
        seconds=np.array([taken.get(row.id, np.nan) for row in rows], np.float64),
    )


def _sample(
    session: Session, project_id: int, version: str, known: set[int], beside: Collection[int], count: int
) -> tuple[list[int], float]:
    """Ids of ``count`` tasks that aren't ``known`` or ``beside``, nearly the same ones every time, and how many
    each stands for."""
    ids = np.frombuffer(desk.predicted_ids(session, project_id, version), np.int64)
    ids = ids[~np.isin(ids, np.array([*known, *beside], np.int64))]
    if len(ids) <= count:
        return ids.tolist(), 1.0
    order = ids.astype(np.uint64) * _SCATTER
    return ids[np.argpartition(order, count)[:count]].tolist(), len(ids) / count


def _first_answer(gold: Gold | None) -> int:
    return 0 if gold is None else min(gold.annotations, default=0)


class _Entities(NamedTuple):
    """Entities as columns: signals, span (n, 2), names of the labels, and (n,) whether each has a source
    entity."""

    signals: EntitySignals
    span: Ints
    labels: list[str]
    projected: Bools


def _missed(ids: Sequence[int], settled: Mapping[int, Gold], predicted: _Entities) -> Floats:
    """(S,) settled entities that no predicted one overlaps."""
    task = predicted.signals.task
    borders = np.searchsorted(task, np.arange(len(ids) + 1))
    missed = np.zeros(len(ids))
    for number, task_id in enumerate(ids):
        if task_id in settled:
            spans = predicted.span[borders[number] : borders[number + 1]]
            missed[number] = sum(
                not ((spans[:, 0] < entity.end) & (spans[:, 1] > entity.start)).any()
                for entity in settled[task_id].entities
            )
    return missed


def _signals(entities: Iterable[desk.EntityRow], place: dict[int, int], settled: Mapping[int, Gold]) -> _Entities:
    texts: dict[str, int] = {}
    labels: dict[str, int] = {}
    right_of = {
        task_id: {(entity.start, entity.end, entity.label) for entity in gold.entities}
        for task_id, gold in settled.items()
    }
    numbers = [np.zeros((0, 8), np.int64)]
    probabilities = [np.zeros((0, 2))]
    waiting: list[tuple[int, int, int, int, int, bool, bool, bool]] = []
    sure: list[tuple[float, float]] = []

    def keep() -> None:
        """Rows of Python numbers take ten times the room of arrays."""
        numbers.append(np.array(waiting, np.int64).reshape(-1, 8))
        probabilities.append(np.array(sure, np.float64).reshape(-1, 2))
        waiting.clear()
        sure.clear()

    for task_id, start, end, label, text, confidence, tagger, projected in entities:
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
                projected,
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
    return _Entities(signals, table[:, 3:5], list(labels), table[:, 7].astype(bool))


def _code_points_per_token(session: Session, task_ids: list[int]) -> float:
    tasks = [session.get_one(Task, task_id) for task_id in task_ids]
    tokens = sum(len(Tokens.of(task.text, task.tokens)) for task in tasks)
    return sum(len(task.text) for task in tasks) / tokens if tokens else 1.0
