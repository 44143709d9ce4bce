"""The library's face for programs: a few functions over what the commands use. docs/api.md shows them at work."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import msgspec

from xner_label.entities import Prediction, Task
from xner_label.errors import RecordError
from xner_label.evaluation.spans import Evaluation, JudgedTask
from xner_label.evaluation.spans import evaluate as evaluate_spans
from xner_label.pipeline.pipeline import Pipeline
from xner_label.projection.projectors import make_projector


def project(
    tasks: Sequence[Task],
    *,
    corpus: bool = False,
    projector: str = "default",
    weights: str = "",
    min_confidence: float | None = None,
    labels: Collection[str] | None = None,
) -> list[Prediction | RecordError]:
    """Project the source entities of each task onto its text; the library's ``xner-label project``.

    One answer per task, in order: a prediction, or the error that says what the task lacks. With ``corpus`` the
    tasks inform each other. ``min_confidence`` is a probability, by default the projector's own cut; ``labels``
    leaves other labels out. Raises UsageError for an unknown projector, ConfigurationError for weights that can't
    be read.
    """
    pipeline = Pipeline(
        make_projector("corpus" if corpus else projector, weights=weights),
        min_confidence=min_confidence,
        labels=labels,
    )
    if pipeline.learns:
        pipeline.learn(tasks)
    return pipeline.predict(tasks)


def evaluate(
    gold: Iterable[Task], predictions: Iterable[Prediction | Task], *, labels: Collection[str] | None = None
) -> Evaluation:
    """Strict span scores of predictions against the ``entities`` of gold tasks, matched by id.

    Raises ContractError where the texts of a pair differ, or an entity lies outside its text.
    """
    return evaluate_spans(map(_judged, gold), map(_judged, predictions), labels)


def _judged(task: Task | Prediction) -> JudgedTask:
    return msgspec.convert(task, JudgedTask, from_attributes=True)
