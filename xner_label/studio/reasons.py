"""Where an entity comes from and what speaks for it, in the few words that fit beside a region."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from xner_label.entities import Provenance

if TYPE_CHECKING:
    from xner_label.store.tables import ProjectedEntity

# Probabilities from which an entity counts as sure, and as fairly sure.
_SURE, _FAIRLY = 0.9, 0.7


def reasons(entity: ProjectedEntity) -> str:
    """One line: the source, how sure that is, and why."""
    return "; ".join([_origin(entity), _confidence(entity.confidence), *_witnesses(entity)])


def _origin(entity: ProjectedEntity) -> str:
    if entity.source_text:
        return f"<- {entity.source_text} ({entity.source_label})"
    return "not from the source text: the name was learned from other texts or found by a model"


def _confidence(probability: float) -> str:
    words = "sure" if probability >= _SURE else "fairly sure" if probability >= _FAIRLY else "doubtful"
    return f"{words} ({probability:.2f})"


def _witnesses(entity: ProjectedEntity) -> Iterator[str]:
    if not entity.provenance:
        return
    found = msgspec.convert(entity.provenance, Provenance)
    if found.names >= 1:
        yield f"{found.votes:.0f} of {found.names:.0f} other places of the name agree"
    if found.tagger is not None:
        yield f"a model of the language says {found.tagger:.2f}"
    if found.settled_count:
        yield f"people settled it so {found.settled_count} times"
    if found.against_count:
        yield f"people settled it otherwise {found.against_count} times"
    if found.answer:
        yield "settled by an answer about the name"
