"""Scores of a mention landing on a candidate, as matrices: each usable alone and in a weighted fusion.

Notation: mention p covers the source tokens k, candidate t the target tokens l; a[k,l] is the weight of their link
(0 without one); |p| and |t| are lengths in tokens. ``matrix(instance, spans)`` takes candidates as an array of
half-open target ranges, shape (C, 2), and returns c[p,t], shape (mentions, C).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from xner_label.projection.problem import Instance, Mention
from xner_label.projection.similarity import similarity
from xner_label.projection.spans import longest_run
from xner_label.stages.interfaces import TranslationScorer
from xner_label.word_forms import fold

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

# The most mass that one mention word and one candidate word may add to the denominator of link-Dice.
ROW_CAP = 1.0
COLUMN_CAP = 1.5
# A candidate's first and last word must carry more than this mass to the mention.
EDGE_MASS = 0.3


class Score(Protocol):
    """One way to judge candidates. ``needs`` names task fields as in Projector, ``signature`` the options."""

    signature: str
    needs: frozenset[str]

    def matrix(self, instance: Instance, spans: Ints) -> Floats:
        """c[p,t] for every mention and span: shape (mentions, spans)."""
        ...


class AlignScore:
    """c = sum_{k in p, l in t} a[k,l] / (|p| + |t|): half a Dice coefficient (Politov et al. 2025)."""

    signature = "align"
    needs = frozenset({"alignment"})

    def matrix(self, instance: Instance, spans: Ints) -> Floats:
        """See :class:`Score`."""
        mass, _, _ = _link_mass(instance)
        lengths = _lengths(instance)[:, None] + (spans[:, 1] - spans[:, 0])[None, :]
        return _range_sums(mass, spans) / lengths


class LinkDiceScore:
    """c = 2 A / (row + col), or 0 where the edge rule is broken.

    A = sum_{k in p, l in t} a[k,l];  row = sum_{k in p} min(1, sum_l a[k,l]);
    col = sum_{l in t} min(1.5, sum_k a[k,l]).  Links that leave the rectangle cost, unlinked words inside don't.
    Edge rule: the first and the last word of t each carry more than .3 to p, and |t| <= max(10, 2 |p| + 2), or
    more in scripts without spaces (:func:`longest_run`).
    """

    signature = "link-dice"
    needs = frozenset({"alignment"})

    def matrix(self, instance: Instance, spans: Ints) -> Floats:
        """See :class:`Score`."""
        mass, row, column = _link_mass(instance)
        inside = _range_sums(mass, spans)
        around = row[:, None] + _range_sums(np.minimum(column, COLUMN_CAP)[None, :], spans)
        text = instance.target.text
        longest = np.array(
            [longest_run(longest_candidate(mention.last - mention.first), text) for mention in instance.mentions]
        )
        allowed = (spans[:, 1] - spans[:, 0])[None, :] <= longest[:, None]
        allowed &= (mass[:, spans[:, 0]] > EDGE_MASS) & (mass[:, spans[:, 1] - 1] > EDGE_MASS)
        return np.divide(2.0 * inside, around, out=np.zeros_like(inside), where=allowed)


def longest_candidate(mention_length: int) -> int:
    """The most tokens that link-Dice lets a candidate have."""
    return max(10, 2 * mention_length + 2)


class NerScore:
    """c = alpha^(|t|-1) (P(B-type at first word) + sum of P(I-type at the others)) / |t|,  0 below ``threshold``.

    ``alpha`` = 1.15 favours longer spans (Politov et al. 2025). With ``any_type`` (ner_spans) probabilities are
    summed over all types, so that the tagger judges the span and leaves the type to the source.
    """

    needs = frozenset({"target_tags"})

    def __init__(self, *, any_type: bool = False, alpha: float = 1.15, threshold: float = 0.05) -> None:
        self.any_type = any_type
        self.alpha = alpha
        self.threshold = threshold
        self.signature = f"ner{'-spans' if any_type else ''}({alpha:g},{threshold:g})"

    def matrix(self, instance: Instance, spans: Ints) -> Floats:
        """See :class:`Score`."""
        tags = instance.target_tags or [{} for _ in range(len(instance.target))]
        begin = np.array(
            [[self._sum(token_tags, "B-", mention) for token_tags in tags] for mention in instance.mentions]
        )
        inside = np.array(
            [[self._sum(token_tags, "I-", mention) for token_tags in tags] for mention in instance.mentions]
        )
        length = spans[:, 1] - spans[:, 0]
        total = begin[:, spans[:, 0]] + _range_sums(inside, spans) - inside[:, spans[:, 0]]
        score = self.alpha ** (length - 1.0) * total / length
        return np.where(score >= self.threshold, score, 0.0)

    def _sum(self, tags: Mapping[str, float], prefix: str, mention: Mention) -> float:
        if not self.any_type:
            return float(tags.get(prefix + mention.label, 0.0))
        return float(sum(value for tag, value in tags.items() if tag.startswith(prefix)))


class NmtScore:
    """c = (P(t | p) + P(p | t)) / 2 with length-normalised translation probabilities, 0 below ``threshold``.

    P(y | x) = exp(mean over y's subtokens of log p(y_i | y_<i, x)), after NMTScore (Vamvas & Sennrich 2022,
    arXiv 2204.13692). Only spans of up to ``max_length`` tokens are asked for.
    """

    needs: frozenset[str] = frozenset()

    def __init__(self, scorer: TranslationScorer, *, threshold: float = 0.1) -> None:
        self.scorer = scorer
        self.threshold = threshold
        self.signature = f"nmt({scorer.signature},{threshold:g})"

    def matrix(self, instance: Instance, spans: Ints) -> Floats:
        """See :class:`Score`."""
        names = _mention_texts(instance)
        texts = _span_texts(instance, spans)
        pairs = [(name, text) for name in names for text in texts]
        forward = np.exp(self.scorer.to_target(pairs))
        backward = np.exp(self.scorer.to_source(pairs))
        score = ((forward + backward) / 2.0).reshape(len(names), len(texts))
        return np.where(score >= self.threshold, score, 0.0)


class StringScore:
    """c = :func:`xner_label.projection.similarity.similarity` of the two texts, 0 below ``threshold``."""

    needs: frozenset[str] = frozenset()

    def __init__(self, threshold: float = 0.0) -> None:
        self.threshold = threshold
        self.signature = f"string({threshold:g})"

    def matrix(self, instance: Instance, spans: Ints) -> Floats:
        """See :class:`Score`."""
        texts = _span_texts(instance, spans)
        names = _mention_texts(instance)
        score = np.array([[similarity(name, text) for text in texts] for name in names]).reshape(
            len(names), len(texts)
        )
        return np.where(score >= self.threshold, score, 0.0)


class SourceScore:
    """c = the source tagger's probability of p, the same for every candidate; 1 for one given by a person."""

    signature = "source"
    needs: frozenset[str] = frozenset()

    def matrix(self, instance: Instance, spans: Ints) -> Floats:
        """See :class:`Score`."""
        probabilities = [1.0 if mention.score is None else mention.score for mention in instance.mentions]
        return np.repeat(np.array(probabilities)[:, None], len(spans), axis=1)


class LengthScore:
    """c = min(x, y) / max(x, y)  with x, y the lengths of p and t in code points."""

    signature = "length"
    needs: frozenset[str] = frozenset()

    def matrix(self, instance: Instance, spans: Ints) -> Floats:
        """See :class:`Score`."""
        source = np.array([len(text) for text in _mention_texts(instance)], dtype=np.float64)[:, None]
        target = np.array([len(text) for text in _span_texts(instance, spans)], dtype=np.float64)[None, :]
        return np.asarray(np.minimum(source, target) / np.maximum(source, target))


class CasingScore:
    """c = share of t's border words that are capitalised if p's are, both first words and both last words.

    1 where both agree, 1/2 where one does, 0 otherwise. A soft hint: as a hard rule it hurts (German nouns).
    """

    signature = "casing"
    needs: frozenset[str] = frozenset()

    def matrix(self, instance: Instance, spans: Ints) -> Floats:
        """See :class:`Score`."""
        source = [word[:1].isupper() for word in instance.source]
        target = np.array([word[:1].isupper() for word in instance.target], dtype=np.bool_)
        first = np.array([source[mention.first] for mention in instance.mentions], dtype=np.bool_)[:, None]
        last = np.array([source[mention.last - 1] for mention in instance.mentions], dtype=np.bool_)[:, None]
        agree = (target[spans[:, 0]] == first) * 0.5 + (target[spans[:, 1] - 1] == last) * 0.5
        return np.asarray(agree, dtype=np.float64)


class FrequencyScore:
    """c = mean over the words l of t of 1 - log(1 + n[l]) / log(1 + N): names are rarer than other words.

    n[l]: how often the word stands in ``texts`` (tokenised target texts; case and diacritics don't count), N: how
    often the commonest word does. All candidates get 1 where there are no texts.
    """

    needs: frozenset[str] = frozenset()

    def __init__(self, texts: Iterable[Sequence[str]]) -> None:
        self._counts = Counter(fold(word) for text in texts for word in text)
        self._most = max(self._counts.values(), default=1)
        self.signature = f"frequency({self._counts.total()}/{len(self._counts)})"

    def matrix(self, instance: Instance, spans: Ints) -> Floats:
        """See :class:`Score`."""
        counts = np.array([[self._counts[fold(word)] for word in instance.target]], dtype=np.float64)
        rarity = 1.0 - np.log1p(counts) / np.log1p(self._most)
        mean = _range_sums(rarity, spans) / (spans[:, 1] - spans[:, 0])
        return np.repeat(mean, len(instance.mentions), axis=0)


class Fusion:
    """c = sum_s w_s c_s(p, t), a weighted sum of scores (Politov et al. 2025)."""

    def __init__(self, weighted: Sequence[tuple[Score, float]]) -> None:
        self.weighted = tuple(weighted)
        self.signature = "+".join(f"{weight:g}*{score.signature}" for score, weight in self.weighted)
        self.needs = frozenset[str]().union(*(score.needs for score, _ in self.weighted))

    def matrix(self, instance: Instance, spans: Ints) -> Floats:
        """See :class:`Score`."""
        total = np.zeros((len(instance.mentions), len(spans)))
        for score, weight in self.weighted:
            total += weight * score.matrix(instance, spans)
        return total


def _link_mass(instance: Instance) -> tuple[Floats, Floats, Floats]:
    """Mass from each mention to each target token, (mentions, target); capped row; column, (target,)."""
    weights = np.zeros((len(instance.source), len(instance.target)))
    for source, target, weight in instance.links or ():
        weights[source, target] = weight
    mass = np.array([weights[mention.first : mention.last].sum(axis=0) for mention in instance.mentions])
    capped = np.minimum(weights.sum(axis=1), ROW_CAP)
    row = np.array([capped[mention.first : mention.last].sum() for mention in instance.mentions])
    return mass, row, weights.sum(axis=0)


def _range_sums(values: Floats, spans: Ints) -> Floats:
    """Sums of each row of ``values``, shape (rows, target), over each span: shape (rows, spans)."""
    cumulative = np.concatenate([np.zeros((len(values), 1)), np.cumsum(values, axis=1)], axis=1)
    return np.asarray(cumulative[:, spans[:, 1]] - cumulative[:, spans[:, 0]])


def _lengths(instance: Instance) -> Ints:
    return np.array([mention.last - mention.first for mention in instance.mentions], dtype=np.int64)


def _mention_texts(instance: Instance) -> list[str]:
    source = instance.source
    return [
        source.text[source.starts[mention.first] : source.ends[mention.last - 1]] for mention in instance.mentions
    ]


def _span_texts(instance: Instance, spans: Ints) -> list[str]:
    target = instance.target
    return [target.text[target.starts[first] : target.ends[last - 1]] for first, last in spans.tolist()]
