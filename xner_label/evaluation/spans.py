"""Predictions against gold: strict span F1, and how good the confidences are.

An entity counts as right when start, end and label all agree: seqeval with ``mode="strict", scheme=IOB2``, see
:mod:`xner_label.evaluation.strict_scores`. The counts made here feed the resampling alone. White space at the
borders of an entity doesn't count, and identical entities of a task count once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import msgspec

from xner_label.entities import Probability, trimmed
from xner_label.errors import ContractError, RecordError
from xner_label.evaluation import metrics
from xner_label.evaluation.signature import data_hash, signature
from xner_label.evaluation.strict_scores import LabelledSpan, Scores, strict_scores
from xner_label.jsonl import decoded_lines, open_input

# Of the bootstrap interval.
RESAMPLES, SEED = 1000, 13


class JudgedEntity(msgspec.Struct, frozen=True):
    """An entity of either side; ``confidence`` is None for gold and for predictions without one."""

    start: int
    end: int
    label: str
    confidence: Probability | None = None


class JudgedTask(msgspec.Struct, frozen=True):
    """What an evaluation reads of a line."""

    id: str | int
    text: str
    entities: tuple[JudgedEntity, ...] = ()


class Evaluation(msgspec.Struct, frozen=True):
    """The report. ``n`` counts gold tasks; ``ci95`` is the bootstrap interval of F1 over them.

    ``signature`` says what the figures depend on: version, a hash of the data, labels, resamples and seed.
    ``unknown_ids`` are ids of predictions without gold, which count for nothing. Metrics of confidence are None
    where no prediction has one or where they are undefined.
    """

    precision: float
    recall: float
    f1: float
    ci95: tuple[float, float]
    per_label: dict[str, Scores]
    n: int
    auroc: float | None
    ap_errors: float | None
    brier: float | None
    ece: float | None
    coverage_at_95: float | None
    signature: str
    unknown_ids: list[str]


def evaluate_files(gold: Path | str, predictions: Path | str, labels: Collection[str] | None = None) -> Evaluation:
    """Compare two JSON Lines files by id; the integer 1 and the text "1" are the same id.

    A gold id without a prediction counts as no entities; where an id comes several times, the first lines
    belong together, then the second. Raises ContractError where the text of a pair differs or an entity lies
    outside its text, RecordError for a bad line.
    """
    return evaluate(read_tasks(gold), read_tasks(predictions), labels)


def read_tasks(path: Path | str) -> Iterator[JudgedTask]:
    """The lines of a file. Raises RecordError and ContractError that name file and line."""
    with open_input(path) as stream:
        for number, task in decoded_lines(stream, JudgedTask):
            if isinstance(task, RecordError):
                raise task.in_file(path)
            for entity in task.entities:
                if not 0 <= entity.start < entity.end <= len(task.text):
                    raise ContractError(
                        f"{path} line {number}: entity {entity.start}..{entity.end} doesn't fit a text of "
                        f"{len(task.text)} code points",
                        hint="offsets are code points, end exclusive",
                    )
            yield task


def evaluate(
    gold: Iterable[JudgedTask], predictions: Iterable[JudgedTask], labels: Collection[str] | None = None
) -> Evaluation:
    """Compare tasks by id, see :func:`evaluate_files`. ``labels`` restricts both sides."""
    predicted = _numbered(predictions)
    texts: list[tuple[Collection[LabelledSpan], Collection[LabelledSpan]]] = []
    confidences: list[float] = []
    right: list[bool] = []
    data = []
    for key, task in _numbered(gold).items():
        prediction = predicted.pop(key, None)
        if prediction is not None and prediction.text != task.text:
            raise ContractError(
                f"id {task.id!r}: the texts of gold and prediction differ", hint="evaluate against the same texts"
            )
        truth = set(_spans(task, labels))
        guesses = _spans(prediction, labels) if prediction is not None else {}
        texts.append((truth, guesses.keys()))
        data.append((data_hash(task.text), sorted(truth), sorted(guesses.items())))
        for span, confidence in guesses.items():
            if confidence is not None:
                confidences.append(confidence)
                right.append(span in truth)
    overall, per_label = strict_scores(texts)
    coverage = metrics.coverage_at(confidences, right)
    return Evaluation(
        precision=overall.precision,
        recall=overall.recall,
        f1=overall.f1,
        ci95=metrics.bootstrap_f1(list(map(_counts, texts)), resamples=RESAMPLES, seed=SEED),
        per_label=per_label,
        n=len(texts),
        auroc=metrics.auroc(confidences, right),
        ap_errors=metrics.average_precision_of_errors(confidences, right),
        brier=metrics.brier(confidences, right),
        ece=metrics.expected_calibration_error(confidences, right),
        coverage_at_95=None if coverage is None else coverage[0],
        signature=signature(
            data=data_hash(data),
            labels=",".join(sorted(labels)) if labels is not None else "all",
            resamples=RESAMPLES,
            seed=SEED,
        ),
        unknown_ids=[identity for identity, _ in predicted],
    )


def _counts(sides: tuple[Collection[LabelledSpan], Collection[LabelledSpan]]) -> tuple[int, int, int]:
    """Right, predicted and gold entities of a text."""
    truth, guesses = sides
    return len(set(truth).intersection(guesses)), len(guesses), len(truth)


def _numbered(tasks: Iterable[JudgedTask]) -> dict[tuple[str, int], JudgedTask]:
    """The tasks by id and by how often the id came before. Ids are text: the store keeps 1 as "1"."""
    seen: Counter[str] = Counter()
    result = {}
    for task in tasks:
        identity = str(task.id)
        result[identity, seen[identity]] = task
        seen[identity] += 1
    return result


def _spans(task: JudgedTask, labels: Collection[str] | None) -> dict[LabelledSpan, float | None]:
    return {
        (*_borders(task.text, entity), entity.label): entity.confidence
        for entity in task.entities
        if labels is None or entity.label in labels
    }


def _borders(text: str, entity: JudgedEntity) -> tuple[int, int]:
    """Those without the white space at the ends; an entity of nothing else keeps its own."""
    start, end = trimmed(text, entity.start, entity.end)
    return (start, end) if start < end else (entity.start, entity.end)
