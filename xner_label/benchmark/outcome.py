"""What one method reached on one dataset: scores, intervals, and which stage made which errors."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec
import numpy as np

from xner_label.benchmark.data import gold_spans, labelled_spans
from xner_label.benchmark.kept import Cost
from xner_label.entities import Entity, Prediction, Task, Tokens
from xner_label.errors import RecordError
from xner_label.evaluation.metrics import Floats, f1_score, resampled_sums
from xner_label.evaluation.strict_scores import LabelledSpan, Scores, counted_scores
from xner_label.review.error_sources import ErrorSources, ReviewedTask, error_sources

# Of every bootstrap here.
RESAMPLES, SEED, LEVEL = 1000, 13, 0.95


class Outcome(msgspec.Struct, frozen=True):
    """Strict scores of one method on one dataset.

    ``resampled`` is the F1 of each of RESAMPLES bootstrap samples of tasks, the same samples for every method on
    the same tasks, for paired comparisons; ``n`` is the number of tasks. ``failed`` counts those that the method
    could not be run on, which count as without entities; ``failure`` is what was wrong with the first of them.
    ``errors`` is None where there is no source to trace errors to.
    """

    scores: Scores
    ci95: tuple[float, float]
    per_label: dict[str, Scores]
    resampled: list[float]
    n: int
    failed: int
    failure: str
    cost: Cost
    signature: str
    errors: ErrorSources | None = None


def judge_entities(
    tasks: Sequence[Task], entities: Sequence[Sequence[Entity]], labels: Collection[str] | None
) -> tuple[Scores, dict[str, Scores], list[tuple[int, int, int]]]:
    """Scores over all labels and by label, and the counts of each task, of entities by task."""
    sides: list[tuple[set[LabelledSpan], set[LabelledSpan]]] = [
        (gold_spans(task, labels), labelled_spans(task.text, predicted, labels))
        for task, predicted in zip(tasks, entities, strict=True)
    ]
    overall, per_label = counted_scores(sides)
    return overall, per_label, [(len(gold & guessed), len(guessed), len(gold)) for gold, guessed in sides]


def outcome_of_entities(
    tasks: Sequence[Task],
    entities: Sequence[Sequence[Entity]],
    labels: Collection[str] | None,
    cost: Cost,
    signature: str,
) -> Outcome:
    """The outcome of entities that come without a source, one sequence per task."""
    scores, per_label, counts = judge_entities(tasks, entities, labels)
    table = np.array(counts, np.float64).reshape(-1, 3)
    resampled = f1_score(*resampled_sums(table, RESAMPLES, SEED).T)
    return Outcome(scores, interval(resampled), per_label, resampled.tolist(), len(counts), 0, "", cost, signature)


def outcome_of_predictions(
    tasks: Sequence[Task],
    predictions: Sequence[Prediction | RecordError],
    labels: Collection[str] | None,
    cost: Cost,
    signature: str,
) -> Outcome:
    """The outcome of a pipeline's answers; ``tasks`` are complete, with source, source entities and links."""
    entities = [
        [] if isinstance(answer, RecordError) else [Entity(e.start, e.end, e.label) for e in answer.entities]
        for answer in predictions
    ]
    failures = [answer for answer in predictions if isinstance(answer, RecordError)]
    whole = outcome_of_entities(tasks, entities, labels, cost, signature)
    reviewed = reviewed_tasks(tasks, predictions, labels)
    return msgspec.structs.replace(
        whole,
        failed=len(failures),
        failure=str(failures[0]) if failures else "",
        errors=error_sources(reviewed) if reviewed else None,
    )


def reviewed_tasks(
    tasks: Sequence[Task], predictions: Sequence[Prediction | RecordError], labels: Collection[str] | None
) -> list[ReviewedTask]:
    """The tasks that were predicted, as if people had settled their gold, for laying errors at stages' doors."""
    return [
        _reviewed(index, task, answer, labels)
        for index, (task, answer) in enumerate(zip(tasks, predictions, strict=True))
        if isinstance(answer, Prediction)
    ]


def _reviewed(index: int, task: Task, prediction: Prediction, labels: Collection[str] | None) -> ReviewedTask:
    source = None if task.source is None else Tokens.of(task.source, task.source_tokens, "source_tokens")
    return ReviewedTask(
        id=f"{task.id}#{index}",
        text=task.text,
        tokens=Tokens.of(task.text, task.tokens),
        predicted=tuple(e for e in prediction.entities if labels is None or e.label in labels),
        gold=tuple(Entity(*span) for span in sorted(gold_spans(task, labels))),
        source=task.source,
        source_tokens=source,
        source_entities=task.source_entities or (),
        alignment=task.alignment,
    )


def difference(outcome: Outcome, other: Outcome) -> tuple[float, float]:
    """The interval of one method's F1 less another's, both drawn on the same tasks."""
    return interval(np.subtract(outcome.resampled, other.resampled))


def mean_resampled(outcomes: Sequence[Outcome]) -> Floats:
    """The mean F1 over datasets of each bootstrap sample."""
    means: Floats = np.mean([outcome.resampled for outcome in outcomes], axis=0)
    return means


def interval(values: Floats) -> tuple[float, float]:
    """The percentile interval of resampled values."""
    low, high = np.quantile(values, [(1.0 - LEVEL) / 2.0, (1.0 + LEVEL) / 2.0])
    return float(low), float(high)
