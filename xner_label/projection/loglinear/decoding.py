"""From log-odds to spans: marginals under the no-overlap constraint, and the choice that they imply.

Mentions whose windows meet nobody else's are solved by array operations, the others by the exact programmes of
:mod:`marginals` and :mod:`matching`. Candidates that are negligible on their own take no part in a competition.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from xner_label.projection.exact.marginals import marginals
from xner_label.projection.exact.matching import Candidate, match, rank
from xner_label.projection.loglinear.candidate_windows import Candidates
from xner_label.projection.loglinear.columns import Bools, Floats, Ints

# Candidates less probable than this on their own don't compete for tokens.
NEGLIGIBLE = 1e-4


def independent_posteriors(candidates: Candidates, scores: Floats) -> tuple[Floats, Floats]:
    """P(t) = exp(s(t)) / (1 + sum exp(s)) of each candidate (C,), and P(not projected) of each mention (M,)."""
    count = len(candidates.at) - 1
    peak = np.zeros(count)
    np.maximum.at(peak, candidates.mention, scores)
    powers = np.exp(scores - peak[candidates.mention])
    absent = np.exp(-peak)
    total = absent + np.bincount(candidates.mention, powers, count)
    return powers / total[candidates.mention], absent / total


class Solution(NamedTuple):
    """probability: (C,) marginal of each candidate; chosen: (M,) its candidate, or -1; exact: (M,) False where too
    many mentions competed for the caps of :mod:`marginals` or :mod:`matching`."""

    probability: Floats
    chosen: Ints
    exact: Bools


def solve(candidates: Candidates, scores: Floats) -> Solution:
    """The marginals, and the spans without overlaps that have the largest sum of them.

    That maximises the expected number of right spans. Ties: the shorter, then the one further left.
    """
    probability, _ = independent_posteriors(candidates, scores)
    exact = np.ones(len(candidates.at) - 1, bool)
    groups = _competing(candidates, probability)
    # Per group and mention, the rows of the mention's candidates.
    rows_of = [[np.arange(candidates.at[m], candidates.at[m + 1]) for m in group.tolist()] for group in groups]
    for group, mention_rows in zip(groups, rows_of, strict=True):
        likely_rows = [rows[probability[rows] >= NEGLIGIBLE] for rows in mention_rows]
        joint = marginals([_scored_spans(candidates, rows, scores) for rows in likely_rows])
        exact[group] &= joint.exact
        for rows, likely, values in zip(mention_rows, likely_rows, joint.projected, strict=True):
            probability[rows] = 0.0
            probability[likely] = values
    chosen = np.full(len(candidates.at) - 1, -1)
    order = np.lexsort((candidates.first, candidates.last - candidates.first, -probability, candidates.mention))
    filled = np.flatnonzero(np.diff(candidates.at))
    chosen[filled] = order[candidates.at[filled]]
    for group, mention_rows in zip(groups, rows_of, strict=True):
        rankings = [rank(_scored_spans(candidates, rows, probability)) for rows in mention_rows]
        choices, proven = match(rankings)
        exact[group] &= proven
        for mention, rows, ranking, choice in zip(group.tolist(), mention_rows, rankings, choices, strict=True):
            chosen[mention] = -1
            if choice >= 0:
                _, first, last = ranking[choice]
                chosen[mention] = rows[(candidates.first[rows] == first) & (candidates.last[rows] == last)][0]
    return Solution(probability, chosen, exact)


def _scored_spans(candidates: Candidates, rows: Ints, scores: Floats) -> list[Candidate]:
    return list(
        zip(scores[rows].tolist(), candidates.first[rows].tolist(), candidates.last[rows].tolist(), strict=True)
    )


def _competing(candidates: Candidates, probability: Floats) -> list[Ints]:
    """Groups of mentions whose windows meet; positions of different sentences are apart in a batch."""
    kept = np.flatnonzero(probability >= NEGLIGIBLE)
    mention = candidates.mention[kept]
    count = len(candidates.at) - 1
    low = np.full(count, np.iinfo(np.int64).max)
    high = np.full(count, -1)
    np.minimum.at(low, mention, candidates.first[kept])
    np.maximum.at(high, mention, candidates.last[kept])
    order = np.flatnonzero(high >= 0)
    order = order[np.argsort(low[order], kind="stable")]
    if len(order) < 2:
        return []
    apart = low[order][1:] >= np.maximum.accumulate(high[order])[:-1]
    groups = np.split(order, np.flatnonzero(apart) + 1)
    return [np.sort(group) for group in groups if len(group) > 1]
