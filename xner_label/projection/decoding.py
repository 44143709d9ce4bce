"""From log-odds to spans: marginals under the no-overlap constraint, and the choice that they imply.

Mentions whose windows meet nobody else's are solved by array operations, the others by the exact programmes of
:mod:`marginals` and :mod:`matching`. Candidates that are negligible on their own take no part in a competition.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xner_label.projection.columns import Floats, Ints
from xner_label.projection.marginals import marginals
from xner_label.projection.matching import Candidate, match, rank
from xner_label.projection.windows import Candidates

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


def posteriors(found: Candidates, scores: Floats) -> tuple[Floats, list[Ints]]:
    """The marginal of each candidate (C,), and the groups of mentions that compete for tokens."""
    probability, _ = independent_posteriors(found, scores)
    groups = _competing(found, probability)
    for group in groups:
        members = [np.arange(found.at[mention], found.at[mention + 1]) for mention in group.tolist()]
        kept = [own[probability[own] >= NEGLIGIBLE] for own in members]
        answer = marginals([_candidates(found, own, scores) for own in kept])
        for own, some, values in zip(members, kept, answer.projected, strict=True):
            probability[own] = 0.0
            probability[some] = values
    return probability, groups


def choose(found: Candidates, probability: Floats, groups: Sequence[Ints]) -> Ints:
    """(M,) the candidate of each mention, -1 for none: no overlaps, the largest sum of marginals.

    That maximises the expected number of right spans. Ties: the shorter, then the one further left.
    """
    chosen = np.full(len(found.at) - 1, -1)
    order = np.lexsort((found.first, found.last - found.first, -probability, found.mention))
    filled = np.flatnonzero(np.diff(found.at))
    chosen[filled] = order[found.at[filled]]
    for group in groups:
        own = [np.arange(found.at[mention], found.at[mention + 1]) for mention in group.tolist()]
        ranked = [rank(_candidates(found, part, probability)) for part in own]
        choices, _ = match(ranked)
        for mention, part, ordered, choice in zip(group.tolist(), own, ranked, choices, strict=True):
            chosen[mention] = -1
            if choice >= 0:
                _, first, last = ordered[choice]
                chosen[mention] = part[(found.first[part] == first) & (found.last[part] == last)][0]
    return chosen


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
