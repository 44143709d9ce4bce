"""Where people disagree about a task: entity by entity, and deciding it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Literal

import msgspec

from xner_label.entities import Entity
from xner_label.errors import UsageError
from xner_label.store import projects, tables
from xner_label.store.database import Store
from xner_label.store.gold import Conflict, add_decision, conflicts_of, decisions_of
from xner_label.store.majority import stretches

Kind = Literal["agreed", "border", "label", "missing"]


class Difference(msgspec.Struct, frozen=True):
    """A stretch of the text (code points, end exclusive) that at least one person marked.

    ``agreed``: all the same; ``label``: the same span under several labels; ``border``: several spans that
    overlap; ``missing``: somebody marked nothing there. ``marked`` is each version's part, in the order of the
    versions.
    """

    kind: Kind
    start: int
    end: int
    marked: tuple[tuple[Entity, ...], ...]


class DisputedTask(msgspec.Struct, frozen=True):
    """A task without a decision. ``versions`` are numbered from 1; each names the people who say so."""

    id: str
    text: str
    studio_task: int | None
    versions: tuple[str, ...]
    differences: tuple[Difference, ...]


class Decided(msgspec.Struct, frozen=True):
    """A disagreement that is settled. ``how``: ``command`` (`xner-label conflicts --take`), ``star`` (ground truth
    in Label Studio) or ``majority``; of the latter ``by`` are all who answered."""

    id: str
    how: Literal["command", "star", "majority"]
    by: str
    at: datetime | None
    reason: str | None
    entities: tuple[Entity, ...]


def decided(store: Store, project: str) -> list[Decided]:
    """Every disagreement that somebody, or a majority, settled, in task order.

    Raises UsageError when the store has no such project.
    """
    with store.read() as session:
        return [
            Decided(item.task.external_id, item.how, item.by, item.at, item.reason, item.entities)
            for item in decisions_of(session, projects.get_project(session, project).id)
        ]


def disputed(store: Store, project: str) -> list[DisputedTask]:
    """Every conflict of a project, in task order. Raises UsageError when the store has no such project."""
    with store.read() as session:
        conflicts = conflicts_of(session, projects.get_project(session, project).id)
        return [
            DisputedTask(
                conflict.task.external_id,
                conflict.task.text,
                conflict.task.studio_task,
                tuple(version.annotator for version in conflict.versions),
                tuple(differences([version.entities for version in conflict.versions])),
            )
            for conflict in conflicts
        ]


def decide(
    store: Store, project: str, task_id: str, number: int, decided_by: str, reason: str | None = None
) -> tuple[Entity, ...]:
    """Let version ``number`` (from 1) of a disputed task be its gold; returns its entities.

    The decision holds until somebody annotates the task anew and says something else. Raises UsageError when the
    task isn't disputed or has no such version.
    """
    with store.write() as session:
        row = projects.get_project(session, project)
        projects.lock_project(session, row.id)
        conflict = _conflict(conflicts_of(session, row.id, tables.Task.external_id == task_id), task_id)
        if not 1 <= number <= len(conflict.versions):
            raise UsageError(
                f"task {task_id!r} has versions 1 to {len(conflict.versions)}, not {number}",
                hint="`xner-label conflicts` shows them",
            )
        version = conflict.versions[number - 1]
        add_decision(session, conflict, version, decided_by, reason)
        return version.entities


def _conflict(candidates: Sequence[Conflict], task_id: str) -> Conflict:
    if not candidates:
        raise UsageError(
            f"nobody disagrees about a task {task_id!r}", hint="`xner-label conflicts` lists those in dispute"
        )
    return candidates[0]


def differences(versions: Sequence[Sequence[Entity]]) -> list[Difference]:
    """Compare versions of one text, from left to right; entities that overlap are one stretch."""
    every = sorted({(entity.start, entity.end) for version in versions for entity in version})
    return [
        _difference(start, end, [tuple(_inside(version, start, end)) for version in versions])
        for start, end in stretches(every)
    ]


def _inside(version: Sequence[Entity], start: int, end: int) -> Iterable[Entity]:
    return (entity for entity in version if start <= entity.start and entity.end <= end)


def _difference(start: int, end: int, marked: Sequence[tuple[Entity, ...]]) -> Difference:
    labelled = [{(entity.start, entity.end, entity.label) for entity in version} for version in marked]
    spans = [{(entity.start, entity.end) for entity in version} for version in marked]
    if all(version == labelled[0] for version in labelled):
        kind: Kind = "agreed"
    elif not all(marked):
        kind = "missing"
    elif all(span == spans[0] for span in spans):
        kind = "label"
    else:
        kind = "border"
    return Difference(kind, start, end, tuple(marked))
