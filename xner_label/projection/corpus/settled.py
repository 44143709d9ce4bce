"""What people settled in some sentences of a corpus, said in the corpus' own mentions and candidates.

A reviewed sentence is clamped: the mention whose name was settled on a span votes for that span and its label with
certainty, the sentence's other mentions vote for "not projected". Settled spans that no mention is behind count as
entities of their text. An answer about a name settles single mentions of sentences that nobody has reviewed.
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

# How many unreviewed sentences a reviewed one counts as.
WEIGHT = 10.0
# How many a mention counts as that an answer about its name settled.
ANSWER_WEIGHT = 3.0
# The confidence of a span that such an answer confirms, or gives another label.
ANSWERED = 0.95
# Log-odds by the per-sentence model below which a mention isn't taken for the source of a span.
_LEAST_SCORE = -4.0


class NameAnswers(NamedTuple):
    """Spans that answers about names speak of, all (n,): sentence, mention (-1 for one that only the CRF found),
    token range, place of the label that people gave, -1 where there is no such entity."""

    sentence: Ints
    mention: Ints
    first: Ints
    last: Ints
    label: Ints


class Settled(NamedTuple):
    """reviewed: (S,); answered: (M,), whether an answer about its name settled a mention
    candidate, label: (M,), the candidate that a mention was settled on and the place of its label, -1 for none
    right: (C,), whether it is such a candidate; loose: spans that no mention is behind"""

    reviewed: Bools
    answered: Bools
    candidate: Ints
    label: Ints
    right: Bools
    loose: LooseSpans

    def known(self, observations: Observations) -> Bools:
        """(M,) whether a person settled the mention."""
        result: Bools = self.reviewed[observations.sentence] | self.answered
        return result

    @property
    def weight(self) -> Floats:
        """(S,) what each sentence counts."""
        return np.where(self.reviewed, WEIGHT, 1.0)

    def mention_weight(self, observations: Observations) -> Floats:
        """(M,) what each mention counts."""
        return np.where(self.answered, ANSWER_WEIGHT, self.weight[observations.sentence])


def settle(observations: Observations, gold: Gold, answers: NameAnswers | None = None) -> Settled:
    """Give each settled span to the mention that lands on it with the largest per-sentence score.

    Labels that a person gave in the source can't change: such mentions take spans of their own label alone.
    Every label of ``gold`` must be among the observations'.
    """
    candidates = observations.candidates
    reviewed = np.zeros(len(observations.instances), bool)
    reviewed[list(gold)] = True
    sentence = observations.sentence[candidates.mention]
    places = {label: place for place, label in enumerate(observations.labels)}
    spans = {
        number: {(first, last): places[label] for first, last, label in entities}
        for number, entities in gold.items()
    }
    reachable = np.flatnonzero(reviewed[sentence] & (observations.score > _LEAST_SCORE))
    reachable = reachable[np.argsort(-observations.score[reachable], kind="stable")]
    start = observations.target_at[sentence[reachable]]
    rows = zip(
        reachable.tolist(),
        candidates.mention[reachable].tolist(),
        sentence[reachable].tolist(),
        (candidates.first[reachable] - start).tolist(),
        (candidates.last[reachable] - start).tolist(),
        strict=True,
    )
    candidate, label = np.full(len(observations), -1), np.full(len(observations), -1)
    own_label = observations.base_label.argmax(axis=1)
    taken: set[tuple[int, int, int]] = set()
    for which, mention, number, first, last in rows:
        place = spans[number].get((first, last))
        if place is None or candidate[mention] >= 0 or (number, first, last) in taken:
            continue
        if observations.open[mention] or own_label[mention] == place:
            candidate[mention], label[mention] = which, place
            taken.add((number, first, last))
    answered = np.zeros(len(observations), bool)
    if answers is not None:
        for number, mention, first, last, place in zip(*(column.tolist() for column in answers), strict=True):
            if mention >= 0 and not reviewed[number]:
                landed = _candidate_on(observations, mention, first, last) if place >= 0 else -1
                if landed >= 0 or place < 0:
                    answered[mention] = True
                    candidate[mention], label[mention] = landed, place
    right = np.zeros(len(candidates.mention), bool)
    right[candidate[candidate >= 0]] = True
    loose = _loose(observations, spans, taken)
    return Settled(reviewed, answered, candidate, label, right, loose)


def clamped(observations: Observations, belief: Opinion, settled: Settled) -> Opinion:
    """``belief`` with what people settled in place of what the model believed of it."""
    known = settled.known(observations)
    projected, absent, label = (column.copy() for column in belief)
    projected[known[observations.candidates.mention]] = 0.0
    absent[known] = 1.0
    landed = np.flatnonzero(settled.candidate >= 0)
    projected[settled.candidate[landed]] = 1.0
    absent[landed] = 0.0
    label[landed] = 0.0
    label[landed, settled.label[landed]] = 1.0
    return Opinion(projected, absent, label)


def _candidate_on(observations: Observations, mention: int, first: int, last: int) -> int:
    """The candidate of a mention on a token range of its sentence, -1 where it has none there."""
    candidates = observations.candidates
    start = int(observations.target_at[observations.sentence[mention]])
    rows = np.arange(candidates.at[mention], candidates.at[mention + 1])
    hit = (candidates.first[rows] == first + start) & (candidates.last[rows] == last + start)
    return int(rows[hit][0]) if hit.any() else -1


def _loose(
    observations: Observations,
    spans: Mapping[int, Mapping[tuple[int, int], int]],
    taken: set[tuple[int, int, int]],
) -> LooseSpans:
    texts = observations.texts
    rows = []
    for number, settled in spans.items():
        words = observations.word[observations.target_at[number] : observations.target_at[number + 1]].tolist()
        for (first, last), place in settled.items():
            if (number, first, last) not in taken:
                text = observations.code_of(" ".join(texts[code] for code in words[first:last]))
                rows.append((number, first, last, text, place))
    return LooseSpans(*np.array(rows, np.int64).reshape(-1, 5).T)
