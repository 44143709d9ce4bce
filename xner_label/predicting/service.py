"""Predictions of single tasks as somebody asks for them: from the store, or made now and stored.

The database is never locked while a model works: every stage writes in a short transaction of its own.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from threading import Lock

import msgspec
from sqlalchemy.orm import Session

from xner_label import entities
from xner_label.checkpoints.devices import PlacementRequest
from xner_label.errors import ConfigurationError, PartialError, RecordError, SchemaError, XnerLabelError
from xner_label.logs import told
from xner_label.predicting.predictor import Predictor
from xner_label.settings.table import Settings
from xner_label.store import pipelines, predictions, projects, reviews, runs, tables, tasks
from xner_label.store.database import Store, require_head
from xner_label.store.runs import Serving

_LOG = logging.getLogger(__name__)

_BLIND = "it belongs to the control slice, which people see without predictions"


class Asked(msgspec.Struct, frozen=True):
    """A task that somebody wants the prediction of.

    ``external_id`` is the store's id if the task brings one along, ``studio_task`` its id in the Label Studio
    project that ours is connected to (None: another project, whose ids mean nothing here).
    """

    text: str
    source: str | None = None
    external_id: str | None = None
    studio_task: int | None = None


class Answer(msgspec.Struct, frozen=True):
    """A prediction with its entities, or the reason why there is none. ``computed``: made just now."""

    prediction: tables.Prediction | None = None
    reason: str = ""
    computed: bool = False


class PredictionService:
    """Answers for one project.

    ``stored`` and ``current`` may be called from any thread; ``predict`` works one call at a time, because models
    and taggers are not made to be shared.
    """

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings
        self._working = Lock()
        self._remembered = _Remembered()
        self._predictor: Predictor | None = None
        self._predictor_of: str | None = None
        # The name of what new tasks are predicted with, once it is known; not the current one if settings changed.
        self._pipeline_of_new: str | None = None

    def current(self) -> Serving | None:
        """What is served now; None while the store has no such project."""
        with self._store.read() as session:
            return runs.serving(session, self._settings.project)

    def check(self) -> None:
        """Raises SchemaError or ConfigurationError when the store can't be used."""
        require_head(self._store)

    def versions(self) -> list[str]:
        """Every version there are predictions or models of, the one that is served first."""
        with self._store.read() as session:
            serving = runs.serving(session, self._settings.project)
            if serving is None:
                return []
            known = [run.version for run in runs.model_runs(session, serving.project_id)]
            known += predictions.count_predictions(session, serving.project_id)
        return list(dict.fromkeys(([serving.version] if serving.version else []) + known))

    def stored(self, serving: Serving | None, asked: Sequence[Asked]) -> list[Answer | None]:
        """The answers that need no work, in order; None for a task that has to be predicted."""
        known: Sequence[Answer | None] = [None] * len(asked)
        if serving is not None:
            with self._store.read() as session:
                known = self._stored(session, serving, _match(session, serving.project_id, asked))
        version = None if serving is None else serving.version
        return [
            answer or self._remembered.get(version, request) for request, answer in zip(asked, known, strict=True)
        ]

    def _stored(
        self, session: Session, serving: Serving, matched: Sequence[tables.Task | None]
    ) -> list[Answer | None]:
        ids = list({task.id for task in matched if task is not None})
        blind = reviews.blind_tasks(session, ids)
        stored: dict[int, tables.Prediction] = {}
        if serving.run is None and self._pipeline_of_new not in (None, serving.pipeline):
            stored = predictions.of_tasks(session, ids, self._pipeline_of_new or "")
        if serving.version is not None:
            stored |= predictions.of_tasks(session, ids, serving.version)
        return [
            None
            if task is None
            else Answer(reason=_BLIND)
            if task.id in blind
            else Answer(stored[task.id])
            if task.id in stored
            else None
            for task in matched
        ]

    def predict(self, asked: Sequence[Asked]) -> list[Answer]:
        """Predict, in order. One task that makes a model fail doesn't spoil the others.

        What is predicted for tasks of the store is stored; other tasks are stored where the settings say so, and
        remembered for a while where not. Raises StoreUnavailableError or SchemaError when the store can't be
        used at the moment, ConfigurationError when a stage or the served model can't be opened.
        """
        with self._working:
            try:
                return self._predict(asked)
            except (PartialError, SchemaError) as error:
                if not isinstance(error, RecordError):
                    raise
                problem: Exception = error
            except ConfigurationError:
                raise
            except Exception as error:  # noqa: BLE001 - a model may raise anything
                _LOG.exception("predicting %d tasks together failed", len(asked))
                problem = error
        if len(asked) > 1:
            return [self.predict([request])[0] for request in asked]
        shown = str(problem) if isinstance(problem, XnerLabelError) else f"unexpected {type(problem).__name__}"
        return [Answer(reason=shown)]

    def _predict(self, asked: Sequence[Asked]) -> list[Answer]:
        if self._stores_asked:
            self._add(asked)
        with self._store.read() as session:
            serving = runs.serving(session, self._settings.project)
            matched = _match(session, serving.project_id, asked) if serving else [None] * len(asked)
            known = self._stored(session, serving, matched) if serving else [None] * len(asked)
        if serving is None:
            reason = "the store has no such project yet: `xner-label import` or `xner-label connect` makes it"
            return [Answer(reason=reason) for _ in asked]
        # another request may have asked for the same task, and one request may ask twice
        missing = {
            task.id: task
            for task, answer in zip(matched, known, strict=True)
            if task is not None and answer is None
        }
        made = self._make(serving, list(missing.values())) if missing else {}
        strangers = {request.text: request for request, task in zip(asked, matched, strict=True) if task is None}
        unstored = self._make_unstored(serving, list(strangers.values())) if strangers else {}
        return [
            answer
            or (unstored[request.text] if task is None else made.get(task.id))
            or Answer(reason="there is no prediction")
            for request, task, answer in zip(asked, matched, known, strict=True)
        ]

    @property
    def _stores_asked(self) -> bool:
        """Whether tasks that nobody has imported become tasks of the project because somebody asks about them."""
        choice = self._settings.backend_store_asked
        return choice == "always" or (choice == "authenticated" and bool(self._settings.backend_user))

    def _add(self, asked: Sequence[Asked]) -> None:
        """Add the tasks that the store doesn't have.

        They are named after their text. The ids that somebody claims for them are neither used nor kept: they
        may be those of other tasks, and which task Label Studio holds under which number is for a sync to find
        out.
        """
        with self._store.read() as session:
            serving = runs.serving(session, self._settings.project)
            matched = _match(session, serving.project_id, asked) if serving else [None] * len(asked)
        new = {request.text: request for request, task in zip(asked, matched, strict=True) if task is None}
        if not new:
            return
        records = [
            (entities.Task(id=tasks.text_name(request.text), text=request.text, source=request.source), "pool")
            for request in new.values()
        ]
        with self._store.write() as session:
            project = projects.find_or_make(session, self._settings.project, self._settings.labels)
            tasks.add_tasks(session, project.id, records)

    def _make_unstored(self, serving: Serving, asked: Sequence[Asked]) -> dict[str, Answer]:
        """Predictions of tasks that the store doesn't have, by their text, which stay out of it."""
        records = [
            entities.Task(id=tasks.text_name(request.text), text=request.text, source=request.source)
            for request in asked
        ]
        results: list[entities.Prediction | RecordError | None] = [None] * len(records)
        places = [place for place, request in enumerate(asked) if self._projects(serving, request.source)]
        try:
            if places:
                made = self._current_predictor(serving).predict_unstored([records[place] for place in places])
                for place, projection in zip(places, made, strict=True):
                    results[place] = projection
        except ConfigurationError as error:
            if serving.run is None:
                raise
            _LOG.warning("no projection for the model to look at: %s", told(error))
        if serving.run is not None:
            projected = [result if isinstance(result, entities.Prediction) else None for result in results]
            results = [*self._by_model(serving.run, records, projected)]
        answers: dict[str, Answer] = {}
        for request, result in zip(asked, results, strict=True):
            if isinstance(result, entities.Prediction):
                answers[request.text] = Answer(predictions.unstored(result), computed=True)
                self._remembered.put(serving.version, request, answers[request.text])
            elif result is not None:
                answers[request.text] = Answer(reason=str(result))
        return answers

    def _make(self, serving: Serving, stored: Sequence[tables.Task]) -> dict[int, Answer]:
        """Predictions of stored tasks by their id, made now."""
        reasons: dict[int, str] = {}
        projected: dict[int, entities.Prediction] = {}
        version = serving.version
        wanted = [task for task in stored if self._projects(serving, tasks.to_given(task).source)]
        try:
            projections = self._current_predictor(serving).predict_tasks(wanted) if wanted else []
            for task, result in zip(wanted, projections, strict=True):
                if isinstance(result, RecordError):
                    reasons[task.id] = str(result)
                else:
                    projected[task.id] = result
        except ConfigurationError as error:
            if serving.run is None:
                raise
            # a model needs no projection, it only answers better with one
            _LOG.warning("no projection for the model to look at: %s", told(error))
        if serving.run is not None:
            self._answer_with_model(serving.run, stored, projected)
        elif projected:
            version = self._settle(serving, next(iter(projected.values())).pipeline)
        with self._store.read() as session:
            made = predictions.of_tasks(session, [task.id for task in stored], version or "")
        return {
            task.id: Answer(made[task.id], computed=True)
            if task.id in made
            else Answer(reason=reasons.get(task.id, "there is no prediction"))
            for task in stored
        }

    def _projects(self, serving: Serving, source: str | None) -> bool:
        """Whether a task with this source (None: it brings none) is projected before it is answered."""
        from xner_label.evaluation.text_alone import answers_from_text_alone

        if source is not None or serving.run is None:
            return True
        return not answers_from_text_alone(serving.run.metrics, self._settings.without_source)

    def _answer_with_model(
        self, run: tables.ModelRun, stored: Sequence[tables.Task], projected: dict[int, entities.Prediction]
    ) -> None:
        records = [tasks.to_record(task) for task in stored]
        predicted = self._by_model(run, records, [projected.get(task.id) for task in stored])
        pairs = [(task.id, prediction) for task, prediction in zip(stored, predicted, strict=True)]
        with self._store.write() as session:
            predictions.add_predictions(session, pairs, model_run_id=run.id)

    def _by_model(
        self,
        run: tables.ModelRun,
        asked: Sequence[entities.Task],
        projected: Sequence[entities.Prediction | None],
    ) -> list[entities.Prediction]:
        from xner_label.predicting.with_model import load_run

        folder = Path(self._settings.training_folder)
        where = PlacementRequest(self._settings.device, self._settings.dtype)
        return load_run(run, folder, where).predict(asked, projected)

    def _current_predictor(self, serving: Serving) -> Predictor:
        """The predictor; a new one after `xner-label predict` has made another pipeline the current one."""
        if self._predictor is None or self._predictor_of != serving.pipeline:
            self._predictor = Predictor(self._store, self._settings)
            self._predictor_of = serving.pipeline
        return self._predictor

    def _settle(self, serving: Serving, signature: str) -> str:
        """Note what new tasks are predicted with, which becomes the current pipeline if there was none.

        Returns its name.
        """
        with self._store.read() as session:
            pipeline = pipelines.find_name(session, signature) or signature
            current = pipelines.signatures_by_name(session, [serving.pipeline] if serving.pipeline else [])
        if serving.pipeline is None:
            with self._store.write() as session:
                project = projects.get_project(session, self._settings.project)
                if project.pipeline is None:
                    project.pipeline = pipelines.ensure_pipeline(session, signature)
            self._predictor_of = pipeline
        elif pipeline != self._pipeline_of_new and not self._current_predictor(serving).would_make(
            current[serving.pipeline]
        ):
            _LOG.warning(
                "settings or source data changed since the last `xner-label predict`: new tasks get the pipeline "
                "%s, stored ones are from %s; run it again",
                pipeline,
                serving.pipeline,
            )
        self._pipeline_of_new = pipeline
        return pipeline


def _match(session: Session, project_id: int, asked: Sequence[Asked]) -> list[tables.Task | None]:
    """The store's task for each: by the id it brings, by Label Studio's id, by its exact text; None for a new one.

    A task whose text isn't the stored one is another task: offsets into the old text would be wrong.
    """
    candidates = tasks.find_tasks(
        session,
        project_id,
        external_ids=[request.external_id for request in asked if request.external_id is not None],
        studio_tasks=[request.studio_task for request in asked if request.studio_task is not None],
        texts=[request.text for request in asked],
    )
    by_external: dict[str | None, tables.Task] = {task.external_id: task for task in candidates}
    by_studio: dict[int | None, tables.Task] = {
        task.studio_task: task for task in candidates if task.studio_task is not None
    }
    by_text = {task.text: task for task in reversed(candidates)}
    return [
        next(
            (
                task
                for task in (by_external.get(request.external_id), by_studio.get(request.studio_task))
                if task is not None and task.text == request.text
            ),
            by_text.get(request.text),
        )
        for request in asked
    ]


class _Remembered:
    """Answers about tasks that aren't stored, the newest of them: who asked in vain may ask again."""

    def __init__(self, limit: int = 20_000) -> None:
        self._limit = limit
        self._answers: OrderedDict[tuple[str | None, str, str | None], Answer] = OrderedDict()
        self._lock = Lock()

    def get(self, version: str | None, asked: Asked) -> Answer | None:
        with self._lock:
            return self._answers.get((version, asked.text, asked.source))

    def put(self, version: str | None, asked: Asked, answer: Answer) -> None:
        with self._lock:
            self._answers[version, asked.text, asked.source] = answer
            if len(self._answers) > self._limit:
                self._answers.popitem(last=False)
