"""What a corpus says of each name and text, as counts that single sentences add to.

Everything is keyed by hashes of folded text, so that sentences that come later are projected in the light of a
corpus without going through it again: the evidence of :mod:`evidence` is made of such sums.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import msgspec
import numpy as np

from xner_label.projection.corpus.counts import Counts, from_document, to_document
from xner_label.projection.corpus.evidence import Observations, Opinion
from xner_label.projection.corpus.settled import Settled
from xner_label.projection.corpus.text_hashes import Hashes, hash_pairs, hash_texts
from xner_label.projection.loglinear.columns import OVERLOOKED, Floats, Ints, Numbers

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
    def of(cls, observations: Observations, belief: Opinion, settled: Settled | None = None) -> Tally:
        """The counts of a corpus. ``belief`` is clamped where people settled anything."""
        weight = np.ones(len(observations.instances)) if settled is None else settled.weight
        mention_weight = weight[observations.sentence] if settled is None else settled.mention_weight(observations)
        rows = _countable_rows(observations, belief, mention_weight)
        text, value = rows.text, rows.votes
        if settled is not None:
            known, texts = settled.loose.text >= 0, observations.texts
            loose = hash_texts([texts[code] for code in settled.loose.text[known].tolist()])
            text = np.concatenate([text, loose])
            value = np.concatenate([value, weight[settled.loose.sentence[known], np.newaxis]])
        tally = cls.empty(observations.labels)
        tally.names = _summed(rows.name, rows.names, 0.0)
        tally.votes = _summed(rows.pair, rows.votes, _NEGLIGIBLE)
        tally.entities = _summed(text, value, _NEGLIGIBLE)
        tally.texts = _sentences(observations)
        if settled is not None:
            tally.reviewed = [tally.texts[number] for number in np.flatnonzero(settled.reviewed).tolist()]
        return tally

    @classmethod
    def by_sentence(cls, observations: Observations, belief: Opinion) -> list[Tally]:
        """The counts of each sentence on its own, where nobody has settled anything: those of :meth:`of`, one
        sentence at a time."""
        rows = _countable_rows(observations, belief, np.ones(len(observations)))
        count, sentence = len(observations.instances), observations.sentence
        of_candidate = sentence[observations.candidates.mention]
        names = _summed_by_sentence(rows.name, rows.names, 0.0, sentence, count)
        votes = _summed_by_sentence(rows.pair, rows.votes, _NEGLIGIBLE, of_candidate, count)
        entities = _summed_by_sentence(rows.text, rows.votes, _NEGLIGIBLE, of_candidate, count)
        return [
            cls(observations.labels, of_names, of_pairs, of_texts, [text], [], Counts())
            for of_names, of_pairs, of_texts, text in zip(
                names, votes, entities, _sentences(observations), strict=True
            )
        ]

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


class _CountableRows(NamedTuple):
    """name: (M,) and names: (M, NAMES + K), what is counted of each mention's name; pair, text: (C,) and votes:
    (C, 1), what is counted of each candidate's name with its text and of the text."""

    name: Hashes
    names: Floats
    pair: Hashes
    text: Hashes
    votes: Floats


def _countable_rows(observations: Observations, belief: Opinion, weight: Floats) -> _CountableRows:
    """``weight`` (M,) is what each mention counts."""
    projected = weight * (1.0 - belief.absent)
    columns = [weight, weight * (observations.kind != OVERLOOKED), weight * belief.absent]
    columns += [projected * belief.label[:, place] for place in range(len(observations.labels))]
    name, text, mention = observations.name_hashes, observations.text_hashes, observations.candidates.mention
    votes = (weight[mention] * belief.projected)[:, np.newaxis]
    return _CountableRows(name, np.column_stack(columns), hash_pairs(name[mention], text), text, votes)


def _sentences(observations: Observations) -> list[str]:
    """Each sentence as :func:`written`."""
    texts, at = observations.texts, observations.target_at.tolist()
    words = [texts[code] for code in observations.word.tolist()]
    return [written(words[start:end]) for start, end in pairwise(at)]


def _summed(keys: Hashes, rows: Floats, least: float) -> Counts:
    """Sums of the rows (n, columns) of each key whose first number is above zero, where it adds up to so much."""
    return _summed_by_sentence(keys, rows, least, np.zeros(len(keys), np.int64), 1)[0]


def _summed_by_sentence(keys: Hashes, rows: Floats, least: float, sentence: Ints, count: int) -> list[Counts]:
    """The like of :func:`_summed` in each of so many sentences; ``sentence`` (n,) is that of each row."""
    present = rows[:, 0] > 0
    codes, code = np.unique(keys[present], return_inverse=True)
    places, group = np.unique(sentence[present] * len(codes) + code, return_inverse=True)
    values = _rounded(np.column_stack([np.bincount(group, column, len(places)) for column in rows[present].T]))
    kept = values[:, 0] >= least
    places, values = places[kept], values[kept]
    at = np.searchsorted(places, np.arange(count + 1) * len(codes)).tolist()
    ordered = codes[places % max(len(codes), 1)]
    return [Counts.made(ordered[start:end], values[start:end]) for start, end in pairwise(at)]


def _rounded(sums: Numbers) -> Floats:
    """Sums of products of two countable numbers, which are exact, and of others to a millionth."""
    result: Floats = np.rint(sums * _STEP**2) / _STEP**2
    return result
