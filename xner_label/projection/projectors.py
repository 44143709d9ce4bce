"""Every projector by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from xner_label.errors import UsageError
from xner_label.projection.heuristic import HeuristicProjector
from xner_label.projection.instance import Instance, Projection, Projector
from xner_label.projection.matching import Candidate, match, match_greedy, rank
from xner_label.projection.scoring import (
    Generator,
    align_candidates,
    link_dice_candidates,
    string_candidates,
)


class MatchingProjector:
    """Scores candidates, then matches them exactly (or greedily).

    ``scale`` turns a score into a confidence: min(1, scale * score). It is a rank of how sure the projector is,
    no calibrated probability.
    """

    def __init__(
        self,
        name: str,
        generate: Generator,
        *,
        needs: frozenset[str] = frozenset(),
        scale: float = 1.0,
        greedy: bool = False,
    ) -> None:
        self.signature = name
        self.needs = needs
        self._generate = generate
        self._scale = scale
        self._greedy = greedy

    def project(self, instances: Sequence[Instance]) -> list[list[Projection]]:
        """See :class:`xner_label.projection.instance.Projector`."""
        generate = self._generate
        return [self._choose(instance, generate(instance)) if instance.mentions else [] for instance in instances]

    def _choose(self, instance: Instance, candidates: list[list[Candidate]]) -> list[Projection]:
        ranked = [rank(own) for own in candidates]
        if self._greedy:
            chosen = [own[0] if own else -1 for own in match_greedy(ranked).chosen]
        else:
            chosen, _ = match(ranked)
        projections = []
        for index, choice in enumerate(chosen):
            if choice >= 0:
                score, first, last = ranked[index][choice]
                label = instance.mentions[index].label
                projections.append(Projection(index, first, last, label, score, min(1.0, self._scale * score)))
        return sorted(projections, key=_first) if len(projections) > 1 else projections


def _first(projection: Projection) -> int:
    return projection.first


class BestAvailableProjector:
    """link-dice where a task has links, string similarity where it has none."""

    signature = "link-dice|string"
    needs: frozenset[str] = frozenset()

    def __init__(self) -> None:
        self._with_links = make_projector("link-dice")
        self._without = make_projector("string")

    def project(self, instances: Sequence[Instance]) -> list[list[Projection]]:
        """See :class:`xner_label.projection.instance.Projector`."""
        return [
            (self._without if instance.links is None else self._with_links).project([instance])[0]
            for instance in instances
        ]


_LINKS = frozenset({"alignment"})

_FACTORIES: dict[str, Callable[[], Projector]] = {
    "default": BestAvailableProjector,
    "string": lambda: MatchingProjector("string", string_candidates),
    "link-dice": lambda: MatchingProjector("link-dice", link_dice_candidates, needs=_LINKS),
    "align": lambda: MatchingProjector("align", align_candidates, needs=_LINKS, scale=2.0),
    "align-greedy": lambda: MatchingProjector(
        "align-greedy", align_candidates, needs=_LINKS, scale=2.0, greedy=True
    ),
    "heuristic": HeuristicProjector,
}

PROJECTORS: tuple[str, ...] = tuple(_FACTORIES)


def make_projector(name: str) -> Projector:
    """The projector of that name. Raises UsageError for an unknown one."""
    factory = _FACTORIES.get(name)
    if factory is None:
        raise UsageError(f"there is no projector {name!r}", hint=f"choose one of {', '.join(PROJECTORS)}")
    return factory()
