"""Entities for texts that the store doesn't have: by a model run, else by the pipeline. Nothing is kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from xner_label.checkpoints.devices import PlacementRequest
from xner_label.entities import Prediction, Task, Tokens
from xner_label.errors import ConfigurationError, RecordError, UsageError
from xner_label.evaluation.text_alone import answers_from_text_alone
from xner_label.predicting.predictor import Predictor
from xner_label.predicting.with_model import ServedModel, load_run
from xner_label.settings.table import Settings
from xner_label.store import projects, runs
from xner_label.store.database import Store


class Annotator:
    """Answers with the run of ``version``, by default with the promoted one, without any with the pipeline.

    ``by_pipeline`` asks for the pipeline whatever is promoted. ``version`` is the run that answers, None where
    the pipeline does; ``text_alone`` counts the answers of a run that had no projection to look at, because there
    was none or because it is better off without (``training.without_source``).

    Raises UsageError for an unknown project or run, ConfigurationError when the run can't be opened.
    """

    def __init__(
        self, store: Store, settings: Settings, version: str | None = None, *, by_pipeline: bool = False
    ) -> None:
        self._settings = settings
        self._store = store
        self._predictor: Predictor | None = None
        self._model: ServedModel | None = None
        self.text_alone = 0
        self._translates = settings.translator != "given"
        with store.read() as session:
            project = projects.get_project(session, settings.project)
            run = None if by_pipeline else runs.promoted_run(session, project.id)
            if version is not None:
                run = runs.find_run(session, project.id, version)
        if version is not None and run is None:
            raise UsageError(
                f"the project has no model run {version!r}", hint="`xner-label train` says how a run is called"
            )
        if run is not None:
            where = PlacementRequest(settings.device, settings.dtype)
            self._model = load_run(run, Path(settings.training_folder), where)
            self._translates &= not answers_from_text_alone(run.metrics, settings.without_source)
        self.version = None if self._model is None else self._model.version

    def annotate(self, tasks: Sequence[Task]) -> list[Prediction | RecordError]:
        """One prediction per task, in order, or what is wrong with the task.

        A run sees the projection of a task that brings a source, or for which the settings name a translator and
        the run isn't better without it.
        """
        if self._model is None:
            return self._projected(tasks)
        answers: dict[int, Prediction | RecordError] = {}
        for place, task in enumerate(tasks):
            try:
                Tokens.of(task.text, task.tokens)
            except RecordError as error:
                answers[place] = error
        good = [place for place in range(len(tasks)) if place not in answers]
        with_source = [place for place in good if self._has_source(tasks[place])]
        projections = dict(zip(with_source, self._projected([tasks[place] for place in with_source]), strict=True))
        known = [projections.get(place) for place in good]
        # a model needs no projection, it only answers better with one
        seen = [item if isinstance(item, Prediction) else None for item in known]
        self.text_alone += seen.count(None)
        predicted = self._model.predict([tasks[place] for place in good], seen)
        for place, projection, prediction in zip(good, known, predicted, strict=True):
            failed = isinstance(projection, RecordError)
            note = f"from the text alone; {projection}" if failed else prediction.note
            answers[place] = msgspec.structs.replace(prediction, id=tasks[place].id, note=note)
        return [answers[place] for place in range(len(tasks))]

    def _has_source(self, task: Task) -> bool:
        return task.source is not None or self._translates

    def _projected(self, tasks: Sequence[Task]) -> list[Prediction | RecordError]:
        if not tasks:
            return []
        try:
            if self._predictor is None:
                self._predictor = Predictor(self._store, self._settings)
            return self._predictor.predict_unstored(tasks)
        except ConfigurationError as error:
            if self._model is None:
                raise
            return [RecordError("source", f"not projected: {error}") for _ in tasks]
