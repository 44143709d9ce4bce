"""The promoted model as something that answers, for the ML backend and for bulk prediction."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from threading import Lock

import msgspec

from xner_label import entities
from xner_label.checkpoints.devices import ANYWHERE, PlacementRequest
from xner_label.entities import Entity, Prediction, ProjectedEntity, Tokens
from xner_label.errors import UsageError
from xner_label.evaluation.text_alone import answers_from_text_alone
from xner_label.progress import SILENCE, Progress
from xner_label.store import predictions, projects, runs, set_aside, tasks
from xner_label.store.database import Store
from xner_label.store.tables import ModelRun
from xner_label.training.data import projections_of, to_sentence
from xner_label.training.model import NerModel, TaggedText
from xner_label.training.run_files import run_folder
from xner_label.training.runs import load_model
from xner_label.training.sentences import Sentence

# Tasks per transaction.
_TASKS_PER_WRITE = 500


class ServedModel:
    """A model run that answers. ``version`` is what Label Studio sees as model_version."""

    def __init__(self, version: str, model: NerModel) -> None:
        self.version = version
        self._model = model

    def predict(
        self, asked: Sequence[entities.Task], projections: Sequence[Prediction | None] | None = None
    ) -> list[Prediction]:
        """One prediction per task, in order; its pipeline is the version.

        ``projections`` gives each task's projection where there is one: the model answers better with it.
        Raises RecordError for tokens that aren't in the text.
        """
        known = projections or [None] * len(asked)
        return self.answer([_sentence(task, projection) for task, projection in zip(asked, known, strict=True)])

    def answer(self, sentences: Sequence[Sentence]) -> list[Prediction]:
        """One prediction per sentence, in order."""
        tagged = self._model.predict(sentences)
        return [self._prediction(*pair) for pair in zip(sentences, tagged, strict=True)]

    def _prediction(self, sentence: Sentence, tagged: TaggedText) -> Prediction:
        projected = {(item.start, item.end): item.source for item in sentence.silver or ()}
        projected_entities = tuple(
            ProjectedEntity(
                start=entity.start,
                end=entity.end,
                label=entity.label,
                text=sentence.text[entity.start : entity.end],
                score=_probability(entity),
                confidence=_probability(entity),
                # where the model agrees with the projection's span, the reviewer still sees where it came from
                source=projected.get((entity.start, entity.end)),
            )
            for entity in tagged.entities
        )
        return Prediction(sentence.id, sentence.text, projected_entities, tagged.confidence, self.version)


class ModelPredictReport(msgspec.Struct):
    """What a model predicted. ``known`` counts the tasks that it had predicted before."""

    version: str
    predicted: int = 0
    known: int = 0
    entities: int = 0


class _Loaded:
    """The model served last, kept open: opening takes longer than answering."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._key: tuple[Path, PlacementRequest] | None = None
        self._served: ServedModel | None = None

    def get(self, run: ModelRun, folder: Path, where: PlacementRequest) -> ServedModel:
        key = run_folder(run, folder), where
        with self._lock:
            if self._served is None or self._key != key:
                self._served = None  # its memory is needed for the next
                self._served = ServedModel(run.version, load_model(run, folder, where))
                self._key = key
            return self._served


_LOADED = _Loaded()


def load_run(run: ModelRun, folder: Path, where: PlacementRequest = ANYWHERE) -> ServedModel:
    """The model of a run in the models' ``folder``, to answer ``where`` it is asked to.

    It is opened only if another one was served last.

    Raises ConfigurationError when its files are missing or don't fit, or it can't run there.
    """
    return _LOADED.get(run, folder, where)


def predict_with_model(
    store: Store,
    project: str,
    folder: Path,
    progress: Progress = SILENCE,
    *,
    version: str | None = None,
    where: PlacementRequest = ANYWHERE,
    without_source: str = "auto",
) -> ModelPredictReport:
    """Predict every task of a project with the promoted run, or with ``version``, and store the predictions.

    ``without_source`` says how tasks that brought no source are answered, as the setting
    ``training.without_source`` does.

    Tasks that the run has predicted before keep their prediction, so that it goes on where it was interrupted.
    Raises UsageError when there is no such run, ConfigurationError when the models' ``folder`` lacks it.
    """
    with store.read() as session:
        row = projects.get_project(session, project)
        run = runs.find_run(session, row.id, version) if version else runs.promoted_run(session, row.id)
        if run is None:
            raise UsageError(
                f"no model run {version!r}" if version else "no model run is promoted",
                hint="`xner-label train`, then `xner-label promote`",
            )
        done = predictions.count_by(session, row.id, run.version)
        open_tasks = predictions.unpredicted_ids(
            session, row.id, run.version, set_aside.not_excluded(), tasks.is_target_text()
        )
        pipeline = None if row.pipeline is None else row.pipeline.name
    model = load_run(run, folder, where)
    alone = answers_from_text_alone(run.metrics, without_source)
    report = ModelPredictReport(run.version, known=done)
    progress.begin("predicting", len(open_tasks))
    for start in range(0, len(open_tasks), _TASKS_PER_WRITE):
        ids = open_tasks[start : start + _TASKS_PER_WRITE]
        with store.read() as session:
            projected = projections_of(session, ids, pipeline)
            sentences = [to_sentence(task, projected) for task in tasks.by_ids(session, ids)]
        results = model.answer(
            [item.text_alone if alone and item.source_is_translated else item for item in sentences]
        )
        pairs = [(sentence.task_id, result) for sentence, result in zip(sentences, results, strict=True)]
        with store.write() as session:
            report.predicted += predictions.add_predictions(session, pairs, model_run_id=run.id)
        report.entities += sum(len(result.entities) for result in results)
        progress.advance(len(ids))
    return report


def _sentence(task: entities.Task, projection: Prediction | None) -> Sentence:
    tokens = Tokens.of(task.text, task.tokens)
    return Sentence(
        0,
        str(task.id),
        tokens,
        None if projection is None else projection.entities,
        task.source,
        task.source_entities or (),
    )


def _probability(entity: Entity) -> float:
    return 0.0 if entity.score is None else entity.score
