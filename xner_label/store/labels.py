"""The label set of a project: agreed on by settings and store, and changed in this one place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import msgspec
from sqlalchemy import select

from xner_label.errors import CheckFailedError
from xner_label.settings.table import Settings
from xner_label.store.database import Store
from xner_label.store.gold import gold_of
from xner_label.store.projects import ensure_project, get_project
from xner_label.store.tables import Project


class LabelChange(msgspec.Struct, frozen=True):
    """A project's labels before and after; ``in_use`` counts the gold entities whose label is gone."""

    project: str
    before: tuple[str, ...]
    labels: tuple[str, ...]
    in_use: dict[str, int]


def agreed(store: Store, settings: Settings) -> Settings:
    """The settings with the labels of their project, if the store has it.

    Raises ConfigurationError where flag, environment or file name other labels than the project has.
    """
    with store.read() as session:
        project = session.scalars(select(Project).where(Project.name == settings.project)).one_or_none()
        if project is None:
            return settings
        if "labels" in settings.chosen:
            ensure_project(session, settings.project, settings.labels)  # says what differs
        return replace(settings, labels=tuple(project.labels))


def change_labels(store: Store, project: str, labels: Sequence[str], *, force: bool = False) -> LabelChange:
    """Give a project this label set. What is stored under labels that are gone stays stored.

    Raises UsageError when there is no such project, CheckFailedError when gold uses a label that would go, unless
    ``force``.
    """
    with store.write() as session:
        row = get_project(session, project)
        before = tuple(row.labels)
        gone = set(before) - set(labels)
        in_use = Counter(
            entity.label
            for item in (gold_of(session, row.id) if gone else ())
            for entity in item.entities
            if entity.label in gone
        )
        if in_use and not force:
            named = ", ".join(f"{count} {label}" for label, count in sorted(in_use.items()))
            raise CheckFailedError(
                f"gold has entities with labels that would go: {named}", hint="keep the labels, or give --force"
            )
        row.labels = list(labels)
    return LabelChange(project, before, tuple(labels), dict(in_use))
