"""What a corpus says of each name and text, as counts that single sentences add to.

Everything is keyed by folded text, so that sentences that come later are projected in the light of a corpus
without going through it again: the evidence of :mod:`evidence` is made of such sums.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from xner_label.projection.corpus.evidence import Observations, Opinion
from xner_label.projection.corpus.settled import Settled
from xner_label.projection.loglinear.columns import OVERLOOKED, Bools, Floats, Ints, Numbers

# Votes below this say nothing.
_NEGLIGIBLE = 1e-3
# Steps of a probability in a count, and the least one that counts there.
_STEP, _LEAST = 2.0**10, 0.05
NAMES = 3  # numbers of a name before those of its labels


class Tally(msgspec.Struct):
    """names: by name, how often it occurs, how often a tagger found it, how often it is not projected, and how
    often it has each of ``labels``; votes: by name and text (with a tab between), how often it lands there;
    entities: by text, entities of it; texts, reviewed: sentences, and those that people have reviewed;
    occurrences: by text, how often it stands in all sentences, also in those that aren't held; the first
    ``included`` of the ``texts`` are among them. Empty: count in ``texts``."""

    labels: tuple[str, ...]
    names: dict[str, list[float]]
    votes: dict[str, float]
    entities: dict[str, float]
    texts: list[str]
    reviewed: list[str]
    occurrences: dict[str, float] = {}
    included: int = 0

    @classmethod
    def empty(cls, labels: Sequence[str]) -> Tally:
        """Nothing counted yet."""
        return cls(tuple(labels), {}, {}, {}, [], [])

    @classmethod
    def of(
        cls, observations: Observations, belief: Opinion, settled: Settled | None = None, only: Bools | None = None
    ) -> Tally:
        """The counts of a corpus, or of some of its sentences (S,). ``belief`` is clamped where people settled
        anything."""
        every = np.ones(len(observations.instances), bool) if only is None else only
        weight = np.ones(len(every)) if settled is None else settled.weight
        mention_weight = weight[observations.sentence] if settled is None else settled.mention_weight(observations)
        tally = cls.empty(observations.labels)
        texts = observations.texts
        counted = mention_weight * every[observations.sentence]
        projected = counted * (1.0 - belief.absent)
        columns = [counted, counted * (observations.kind != OVERLOOKED), counted * belief.absent]
        columns += [projected * belief.label[:, place] for place in range(len(observations.labels))]
        codes, group = np.unique(observations.name, return_inverse=True)
        table = _rounded(np.column_stack([np.bincount(group, column, len(codes)) for column in columns]))
        tally.names = {
            texts[code]: row for code, row in zip(codes.tolist(), table.tolist(), strict=True) if row[0] > 0
        }
        mention = observations.candidates.mention
        value = counted[mention] * belief.projected
        size = len(texts)
        tally.votes = _summed(
            observations.name[mention] * size + observations.text,
            value,
            lambda key: f"{texts[key // size]}\t{texts[key % size]}",
        )
        text = observations.text
        if settled is not None:
            known = (settled.loose.text >= 0) & every[settled.loose.sentence]
            text = np.concatenate([text, settled.loose.text[known]])
            value = np.concatenate([value, weight[settled.loose.sentence[known]]])
        tally.entities = _summed(text, value, texts.__getitem__)
        for number in np.flatnonzero(every).tolist():
            words = observations.word[observations.target_at[number] : observations.target_at[number + 1]].tolist()
            sentence = written([texts[code] for code in words])
            tally.texts.append(sentence)
            if settled is not None and settled.reviewed[number]:
                tally.reviewed.append(sentence)
        return tally

    def add(self, other: Tally) -> None:
        """Count what another tally has counted; labels that this one doesn't have aren't."""
        places = [NAMES + other.labels.index(label) if label in other.labels else -1 for label in self.labels]
        nothing = [0.0] * (NAMES + len(self.labels))
        for name, row in other.names.items():
            added = [*row[:NAMES], *(row[place] if place >= 0 else 0.0 for place in places)]
            known = self.names.get(name, nothing)
            self.names[name] = [count + more for count, more in zip(known, added, strict=True)]
        if other.occurrences:
            self.included += other.included
        pairs = (self.votes, other.votes), (self.entities, other.entities), (self.occurrences, other.occurrences)
        for counts, more in pairs:
            for key, value in more.items():
                counts[key] = counts.get(key, 0.0) + value
        self.texts += other.texts
        self.reviewed += other.reviewed


def countable(belief: Opinion) -> Opinion:
    """What is counted of a belief: in steps that add up to the same in any order, without what hardly counts."""
    projected, absent, label = (np.rint(values * _STEP) / _STEP for values in belief)
    return Opinion(np.where(projected < _LEAST, 0.0, projected), absent, label)


def _rounded(sums: Numbers) -> Floats:
    """Sums of products of two countable numbers, which are exact, and of others to a millionth."""
    result: Floats = np.rint(sums * _STEP**2) / _STEP**2
    return result


def written(words: Sequence[str]) -> str:
    """Words between single spaces of their own, so that neighbouring occurrences share none."""
    return "".join(f" {word} " for word in words)


def _summed(key: Ints, value: Floats, name: Callable[[int], str]) -> dict[str, float]:
    codes, group = np.unique(key, return_inverse=True)
    totals = _rounded(np.bincount(group, value, len(codes)))
    kept = np.flatnonzero(totals >= _NEGLIGIBLE)
    return {name(code): total for code, total in zip(codes[kept].tolist(), totals[kept].tolist(), strict=True)}
