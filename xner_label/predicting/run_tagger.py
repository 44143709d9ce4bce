"""The project's own model as the tagger of the annotated language: the ner and ner-spans scores of a projector.

A run has learned silver of the very tasks that it judges here; corpus mode, the default, has a tagger of its own
that never saw the sentence it judges.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from xner_label.checkpoints.devices import PlacementRequest
from xner_label.entities import Tokens
from xner_label.errors import UsageError
from xner_label.pipeline import assembly
from xner_label.settings.table import Settings
from xner_label.stages.interfaces import TargetTagger
from xner_label.store import projects, runs
from xner_label.store.database import Store
from xner_label.training.model import NerModel
from xner_label.training.runs import load_model

PROMOTED = assembly.PROMOTED_RUN


class RunTagger:
    """A model run as a :class:`~xner_label.stages.interfaces.TargetTagger`."""

    def __init__(self, version: str, model: NerModel) -> None:
        self.signature = f"run:{version}"
        self._model = model

    @property
    def tags(self) -> Sequence[str]:
        """The IOB2 tags, in the order of the columns of :meth:`token_probabilities`."""
        return self._model.tags

    def token_probabilities(self, texts: Sequence[Tokens]) -> Sequence[NDArray[np.float64]]:
        """P(tag | token) of each text, shape (tokens, tags)."""
        return self._model.token_probabilities(texts)


def make_target_tagger(store: Store, settings: Settings) -> TargetTagger | None:
    """The tagger that ``pipeline.target_tagger`` names; None where it names none.

    Raises UsageError for ``run`` while no run is promoted, ConfigurationError for a model that can't be used.
    """
    if settings.target_tagger != PROMOTED:
        return assembly.make_target_tagger(settings.target_tagger, settings) if settings.target_tagger else None
    with store.read() as session:
        run = runs.promoted_run(session, projects.get_project(session, settings.project).id)
    if run is None:
        raise UsageError(
            "pipeline.target_tagger is the promoted run, and none is promoted",
            hint="`xner-label train` and `xner-label promote` first, or name a model",
        )
    where = PlacementRequest(settings.device, settings.dtype)
    return RunTagger(run.version, load_model(run, Path(settings.training_folder), where))
