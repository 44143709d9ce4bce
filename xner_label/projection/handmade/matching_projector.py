"""Projectors that score candidates and match them exactly."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xner_label.projection.exact.matching import Candidate, match, match_greedy, rank
from xner_label.projection.handmade.candidates import alignment_window
from xner_label.projection.handmade.scores import AlignScore, Fusion, Score
from xner_label.projection.handmade.sparse_scores import (
    CandidateGenerator,
    align_candidates,
    link_dice_candidates,
    string_candidates,
)
from xner_label.projection.problem import Instance, Projection, Projections
from xner_label.projection.spans import MAX_LENGTH, longest_run, ngrams


class MatchingProjector:
    """Scores candidates, then matches them exactly (or greedily).

    ``scale`` turns a score into a confidence: min(1, scale * score). It is a rank of how sure the projector is,
    no calibrated probability.
    """

    def __init__(
        self,
        name: str,
        generate: CandidateGenerator,
        *,
        needs: frozenset[str] = frozenset(),
        scale: float = 1.0,
        greedy: bool = False,
    ) -> None:
        self.signature = name
        self.cut = 0.0
        self.needs = needs
        self._generate = generate
        self._scale = scale
        self._greedy = greedy

    def project(self, instances: Sequence[Instance]) -> list[Projections]:
        """See :class:`xner_label.projection.problem.Projector`."""
        generate = self._generate
        return [
            self._choose(instance, generate(instance)) if instance.mentions else Projections()
            for instance in instances
        ]

    def _choose(self, instance: Instance, candidates: list[list[Candidate]]) -> Projections:
        for of_mention in candidates:
            if len(of_mention) > 1:
                rank(of_mention)
        if self._greedy:
            chosen, exact = [choices[0] if choices else -1 for choices in match_greedy(candidates).chosen], True
        else:
            chosen, exact = match(candidates)
        mentions = instance.mentions
        projections = Projections()
        projections.exact = exact
        for index, choice in enumerate(chosen):
            if choice >= 0:
                score, first, last = candidates[index][choice]
                confidence = min(1.0, self._scale * score)
                projections.append(Projection(index, first, last, mentions[index].label, score, confidence))
        return projections.in_order()


_LINKS = frozenset({"alignment"})


def string_projector() -> MatchingProjector:
    """Names that read alike; needs no links."""
    return MatchingProjector("string", string_candidates)


def link_dice_projector() -> MatchingProjector:
    """The hand-made score of links that leave a span and links that stay inside."""
    return MatchingProjector("link-dice", link_dice_candidates, needs=_LINKS)


def align_projector(*, greedy: bool = False) -> MatchingProjector:
    """The paper's alignment score; ``greedy`` chooses spans as the paper's approximation does."""
    name = "align-greedy" if greedy else "align"
    return MatchingProjector(name, align_candidates, needs=_LINKS, scale=2.0, greedy=greedy)


def dense_candidates(score: Score) -> CandidateGenerator:
    """Every run of up to MAX_LENGTH tokens with its score, where that isn't 0: the paper's formulation.

    Where links are all that counts, only the alignment window is searched.
    """

    def generate(instance: Instance) -> list[list[Candidate]]:
        first, last = 0, len(instance.target)
        if isinstance(score, AlignScore):
            first, last = alignment_window(instance.mentions, instance.links or ())
        spans = ngrams(first, last, longest_run(MAX_LENGTH, instance.target.text))
        if not spans:
            return [[] for _ in instance.mentions]
        matrix = score.matrix(instance, np.array(spans, dtype=np.int64))
        return [
            [(value, *span) for value, span in zip(row, spans, strict=True) if value > 0.0]
            for row in matrix.tolist()
        ]

    return generate


def fusion_projector(name: str, weighted: Sequence[tuple[Score, float]]) -> MatchingProjector:
    """Exact matching of a weighted fusion; its confidence is the score's share of the sum of the weights."""
    score = Fusion(weighted)
    return MatchingProjector(
        f"{name}({score.signature})",
        dense_candidates(score if len(weighted) > 1 else weighted[0][0]),
        needs=score.needs,
        scale=1.0 / sum(weight for _, weight in weighted),
    )
