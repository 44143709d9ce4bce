"""Where an entity comes from and what speaks for it, in the few words that fit beside a region."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from xner_label.entities import Provenance
from xner_label.review.doubts import DOUBTFUL
from xner_label.wording import counted

if TYPE_CHECKING:
    from xner_label.store.tables import ProjectedEntity

# The probability from which an entity counts as sure.
_SURE = 0.9


def reasons(entity: ProjectedEntity) -> str:
    """One line: the source, how sure that is, and why."""
    return "; ".join([origin(entity), confidence(entity.confidence), *witnesses(entity)])


def origin(entity: ProjectedEntity) -> str:
    """Which entity of the source it was projected from, if any."""
    if entity.source_text:
        return f"<- {entity.source_text} ({entity.source_label})"
    return "not from the source text: the name was learned from other texts or found by a model"


def confidence(probability: float) -> str:
    """A probability (0 to 1) in a word and as a number."""
    words = "sure" if probability >= _SURE else "fairly sure" if probability >= DOUBTFUL else "doubtful"
    return f"{words} ({probability:.2f})"


def witnesses(entity: ProjectedEntity) -> Iterator[str]:
    """What speaks for an entity or against it beside its own sentence."""
    if not entity.provenance:
        return
    provenance = msgspec.convert(entity.provenance, Provenance)
    if provenance.names >= 1:
        yield f"{provenance.votes:.0f} of {provenance.names:.0f} other places of the name agree"
    if provenance.tagger is not None:
        yield f"a model of the language says {provenance.tagger:.2f}" + (
            f" and would rather say {provenance.tagger_label}" if provenance.tagger_label else ""
        )
    if provenance.settled_count:
        yield f"people settled it so {counted(provenance.settled_count, 'time')}"
    if provenance.against_count:
        yield f"people settled it otherwise {counted(provenance.against_count, 'time')}"
    if provenance.answer:
        yield "settled by an answer about the name"
