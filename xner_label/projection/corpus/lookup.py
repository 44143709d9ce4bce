"""Looking up what a corpus' counts say of the names and texts of single sentences."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

import numpy as np

from xner_label.projection.corpus.evidence import MAX_NGRAM, Observations, Opinion, Sums, sums_at_home
from xner_label.projection.corpus.settled import WEIGHT
from xner_label.projection.corpus.tally import NAMES, Tally, written
from xner_label.projection.loglinear.columns import Bools, Floats, Ints

# Sentences whose n-grams are hashed together.
_HASHED_AT_ONCE = 1_000


class TallyLookup:
    """A tally that isn't added to any more, with what makes looking things up in it quick."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    def sums(self, observations: Observations, counted: Opinion | None = None) -> Sums:
        """What the counted sentences say of the names and texts of others.

        ``counted``: what was believed of these sentences when they were counted themselves, which is taken off.
        """
        tally, texts, size = self._tally, observations.texts, len(observations.texts)
        places = [tally.labels.index(label) if label in tally.labels else -1 for label in observations.labels]
        nothing = [0.0] * (NAMES + len(tally.labels))
        codes, group = np.unique(observations.name, return_inverse=True)
        table: Floats = np.array(
            [tally.names.get(texts[code], nothing) for code in codes.tolist()], np.float64
        ).reshape(-1, len(nothing))[group]
        labels = np.column_stack(
            [table[:, NAMES + place] if place >= 0 else np.zeros(len(table)) for place in places]
        )
        mention = observations.candidates.mention
        pair = observations.name[mention] * size + observations.text
        codes, group = np.unique(observations.text, return_inverse=True)
        occurrences, exact = self._occurrences([texts[code] for code in codes.tolist()])
        sums = Sums(
            names=table[:, 0],
            tagged=table[:, 1],
            absent=table[:, 2],
            labels=labels,
            votes=_looked_up(pair, lambda key: tally.votes.get(f"{texts[key // size]}\t{texts[key % size]}", 0.0)),
            entities=_looked_up(observations.text, lambda key: tally.entities.get(texts[key], 0.0)),
            occurrences=occurrences[group],
        )
        if counted is None:
            return sums
        home = sums_at_home(observations, counted)
        home = home._replace(occurrences=home.occurrences * exact[group])
        return Sums(*(np.maximum(whole - part, 0.0) for whole, part in zip(sums, home, strict=True)))

    def _occurrences(self, texts: Sequence[str]) -> tuple[Floats, Bools]:
        """How often each text stands in the counted sentences, and whether that is an exact count of all of them.

        Where sentences were counted that aren't held, a text that is hardly ever an entity has none: of such a one
        it only matters whether it occurs, and those that are held tell.
        """
        tally = self._tally
        if not tally.occurrences:
            everywhere, seen = self._joined
            counts = [_count(text, everywhere) + (WEIGHT - 1.0) * _count(text, seen) for text in texts]
            return np.array(counts, np.float64), np.ones(len(texts), bool)
        exact = np.array([text in tally.occurrences for text in texts], bool)
        result = np.zeros(len(texts))
        for place in np.flatnonzero(exact).tolist():
            result[place] = tally.occurrences[texts[place]] + (
                _count(texts[place], self._later) if self._later else 0
            )
        rest = np.flatnonzero(~exact)
        hashes = np.array([hash(texts[place]) for place in rest.tolist()], np.int64)
        if len(self._hashed_ngrams):
            at = np.minimum(np.searchsorted(self._hashed_ngrams, hashes), len(self._hashed_ngrams) - 1)
            result[rest] = self._hashed_ngrams[at] == hashes
        return result, exact

    @cached_property
    def _joined(self) -> tuple[str, str]:
        return "".join(self._tally.texts), "".join(self._tally.reviewed)

    @cached_property
    def _later(self) -> str:
        """The sentences that came after the counts."""
        return "".join(self._tally.texts[self._tally.included :])

    @cached_property
    def _hashed_ngrams(self) -> Ints:
        """Hashes of all n-grams of the sentences that are held, sorted; they hold for this process."""
        texts = self._tally.texts
        pieces: list[Ints] = [np.zeros(0, np.int64)]
        for start in range(0, len(texts), _HASHED_AT_ONCE):
            ngrams = {
                ngram for text in texts[start : start + _HASHED_AT_ONCE] for ngram in ngrams_of(text.split())
            }
            pieces.append(np.array([hash(ngram) for ngram in ngrams], np.int64))
        result: Ints = np.unique(np.concatenate(pieces))
        return result


def ngrams_of(words: Sequence[str]) -> Iterator[str]:
    """All runs of up to MAX_NGRAM words."""
    for first in range(len(words)):
        for last in range(first + 1, min(len(words), first + MAX_NGRAM) + 1):
            yield " ".join(words[first:last])


def _count(text: str, sentences: str) -> int:
    return sentences.count(written(text.split(" ")))


def _looked_up(key: Ints, value: Callable[[int], float]) -> Floats:
    codes, group = np.unique(key, return_inverse=True)
    values: Floats = np.array([value(code) for code in codes.tolist()], np.float64)
    return values[group]
