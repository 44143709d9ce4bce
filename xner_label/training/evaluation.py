"""How good a model is on gold it hasn't learned from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
import numpy as np

from xner_label.entities import Entity, ProjectedEntity
from xner_label.evaluation.spans import JudgedEntity, JudgedTask, evaluate
from xner_label.evaluation.strict_scores import Scores
from xner_label.evaluation.text_alone import MIN_TASKS, TextAlone, judge_text_alone
from xner_label.training.model import NerModel
from xner_label.training.sentences import GoldSentence


class SystemScores(msgspec.Struct, frozen=True):
    """Strict span scores of one system; ``ci95`` is the bootstrap interval of F1 over tasks, ``auroc`` and
    ``ece`` judge its confidences (None where undefined)."""

    precision: float
    recall: float
    f1: float
    ci95: tuple[float, float]
    per_label: dict[str, Scores]
    auroc: float | None
    ece: float | None


class SplitScores(msgspec.Struct, frozen=True):
    """What a split's gold says. ``tasks`` is its size.

    ``silver`` is the projection by itself (None where nothing is projected), ``model`` the model as it is served,
    with the projection of each task that has one, ``text_only`` the model without any projection.
    """

    tasks: int
    silver: SystemScores | None
    model: SystemScores
    text_only: SystemScores


def score_split(model: NerModel, gold: Sequence[GoldSentence]) -> SplitScores | None:
    """Judge a model on the gold of a split; None when there is none."""
    if not gold:
        return None
    projected = any(item.sentence.silver is not None for item in gold)
    return SplitScores(
        tasks=len(gold),
        silver=score(gold, [item.sentence.silver or () for item in gold]) if projected else None,
        model=score(gold, entities_by(model, gold)),
        text_only=score(gold, entities_by(model, [without_projection(item) for item in gold])),
    )


def compare_text_alone(model: NerModel, gold: Sequence[GoldSentence]) -> TextAlone | None:
    """Judge a model's answers with and without projections on held-out gold: on the tasks whose source a
    translator made, where there are enough of them. None where too few have a projection."""
    projected = [item for item in gold if item.sentence.silver is not None]
    translated = [item for item in projected if item.sentence.source_is_translated]
    enough = len(translated) >= MIN_TASKS
    judged = translated if enough else projected
    if not judged:
        return None
    alone = entities_by(model, [without_projection(item) for item in judged])
    beside = entities_by(model, judged)
    counts = [
        [*span_counts(item, bare), *span_counts(item, helped)]
        for item, bare, helped in zip(judged, alone, beside, strict=True)
    ]
    return judge_text_alone(np.array(counts, np.float64), "translated" if enough else "given")


def entities_by(model: NerModel, gold: Sequence[GoldSentence]) -> list[tuple[Entity, ...]]:
    """The entities that a model finds in each sentence."""
    return [tagged.entities for tagged in model.predict([item.sentence for item in gold])]


def score(
    gold: Sequence[GoldSentence], predicted: Sequence[Iterable[Entity] | Iterable[ProjectedEntity]]
) -> SystemScores:
    """Score one system's entities, given per sentence in the order of ``gold``."""
    truth = [
        JudgedTask(item.sentence.task_id, item.sentence.text, tuple(map(_judged, item.entities))) for item in gold
    ]
    guesses = [
        JudgedTask(item.sentence.task_id, item.sentence.text, tuple(map(_judged, entities)))
        for item, entities in zip(gold, predicted, strict=True)
    ]
    result = evaluate(truth, guesses)
    return SystemScores(
        result.precision, result.recall, result.f1, result.ci95, result.per_label, result.auroc, result.ece
    )


def span_counts(gold: GoldSentence, predicted: Iterable[Entity], label: str | None = None) -> tuple[int, int, int]:
    """Correct, predicted and gold entities of one task (of one label), each distinct one counted once."""
    truth = {(entity.start, entity.end, entity.label) for entity in gold.entities}
    guesses = {(entity.start, entity.end, entity.label) for entity in predicted}
    if label is not None:
        truth, guesses = ({span for span in spans if span[2] == label} for spans in (truth, guesses))
    return len(truth & guesses), len(guesses), len(truth)


def _judged(entity: Entity | ProjectedEntity) -> JudgedEntity:
    confidence = entity.confidence if isinstance(entity, ProjectedEntity) else entity.score
    return JudgedEntity(entity.start, entity.end, entity.label, confidence)


def without_projection(item: GoldSentence) -> GoldSentence:
    """The same sentence as if it had no source and nothing had projected it."""
    return msgspec.structs.replace(item, sentence=item.sentence.text_alone)
