"""Scored candidates generated directly, only where a score isn't zero: what :mod:`scores` computes as matrices.

The equations are those of the classes named in each docstring, and a test holds both to the same matchings; going
from link to link is an order of magnitude faster than filling matrices.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable

from xner_label.projection.exact.matching import Candidate
from xner_label.projection.handmade.candidates import anchored_runs
from xner_label.projection.handmade.scores import COLUMN_CAP, EDGE_MASS, ROW_CAP, longest_candidate
from xner_label.projection.problem import Instance, Mention
from xner_label.projection.similarity import FoldedTokens, similar_ngrams
from xner_label.projection.spans import MAX_LENGTH, longest_run

# Gives, for every mention of an instance, its candidates with their scores, in any order.
CandidateGenerator = Callable[[Instance], list[list[Candidate]]]


def align_candidates(instance: Instance) -> list[list[Candidate]]:
    """:class:`~xner_label.projection.handmade.scores.AlignScore` of the candidates that can be part of an optimum.

    Only runs that begin and end on a token linked to p are generated: shortening another run to these keeps
    its mass and raises its score, so no matching is better for having it.
    """
    links = instance.links or ()
    result = []
    for mention in instance.mentions:
        mass = _mass(mention, links)
        anchors = sorted(mass)
        length = mention.last - mention.first
        longest = MAX_LENGTH
        if anchors and anchors[-1] - anchors[0] >= longest:
            longest = longest_run(longest, instance.target.text)
        result.append(
            [
                (sum(mass.get(token, 0.0) for token in range(first, last)) / (length + last - first), first, last)
                for first, last in anchored_runs(anchors, longest)
            ]
        )
    return result


def _mass(mention: Mention, links: tuple[tuple[int, int, float], ...]) -> dict[int, float]:
    mass: dict[int, float] = {}
    for source, target, weight in links:
        if mention.first <= source < mention.last:
            mass[target] = mass.get(target, 0.0) + weight
    return mass


def link_dice_candidates(instance: Instance) -> list[list[Candidate]]:
    """:class:`~xner_label.projection.handmade.scores.LinkDiceScore` of the candidates that keep its edge rule."""
    links = instance.links
    mentions = instance.mentions
    if not mentions:
        return []
    if not links:
        return [[] for _ in mentions]
    column: dict[int, float] = {}
    for _, target, weight in links:
        column[target] = column.get(target, 0.0) + weight
    result: list[list[Candidate]] = []
    for mention in mentions:
        start, stop = mention.first, mention.last
        mass: dict[int, float] = {}
        row, token, token_mass = 0.0, -1, 0.0
        for source, target, weight in links[bisect_left(links, (start,)) : bisect_left(links, (stop,))]:
            mass[target] = mass.get(target, 0.0) + weight
            if source != token:
                row += token_mass if token_mass < ROW_CAP else ROW_CAP
                token, token_mass = source, 0.0
            token_mass += weight
        row += token_mass if token_mass < ROW_CAP else ROW_CAP
        anchors = sorted([target for target, weight in mass.items() if weight > EDGE_MASS])
        longest = longest_candidate(stop - start)
        if anchors and anchors[-1] - anchors[0] >= longest:
            longest = longest_run(longest, instance.target.text)
        scored: list[Candidate] = []
        for place, first in enumerate(anchors):
            inside = around = 0.0
            reached = first
            for last in anchors[place:]:
                if last - first >= longest:
                    break
                for target in range(reached, last + 1):
                    target_mass = column.get(target)
                    if target_mass is not None:
                        around += target_mass if target_mass < COLUMN_CAP else COLUMN_CAP
                        if target in mass:
                            inside += mass[target]
                reached = last + 1
                scored.append((2.0 * inside / (row + around), first, reached))
        result.append(scored)
    return result


# Least similarity of a name to its counterpart: below it two names are different names more often than not.
LEAST_SIMILARITY = 0.75


def string_candidates(instance: Instance) -> list[list[Candidate]]:
    """StringScore (see :mod:`scores`) from .75 on, where |t| is within one token of |p|."""
    if not instance.mentions:
        return []
    folded = FoldedTokens(instance.target)
    text = instance.source.text
    starts, ends = instance.source.starts, instance.source.ends
    return [
        similar_ngrams(
            text[starts[mention.first] : ends[mention.last - 1]],
            mention.last - mention.first,
            instance.target,
            folded,
            LEAST_SIMILARITY,
        )
        for mention in instance.mentions
    ]
