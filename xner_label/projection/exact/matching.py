"""Choosing candidates: at most one per mention, no two overlapping, the largest total score.

    maximise    sum_m sum_t c[m,t] x[m,t]            x in {0,1}
    subject to  sum_{m, t covers l} x[m,t] <= 1      for every target position l
                sum_t x[m,t] <= 1                    for every mention m

(Politov et al. 2025, arXiv 2501.18750, with their pairwise overlap constraints replaced by one constraint per
position: the same feasible set, a tighter relaxation.) Mentions whose candidates touch no common position are
solved apart. A component is solved by a dynamic programme over target positions x the set of live mentions
already used, where a mention is live as long as one of its candidates still starts at or after the position;
when that has too many states, by a mixed-integer programme (HiGHS).

Candidates of one mention come in rank order: higher score first, then shorter, then further left. Ties between
matchings of equal total are broken by that order: the first mention gets its best-ranked candidate, then the
second, and so on; being projected beats not being projected. Scores are compared in steps of 2**-40, so that a
total doesn't depend on the order of its terms. The mixed-integer programme breaks ties in its own way, always
the same for the same input.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Literal, NamedTuple

# (score, first, last): a half-open range of target tokens and the score of a mention landing there.
Candidate = tuple[float, int, int]
Constraint = Literal["<=", "==", ">="]

# Beyond this many steps (a state, a candidate that may start there) in one component the dynamic programme gives
# way to HiGHS: some ten milliseconds of either, reached at seven or eight mentions that all compete
# (bench/projection_crossover.py).
STEP_LIMIT = 10_000
# Branch-and-bound nodes, and candidates of one component, that HiGHS is granted: a second or two. Instances met in
# practice need one node and some hundred candidates.
NODE_LIMIT = 2_000
CANDIDATE_LIMIT = 50_000
_STEPS = float(2**40)
_FAR = 1 << 60


class Matching(NamedTuple):
    """For each mention the indices of its chosen candidates; ``exact`` is False after a fallback to greedy."""

    chosen: list[list[int]]
    exact: bool


def rank(candidates: list[Candidate]) -> list[Candidate]:
    """Sort the candidates of one mention in place, best first, and return them."""
    candidates.sort(key=_rank_key)
    return candidates


def _rank_key(candidate: Candidate) -> tuple[float, int, int]:
    score, first, last = candidate
    return -score, last - first, first


def match(candidates: Sequence[Sequence[Candidate]]) -> tuple[list[int], bool]:
    """The best matching with at most one candidate per mention.

    ``candidates[m]`` lists mention m's candidates in rank order; those with a score <= 0 are never chosen.
    Returns for each mention the index of its candidate, or -1, and whether the answer is a proven optimum (False
    only where a component exceeded STEP_LIMIT and what HiGHS is granted, and was solved greedily).
    """
    chosen = [0 if ranked and ranked[0][0] > 0.0 else -1 for ranked in candidates]
    if not _conflict(candidates, chosen):
        return chosen, True
    exact = True
    for component in components(candidates):
        if not _conflict([candidates[m] for m in component], [chosen[m] for m in component]):
            continue
        kept = [undominated(candidates[mention]) for mention in component]
        problem = [[candidates[m][index] for index in indices] for m, indices in zip(component, kept, strict=True)]
        solution = _dynamic_programme(problem)
        if solution is None:
            matching = match_milp(problem)
            exact = exact and matching.exact
            solution = [choices[0] if choices else -1 for choices in matching.chosen]
        for mention, indices, choice in zip(component, kept, solution, strict=True):
            chosen[mention] = indices[choice] if choice >= 0 else -1
    return chosen, exact


def undominated(ranked: Sequence[Candidate]) -> list[int]:
    """The indices of the candidates that contain no other with at least their score, and whose score is > 0.

    ``ranked`` holds one mention's candidates in rank order. In any matching with at most one candidate per
    mention a dominated candidate can be exchanged for the one it contains without losing score or covering a
    new token, so an optimum survives; the dominated one also ranks later, so that ties are broken alike. Not
    for marginals, where every candidate carries mass.
    """
    kept: list[int] = []
    # nearest[l]: the smallest end of a kept candidate that starts at l, counted from the leftmost one, or later;
    # positions may be those of a whole batch of sentences.
    leftmost = min((first for _, first, _ in ranked), default=0)
    nearest = [_FAR] * (1 + max((last for _, _, last in ranked), default=0) - leftmost)
    for index, (score, first, last) in enumerate(ranked):
        if score <= 0.0:
            break
        if nearest[first - leftmost] > last:
            kept.append(index)
            for place in range(first - leftmost, -1, -1):
                if nearest[place] <= last:
                    break
                nearest[place] = last
    return kept


def _conflict(candidates: Sequence[Sequence[Candidate]], chosen: Sequence[int]) -> bool:
    """Whether two chosen candidates overlap; if not, taking every mention's best is optimal."""
    if len(chosen) < 2:
        return False
    spans = sorted(candidates[mention][choice][1:] for mention, choice in enumerate(chosen) if choice >= 0)
    end = 0
    for first, last in spans:
        if first < end:
            return True
        end = last
    return False


def components(candidates: Sequence[Sequence[Candidate]]) -> list[list[int]]:
    """Groups of mentions that compete for a position, directly or through others; mentions in order."""
    borders = sorted(
        (first, last, mention) for mention, spans in enumerate(candidates) for _, first, last in spans
    )
    parent = list(range(len(candidates)))

    def find(mention: int) -> int:
        while parent[mention] != mention:
            parent[mention] = mention = parent[parent[mention]]
        return mention

    reach, holder = 0, -1
    for first, last, mention in borders:
        if first < reach:
            parent[find(mention)] = find(holder)
        if last > reach:
            reach, holder = last, mention
    groups: dict[int, list[int]] = {}
    for mention in range(len(candidates)):
        groups.setdefault(find(mention), []).append(mention)
    return list(groups.values())


class Position(NamedTuple):
    """One position of the programme: where a candidate may start, and who can still start from there on.

    ``starts`` holds (mention, candidate index, place of the position after it); ``live`` is a bit set of mentions.
    """

    starts: list[tuple[int, int, int]]
    live: int


def programme_positions(candidates: Sequence[Sequence[Candidate]]) -> list[Position]:
    """The positions at which candidates start, left to right, ending with one where none does."""
    tokens = sorted({first for spans in candidates for _, first, _ in spans})
    place_of = {token: place for place, token in enumerate(tokens)}
    after = {last: bisect_left(tokens, last) for spans in candidates for _, _, last in spans}
    starts: list[list[tuple[int, int, int]]] = [[] for _ in range(len(tokens) + 1)]
    ending: dict[int, int] = {}  # by place: the mentions whose last start it is
    for mention, spans in enumerate(candidates):
        latest = -1
        for choice, (_, first, last) in enumerate(spans):
            place = place_of[first]
            starts[place].append((mention, choice, after[last]))
            if place > latest:
                latest = place
        ending[latest] = ending.get(latest, 0) | 1 << mention
    result: list[Position] = []
    live = 0
    for place in range(len(tokens), -1, -1):
        live |= ending.get(place, 0)
        result.append(Position(starts[place], live))
    result.reverse()
    return result


def _dynamic_programme(candidates: Sequence[Sequence[Candidate]]) -> list[int] | None:
    """Exact matching of one component; None where more than STEP_LIMIT steps would be needed."""
    count = len(candidates)
    weights = [[round(score * _STEPS) for score, _, _ in spans] for spans in candidates]
    unused = max(map(len, candidates))
    programme = programme_positions(candidates)
    # For each position: used live mentions -> (total, choice of each mention; ``unused`` where there is none).
    tables: list[dict[int, tuple[int, tuple[int, ...]]]] = [{} for _ in programme]
    tables[0][0] = (0, (unused,) * count)
    steps = 0
    for place, position in enumerate(programme[:-1]):
        table = tables[place]
        steps += len(table) * (1 + len(position.starts))
        if steps > STEP_LIMIT:
            return None
        for used, state in table.items():
            _keep(tables[place + 1], used & programme[place + 1].live, state)
            total, choices = state
            for mention, choice, after in position.starts:
                if candidates[mention][choice][0] > 0.0 and not used >> mention & 1:
                    weight = weights[mention][choice]
                    chosen = (*choices[:mention], choice, *choices[mention + 1 :])
                    _keep(tables[after], (used | 1 << mention) & programme[after].live, (total + weight, chosen))
        tables[place] = {}
    _, best = tables[-1][0]
    return [-1 if choice == unused else choice for choice in best]


def _keep(table: dict[int, tuple[int, tuple[int, ...]]], used: int, state: tuple[int, tuple[int, ...]]) -> None:
    best = table.get(used)
    if best is None or state[0] > best[0] or (state[0] == best[0] and state[1] < best[1]):
        table[used] = state


def match_greedy(candidates: Sequence[Sequence[Candidate]], limit: int = 1) -> Matching:
    """Take the best remaining candidate again and again, at most ``limit`` for each mention.

    The approximation of the paper; no optimum is promised. Equal scores: rank order, then mention order.
    """
    queue = sorted(
        (-score, last - first, first, mention, choice)
        for mention, spans in enumerate(candidates)
        for choice, (score, first, last) in enumerate(spans)
        if score > 0.0
    )
    chosen: list[list[int]] = [[] for _ in candidates]
    taken: set[int] = set()
    for _, length, first, mention, choice in queue:
        if len(chosen[mention]) < limit and taken.isdisjoint(range(first, first + length)):
            chosen[mention].append(choice)
            taken.update(range(first, first + length))
    return Matching(chosen, False)


def match_milp(
    candidates: Sequence[Sequence[Candidate]], limit: int = 1, constraint: Constraint = "<="
) -> Matching:
    """Solve with HiGHS: each mention gets ``<=``, ``==`` or ``>=`` ``limit`` candidates.

    With ``==`` and ``>=`` a mention that has fewer than ``limit`` candidates must get all of them. Where that
    can't be met without overlaps, or there are more than CANDIDATE_LIMIT candidates or NODE_LIMIT nodes, the
    answer is greedy's and not exact.
    """
    import numpy as np
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import csr_array

    variables = [
        (mention, choice)
        for mention, spans in enumerate(candidates)
        for choice, (score, _, _) in enumerate(spans)
        if constraint != "<=" or score > 0.0
    ]
    if not variables:
        return Matching([[] for _ in candidates], True)
    if len(variables) > CANDIDATE_LIMIT:
        return match_greedy(candidates, limit)
    length = max(candidates[mention][choice][2] for mention, choice in variables)
    costs = np.empty(len(variables))
    rows: list[int] = []
    columns: list[int] = []
    for column, (mention, choice) in enumerate(variables):
        score, first, last = candidates[mention][choice]
        costs[column] = -score
        rows.extend(range(first, last))
        rows.append(length + mention)
        columns.extend([column] * (last - first + 1))
    matrix = csr_array((np.ones(len(rows)), (rows, columns)), shape=(length + len(candidates), len(variables)))
    bound = np.array([min(limit, len(spans)) for spans in candidates], dtype=float)
    lower = np.concatenate([np.full(length, -np.inf), bound if constraint != "<=" else np.zeros_like(bound)])
    upper = np.concatenate([np.ones(length), bound if constraint != ">=" else np.full_like(bound, np.inf)])
    solution = milp(
        costs,
        constraints=LinearConstraint(matrix, lower, upper),
        integrality=np.ones_like(costs),
        bounds=Bounds(0, 1),
        options={"mip_rel_gap": 0.0, "node_limit": NODE_LIMIT},
    )
    if solution.status != 0:
        return match_greedy(candidates, limit)
    chosen: list[list[int]] = [[] for _ in candidates]
    for (mention, choice), value in zip(variables, solution.x, strict=True):
        if value > 0.5:
            chosen[mention].append(choice)
    return Matching(chosen, True)
