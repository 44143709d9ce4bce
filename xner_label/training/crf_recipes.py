"""How a CRF is made of gold and silver: several recipes, and the rule that chooses among them.

For texts alone:

- *weighted mix*: gold, three times, and silver side by side. Best wherever the silver is good, as that of corpus
  mode is, at any amount of gold (docs/measurements.md).
- *staged*: gold alone, what a teacher of silver alone says being a feature (stacking, Wolpert 1992; in Liang et
  al. 2020, arXiv 2106.08977, gold comes last too). Silver helps as evidence where it would hurt as truth.
- *gold only*, *silver only*: where there is nothing else; gold only also where the silver is worth nothing.

The mix is the default. Another recipe takes its place where cross-validation on the gold says so. People often
review what the projection was least sure of, and on such sentences whatever trusts the silver looks worse than
it is elsewhere; so the other recipe has to be better in nine of ten resamples. A student that sees the
projection has to be as much better than the projection itself, which otherwise stands as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from xner_label.evaluation.metrics import f1_score, resampled_sums
from xner_label.iob2 import decode, tags_of
from xner_label.stages.tagging.crf import CrfTagger
from xner_label.training.crf import CrfModel, Hints, hints_of, joined, projected_tags, projection_hints
from xner_label.training.data import GoldSentence, TrainingData, silver_tags

_FOLDS = 3
_RESAMPLES = 1_000
_SEED = 13


class CrfOptions(msgspec.Struct, frozen=True):
    """``c1`` and ``c2`` are the L1 and L2 penalties. ``gold_weight``: how often a gold sentence counts beside
    silver ones; ``min_gold``: sentences below which nothing is tried in place of the mix or the projection;
    ``min_better``: the share of bootstrap resamples in which it must be better to take their place.
    """

    c1: float = 0.1
    c2: float = 0.05
    gold_weight: int = 3
    min_gold: int = 20
    min_better: float = 0.9


Tags = Sequence[str | None]


def train_crf(data: TrainingData, min_silver_confidence: float, options: CrfOptions | None = None) -> CrfModel:
    """Train all stages for which there is data. Deterministic. Raises UsageError when there is none."""
    options = options or CrfOptions()
    silver_words = [sentence.tokens.words() for sentence in data.silver]
    silver = [silver_tags(sentence, data.labels, min_silver_confidence) for sentence in data.silver]
    teacher = _fit(silver_words, silver, options) if data.silver else None
    stages: dict[str, CrfTagger] = {}
    if data.gold:
        gold = _GoldSet(data.gold, [hints_of(item.sentence.tokens.words(), teacher) for item in data.gold])
        if teacher is None:
            stages["gold"] = gold.train(options)
        else:
            stages |= _for_texts(gold, teacher, silver_words, silver, options)
        stages |= _for_projections(data.gold, gold, options)
    if teacher is not None and (not data.gold or "text" in stages or "projected" in stages):
        stages["teacher"] = teacher
    return CrfModel(stages)


def _fit(words: Sequence[Sequence[str]], tags: Sequence[Tags], options: CrfOptions) -> CrfTagger:
    return CrfTagger.train(words, tags, c1=options.c1, c2=options.c2)


class _GoldSet:
    """Gold sentences, with what a student is shown beside them."""

    def __init__(self, gold: Sequence[GoldSentence], hints: Sequence[Hints]) -> None:
        self.words = [item.sentence.tokens.words() for item in gold]
        self.tags = [tags_of(item.sentence.tokens, item.entities) for item in gold]
        self.hints = hints

    def __len__(self) -> int:
        return len(self.words)

    def train(self, options: CrfOptions, without: Collection[int] = (), *, hints: bool = True) -> CrfTagger:
        """Learn from the sentences but those whose index is in ``without``."""
        repeats = [int(index not in without) for index in range(len(self))]
        extra = self.hints if hints else None
        return CrfTagger.train(self.words, self.tags, extra=extra, repeats=repeats, c1=options.c1, c2=options.c2)

    def mix(
        self,
        words: Sequence[Sequence[str]],
        tags: Sequence[Tags],
        options: CrfOptions,
        without: Collection[int] = (),
    ) -> CrfTagger:
        """Learn from the sentences, as often as their weight says, and from silver ones."""
        repeats = [options.gold_weight * (index not in without) for index in range(len(self))]
        return CrfTagger.train(
            [*self.words, *words],
            [*self.tags, *tags],
            repeats=[*repeats, *(1 for _ in words)],
            c1=options.c1,
            c2=options.c2,
        )

    def cross_validated(
        self, train: Callable[[Collection[int]], CrfTagger], *, hints: bool = True
    ) -> list[list[str]]:
        """The tags each sentence gets from a tagger that hasn't learned from it."""
        tags: list[list[str]] = [[] for _ in range(len(self))]
        for first in range(_FOLDS):
            fold = range(first, len(self), _FOLDS)
            tagger = train(fold)
            for index in fold:
                tags[index] = tagger.tag_words(self.words[index], self.hints[index] if hints else None)
        return tags


def _for_texts(
    gold: _GoldSet,
    teacher: CrfTagger,
    words: Sequence[Sequence[str]],
    silver: Sequence[Tags],
    options: CrfOptions,
) -> dict[str, CrfTagger]:
    """The stage that answers texts alone, by name: the mix, or what is clearly better."""
    if len(gold) >= options.min_gold:
        rivals = {
            "text": gold.cross_validated(lambda fold: gold.train(options, fold)),
            "gold": gold.cross_validated(lambda fold: gold.train(options, fold, hints=False), hints=False),
        }
        best = max(rivals, key=lambda name: _f1(rivals[name], gold.tags))
        silver_only = [teacher.tag_words(sentence) for sentence in gold.words]
        # what isn't clearly better than silver alone isn't than the mix, which takes long to cross-validate
        if share_better(rivals[best], silver_only, gold.tags) >= options.min_better:
            mixed = gold.cross_validated(lambda fold: gold.mix(words, silver, options, fold), hints=False)
            if share_better(rivals[best], mixed, gold.tags) >= options.min_better:
                return {best: gold.train(options, hints=best == "text")}
    return {"mixed": gold.mix(words, silver, options)}


def _for_projections(
    sentences: Sequence[GoldSentence], gold: _GoldSet, options: CrfOptions
) -> dict[str, CrfTagger]:
    """The student that sees the projection, if it is clearly better than the projection itself."""
    seen = [index for index, item in enumerate(sentences) if item.sentence.silver is not None]
    if len(seen) < options.min_gold:
        return {}
    projected = [sentences[index].sentence for index in seen]
    hints = [joined(gold.hints[index], projection_hints(sentences[index].sentence)) for index in seen]
    student = _GoldSet([sentences[index] for index in seen], hints)
    answers = student.cross_validated(lambda fold: student.train(options, fold))
    if share_better(answers, [projected_tags(item) for item in projected], student.tags) < options.min_better:
        return {}
    return {"projected": student.train(options)}


def share_better(
    challenger: Sequence[Sequence[str]], rival: Sequence[Sequence[str]], gold: Sequence[Sequence[str]]
) -> float:
    """In which share of bootstrap resamples of the sentences ``challenger`` has the higher span F1."""
    counts = np.hstack([_counts(challenger, gold), _counts(rival, gold)])
    sums = resampled_sums(counts, _RESAMPLES, _SEED)
    return float(np.mean(f1_score(*sums[:, :3].T) > f1_score(*sums[:, 3:].T)))


def _f1(tags: Sequence[Sequence[str]], gold: Sequence[Sequence[str]]) -> float:
    return float(f1_score(*_counts(tags, gold).sum(axis=0)))


def _counts(tags: Sequence[Sequence[str]], gold: Sequence[Sequence[str]]) -> NDArray[np.float64]:
    """(S, 3) correct, predicted and gold spans of each sentence."""
    spans = [(set(decode(said)), set(decode(truth))) for said, truth in zip(tags, gold, strict=True)]
    return np.array([[len(said & truth), len(said), len(truth)] for said, truth in spans], np.float64).reshape(
        -1, 3
    )
