"""How sure a matching is: posteriors from the programme of :mod:`matching`, in the log semiring.

A matching x has probability  p(x) = exp(sum of its scores) / Z,  with Z summed over every feasible matching
(at most one candidate per mention, no overlaps). A mention that is left out contributes score 0, so scores are
log-odds against not being projected. Unlike in matching, candidates with negative scores count.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, fsum, log, log1p
from typing import NamedTuple

from xner_label.projection.matching import Candidate, components, stages

# Beyond this many transitions of one component its mentions are treated as independent of each other.
TRANSITION_LIMIT = 100_000
_NOTHING = float("-inf")


class Marginals(NamedTuple):
    """``projected[m][t]``: probability that mention m lands on its candidate t; ``absent[m]``: on none.

    ``log_partition`` is log Z. ``exact`` is False where a component exceeded TRANSITION_LIMIT, so that its
    mentions were taken as independent.
    """

    projected: list[list[float]]
    absent: list[float]
    log_partition: float
    exact: bool


def marginals(candidates: Sequence[Sequence[Candidate]]) -> Marginals:
    """The posteriors of every candidate. Candidates may come in any order."""
    projected: list[list[float]] = [[] for _ in candidates]
    absent = [1.0] * len(candidates)
    total, exact = 0.0, True
    for component in components(candidates) if len(candidates) > 1 else [[0]] * len(candidates):
        part = [candidates[mention] for mention in component]
        summed = _sum_component(part) if len(part) > 1 else None
        if summed is None:
            exact = exact and len(part) == 1
            for mention in component:
                projected[mention], absent[mention], log_sum = independent(candidates[mention])
                total += log_sum
            continue
        posteriors, log_sum = summed
        total += log_sum
        for mention, own in zip(component, posteriors, strict=True):
            projected[mention] = own
            absent[mention] = max(0.0, 1.0 - fsum(own))
    return Marginals(projected, absent, total, exact)


def independent(own: Sequence[Candidate]) -> tuple[list[float], float, float]:
    """Posteriors of one mention that competes with nobody, of its absence, and the log of their sum."""
    peak = max(0.0, max((score for score, _, _ in own), default=0.0))
    weights = [exp(score - peak) for score, _, _ in own]
    nothing = exp(-peak)
    total = fsum(weights) + nothing
    return [weight / total for weight in weights], nothing / total, peak + log(total)


def _sum_component(candidates: Sequence[Sequence[Candidate]]) -> tuple[list[list[float]], float] | None:
    """Forward and backward sums over the states of one component; None beyond TRANSITION_LIMIT."""
    programme = stages(candidates)
    forward: list[dict[int, float]] = [{} for _ in programme]
    forward[0][0] = 0.0
    transitions = 0
    for place, stage in enumerate(programme[:-1]):
        transitions += len(forward[place]) * (1 + len(stage.starts))
        if transitions > TRANSITION_LIMIT:
            return None
        for used, value in forward[place].items():
            _add(forward[place + 1], used & programme[place + 1].live, value)
            for mention, choice, after in stage.starts:
                if not used >> mention & 1:
                    _add(
                        forward[after],
                        (used | 1 << mention) & programme[after].live,
                        value + candidates[mention][choice][0],
                    )
    total = forward[-1][0]
    posteriors = [[0.0] * len(own) for own in candidates]
    backward: list[dict[int, float]] = [{} for _ in programme]
    backward[-1][0] = 0.0
    for place in range(len(programme) - 2, -1, -1):
        stage = programme[place]
        for used, value in forward[place].items():
            below = backward[place + 1][used & programme[place + 1].live]
            for mention, choice, after in stage.starts:
                if not used >> mention & 1:
                    rest = backward[after][(used | 1 << mention) & programme[after].live]
                    rest += candidates[mention][choice][0]
                    posteriors[mention][choice] += exp(min(0.0, value + rest - total))
                    below = _log_add(below, rest)
            backward[place][used] = below
    return posteriors, total


def _add(table: dict[int, float], used: int, value: float) -> None:
    known = table.get(used)
    table[used] = value if known is None else _log_add(known, value)


def _log_add(left: float, right: float) -> float:
    if left < right:
        left, right = right, left
    return left if right == _NOTHING else left + log1p(exp(right - left))
