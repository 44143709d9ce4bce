"""What recipes make a CRF of: gold and silver as words and tags, and what a teacher of silver alone says."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

import msgspec

from xner_label.iob2 import tags_of
from xner_label.stages.tagging.crf import CrfTagger
from xner_label.training.crf import Hints, hints_of
from xner_label.training.data import TrainingData
from xner_label.training.rules import MergeRules, silver_tags

Tags = Sequence[str | None]


class CrfOptions(msgspec.Struct, frozen=True):
    """``c1`` and ``c2`` are the L1 and L2 penalties. ``min_gold``: sentences below which nothing is tried in place
    of the mix or the projection; ``min_better``: the share of bootstrap resamples in which it must be better to
    take their place, ``min_better_by_few`` with less than ``few_gold`` sentences.
    """

    c1: float = 0.1
    c2: float = 0.05
    min_gold: int = 20
    min_better: float = 0.9
    few_gold: int = 200
    min_better_by_few: float = 0.99

    def is_clear(self, share_better: float, sentences: int) -> bool:
        """Whether being better in this share of the resamples of so many sentences counts."""
        return share_better >= (self.min_better if sentences >= self.few_gold else self.min_better_by_few)


class Material:
    """Gold and silver, in words and tags. The teacher is there where there is silver.

    ``gold`` and ``silver`` are the sentences, ``gold_hints`` what the teacher says of each word of the gold.
    """

    def __init__(self, data: TrainingData, rules: MergeRules, options: CrfOptions) -> None:
        self.gold = data.gold
        self.silver = data.silver
        self.rules = rules
        self.gold_words = [item.sentence.tokens.words() for item in data.gold]
        self.gold_tags = [tags_of(item.sentence.tokens, item.entities) for item in data.gold]
        self._silver_words = [item.tokens.words() for item in data.silver]
        self._silver_tags: list[Tags] = [silver_tags(item, data.labels, rules) for item in data.silver]
        self._options = options
        self.teacher = self._fit(self._silver_words, self._silver_tags) if data.silver else None
        self.gold_hints: list[Hints] = [hints_of(words, self.teacher) for words in self.gold_words]

    def learn_gold(self, without: Collection[int] = (), hints: Sequence[Hints] | None = None) -> CrfTagger:
        """Learn from the gold but for the sentences whose place is in ``without``, with observations beside it."""
        repeats = [int(place not in without) for place in range(len(self.gold))]
        return self._fit(self.gold_words, self.gold_tags, repeats, hints)

    def learn_all(self, without: Collection[int] = ()) -> CrfTagger:
        """Learn from silver and, as often as the rules say, from gold but for the places in ``without``."""
        repeats = [self.rules.gold_weight * (place not in without) for place in range(len(self.gold))]
        return self._fit(
            [*self.gold_words, *self._silver_words],
            [*self.gold_tags, *self._silver_tags],
            [*repeats, *(1 for _ in self._silver_words)],
        )

    def _fit(
        self,
        words: Sequence[Sequence[str]],
        tags: Sequence[Tags],
        repeats: Sequence[int] | None = None,
        extra: Sequence[Hints] | None = None,
    ) -> CrfTagger:
        options = self._options
        return CrfTagger.train(words, tags, extra=extra, repeats=repeats, c1=options.c1, c2=options.c2)


class Recipe(Protocol):
    """A way to make a tagger of the material. ``stage`` is what the tagger is called in a saved model."""

    stage: str

    def fit(self, material: Material, without: Collection[int] = ()) -> CrfTagger:
        """Learn, but not from the gold sentences whose place is in ``without``."""
        ...

    def tag(self, material: Material, tagger: CrfTagger, place: int) -> list[str]:
        """The tags that a tagger made by this recipe gives a gold sentence."""
        ...
