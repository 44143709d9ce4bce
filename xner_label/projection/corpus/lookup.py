"""Looking up what a corpus' counts say of the names and texts of single sentences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import islice

import numpy as np

from xner_label.projection.corpus.counts import Counts, find
from xner_label.projection.corpus.evidence import MAX_NGRAM, Observations, Opinion, Sums, sums_at_home
from xner_label.projection.corpus.settled import WEIGHT
from xner_label.projection.corpus.tally import NAMES, Tally, written
from xner_label.projection.corpus.text_hashes import Hashes, hash_ngrams, hash_pairs
from xner_label.projection.loglinear.columns import Bools, Floats

# Sentences whose n-grams are hashed together.
_HASHED_AT_ONCE = 1_000


class TallyLookup:
    """A tally that isn't added to any more, with what makes looking things up in it quick. ``later``: what was
    counted since, of texts alone where the tally has occurrences."""

    def __init__(self, tally: Tally, later: Tally | None = None) -> None:
        self._tally = tally
        self._later = Tally.empty(tally.labels)
        if later is not None:
            self._later.add(later)

    def sums(self, observations: Observations, counted: Opinion | None = None) -> Sums:
        """What the counted sentences say of the names and texts of others.

        ``counted``: what was believed of these sentences when they were counted themselves, which is taken off.
        """
        tally, later = self._tally, self._later
        name, text = observations.name_hashes, observations.text_hashes
        pair = hash_pairs(name[observations.candidates.mention], text)
        names = tally.names.of(name) + later.names.of(name)
        places = [
            NAMES + tally.labels.index(label) if label in tally.labels else -1 for label in observations.labels
        ]
        labels = np.column_stack([names, np.zeros(len(names))])[:, places]
        codes, row, group = np.unique(observations.text, return_index=True, return_inverse=True)
        texts = observations.texts
        occurrences, exact = self._occurrences([texts[code] for code in codes.tolist()], text[row])
        sums = Sums(
            names=names[:, 0],
            tagged=names[:, 1],
            absent=names[:, 2],
            labels=labels,
            votes=(tally.votes.of(pair) + later.votes.of(pair))[:, 0],
            entities=(tally.entities.of(text) + later.entities.of(text))[:, 0],
            occurrences=occurrences[group],
        )
        if counted is None:
            return sums
        home = sums_at_home(observations, counted)
        home = home._replace(occurrences=home.occurrences * exact[group])
        return Sums(*(np.maximum(whole - part, 0.0) for whole, part in zip(sums, home, strict=True)))

    def _occurrences(self, texts: Sequence[str], hashes: Hashes) -> tuple[Floats, Bools]:
        """How often each text stands in the counted sentences, and whether that is an exact count of all of them.

        Where sentences were counted that aren't held, a text that is hardly ever an entity has none: of such a one
        it only matters whether it occurs, and those that are held tell.
        """
        counts = self._tally.occurrences
        if not len(counts):
            everywhere, seen = self._joined
            totals = [_count(text, everywhere) + (WEIGHT - 1.0) * _count(text, seen) for text in texts]
            return np.array(totals, np.float64), np.ones(len(texts), bool)
        exact = counts.have(hashes)
        exactly = counts.of(hashes) + self._ngrams_since.of(hashes)
        return np.where(exact, exactly[:, 0], find(self._ngrams, hashes)[1]), exact

    @cached_property
    def _joined(self) -> tuple[str, str]:
        return "".join(self._tally.texts + self._later.texts), "".join(self._tally.reviewed)

    @cached_property
    def _ngrams_since(self) -> Counts:
        """How often each n-gram stands in the sentences that came after the counts."""
        return count_ngrams(self._later.texts)

    @cached_property
    def _ngrams(self) -> Hashes:
        """The n-grams of all sentences that are held, in order."""
        pieces = [np.unique(each) for each in hashed_ngrams(self._tally.texts + self._later.texts)]
        result: Hashes = np.unique(np.concatenate([np.zeros(0, np.uint64), *pieces]))
        return result


def count_ngrams(texts: Iterable[str]) -> Counts:
    """How often each run of up to MAX_NGRAM words stands in some texts, by its hash."""
    counts = Counts()
    for ngrams in hashed_ngrams(texts):
        counts.add(ngrams, np.ones(len(ngrams)))
    return counts


def hashed_ngrams(texts: Iterable[str]) -> Iterable[Hashes]:
    """The hashes of all runs of up to MAX_NGRAM words in texts, of some thousand texts at a time."""
    rest = iter(texts)
    while batch := list(islice(rest, _HASHED_AT_ONCE)):
        yield hash_ngrams([text.split() for text in batch], MAX_NGRAM)


def _count(text: str, sentences: str) -> int:
    return sentences.count(written(text.split(" ")))
