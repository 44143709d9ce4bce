"""What a person changed: our own copy of a prediction against the entities of an annotation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from xner_label.studio.regions import ReviewedEntity

if TYPE_CHECKING:
    from xner_label.store.tables import ProjectedEntity


class Change(msgspec.Struct, frozen=True):
    """One correction: ``kind`` as in the store; ``predicted`` is None for an added entity, ``reviewed`` for a
    removed one."""

    kind: str
    predicted: ProjectedEntity | None
    reviewed: ReviewedEntity | None


def compare(predicted: Sequence[ProjectedEntity], reviewed: Sequence[ReviewedEntity]) -> list[Change]:
    """The corrections that lead from a prediction to an annotation, in the prediction's order, added ones last.

    Entities belong together by region id. Where that is lost (the person deleted the region and drew it again, or
    a script wrote the annotation) they belong together by the same span, else by the largest overlap.
    """
    partner: dict[str, ReviewedEntity] = {}
    left = {entity.region: entity for entity in reviewed if entity.region}
    for old in predicted:
        if old.region in left:
            partner[old.region] = left.pop(old.region)
    rest = [entity for entity in reviewed if entity not in partner.values()]
    pairs = sorted(
        (
            (_shared(old, new), old, new)
            for old in predicted
            if old.region not in partner
            for new in rest
            if _shared(old, new) > 0
        ),
        key=lambda pair: (not _same_span(pair[1], pair[2]), -pair[0], pair[1].position, pair[2].start),
    )
    for _, old, new in pairs:
        if old.region not in partner and new in rest:
            partner[old.region] = new
            rest.remove(new)
    return [
        *(Change(_kind(old, partner.get(old.region)), old, partner.get(old.region)) for old in predicted),
        *(Change("added", None, new) for new in rest),
    ]


def _kind(old: ProjectedEntity, new: ReviewedEntity | None) -> str:
    if new is None:
        return "removed"
    if not _same_span(old, new):
        return "moved"
    return "kept" if old.label == new.label else "relabelled"


def _same_span(old: ProjectedEntity, new: ReviewedEntity) -> bool:
    return (old.start, old.end) == (new.start, new.end)


def _shared(old: ProjectedEntity, new: ReviewedEntity) -> int:
    """Code points that both cover; negative or zero when they are apart."""
    return min(old.end, new.end) - max(old.start, new.start)
