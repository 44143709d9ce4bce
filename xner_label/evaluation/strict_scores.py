"""Precision, recall and F1 as seqeval computes them with ``mode="strict", scheme=IOB2``.

seqeval scores sequences of tags. A text becomes one without losing a border: it is cut wherever an entity of
either side begins or ends, and the pieces are its tokens. Entities that overlap can't stand in one sequence, so
they are spread over several layers of the same text, an entity of both sides into the same layer; every entity is
in exactly one layer, so that all are counted once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

import msgspec

LabelledSpan = tuple[int, int, str]
# The entities of gold and of the prediction in one text.
Sides = tuple[Collection[LabelledSpan], Collection[LabelledSpan]]


class Scores(msgspec.Struct, frozen=True):
    """Strict span scores; ``n`` is the number of gold entities."""

    precision: float
    recall: float
    f1: float
    n: int


def strict_scores(texts: Sequence[Sides]) -> tuple[Scores, dict[str, Scores]]:
    """Scores over all labels (micro average) and by label, of different ``(start, end, label)`` spans per text.

    A score without anything to divide by is 0.
    """
    labels = sorted({label for sides in texts for side in sides for _, _, label in side})
    if not labels:
        return Scores(0.0, 0.0, 0.0, 0), {}
    from seqeval.metrics import classification_report
    from seqeval.scheme import IOB2

    # seqeval takes hyphens and underscores off the ends of names: numbers have none
    names = {label: str(number) for number, label in enumerate(labels)}
    gold: list[list[str]] = []
    predicted: list[list[str]] = []
    for truth, guesses in texts:
        for layer in _layers(truth, guesses):
            borders = sorted({border for side in layer for start, end, _ in side for border in (start, end)})
            place = {border: index for index, border in enumerate(borders)}
            for side, sequences in zip(layer, (gold, predicted), strict=True):
                sequences.append(_tags(side, place, names))
    report = classification_report(gold, predicted, mode="strict", scheme=IOB2, output_dict=True, zero_division=0)
    return _scores(report["micro avg"]), {label: _scores(report[name]) for label, name in names.items()}


def counted_scores(texts: Sequence[Sides]) -> tuple[Scores, dict[str, Scores]]:
    """The same numbers as :func:`strict_scores`, counted in sets of spans.

    For whoever judges again and again: seqeval takes a second to import and builds every sequence of tags.
    """
    right: Counter[str] = Counter()
    predicted: Counter[str] = Counter()
    gold: Counter[str] = Counter()
    for truth, guesses in texts:
        unique, guessed = set(truth), set(guesses)
        gold.update(label for _, _, label in unique)
        predicted.update(label for _, _, label in guessed)
        right.update(label for _, _, label in unique & guessed)
    labels = sorted({*gold, *predicted})
    overall = _ratios(right.total(), predicted.total(), gold.total())
    return overall, {label: _ratios(right[label], predicted[label], gold[label]) for label in labels}


def _ratios(right: int, predicted: int, gold: int) -> Scores:
    """In the order of seqeval's operations, so that the last bit agrees."""
    precision = right / predicted if predicted else 0.0
    recall = right / gold if gold else 0.0
    total = precision + recall
    return Scores(precision, recall, 2.0 * precision * recall / total if total else 0.0, gold)


def _layers(truth: Collection[LabelledSpan], guesses: Collection[LabelledSpan]) -> list[Sides]:
    """The entities of both sides, in layers within which neither side overlaps itself."""
    layers: list[tuple[list[LabelledSpan], list[LabelledSpan]]] = []
    ends: list[list[int]] = []  # by layer and side
    gold, predicted = set(truth), set(guesses)
    for span in sorted(gold | predicted):
        sides = [side for side, spans in enumerate((gold, predicted)) if span in spans]
        free = (index for index, layer in enumerate(ends) if all(layer[side] <= span[0] for side in sides))
        index = next(free, len(layers))
        if index == len(layers):
            layers.append(([], []))
            ends.append([0, 0])
        for side in sides:
            layers[index][side].append(span)
            ends[index][side] = span[1]
    return list(layers)


def _tags(spans: Collection[LabelledSpan], place: dict[int, int], names: dict[str, str]) -> list[str]:
    """IOB2 tags of the pieces between the borders; ``place`` counts the borders."""
    tags = ["O"] * (len(place) - 1)
    for start, end, label in spans:
        first, last = place[start], place[end]
        tags[first:last] = [f"B-{names[label]}"] + [f"I-{names[label]}"] * (last - first - 1)
    return tags


def _scores(row: dict[str, float]) -> Scores:
    return Scores(float(row["precision"]), float(row["recall"]), float(row["f1-score"]), int(row["support"]))
