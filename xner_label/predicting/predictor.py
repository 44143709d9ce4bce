"""Predicting stored tasks: complete what they lack, project, store.

What each stage adds is stored as soon as it is there, so that an interrupted run goes on where it stopped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

import msgspec

from xner_label import entities
from xner_label.entities import Entity, Tokens
from xner_label.errors import ConfigurationError, RecordError
from xner_label.pharaoh import format_links
from xner_label.pipeline.pipeline import Pipeline
from xner_label.predicting.overlapping_stages import chained
from xner_label.projection.problem import CorpusProjector, Projector
from xner_label.projection.projectors import has_corpus_mode, make_projector
from xner_label.settings.table import PRESETS, Settings
from xner_label.stages.assembly import make_aligner, make_tagger, make_translator
from xner_label.stages.interfaces import Aligner, Tagger, Translator, learns
from xner_label.store import predictions, projects, tasks
from xner_label.store.cache import DatabaseCache
from xner_label.store.database import Store
from xner_label.store.pipelines import ensure_pipeline, find_name
from xner_label.store.tables import Task

# The presets that can start from raw text.
_TRANSLATING = ", ".join(name for name, values in PRESETS.items() if values["translator"] != "given")
# Tasks per transaction.
_CHUNK = 500


class PredictReport(msgspec.Struct):
    """What a prediction run did. ``pipeline`` is the full signature, ``version`` its short name; ``left_out``
    counts the tasks that couldn't be predicted, by reason."""

    pipeline: str
    version: str = ""
    predicted: int = 0
    known: int = 0
    entities: int = 0
    left_out: dict[str, int] = msgspec.field(default_factory=dict)


class Predictor:
    """The pipeline of one project over its store. Stages are made when they are first needed.

    Raises UsageError when the store has no such project, and what the stages raise for their settings.
    """

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings
        with store.read() as session:
            self._project = projects.get_project(session, settings.project).id

    def predict_project(self, progress: Callable[[str], None] = lambda stage: None) -> PredictReport:
        """Predict every task of the project and make this its current pipeline.

        With the default projector the tasks inform each other (corpus mode), up to ``corpus_limit`` of them.
        ``progress`` is told which stage begins. Raises ConfigurationError when no task has a source and no
        translator is configured.
        """
        with self._store.read() as session:
            stored = list(tasks.iterate_tasks(session, self._project))
        progress("translating and tagging")
        self._complete(stored)
        ready = [task for task in stored if task.source is not None and task.source_entities is not None]
        if stored and not any(task.source is not None for task in stored):
            raise ConfigurationError(
                "no task has a source and no translator is configured",
                hint=f"import tasks with `source`, or use a preset that translates: {_TRANSLATING}",
            )
        progress("aligning")
        if learns(self._aligner):
            self._aligner.fit([_words(task) for task in stored if task.source is not None])
        alignments = self._align(ready)
        pipeline = self._pipeline(self._projector_of(ready))
        progress("projecting")
        if pipeline.learns:
            pipeline.learn([tasks.to_record(task, alignments.get(task.id)) for task in ready])
        with self._store.read() as session:
            version = find_name(session, pipeline.signature)
            done = predictions.predicted_task_ids(session, self._project, version) if version else set()
        report = PredictReport(pipeline.signature, known=len(done))
        report.left_out = dict(Counter(_reason(task) for task in stored if task not in ready))
        open_tasks = [task for task in ready if task.id not in done]
        for start in range(0, len(open_tasks), _CHUNK):
            chunk = open_tasks[start : start + _CHUNK]
            results = pipeline.predict([tasks.to_record(task, alignments.get(task.id)) for task in chunk])
            self._save(chunk, results, report)
        with self._store.write() as session:
            current = ensure_pipeline(session, pipeline.signature)
            projects.get_project(session, self._settings.project).pipeline = current
            report.version = current.name
        return report

    def predict_tasks(self, stored: Sequence[Task]) -> list[entities.Prediction | RecordError]:
        """Predict single tasks, in order, and store the predictions; they don't change the current pipeline."""
        self._complete(stored)
        pipeline = self._pipeline(self._projector)
        alignments = self._align([task for task in stored if task.source is not None])
        results = pipeline.predict([tasks.to_record(task, alignments.get(task.id)) for task in stored])
        self._save(stored, results, PredictReport(pipeline.signature))
        return results

    def _complete(self, stored: Sequence[Task]) -> None:
        """Translate and tag what lacks a source or source entities, as far as stages are configured.

        One batch is tagged while the next is translated.
        """
        chunks = (stored[start : start + _CHUNK] for start in range(0, len(stored), _CHUNK))
        stages = [
            complete
            for complete, stage in ((self._translate, self._translator), (self._tag, self._tagger))
            if stage is not None
        ]
        for _ in chained(chunks, stages):
            pass

    def _translate(self, chunk: Sequence[Task]) -> Sequence[Task]:
        untranslated = [task for task in chunk if task.source is None]
        if untranslated and self._translator is not None:
            translated = self._translator.translate([task.text for task in untranslated])
            for task, translation in zip(untranslated, translated, strict=True):
                task.source = translation.text
            with self._store.write() as session:
                tasks.set_sources(session, {task.id: task.source for task in untranslated if task.source})
        return chunk

    def _tag(self, chunk: Sequence[Task]) -> Sequence[Task]:
        untagged = [task for task in chunk if task.source is not None and task.source_entities is None]
        if untagged and self._tagger is not None:
            found = self._tagger.tag([_source_tokens(task) for task in untagged])
            for task, mentions in zip(untagged, found, strict=True):
                task.source_entities = msgspec.to_builtins(self._known(mentions))
            with self._store.write() as session:
                by_id = {task.id: self._known(found) for task, found in zip(untagged, found, strict=True)}
                tasks.set_source_entities(session, by_id)
        return chunk

    def _known(self, mentions: Sequence[Entity]) -> list[Entity]:
        """The mentions whose label the project has."""
        return [mention for mention in mentions if mention.label in self._settings.labels]

    def _align(self, stored: Sequence[Task]) -> Mapping[int, str]:
        """Alignments by task id: given ones first, then stored ones of the aligner, then new ones."""
        ids = [task.id for task in stored]
        with self._store.read() as session:
            found = tasks.get_links(session, tasks.GIVEN, ids)
            if self._aligner is None:
                return found
            found = tasks.get_links(session, self._aligner.signature, ids) | found
        missing = [task for task in stored if task.id not in found]
        for start in range(0, len(missing), _CHUNK):
            chunk = missing[start : start + _CHUNK]
            links = self._aligner.align([_words(task) for task in chunk])
            new = {task.id: format_links(own) for task, own in zip(chunk, links, strict=True)}
            with self._store.write() as session:
                tasks.add_links(session, self._aligner.signature, new)
            found |= new
        return found

    def _save(
        self, stored: Sequence[Task], results: Sequence[entities.Prediction | RecordError], report: PredictReport
    ) -> None:
        new: list[tuple[int, entities.Prediction]] = []
        for task, result in zip(stored, results, strict=True):
            if isinstance(result, RecordError):
                report.left_out[str(result)] = report.left_out.get(str(result), 0) + 1
            else:
                new.append((task.id, result))
                report.entities += len(result.entities)
        with self._store.write() as session:
            report.predicted += predictions.add_predictions(session, new)

    def _pipeline(self, projector: Projector | CorpusProjector) -> Pipeline:
        stages = {"translator": self._translator, "tagger": self._tagger, "aligner": self._aligner}
        upstream = {name: stage.signature for name, stage in stages.items() if stage is not None}
        return Pipeline(projector, upstream=upstream, labels=self._settings.labels)

    @cached_property
    def _projector(self) -> Projector | CorpusProjector:
        """Projects every task on its own."""
        return make_projector(self._settings.projector, weights=self._settings.projector_weights)

    def _projector_of(self, corpus: Sequence[Task]) -> Projector | CorpusProjector:
        """Lets the tasks inform each other, where the projector can and they aren't too many to hold."""
        name, weights = self._settings.projector, self._settings.projector_weights
        if 0 < len(corpus) <= self._settings.corpus_limit and has_corpus_mode(name, weights=weights):
            return make_projector("corpus", weights=weights)
        return self._projector

    @cached_property
    def _cache(self) -> DatabaseCache:
        return DatabaseCache(self._store)

    @cached_property
    def _translator(self) -> Translator | None:
        return make_translator(self._settings, cache=self._cache)

    @cached_property
    def _tagger(self) -> Tagger | None:
        with self._store.read() as session:
            labelled = tasks.source_sentences(session, self._project)
        return make_tagger(self._settings, cache=self._cache, labelled=labelled)

    @cached_property
    def _aligner(self) -> Aligner | None:
        return make_aligner(self._settings, cache=self._cache, scope=self._settings.project)


def _source_tokens(task: Task) -> Tokens:
    return Tokens.of(task.source or "", task.source_tokens, "source_tokens")


def _words(task: Task) -> tuple[list[str], list[str]]:
    """The pair of word lists that an aligner gets."""
    return _source_tokens(task).words(), Tokens.of(task.text, task.tokens).words()


def _reason(task: Task) -> str:
    if task.source is None:
        return "no source text"
    return "no source entities, and no tagger: import labelled source data or choose a tagger"
