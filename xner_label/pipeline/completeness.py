"""Which projected tasks are complete enough to train on: the filters of arXiv 2505.10507 for translate-train.

When labelled source data is translated and its labels projected, a lost entity teaches a model that it is none.
Tasks that fail a filter are better left out of training; for review they are the interesting ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from xner_label.errors import UsageError
from xner_label.projection.problem import Instance, Projection


def _aligned(instance: Instance, projections: Sequence[Projection]) -> bool:
    """Every token of every source entity has a link."""
    linked = {source for source, _, _ in instance.links or ()}
    return all(linked.issuperset(range(mention.first, mention.last)) for mention in instance.mentions)


def _contiguous(instance: Instance, projections: Sequence[Projection]) -> bool:
    """The target tokens linked to each source entity are one run."""
    for mention in instance.mentions:
        reached = {target for source, target, _ in instance.links or () if mention.first <= source < mention.last}
        if reached and len(reached) != max(reached) - min(reached) + 1:
            return False
    return True


def _counts(instance: Instance, projections: Sequence[Projection]) -> bool:
    """Source and target have the same number of entities of each type."""
    return Counter(mention.label for mention in instance.mentions) == Counter(
        projection.label for projection in projections
    )


FILTERS: dict[str, Callable[[Instance, Sequence[Projection]], bool]] = {
    "aligned": _aligned,
    "contiguous": _contiguous,
    "counts": _counts,
}


def failed_filters(
    instance: Instance, projections: Sequence[Projection], filters: Sequence[str] = tuple(FILTERS)
) -> list[str]:
    """The names of the filters that a projected instance fails. Raises UsageError for an unknown name."""
    unknown = [name for name in filters if name not in FILTERS]
    if unknown:
        raise UsageError(f"there is no filter {unknown[0]!r}", hint=f"choose from {', '.join(FILTERS)}")
    return [name for name in filters if not FILTERS[name](instance, projections)]
