"""What people settled in some sentences of a corpus, said in the corpus' own mentions and candidates.

A reviewed sentence is clamped: the mention whose name was settled on a span votes for that span and its label with
certainty, the sentence's other mentions vote for "not projected". Settled spans that no mention is behind count as
entities of their text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from xner_label.iob2 import TokenSpan
from xner_label.projection.corpus.evidence import LooseSpans, Observations, Opinion
from xner_label.projection.loglinear.columns import Bools, Floats, Ints

# Entities by number of the sentence: what people left standing in it.
Gold = Mapping[int, Sequence[TokenSpan]]

# What a reviewed sentence counts against one that nobody has seen.
WEIGHT = 10.0
# Log-odds by the per-sentence model below which a mention isn't taken for the source of a span.
_LEAST_SCORE = -4.0


class Settled(NamedTuple):
    """reviewed: (S,); candidate, label: (M,), the candidate that a mention was settled on and the place of its
    label, -1 for none; right: (C,), whether it is such a candidate; loose: spans that no mention is behind."""

    reviewed: Bools
    candidate: Ints
    label: Ints
    right: Bools
    loose: LooseSpans

    def weight(self, reviewed: float = WEIGHT) -> Floats:
        """(S,) what each sentence counts."""
        return np.where(self.reviewed, reviewed, 1.0)


def settle(seen: Observations, gold: Gold) -> Settled:
    """Give each settled span to the mention that lands on it with the largest per-sentence score.

    Labels that a person gave in the source can't change: such mentions take spans of their own label alone.
    Every label of ``gold`` must be among the observations'.
    """
    found = seen.found
    reviewed = np.zeros(len(seen.instances), bool)
    reviewed[list(gold)] = True
    sentence = seen.sentence[found.mention]
    places = {label: place for place, label in enumerate(seen.labels)}
    spans = {number: {(first, last): places[label] for first, last, label in own} for number, own in gold.items()}
    mine = np.flatnonzero(reviewed[sentence] & (seen.score > _LEAST_SCORE))
    mine = mine[np.argsort(-seen.score[mine], kind="stable")]
    start = seen.target_at[sentence[mine]]
    rows = zip(
        mine.tolist(),
        found.mention[mine].tolist(),
        sentence[mine].tolist(),
        (found.first[mine] - start).tolist(),
        (found.last[mine] - start).tolist(),
        strict=True,
    )
    candidate, label = np.full(len(seen), -1), np.full(len(seen), -1)
    own_label = seen.base_label.argmax(axis=1)
    taken: set[tuple[int, int, int]] = set()
    for which, mention, number, first, last in rows:
        place = spans[number].get((first, last))
        if place is None or candidate[mention] >= 0 or (number, first, last) in taken:
            continue
        if seen.open[mention] or own_label[mention] == place:
            candidate[mention], label[mention] = which, place
            taken.add((number, first, last))
    right = np.zeros(len(found.mention), bool)
    right[candidate[candidate >= 0]] = True
    return Settled(reviewed, candidate, label, right, _loose(seen, spans, taken))


def clamped(seen: Observations, belief: Opinion, settled: Settled) -> Opinion:
    """``belief`` with what people settled in place of what the model believed of it."""
    mine = settled.reviewed[seen.sentence]
    projected, absent, label = (column.copy() for column in belief)
    projected[mine[seen.found.mention]] = 0.0
    absent[mine] = 1.0
    landed = np.flatnonzero(settled.candidate >= 0)
    projected[settled.candidate[landed]] = 1.0
    absent[landed] = 0.0
    label[landed] = 0.0
    label[landed, settled.label[landed]] = 1.0
    return Opinion(projected, absent, label)


def _loose(
    seen: Observations, spans: Mapping[int, Mapping[tuple[int, int], int]], taken: set[tuple[int, int, int]]
) -> LooseSpans:
    texts = seen.texts
    rows = []
    for number, own in spans.items():
        words = seen.word[seen.target_at[number] : seen.target_at[number + 1]].tolist()
        for (first, last), place in own.items():
            if (number, first, last) not in taken:
                text = seen.code_of(" ".join(texts[code] for code in words[first:last]))
                rows.append((number, first, last, text, place))
    return LooseSpans(*np.array(rows, np.int64).reshape(-1, 5).T)
