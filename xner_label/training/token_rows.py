"""Sentences as an encoder reads them: rows of subtokens with a tag and a weight each.

Fused input (TransFusion, Chen et al. 2023, arXiv 2305.13582) puts the source sentence with its marked entities
behind the text: what the source says goes into the model, which then needs a projection to give its best answer. A
text that has none is read by itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from xner_label.checkpoints.subwords import Subwords, context_ids, position_limit, windows
from xner_label.entities import Tokens
from xner_label.iob2 import tags_of
from xner_label.training.data import TrainingData
from xner_label.training.rules import MergeRules, silver_tags, silver_weights
from xner_label.training.sentences import GoldSentence, Sentence

# torch leaves positions with this label out of the loss.
IGNORED = -100
# Confidences are shown to the model in so many steps.
_STEPS = 5


class Row(msgspec.Struct, frozen=True):
    """Subtoken ids, and for each its label id (``IGNORED``: none) and what it weighs in the loss."""

    input_ids: list[int]
    labels: list[int]
    weights: list[float]


class WeightedSentence(msgspec.Struct, frozen=True):
    """Words with a tag and a weight each; None is an unknown tag. ``context`` are the words of a fused input that
    stand behind them."""

    words: list[str]
    tags: list[str | None]
    weights: list[float]
    context: list[str] = []


def weighted_gold(gold: Iterable[GoldSentence], *, fused: bool = False) -> list[WeightedSentence]:
    """What people settled, each token weighing 1. ``fused``: what has a context is there twice, with and without
    it, so that the model has an answer for a text alone."""
    sentences = []
    for item in gold:
        tags: list[str | None] = list(tags_of(item.sentence.tokens, item.entities))
        plain = WeightedSentence(item.sentence.tokens.words(), tags, [1.0] * len(tags))
        context = fused_context(item.sentence) if fused else []
        sentences += [msgspec.structs.replace(plain, context=context), plain] if context else [plain]
    return sentences


def weighted_silver(data: TrainingData, rules: MergeRules, *, fused: bool = False) -> list[WeightedSentence]:
    """What was projected, as the rules say. ``fused``: the source stands behind it; the projection doesn't, which
    is what is to be learned."""
    return [
        WeightedSentence(
            item.tokens.words(),
            silver_tags(item, data.labels, rules),
            silver_weights(item, rules),
            _marked_source(item) if fused else [],
        )
        for item in data.silver
    ]


def fused_context(sentence: Sentence) -> list[str]:
    """The words that a fused input has behind the text: the source with its entities marked, then what was
    projected and how surely, in steps of a fifth; none for a text without either."""
    projected: list[str] = []
    for entity in sentence.silver or ():
        step = min(int(entity.confidence * _STEPS), _STEPS - 1)
        words = sentence.text[entity.start : entity.end].split()
        projected += [f"<{entity.label}>", *words, str(step), f"</{entity.label}>"]
    source = _marked_source(sentence)
    return [*source, "|", *projected] if source and projected else source + projected


def balanced_tag_weights(sentences: Sequence[WeightedSentence]) -> dict[str, float]:
    """The weight of each tag that makes all tags count alike: total weight over (tags x weight of the tag)."""
    totals: Counter[str] = Counter()
    for sentence in sentences:
        for tag, weight in zip(sentence.tags, sentence.weights, strict=True):
            if tag is not None:
                totals[tag] += weight  # type: ignore[assignment]
    every = sum(totals.values())
    return {tag: every / (len(totals) * total) for tag, total in totals.items() if total > 0}


class RowMaker:
    """Sentences to rows, as many per sentence as its length takes."""

    def __init__(self, tokenizer: Any, model: Any) -> None:
        self._subwords = Subwords(tokenizer)
        self._before, self._after = self._subwords.frame()
        self._limit = position_limit(model.base_model, tokenizer) - len(self._before) - len(self._after)
        self._ids = model.config.label2id

    def rows(
        self, sentences: Iterable[WeightedSentence], tag_weights: dict[str, float] | None = None
    ) -> list[Row]:
        """The rows of all sentences; ``tag_weights`` multiply those of the tokens."""
        return [row for sentence in sentences for row in self._rows(sentence, tag_weights or {})]

    def _rows(self, sentence: WeightedSentence, tag_weights: dict[str, float]) -> list[Row]:
        """The first subtoken of a word carries its tag; the others are ignored, as at prediction."""
        pieces, context = self._subwords.split([sentence.words, sentence.context])
        ids: list[int] = []
        labels: list[int] = []
        weights: list[float] = []
        for word, tag, weight in zip(pieces, sentence.tags, sentence.weights, strict=True):
            ids += word
            head = [IGNORED if tag is None else self._ids[tag]] if word else []
            labels += head + [IGNORED] * (len(word) - 1)
            weights += [weight * tag_weights.get(tag or "", 1.0)] * len(word)
        behind = context_ids(context, self._after, self._limit)
        return [
            self._framed(ids, labels, weights, behind, window.start, window.end)
            for window in windows(len(ids), self._limit - len(behind))
            if any(label != IGNORED for label in labels[window.start : window.end])
        ]

    def _framed(
        self, ids: list[int], labels: list[int], weights: list[float], behind: list[int], start: int, end: int
    ) -> Row:
        before, after = len(self._before), len(self._after) + len(behind)
        return Row(
            [*self._before, *ids[start:end], *self._after, *behind],
            [IGNORED] * before + labels[start:end] + [IGNORED] * after,
            [0.0] * before + weights[start:end] + [0.0] * after,
        )


def _marked_source(sentence: Sentence) -> list[str]:
    """The words of the source, entities between <PER> and </PER>; none without a source."""
    if sentence.source is None:
        return []
    tokens = Tokens.tokenize(sentence.source)
    opened: dict[int, list[str]] = {}
    closed: dict[int, list[str]] = {}
    for entity in sentence.source_entities:
        first, last, _ = tokens.covering(entity.start, entity.end)
        if first < last:
            opened.setdefault(first, []).append(f"<{entity.label}>")
            closed.setdefault(last, []).append(f"</{entity.label}>")
    words: list[str] = []
    for place, word in enumerate([*tokens.words(), ""]):
        words += closed.get(place, []) + opened.get(place, []) + ([word] if word else [])
    return words
