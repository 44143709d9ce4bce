"""What a corpus says of each name and text, as counts that single sentences add to.

Everything is keyed by hashes of folded text, so that sentences that come later are projected in the light of a
corpus without going through it again: the evidence of :mod:`evidence` is made of such sums.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import msgspec
import numpy as np

from xner_label.projection.corpus.counts import Counts, from_document, to_document
from xner_label.projection.corpus.evidence import Observations, Opinion
from xner_label.projection.corpus.settled import Settled
from xner_label.projection.corpus.text_hashes import Hashes, hash_pairs, hash_texts
from xner_label.projection.loglinear.columns import OVERLOOKED, Bools, Floats, Numbers

# Votes below this say nothing.
_NEGLIGIBLE = 1e-3
# Steps of a probability in a count, and the least one that counts there.
_STEP, _LEAST = 2.0**10, 0.05
NAMES = 3  # numbers of a name before those of its labels


class Tally(msgspec.Struct):
    """names: by name, how often it occurs, how often a tagger found it, how often it is not projected, and how
    often it has each of ``labels``; votes: by name and text, how often it lands there; entities: by text, entities
    of it; texts, reviewed: sentences, and those that people have reviewed;
    occurrences: by text, how often it stands in all sentences, also in those that aren't held. Empty: count in
    ``texts``."""

    labels: tuple[str, ...]
    names: Counts
    votes: Counts
    entities: Counts
    texts: list[str]
    reviewed: list[str]
    occurrences: Counts

    @classmethod
    def empty(cls, labels: Sequence[str]) -> Tally:
        """Nothing counted yet."""
        return cls(tuple(labels), Counts(NAMES + len(labels)), Counts(), Counts(), [], [], Counts())

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
        counted = mention_weight * every[observations.sentence]
        projected = counted * (1.0 - belief.absent)
        columns = [counted, counted * (observations.kind != OVERLOOKED), counted * belief.absent]
        columns += [projected * belief.label[:, place] for place in range(len(observations.labels))]
        name, text, texts = observations.name_hashes, observations.text_hashes, observations.texts
        tally.names = _summed(name, np.column_stack(columns), 0.0)
        mention = observations.candidates.mention
        value = counted[mention] * belief.projected
        tally.votes = _summed(hash_pairs(name[mention], text), value[:, np.newaxis], _NEGLIGIBLE)
        if settled is not None:
            known = (settled.loose.text >= 0) & every[settled.loose.sentence]
            loose = hash_texts([texts[code] for code in settled.loose.text[known].tolist()])
            text = np.concatenate([text, loose])
            value = np.concatenate([value, weight[settled.loose.sentence[known]]])
        tally.entities = _summed(text, value[:, np.newaxis], _NEGLIGIBLE)
        for number in np.flatnonzero(every).tolist():
            words = observations.word[observations.target_at[number] : observations.target_at[number + 1]].tolist()
            sentence = written([texts[code] for code in words])
            tally.texts.append(sentence)
            if settled is not None and settled.reviewed[number]:
                tally.reviewed.append(sentence)
        return tally

    def add(self, other: Tally) -> None:
        """Count what another tally has counted; labels that this one doesn't have aren't."""
        rows = other.names.values
        if other.labels != self.labels:
            places = [NAMES + other.labels.index(label) if label in other.labels else -1 for label in self.labels]
            rows = np.column_stack([rows, np.zeros(len(rows))])[:, [*range(NAMES), *places]]
        self.names.add(other.names.keys, rows)
        for counts, more in (
            (self.votes, other.votes),
            (self.entities, other.entities),
            (self.occurrences, other.occurrences),
        ):
            counts.add(more.keys, more.values)
        self.texts += other.texts
        self.reviewed += other.reviewed

    def dump(self) -> bytes:
        """As :meth:`load` reads it."""
        return zlib.compress(msgspec.msgpack.encode(self, enc_hook=to_document))

    @classmethod
    def load(cls, content: bytes) -> Tally:
        """What :meth:`dump` made."""
        return msgspec.msgpack.decode(zlib.decompress(content), type=cls, dec_hook=from_document)


def countable(belief: Opinion) -> Opinion:
    """What is counted of a belief: in steps that add up to the same in any order, without what hardly counts."""
    projected, absent, label = (np.rint(values * _STEP) / _STEP for values in belief)
    return Opinion(np.where(projected < _LEAST, 0.0, projected), absent, label)


def written(words: Sequence[str]) -> str:
    """Words between single spaces of their own, so that neighbouring occurrences share none."""
    return "".join(f" {word} " for word in words)


def _summed(keys: Hashes, rows: Floats, least: float) -> Counts:
    """Sums of the rows (n, columns) of each key whose first number is above zero, where it adds up to so much."""
    present = rows[:, 0] > 0
    codes, group = np.unique(keys[present], return_inverse=True)
    values = _rounded(np.column_stack([np.bincount(group, column, len(codes)) for column in rows[present].T]))
    kept = values[:, 0] >= least
    return Counts.made(codes[kept], values[kept])


def _rounded(sums: Numbers) -> Floats:
    """Sums of products of two countable numbers, which are exact, and of others to a millionth."""
    result: Floats = np.rint(sums * _STEP**2) / _STEP**2
    return result
