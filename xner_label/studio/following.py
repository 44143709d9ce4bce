"""Letting what waits in Label Studio follow newer predictions: what it shows, and its order."""

from __future__ import annotations

from contextlib import suppress

from xner_label.errors import ContractError
from xner_label.progress import Progress
from xner_label.store import runs
from xner_label.store.database import Store
from xner_label.store.tables import Project
from xner_label.studio.client import Studio
from xner_label.studio.labelling import Control
from xner_label.studio.ranking import rank_waiting
from xner_label.studio.showing import Shower, show_version
from xner_label.studio.task_fields import refresh_fields


def follow_newest(
    store: Store, studio: Studio, project: Project, control: Control, progress: Progress
) -> tuple[int, int]:
    """Show the newest predictions of waiting tasks, surer ones later and doubtful ones sooner.

    Returns how many tasks show another prediction and how many stand elsewhere. What is interrupted goes on with
    the next push, and so does what doesn't fit the project any more: the push says why. Raises StudioError.
    """
    with store.read() as session:
        version = runs.reviewed_version(session, project, "pool")
    if version is None or project.studio_project is None:
        return 0, 0
    shower = Shower(store, studio, project, control, version, progress)
    refreshed = shower.follow()
    if not refreshed:
        return 0, 0
    with store.write() as session:
        reordered = rank_waiting(session, project.id)
    with suppress(ContractError):
        shower.complete()
        show_version(studio, project.studio_project, version)
        refresh_fields(store, studio, project, control, progress)
    return refreshed, reordered
