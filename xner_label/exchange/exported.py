"""What is exported: labelled tasks, and a report of what a format can't hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import msgspec

from xner_label.entities import Entity

# How many entities that were left out a report names.
NAMED = 20


class SilverEntity(Entity, frozen=True, omit_defaults=True, kw_only=True):
    """A projected entity; ``confidence`` is the probability that it is exactly right. ``settled_by_name`` says who
    settled it by an answer about its name, and when; it is silver all the same."""

    confidence: float
    settled_by_name: str | None = None


class ExportedTask(msgspec.Struct, frozen=True, omit_defaults=True):
    """One exported task. ``origin`` is ``gold``, ``silver``, or for a document ``mixed``.

    What follows it is there where all was asked for.
    """

    id: str
    text: str
    entities: tuple[Entity, ...]
    split: str
    origin: str
    source: str | None = None
    source_entities: tuple[Entity, ...] | None = None
    tokens: tuple[str, ...] | None = None
    source_tokens: tuple[str, ...] | None = None
    alignment: str | None = None


class ExportReport(msgspec.Struct):
    """What an export wrote.

    ``cut_tokens`` counts tokens that an entity begins or ends inside, ``left_out`` entities that tags can't
    express, ``incomplete_documents`` those that lack a sentence; ``named`` says which, the first ``NAMED``.
    """

    tasks: int = 0
    entities: int = 0
    cut_tokens: int = 0
    incomplete_documents: int = 0
    left_out: int = 0
    named: list[str] = msgspec.field(default_factory=list)

    def leave_out(self, task: ExportedTask, entity: Entity, reason: str) -> None:
        """Count an entity that isn't written, and name it if it is among the first."""
        self.left_out += 1
        self.entities -= 1
        if len(self.named) < NAMED:
            covered = task.text[entity.start : entity.end]
            self.named.append(
                f"task {task.id!r}: {entity.label} {covered[:40]!r} at {entity.start}..{entity.end} {reason}"
            )

    def leave_out_document(self, name: str, reason: str) -> None:
        """Count a document that isn't written, and name it if it is among the first."""
        self.incomplete_documents += 1
        if len(self.named) < NAMED:
            self.named.append(f"document {name!r}: {reason}")


Writer = Callable[[Iterable[ExportedTask], ExportReport], Iterator[bytes]]
