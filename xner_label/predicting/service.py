"""Predictions of single tasks as somebody asks for them: from the store, or made now and stored.

The database is never locked while a model works: every stage writes in a short transaction of its own.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from threading import Lock

import msgspec
from sqlalchemy.orm import Session

from xner_label import entities
from xner_label.errors import ConfigurationError, PartialError, RecordError, SchemaError, XnerLabelError
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
    """A stored prediction with its entities, or the reason why there is none. ``computed``: made just now."""

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
        self._predictor: Predictor | None = None
        self._predictor_of: str | None = None
        # The name of what new tasks are predicted with, once it is known; not the current one if settings changed.
        self._pipeline_of_new: str | None = None

    def current(self) -> Serving | None:
        """What is served now; None while the store has no such project."""
        with self._store.read() as session:
            return runs.serving(session, self._settings.project)

    def check(self) -> None:
        """Raises SchemaError or ConfigurationError when the store can't be used, or not with these settings."""
        require_head(self._store)
        with self._store.read() as session:
            projects.require_labels_if_made(session, self._settings.project, self._settings.labels)

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
        if serving is None:
            return [None] * len(asked)
        with self._store.read() as session:
            return self._stored(session, serving, _match(session, serving.project_id, asked))

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
        """Predict and store, in order. One task that makes a model fail doesn't spoil the others.

        Raises PartialError or SchemaError when the store can't be used at the moment.
        """
        with self._working:
            try:
                return self._predict(asked)
            except (PartialError, SchemaError) as error:
                if not isinstance(error, RecordError):
                    raise
                problem: Exception = error
            except ConfigurationError as error:
                return [Answer(reason=str(error)) for _ in asked]
            except Exception as error:  # noqa: BLE001 - a model may raise anything
                _LOG.exception("predicting %d tasks together failed", len(asked))
                problem = error
        if len(asked) > 1:
            return [self.predict([request])[0] for request in asked]
        shown = str(problem) if isinstance(problem, XnerLabelError) else f"unexpected {type(problem).__name__}"
        return [Answer(reason=shown)]

    def _predict(self, asked: Sequence[Asked]) -> list[Answer]:
        stored = self._add(asked)
        with self._store.read() as session:
            serving = runs.serving(session, self._settings.project)
            assert serving is not None
            known = self._stored(session, serving, stored)
        # another request may have asked for the same task, and one request may ask twice
        missing = {task.id: task for task, answer in zip(stored, known, strict=True) if answer is None}
        made = self._make(serving, list(missing.values())) if missing else {}
        return [
            answer or made.get(task.id) or Answer(reason="there is no prediction")
            for task, answer in zip(stored, known, strict=True)
        ]

    def _add(self, asked: Sequence[Asked]) -> list[tables.Task]:
        """The store's task of each, added where there is none."""
        with self._store.read() as session:
            serving = runs.serving(session, self._settings.project)
            matched = _match(session, serving.project_id, asked) if serving else [None] * len(asked)
        if all(task is not None for task in matched):
            return [task for task in matched if task is not None]
        with self._store.write() as session:
            project = projects.ensure_project(session, self._settings.project, self._settings.labels)
            new = [
                request
                for request, task in zip(asked, _match(session, project.id, asked), strict=True)
                if task is None
            ]
            taken = _taken(session, project.id, new)
            records: list[tuple[entities.Task, str]] = []
            linked: dict[str, int] = {}
            for request in {request.text: request for request in new}.values():
                external = next(name for name in _names(request) if name not in taken)
                records.append((entities.Task(id=external, text=request.text, source=request.source), "pool"))
                if request.studio_task is not None and request.studio_task not in taken:
                    linked[external] = request.studio_task
                taken |= {external, request.studio_task}
            tasks.add_tasks(session, project.id, records)
            ids = tasks.ids_by_external(session, project.id, list(linked))
            reviews.mark_pushed(session, {ids[external]: linked[external] for external in linked})
        with self._store.read() as session:
            return [task for task in _match(session, project.id, asked) if task is not None]

    def _make(self, serving: Serving, stored: Sequence[tables.Task]) -> dict[int, Answer]:
        """Predictions of stored tasks by their id, made now."""
        reasons: dict[int, str] = {}
        projected: dict[int, entities.Prediction] = {}
        version = serving.version
        try:
            predictor = self._current_predictor(serving)
            for task, result in zip(stored, predictor.predict_tasks(stored), strict=True):
                if isinstance(result, RecordError):
                    reasons[task.id] = str(result)
                else:
                    projected[task.id] = result
        except ConfigurationError as error:
            if serving.run is None:
                raise
            # a model needs no projection, it only answers better with one
            _LOG.warning("no projection for the model to look at: %s", error)
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

    def _answer_with_model(
        self, run: tables.ModelRun, stored: Sequence[tables.Task], projected: dict[int, entities.Prediction]
    ) -> None:
        from xner_label.predicting.with_model import load_run

        records = [tasks.to_record(task) for task in stored]
        model = load_run(run, Path(self._settings.training_folder))
        predicted = model.predict(records, [projected.get(task.id) for task in stored])
        pairs = [(task.id, prediction) for task, prediction in zip(stored, predicted, strict=True)]
        with self._store.write() as session:
            predictions.add_predictions(session, pairs, model_run_id=run.id)

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
                "%r, stored ones are from %r; run it again",
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


def _names(asked: Asked) -> list[str]:
    """External ids that a new task could have, the best first; the last one is always free."""
    names = [] if asked.external_id is None else [asked.external_id]
    names += [] if asked.studio_task is None else [f"studio-{asked.studio_task}"]
    return [*names, f"text-{tasks.text_hash(asked.text)}"]


def _taken(session: Session, project_id: int, asked: Sequence[Asked]) -> set[str | int | None]:
    """Those external ids and Label Studio ids of ``asked`` that tasks with another text have."""
    holders = tasks.find_tasks(
        session,
        project_id,
        external_ids=[name for request in asked for name in _names(request)],
        studio_tasks=[request.studio_task for request in asked if request.studio_task is not None],
        texts=[],
    )
    return {task.external_id for task in holders} | {task.studio_task for task in holders}
