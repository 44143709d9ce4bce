"""Predicting stored tasks: complete what they lack, project, store.

What each stage adds is stored as soon as it is there, so that an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from typing import Literal

import msgspec

from xner_label import entities
from xner_label.errors import ConfigurationError, RecordError
from xner_label.pipeline.assembly import (
    assemble_projector,
    make_aligner,
    make_tagger,
    make_translator,
)
from xner_label.pipeline.pipeline import Pipeline, names_signature
from xner_label.predicting.border_habits import project_habits
from xner_label.predicting.completion import Completion, StoredTask
from xner_label.predicting.learning import ProjectKnowledge
from xner_label.predicting.linked_tasks import LinkedTasks
from xner_label.predicting.run_tagger import make_target_tagger
from xner_label.progress import SILENCE, Progress
from xner_label.projection.inner_borders import NO_HABITS, BorderHabits
from xner_label.projection.loglinear.weights_file import Weights
from xner_label.projection.problem import CorpusProjector, Projector, works_without_source
from xner_label.projection.projectors import has_corpus_mode
from xner_label.review.name_answers import NO_ANSWERS, NameAnswers
from xner_label.review.settled_names import name_answers
from xner_label.settings.table import PRESETS, Settings
from xner_label.stages.interfaces import Aligner, Tagger, TargetTagger, Translator
from xner_label.stages.usage import Usage, usage_of
from xner_label.store import corpus_states, predictions, projects, set_aside, tasks
from xner_label.store.cache import DatabaseCache
from xner_label.store.database import Store
from xner_label.store.given import set_given_aside
from xner_label.store.pipelines import ensure_pipeline, find_name
from xner_label.store.tables import Task

# The presets that can start from raw text.
_TRANSLATING = ", ".join(name for name, values in PRESETS.items() if values["translator"] != "given")
# What follows the weights in the signature of a projector that has learned, and what people do with affixes.
_STATE = re.compile(
    r"(?<= projector=log-linear-corpus:[0-9a-f]{10}):[0-9a-f]+| borders=[0-9a-f]+| names=[0-9a-f-]+"
)


class LearnedReport(msgspec.Struct, frozen=True):
    """``answers``: tasks whose answers weren't learned from before, ``corrections`` in them; ``entities`` of
    ``tasks`` that nobody has settled are another than before; ``names``: answers about names in force."""

    answers: int
    corrections: int
    entities: int
    tasks: int
    names: int = 0


class PredictReport(msgspec.Struct):
    """What a prediction run did. ``pipeline`` is the full signature, ``version`` its short name; ``left_out``
    counts the tasks that couldn't be predicted, by reason; ``learned`` is what answers of people changed, None
    where there were no new ones. ``unchanged`` counts tasks whose evidence is what it was: they keep the answer
    of the version before. ``evidence`` says what was made anew: the table (``counted``) or all (``learned``)."""

    pipeline: str
    version: str = ""
    predicted: int = 0
    known: int = 0
    entities: int = 0
    unchanged: int = 0
    evidence: Literal["", "counted", "learned"] = ""
    left_out: dict[str, int] = msgspec.field(default_factory=dict)
    learned: LearnedReport | None = None
    usage: Usage | None = None


class Predictor:
    """The pipeline of one project over its store. Stages are made when they are first needed.

    Raises UsageError when the store has no such project, and what the stages raise for their settings.
    """

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings
        with store.read() as session:
            self._project = projects.get_project(session, settings.project).id
        self._habits: tuple[int, BorderHabits] = (0, NO_HABITS)  # and the newest answer that they know
        self._names: tuple[tuple[int, int], NameAnswers] = ((0, 0), NO_ANSWERS)

    def predict_project(
        self,
        progress: Progress = SILENCE,
        *,
        limit: int | None = None,
        split: str | None = None,
        again: Collection[str] = (),
    ) -> PredictReport:
        """Predict every task of the project and make this its current pipeline.

        With the default projector the tasks inform each other (corpus mode); of more than ``corpus_limit`` the
        tagger and the weights learn from a sample of that size, and memory stays bounded.
        ``limit`` and ``split`` choose some of those that aren't predicted yet: they are projected each on its own,
        and the project's current pipeline stays, if it has one. ``again`` names roles, ``translator`` or
        ``tagger``, that work also where tasks brought a source or its entities along. Raises ConfigurationError
        when no task has a source and no translator is configured, or none for a role in ``again``.
        """
        self._set_given_aside(again)
        some = limit is not None or split is not None
        # nothing but what isn't predicted yet has to be looked at, unless the tasks are to be learned from
        pipeline = None if some else self._standing_pipeline()
        streams = pipeline is not None
        whole = pipeline is None or not self._completion.is_shown(self._project)
        ids = self._chosen(limit, split) if pipeline is None or whole else self._unpredicted(pipeline)
        linked = self._linked(ids)
        if pipeline is None:
            linked.prepare(progress)
            self._require_source(linked)
        with self._store.read() as session:
            unlearned = corpus_states.count_unlearned(session, self._project)
            corrections = corpus_states.count_unlearned_corrections(session, self._project)
            earlier = projects.get_project(session, self._settings.project).pipeline
            earlier_name = None if earlier is None else earlier.name
            names_before = "" if earlier is None else names_signature(earlier.signature)
        if pipeline is None:
            pipeline = self._pipeline(self._projector if some else self._projector_of(linked, progress))
            if pipeline.learns:
                pipeline.learn([task for batch in linked.batches() for _, task in batch])
        if whole:
            ids = self._unpredicted(pipeline, among=ids)
        report = PredictReport(pipeline.signature, known=self._count_by(pipeline))
        progress.begin("projecting", len(linked) or len(ids))
        progress.advance(max(len(linked) - len(ids), 0))
        for batch in linked.stream(ids) if streams else linked.batches(only=ids):
            moved = self._with_new_evidence(batch, pipeline, report)
            results = pipeline.predict([task for _, task in moved])
            self._save(dict(moved), results, report)
            progress.advance(len(batch))
        if self._knowledge is not None and earlier_name is not None:
            report.evidence = self._knowledge.news
        if streams and not report.known:
            self._require_source(linked)
        if report.predicted or report.unchanged:
            self._store.refresh_statistics()
        report.left_out = dict(linked.left_out + Counter(report.left_out))
        with self._store.write() as session:
            current = ensure_pipeline(session, pipeline.signature)
            project = projects.get_project(session, self._settings.project)
            if not some or project.pipeline is None:
                project.pipeline = current
            report.version = current.name
        news = unlearned or names_signature(pipeline.signature) != names_before
        report.usage = usage_of(self._translator, self._tagger)
        if news and not some and earlier_name not in (None, report.version):
            with self._store.read() as session:
                changed = predictions.count_changes(session, self._project, earlier_name, report.version)
                names = len(name_answers(session, self._project))
            report.learned = LearnedReport(unlearned, corrections, *changed, names=names)
        return report

    def _with_new_evidence(
        self, batch: Sequence[tuple[int, entities.Task]], pipeline: Pipeline, report: PredictReport
    ) -> Sequence[tuple[int, entities.Task]]:
        """The tasks but for those whose evidence is what it was: they get the answer of the version before."""
        if self._knowledge is None:
            return batch
        same, before = self._knowledge.answered_before(batch, pipeline.signature)
        if not same:
            return batch
        with self._store.write() as session:
            copied = predictions.copy_predictions(session, same, before, pipeline.signature)
        report.unchanged += len(copied)
        return [pair for pair in batch if pair[0] not in copied]

    def _set_given_aside(self, again: Collection[str]) -> None:
        stages = {"translator": self._translator, "tagger": self._tagger} if again else {}
        for role in again:
            if stages[role] is None:
                raise ConfigurationError(
                    f"no {role} is configured to work again",
                    hint=f"name one with --{role} or in the settings file",
                )
        with self._store.write() as session:
            for role in again:
                set_given_aside(session, self._project, role)

    def _standing_pipeline(self) -> Pipeline | None:
        """The pipeline, where it can be had without going through all tasks; None where they are to be learned
        from first, anew or at all."""
        if self._completion.learns_links:
            return None
        if self._knowledge is None:
            pipeline = self._pipeline(self._projector)
            return None if pipeline.learns else pipeline
        if self._settings.corpus_limit == 0:
            return self._pipeline(self._knowledge.adapted(self._prepared))
        projector = self._knowledge.standing(self._prepared)
        return None if projector is None else self._pipeline(projector)

    def _linked(self, ids: Sequence[int]) -> LinkedTasks:
        return LinkedTasks(
            self._store,
            self._completion,
            ids,
            self._settings.corpus_limit,
            without_source=works_without_source(self._projector),
        )

    def _prepared(self, ids: Sequence[int]) -> LinkedTasks:
        linked = self._linked(ids)
        linked.prepare(SILENCE)
        return linked

    def _require_source(self, linked: LinkedTasks) -> None:
        if works_without_source(self._projector):
            return
        if len(linked) + linked.left_out.total() and not linked.with_source:
            raise ConfigurationError(
                "no task has a source and no translator is configured",
                hint=f"import tasks with `source`, or use a preset that translates: {_TRANSLATING}",
            )

    def _unpredicted(self, pipeline: Pipeline, among: Sequence[int] | None = None) -> Sequence[int]:
        """Ids of the tasks that a pipeline hasn't predicted, of all but those set aside, or of some."""
        with self._store.read() as session:
            version = find_name(session, pipeline.signature)
            if version is None and among is not None:
                return among
            where = (set_aside.not_excluded(), tasks.is_target_text())
            ids = predictions.unpredicted_ids(session, self._project, version or "", *where)
        if among is None:
            return ids
        chosen = set(among)
        return [key for key in ids if key in chosen] if len(among) < len(ids) else ids

    def _count_by(self, pipeline: Pipeline) -> int:
        with self._store.read() as session:
            version = find_name(session, pipeline.signature)
            return predictions.count_by(session, self._project, version) if version else 0

    def _chosen(self, limit: int | None, split: str | None) -> Sequence[int]:
        """The ids of all tasks, or of the first of a split that the pipeline, task by task, hasn't predicted."""
        with self._store.read() as session:
            if limit is None and split is None:
                return tasks.task_ids(session, self._project, set_aside.not_excluded(), tasks.is_target_text())
            version = find_name(session, self._pipeline(self._projector).signature)
            where = [set_aside.not_excluded(), tasks.is_target_text() if split is None else Task.split == split]
            ids = predictions.unpredicted_ids(session, self._project, version or "", *where)
        return ids[:limit]

    def predict_tasks(self, stored: Sequence[Task]) -> list[entities.Prediction | RecordError]:
        """Predict single tasks, in order, and store the predictions; they don't change the current pipeline."""
        complete = self._completion.translated_and_tagged([StoredTask.of(task) for task in stored])
        answers: dict[int, entities.Task | RecordError] = dict(
            zip([task.id for task in stored], complete, strict=True)
        )
        with_source = [
            (key, task)
            for key, task in answers.items()
            if isinstance(task, entities.Task) and task.source is not None
        ]
        answers.update(self._completion.aligned(with_source))
        usable = {key: task for key, task in answers.items() if isinstance(task, entities.Task)}
        pipeline = self._pipeline(self._single_projector)
        results = dict(zip(usable, pipeline.predict(list(usable.values())), strict=True))
        self._save(usable, list(results.values()), PredictReport(pipeline.signature))
        problems = {key: task for key, task in answers.items() if isinstance(task, RecordError)}
        predicted: dict[int, entities.Prediction | RecordError] = {**problems, **results}
        return [predicted[task.id] for task in stored]

    def would_make(self, signature: str) -> bool:
        """Whether predictions of this signature are made by these settings, whatever was learned till then."""
        projectors = (self._projector, self._single_projector)
        present = {_without_state(self._pipeline(projector).signature) for projector in projectors}
        return _without_state(signature) in present

    def predict_unstored(self, asked: Sequence[entities.Task]) -> list[entities.Prediction | RecordError]:
        """Predict tasks that the store doesn't have, in order; nothing of it is kept."""
        complete = self._completion.of_unstored(asked)
        usable = [task for task in complete if isinstance(task, entities.Task)]
        results = iter(self._pipeline(self._single_projector).predict(usable))
        return [task if isinstance(task, RecordError) else next(results) for task in complete]

    def _save(
        self,
        asked: Mapping[int, entities.Task],
        results: Sequence[entities.Prediction | RecordError],
        report: PredictReport,
    ) -> None:
        new: list[tuple[int, entities.Prediction]] = []
        for task_id, result in zip(asked, results, strict=True):
            if isinstance(result, RecordError):
                report.left_out[str(result)] = report.left_out.get(str(result), 0) + 1
            else:
                new.append((task_id, result))
                report.entities += len(result.entities)
        with self._store.write() as session:
            report.predicted += predictions.add_predictions(session, new)
            if self._knowledge is not None:
                self._knowledge.save_additions(session, asked)

    def _pipeline(self, projector: Projector | CorpusProjector) -> Pipeline:
        stages = {"translator": self._translator, "tagger": self._tagger, "aligner": self._aligner}
        if works_without_source(projector):
            stages = {}
        target_tagger = self._target_tagger if "target_tags" in projector.needs else None
        upstream = {name: stage.signature for name, stage in stages.items() if stage is not None}
        with self._store.read() as session:
            newest = corpus_states.newest_annotation(session, self._project)
            known = newest, corpus_states.newest_name_answer(session, self._project)
            if known != self._names[0]:
                self._names = known, name_answers(session, self._project)
            if newest != self._habits[0]:
                self._habits = newest, project_habits(session, self._project)
        return Pipeline(
            projector,
            upstream=upstream,
            target_tagger=target_tagger,
            labels=self._settings.labels,
            amendment=self._names[1],
            border_habits=self._habits[1],
        )

    @cached_property
    def _target_tagger(self) -> TargetTagger | None:
        return make_target_tagger(self._store, self._settings)

    @cached_property
    def _completion(self) -> Completion:
        stages = (self._translator, self._tagger, self._aligner)
        if works_without_source(self._projector):
            stages = (None, None, None)
        return Completion(self._store, self._settings.labels, *stages)

    @cached_property
    def _projector(self) -> Projector | CorpusProjector:
        """Projects every task on its own."""
        return assemble_projector(self._settings, cache=self._cache)

    def _projector_of(self, linked: LinkedTasks, progress: Progress) -> Projector | CorpusProjector:
        """Lets tasks and what people settled in them inform each other, where the projector can; by a limit of 0,
        weights are adapted to what people settled."""
        if self._knowledge is None or not len(linked):
            return self._projector
        limit = self._settings.corpus_limit
        if limit == 0:
            return self._knowledge.adapted(self._prepared)
        return self._knowledge.learn(linked, limit, progress)

    @property
    def _single_projector(self) -> Projector | CorpusProjector:
        """Projects single tasks: in the light of what the project has learned, each on its own before it has."""
        learned = None if self._knowledge is None else self._knowledge.current()
        return self._projector if learned is None else learned

    @cached_property
    def _knowledge(self) -> ProjectKnowledge | None:
        """What the project's tasks tell of each other; None for a projector that takes each on its own."""
        name, path = self._settings.projector, self._settings.projector_weights
        if not has_corpus_mode(name, weights=path):
            return None
        return ProjectKnowledge(self._store, self._project, Weights.load(path or None), self._settings.labels)

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


def _without_state(signature: str) -> str:
    """The signature without what a project has learned, which new answers and tasks change."""
    return _STATE.sub("", signature)
