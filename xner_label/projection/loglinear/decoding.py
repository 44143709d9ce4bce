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


def independent_posteriors(found: Candidates, scores: Floats) -> tuple[Floats, Floats]:
    """P(t) = exp(s(t)) / (1 + sum exp(s)) of each candidate (C,), and P(not projected) of each mention (M,)."""
    count = len(found.at) - 1
    peak = np.zeros(count)
    np.maximum.at(peak, found.mention, scores)
    powers = np.exp(scores - peak[found.mention])
    absent = np.exp(-peak)
    total = absent + np.bincount(found.mention, powers, count)
    return powers / total[found.mention], absent / total


class Solution(NamedTuple):
    """probability: (C,) marginal of each candidate; chosen: (M,) its candidate, or -1; exact: (M,) False where too
    many mentions competed for the caps of :mod:`marginals` or :mod:`matching`."""

    probability: Floats
    chosen: Ints
    exact: Bools


def solve(found: Candidates, scores: Floats) -> Solution:
    """The marginals, and the spans without overlaps that have the largest sum of them.

    That maximises the expected number of right spans. Ties: the shorter, then the one further left.
    """
    probability, _ = independent_posteriors(found, scores)
    exact = np.ones(len(found.at) - 1, bool)
    groups = _competing(found, probability)
    members = [[np.arange(found.at[m], found.at[m + 1]) for m in group.tolist()] for group in groups]
    for group, own in zip(groups, members, strict=True):
        kept = [part[probability[part] >= NEGLIGIBLE] for part in own]
        answer = marginals([_candidates(found, part, scores) for part in kept])
        exact[group] &= answer.exact
        for part, some, values in zip(own, kept, answer.projected, strict=True):
            probability[part] = 0.0
            probability[some] = values
    chosen = np.full(len(found.at) - 1, -1)
    order = np.lexsort((found.first, found.last - found.first, -probability, found.mention))
    filled = np.flatnonzero(np.diff(found.at))
    chosen[filled] = order[found.at[filled]]
    for group, own in zip(groups, members, strict=True):
        ranked = [rank(_candidates(found, part, probability)) for part in own]
        choices, proven = match(ranked)
        exact[group] &= proven
        for mention, part, ordered, choice in zip(group.tolist(), own, ranked, choices, strict=True):
            chosen[mention] = -1
            if choice >= 0:
                _, first, last = ordered[choice]
                chosen[mention] = part[(found.first[part] == first) & (found.last[part] == last)][0]
    return Solution(probability, chosen, exact)


def _candidates(found: Candidates, which: Ints, scores: Floats) -> list[Candidate]:
    return list(zip(scores[which].tolist(), found.first[which].tolist(), found.last[which].tolist(), strict=True))


def _competing(found: Candidates, probability: Floats) -> list[Ints]:
    """Groups of mentions whose windows meet; positions of different sentences are apart in a batch."""
    kept = np.flatnonzero(probability >= NEGLIGIBLE)
    mention = found.mention[kept]
    count = len(found.at) - 1
    low = np.full(count, np.iinfo(np.int64).max)
    high = np.full(count, -1)
    np.minimum.at(low, mention, found.first[kept])
    np.maximum.at(high, mention, found.last[kept])
    order = np.flatnonzero(high >= 0)
    order = order[np.argsort(low[order], kind="stable")]
    if len(order) < 2:
        return []
    apart = low[order][1:] >= np.maximum.accumulate(high[order])[:-1]
    parts = np.split(order, np.flatnonzero(apart) + 1)
    return [np.sort(part) for part in parts if len(part) > 1]
