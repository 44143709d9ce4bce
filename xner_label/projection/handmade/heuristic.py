"""The alignment heuristic of García-Ferrero et al. 2022 (arXiv 2210.12623), as extended by Politov et al. 2025.

The target tokens linked to a mention form runs; runs at most ``d`` tokens apart are merged; a run survives if
it is long enough beside the mention; longer runs are placed first, and nothing placed is overwritten.
"""

from __future__ import annotations

from collections.abc import Sequence

from xner_label.projection.problem import Instance, Projection, Projections


class HeuristicProjector:
    """``d``: largest distance of runs that merge (1: one foreign token between them at most).

    ``k``: how many runs of a mention may be placed, best first. ``thr``: the least ratio |run| / |mention| in
    tokens. Each projection's score is that ratio, its confidence the ratio of the shorter to the longer.
    """

    needs = frozenset({"alignment"})
    cut = 0.0

    def __init__(self, d: int = 1, k: int = 1, thr: float = 0.8) -> None:
        self.d = d
        self.k = k
        self.thr = thr
        self.signature = f"heuristic(d={d},k={k},thr={thr:g})"

    def project(self, instances: Sequence[Instance]) -> list[Projections]:
        """See :class:`xner_label.projection.problem.Projector`."""
        return [self._project(instance) if instance.mentions else Projections() for instance in instances]

    def _project(self, instance: Instance) -> Projections:
        runs = [
            (first - last, first, last, index)
            for index, mention in enumerate(instance.mentions)
            for first, last in self._runs(instance, mention.first, mention.last)
        ]
        taken: set[int] = set()
        placed = [0] * len(instance.mentions)
        projections = Projections()
        for _, first, last, index in sorted(runs):
            mention = instance.mentions[index]
            ratio = (last - first) / (mention.last - mention.first)
            if ratio < self.thr or placed[index] >= self.k or not taken.isdisjoint(range(first, last)):
                continue
            placed[index] += 1
            taken.update(range(first, last))
            projections.append(Projection(index, first, last, mention.label, ratio, min(ratio, 1.0 / ratio)))
        return projections.in_order()

    def _runs(self, instance: Instance, first: int, last: int) -> list[tuple[int, int]]:
        """The merged runs of target tokens linked to the source tokens ``[first, last)``."""
        linked = sorted({target for source, target, _ in instance.links or () if first <= source < last})
        runs: list[tuple[int, int]] = []
        for target in linked:
            if runs and target - runs[-1][1] <= self.d:
                runs[-1] = (runs[-1][0], target + 1)
            else:
                runs.append((target, target + 1))
        return runs
