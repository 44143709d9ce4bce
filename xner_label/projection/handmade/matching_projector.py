"""Projectors that score candidates and match them exactly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from xner_label.projection.exact.matching import Candidate, match, match_greedy, match_milp, rank
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

# How candidates are chosen: at most one for each mention, exactly or greedily; exactly one; at least one.
Solver = Literal["<=", "greedy", "=", ">="]


class MatchingProjector:
    """Scores candidates, then matches them exactly or as ``solver`` says.

    With ``=`` and ``>=`` (Politov et al. 2025, their constraints on the number of spans per source entity) every
    mention that has a candidate is projected, with ``>=`` to several places if that adds to the total.
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
        solver: Solver = "<=",
    ) -> None:
        self.signature = name if solver == "<=" else f"{name}@{solver}"
        self.cut = 0.0
        self.needs = needs
        self._generate = generate
        self._scale = scale
        self._solver = solver

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
        chosen, exact = self._matched(candidates)
        mentions = instance.mentions
        projections = Projections()
        projections.exact = exact
        for index, choices in enumerate(chosen):
            for choice in choices:
                score, first, last = candidates[index][choice]
                confidence = min(1.0, self._scale * score)
                projections.append(Projection(index, first, last, mentions[index].label, score, confidence))
        return projections.in_order()

    def _matched(self, candidates: list[list[Candidate]]) -> tuple[list[list[int]], bool]:
        """The chosen candidates of each mention, and whether no better choice is possible."""
        if self._solver == "greedy":
            return match_greedy(candidates).chosen, True
        if self._solver == "<=":
            chosen, exact = match(candidates)
            return [[choice] if choice >= 0 else [] for choice in chosen], exact
        matching = match_milp(candidates, constraint="==" if self._solver == "=" else ">=")
        return matching.chosen, matching.exact


_LINKS = frozenset({"alignment"})


def string_projector(solver: Solver = "<=") -> MatchingProjector:
    """Names that read alike; needs no links."""
    return MatchingProjector("string", string_candidates, solver=solver)


def link_dice_projector(solver: Solver = "<=") -> MatchingProjector:
    """The hand-made score of links that leave a span and links that stay inside."""
    return MatchingProjector("link-dice", link_dice_candidates, needs=_LINKS, solver=solver)


def align_projector(solver: Solver = "<=") -> MatchingProjector:
    """The paper's alignment score; ``greedy`` chooses spans as the paper's approximation does."""
    return MatchingProjector("align", align_candidates, needs=_LINKS, scale=2.0, solver=solver)


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


def fusion_projector(
    name: str, weighted: Sequence[tuple[Score, float]], solver: Solver = "<="
) -> MatchingProjector:
    """Exact matching of a weighted fusion; its confidence is the score's share of the sum of the weights."""
    score = Fusion(weighted)
    return MatchingProjector(
        f"{name}({score.signature})",
        dense_candidates(score if len(weighted) > 1 else weighted[0][0]),
        needs=score.needs,
        scale=1.0 / sum(weight for _, weight in weighted),
        solver=solver,
    )
