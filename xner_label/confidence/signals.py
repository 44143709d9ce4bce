"""What is known of each predicted entity beside its own confidence.

The projection's confidence already knows the entity's own sentence. What it doesn't weigh is how the rest of
the corpus turned out: whether the same words with the same label are sure elsewhere, or stand there as
something else, and what people said where they read them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from xner_label.projection.loglinear.columns import Bools, Floats, Ints
from xner_label.projection.loglinear.model import logit

# Columns of the design, in this order. ``agreement``: how much surer the same text with the same label is
# elsewhere; ``rivals``: log(1 + expected entities of the same text with another label).
FEATURES = ("bias", "confidence", "tagger", "agreement", "rivals")
# Log-odds are held within these bounds, those of people's answers included.
_SUREST = 4.0


class EntitySignals(NamedTuple):
    """A table of predicted entities, all columns of shape (n,).

    task: number of the entity's task; confidence: by the pipeline, which didn't know the task's answer; tagger:
    P(span, label) by a tagger that never saw the task, NaN without one; text, label: codes of the folded text
    and of the label; reviewed: whether people settled the task; right: whether the entity is exactly as they
    settled it (False where nobody did).
    """

    task: Ints
    confidence: Floats
    tagger: Floats
    text: Ints
    label: Ints
    reviewed: Bools
    right: Bools

    def select(self, rows: Bools | Ints) -> EntitySignals:
        """The entities of these rows, given by number or by mask."""
        columns: list[Any] = [column[rows] for column in self]
        return EntitySignals(*columns)


def codes_of(values: Sequence[object]) -> Ints:
    """(n,) a number for each different value, in order of appearance."""
    numbers: dict[object, int] = {}
    return np.array([numbers.setdefault(value, len(numbers)) for value in values], np.int64)


def design(signals: EntitySignals) -> Floats:
    """(n, len(FEATURES)) what the calibration sees. An entity's own outcome is never part of its row."""
    log_odds = np.clip(logit(signals.confidence), -_SUREST, _SUREST)
    known = np.where(signals.reviewed, np.where(signals.right, _SUREST, -_SUREST), log_odds)
    labels = int(signals.label.max(initial=0)) + 1
    key = signals.text * labels + signals.label
    _, key = np.unique(key, return_inverse=True)
    count = np.bincount(key)[key] - 1
    total = np.bincount(key, known)[key] - known
    agreement = np.where(count > 0, total / np.maximum(count, 1) - log_odds, 0.0) * count / (count + 1.0)
    probability = np.where(signals.reviewed, signals.right, signals.confidence)
    of_text = np.bincount(signals.text, probability)[signals.text] if len(signals.text) else probability
    rivals = np.log1p(np.maximum(of_text - np.bincount(key, probability)[key], 0.0))
    tagger = np.where(np.isnan(signals.tagger), 0.0, logit(np.nan_to_num(signals.tagger, nan=0.5)))
    return np.column_stack(
        [np.ones(len(log_odds)), logit(signals.confidence), tagger / 2.5, agreement / 2.0, rivals]
    )
