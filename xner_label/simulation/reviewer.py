"""People, played by known entities, who err now and then."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from xner_label.iob2 import TokenSpan
from xner_label.review.name_answers import Kind, Verdict

# A token range.
Borders = tuple[int, int]


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

    def name(
        self, label: str, shown: Sequence[tuple[int, int, int]], borders: Mapping[str, Sequence[Borders | None]]
    ) -> Verdict:
        """What a person answers about a name by what most of the occurrences shown (sentence, first, last) are:
        a label, no name, or one of the other ``borders`` that the card offers, each given by its text with the
        tokens (first, last) that it has in each occurrence, None where it isn't there."""
        votes: Counter[Verdict] = Counter()
        for place, (number, first, last) in enumerate(shown):
            spans = {(start, end): named for start, end, named in self._gold[number]}
            known = spans.get((first, last))
            if known is not None:
                votes[Verdict(Kind.LABEL, known)] += 1
                continue
            other = next((text for text, at in borders.items() if spans.get(at[place] or (0, 0)) == label), None)
            votes[Verdict(Kind.NO_NAME) if other is None else Verdict(Kind.SPAN, other)] += 1
        answer = votes.most_common(1)[0][0]
        if self._error > 0 and self._generator.random() < self._error:
            every = [Verdict(Kind.LABEL, name) for name in self._labels]
            every += [Verdict(Kind.SPAN, text) for text in borders] + [Verdict(Kind.NO_NAME)]
            others = [verdict for verdict in every if verdict != answer]
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
