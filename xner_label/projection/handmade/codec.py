"""Where a translation model would put the markers: constrained decoding of Le et al. 2024 (arXiv 2402.03131)."""

from __future__ import annotations

import numpy as np

from xner_label.entities import Tokens
from xner_label.projection.handmade.scores import Floats, Ints
from xner_label.projection.problem import Instance
from xner_label.stages.interfaces import VariantScorer
from xner_label.stages.translation.markers import free_brackets

# Candidates of less than this share of the most probable one's probability count as impossible.
LEAST_RATIO = 1e-3


class CodecScore:
    """c = P(y_t | x_p) / sum over t' of P(y_t' | x_p),  0 for the improbable ones.

    x_p is the source with markers around mention p, y_t the target text with markers around candidate t, and
    P(y | x) = prod over y's subtokens of P(y_i | y_<i, x) by the model that translates source into target. CODEC
    takes argmax over t of log P(y_t | x_p), each mention by itself: nothing but the place of the markers is left
    open, so that the text stays as it is. Divided by the sum, what is left is the probability of each place. t'
    runs over the candidates with at least ``least_ratio`` times the probability of p's best; others get 0.

    CODEC searches heuristically (it fixes likely opening places first, then searches depth first within a bound);
    here every candidate is scored, but for those that provably fall below ``least_ratio``
    (:mod:`xner_label.stages.translation.variant_scores`). Markers are square brackets with spaces inside, or the
    first pair that neither text holds; where there is none, and where a text is longer than the model reads, every
    candidate gets 0.
    """

    needs: frozenset[str] = frozenset()

    def __init__(self, scorer: VariantScorer, *, least_ratio: float = LEAST_RATIO) -> None:
        self.scorer = scorer
        self.least_ratio = least_ratio
        self.signature = f"codec({scorer.signature},{least_ratio:g})"

    def matrix(self, instance: Instance, spans: Ints) -> Floats:
        """See :class:`~xner_label.projection.handmade.scores.Score`."""
        source, target = instance.source, instance.target
        zeros = np.zeros((len(instance.mentions), len(spans)))
        pair = free_brackets(source.text, target.text)
        if pair is None or not zeros.size:
            return zeros
        sources = {
            (mention.first, mention.last): _marked(source, mention.first, mention.last, pair)
            for mention in instance.mentions
        }
        variants = [_marked(target, first, last, pair) for first, last in spans.tolist()]
        logs = self.scorer.log_probabilities(list(sources.values()), target.text, variants, self.least_ratio)
        possible = np.isfinite(logs)
        best = np.where(possible, logs, -np.finfo(np.float64).max).max(axis=1, keepdims=True)
        ratios = np.exp(logs - best, out=np.zeros_like(logs), where=possible)
        scores = np.divide(ratios, ratios.sum(axis=1, keepdims=True), out=zeros[: len(sources)], where=possible)
        row_of = {key: row for row, key in enumerate(sources)}
        return np.asarray(scores[[row_of[mention.first, mention.last] for mention in instance.mentions]])


def _marked(tokens: Tokens, first: int, last: int, pair: tuple[str, str]) -> str:
    start, end = tokens.starts[first], tokens.ends[last - 1]
    text = tokens.text
    return f"{text[:start]}{pair[0]} {text[start:end]} {pair[1]}{text[end:]}"
