"""People, played by known entities, who err now and then."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from xner_label.iob2 import TokenSpan


class SimulatedReviewer:
    """Answers with the gold. Each entity of a sentence, and each answer about a name, is wrong with probability
    ``error``: a span is left out, has another label, or loses or gains a token; a name gets another answer."""

    def __init__(
        self,
        gold: Sequence[Sequence[TokenSpan]],
        lengths: Sequence[int],
        labels: Sequence[str],
        error: float,
        seed: int,
    ) -> None:
        self._gold = gold
        self._lengths = lengths
        self._labels = labels
        self._error = error
        self._generator = np.random.default_rng([seed, 1])

    def review(self, number: int) -> list[TokenSpan]:
        """The entities that a person leaves standing in a sentence."""
        answer: list[TokenSpan] = []
        for span in self._gold[number]:
            mistaken = self._error > 0 and self._generator.random() < self._error
            changed = self._mistake(span, self._lengths[number]) if mistaken else span
            if changed is not None and all(last <= changed[0] or changed[1] <= first for first, last, _ in answer):
                answer.append(changed)
        return answer

    def name(self, shown: Sequence[tuple[int, int, int]]) -> str | None:
        """The label that a person gives the occurrences (sentence, first, last) of a name, by what most of those
        shown are; None for "no such name"."""
        votes: Counter[str | None] = Counter()
        for number, first, last in shown:
            labels = [label for start, end, label in self._gold[number] if (start, end) == (first, last)]
            votes[labels[0] if labels else None] += 1
        answer = votes.most_common(1)[0][0]
        if self._error > 0 and self._generator.random() < self._error:
            others = [label for label in (*self._labels, None) if label != answer]
            answer = others[int(self._generator.integers(len(others)))]
        return answer

    def _mistake(self, span: TokenSpan, length: int) -> TokenSpan | None:
        first, last, label = span
        kind = self._generator.integers(3)
        if kind == 0:
            return None
        if kind == 1:
            others = [other for other in self._labels if other != label]
            return first, last, others[int(self._generator.integers(len(others)))] if others else label
        if last - first > 1:
            return first, last - 1, label
        return (first, last + 1, label) if last < length else None
