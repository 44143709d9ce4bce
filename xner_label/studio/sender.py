"""What all have in common that bring something of a connected project to Label Studio."""

from __future__ import annotations

from xner_label.progress import Progress
from xner_label.store.database import Store
from xner_label.store.tables import Project
from xner_label.studio.client import Studio
from xner_label.studio.labelling import Control


class Sender:
    """Knows the store, the connected project in Label Studio, and ``version``, the pipeline or run whose
    predictions are reviewed there."""

    def __init__(
        self,
        store: Store,
        studio: Studio,
        project: Project,
        control: Control,
        version: str,
        progress: Progress,
    ) -> None:
        assert project.studio_project is not None
        self._store = store
        self._studio = studio
        self._project = project
        self._project_id = project.id
        self._studio_project = project.studio_project
        self._control = control
        self._version = version
        self._progress = progress
