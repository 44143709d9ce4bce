"""The projection problem of one task, in tokens, and the answer to it.

A projector never sees offsets, files or formats: it gets instances and returns projections.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import msgspec

from xner_label.entities import Entity, Link, Provenance, Task, Tokens, check_offsets
from xner_label.errors import RecordError
from xner_label.pharaoh import parse_links


class Mention(msgspec.Struct, frozen=True):
    """A source entity as a half-open range of source tokens."""

    first: int
    last: int
    label: str
    score: float | None
    entity: Entity


class Instance(msgspec.Struct, frozen=True):
    """One task as projectors see it.

    ``links`` is None where no aligner ran (not the same as an aligner that found nothing). ``translations``
    holds, where known, the target-language renderings of each mention, one tuple per mention, and
    ``target_tags`` what a tagger of the target language thinks of each target token: P(tag) by IOB2 tag, absent
    tags having probability 0.
    """

    source: Tokens
    target: Tokens
    mentions: tuple[Mention, ...]
    links: tuple[Link, ...] | None
    translations: tuple[tuple[str, ...], ...] | None = None
    target_tags: Sequence[Mapping[str, float]] | None = None


class Projection(msgspec.Struct, frozen=True):
    """A mention matched to the target tokens ``[first, last)``.

    ``mention`` is an index into the instance's mentions, None for an entity added without one. ``score`` is the
    projector's raw objective, ``confidence`` a probability, ``provenance`` what other sentences say of it.
    """

    mention: int | None
    first: int
    last: int
    label: str
    score: float
    confidence: float
    provenance: Provenance | msgspec.UnsetType = msgspec.UNSET


class Projections(list[Projection]):
    """All projections of one instance, in target order, never overlapping.

    ``exact`` is False where too many mentions competed for the same words to match them, or to compute their
    confidences, exactly; that holds for those left out as well.
    """

    exact: bool = True
    # What became of the instance on the way, for people: of its markers, for instance.
    notes: tuple[str, ...] = ()

    def in_order(self) -> Projections:
        """Itself, sorted by the first token."""
        if len(self) > 1:
            self.sort(key=_first_token)
        return self


def _first_token(projection: Projection) -> int:
    return projection.first


class Projector(Protocol):
    """Chooses target spans for the mentions of each instance on its own.

    ``needs`` names the task fields without which the projector can't work: ``alignment``, ``target_tags`` or
    nothing. ``cut`` is the confidence below which it would leave a projection out, 0 where it has no opinion.
    """

    signature: str
    needs: frozenset[str]
    cut: float

    def project(self, instances: Sequence[Instance]) -> list[Projections]:
        """The projections of each instance, in order; nothing is cut."""
        ...


@runtime_checkable
class CorpusProjector(Protocol):
    """Chooses target spans for all instances of a corpus, each in the light of the others.

    ``needs`` and ``cut`` as for :class:`Projector`; ``signature`` names the method, not the corpus.
    """

    signature: str
    needs: frozenset[str]
    cut: float

    def project_corpus(self, instances: Sequence[Instance]) -> list[Projections]:
        """The projections of each instance, in order; nothing is cut."""
        ...


def works_without_source(projector: Projector | CorpusProjector) -> bool:
    """Whether the projector looks at the target text alone."""
    return bool(getattr(projector, "without_source", False))


def project_all(projector: Projector | CorpusProjector, instances: Sequence[Instance]) -> list[Projections]:
    """The projections of instances that are all there are, whichever kind the projector is."""
    if isinstance(projector, CorpusProjector):
        return projector.project_corpus(instances)
    return projector.project(instances)


def build_instance(task: Task) -> tuple[Instance, list[str]]:
    """Turn a task into an instance, with notes on what had to be adjusted.

    Raises RecordError, naming the field, for tokens that aren't in the text or don't reach its end, offsets
    outside the source, source entities that say another text than stands there or a score that is no probability,
    links out of range and source entities without a source. Links without tokens count letters in scripts without
    spaces (see :func:`xner_label.tokenization.tokenize`).
    """
    if task.source is None and (task.source_entities or task.source_tokens or task.alignment):
        raise RecordError("source", "missing, though other fields refer to it; give the source text")
    counted = task.alignment is not None
    target = Tokens.of(task.text, task.tokens, letters=counted)
    source = Tokens.of(task.source or "", task.source_tokens, "source_tokens", letters=counted)
    notes: list[str] = []
    entities = task.source_entities or ()
    check_offsets(source.text, entities, "source_entities")
    renderings = task.back_translations
    if renderings is not None and len(renderings) != len(entities):
        raise RecordError(
            "back_translations",
            f"{len(renderings)} lists for {len(entities)} source entities; give one list per source entity",
        )
    mentions: list[Mention] = []
    kept: list[int] = []
    for index, entity in enumerate(entities):
        mention = _mention(source, index, entity, notes)
        if mention is not None:
            mentions.append(mention)
            kept.append(index)
    links = None
    if task.alignment is not None:
        links = tuple(parse_links(task.alignment, len(source), len(target)))
    translations = None if renderings is None else tuple(renderings[index] for index in kept)
    tags = task.target_tags
    if tags is not None and len(tags) != len(target):
        raise RecordError("target_tags", f"{len(tags)} for {len(target)} tokens; give one object per token")
    return Instance(source, target, tuple(mentions), links, translations, tags), notes


def _mention(source: Tokens, index: int, entity: Entity, notes: list[str]) -> Mention | None:
    if entity.score is not None and not 0.0 <= entity.score <= 1.0:
        raise RecordError(
            f"source_entities[{index}].score",
            f"{entity.score:g} is no probability; give a number in 0..1, or none",
        )
    first, last, exact = source.covering(entity.start, entity.end)
    if first == last:
        notes.append(f"source_entities[{index}] covers no token and is left out")
        return None
    if not exact:
        notes.append(f"source_entities[{index}] was widened to whole tokens")
    return Mention(first, last, entity.label, entity.score, entity)
