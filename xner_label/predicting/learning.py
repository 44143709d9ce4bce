"""What a project has learned, in its store: loading it, and learning anew when people or tasks changed enough.

A state is stored whole, in one transaction, before anything is predicted with it: whatever is interrupted finds it
there or makes it again, the same.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import msgspec
from sqlalchemy.orm import Session

from xner_label import entities
from xner_label.entities import Entity
from xner_label.errors import ConfigurationError, RecordError
from xner_label.predicting.corpus_state import CorpusState, key_of, learn_corpus
from xner_label.predicting.evidence_table import draw_sample, with_all_counted, with_table_refreshed
from xner_label.predicting.learned_projector import LearnedProjector
from xner_label.predicting.linked_tasks import LinkedTasks
from xner_label.progress import SILENCE, Progress
from xner_label.projection.corpus.tally import Tally
from xner_label.projection.fitting.examples import read_example
from xner_label.projection.fitting.sentence_adaptation import adapt_sentence_weights
from xner_label.projection.loglinear.projector import LogLinearProjector
from xner_label.projection.loglinear.weights_file import Weights
from xner_label.projection.problem import build_instance
from xner_label.review.settled_names import name_answers
from xner_label.store import corpus_states, set_aside, tasks
from xner_label.store.database import Store
from xner_label.store.gold import gold_of
from xner_label.store.tables import CorpusState as StoredState
from xner_label.training.data import TRAINABLE

# Tasks of a project that say whether a state was made of most of them.
_PROBED = 1_000


class ProjectKnowledge:
    """The knowledge of one project, for tasks that are ready to be projected.

    ``labels`` are the project's: what people gave other labels teaches nothing.
    """

    def __init__(self, store: Store, project_id: int, weights: Weights, labels: Sequence[str]) -> None:
        self._store = store
        self._project = project_id
        self._weights = weights
        self._labels = frozenset(labels)
        self._state_id = 0
        self._projector: LearnedProjector | None = None
        self._loaded: tuple[int, CorpusState] | None = None  # a table is large: it is read once
        self._unreadable: StoredState | None = None
        self.news: Literal["", "counted", "learned"] = ""

    def learn(self, linked: LinkedTasks, limit: int, progress: Progress = SILENCE) -> LearnedProjector:
        """What projects the tasks: by the stored state while it knows all answers and most of the tasks, by a new
        one otherwise. ``news`` says what was made anew.

        Where only tasks came to a project beyond ``limit``, they are counted; taggers and weights serve as long
        as there are at most twice the tasks that they were learned from. Of more than ``limit`` tasks a sample
        and all that people settled teach the taggers and the weights; the others are counted in the table of
        evidence, batch by batch.
        """
        with self._store.read() as session:
            newest = corpus_states.newest_annotation(session, self._project)
            newest_name = corpus_states.newest_name_answer(session, self._project)
            settled = self._settled(session)
            names = name_answers(session, self._project)
        progress.begin("learning", len(linked))
        sample = draw_sample(linked.batches(), settled.keys(), limit, progress)
        settled = {task_id: settled[task_id] for task_id in sample.ids if task_id in settled}
        row, before = self._stored()
        knows = before is not None and before.knows(settled, names)
        enough = before is not None and before.covers(sample.instances) and before.counts(len(linked))
        more = len(sample.ids) < len(linked)
        if row is not None and before is not None and knows and enough:
            if row.annotation_id < newest or row.name_answer_id < newest_name:
                self._store_state(before, newest, newest_name)
        elif before is not None and knows and more and before.teaches(sample.instances, len(linked)):
            progress.begin("counting anew what the tasks say of each other", len(linked))
            state = with_table_refreshed(before, self._weights, linked.batches(), progress)
            self._store_state(state, newest, newest_name)
            self._projector, self.news = None, "counted"
        else:
            state = learn_corpus(self._weights, sample.ids, sample.instances, settled, names, before)
            before = self._projector = self._loaded = None
            if more:
                progress.begin("counting what the tasks say of each other", len(linked))
                state = with_all_counted(state, self._weights, sample.instances, linked.batches(), progress)
            self._store_state(state, newest, newest_name)
            self.news = "learned"
        projector = self.current()
        if projector is None:
            raise ConfigurationError("what was learned is gone", hint="run `xner-label predict` again")
        return projector

    def standing(self, linked: Callable[[Sequence[int]], LinkedTasks]) -> LearnedProjector | None:
        """What :meth:`learn` would return, where that is what is stored: it knows all answers, and most of a
        sample of the tasks. None where it has to be made anew. ``linked`` makes tasks ready, by their ids."""
        row, before = self._stored()
        if row is None or before is None:
            return None
        with self._store.read() as session:
            newest = corpus_states.newest_annotation(session, self._project)
            newest_name = corpus_states.newest_name_answer(session, self._project)
            settled = self._settled(session)
            names = name_answers(session, self._project)
            strangers = sorted(settled.keys() - before.known.keys())
            unlearned = list(tasks.ids_by_external(session, self._project, strangers).values())
            ids = tasks.task_ids(session, self._project, set_aside.not_excluded(), tasks.is_target_text())
        known = {task_id: entities for task_id, entities in settled.items() if task_id in before.known}
        if not before.knows(known, names) or (unlearned and len(linked(sorted(unlearned)))):
            return None
        # whatever is drawn: the tasks that come after those of a state, and those that changed since, are among it
        drawn = sorted(random.Random(0).sample(ids, min(len(ids), _PROBED)))  # noqa: S311
        projector = self.current()
        if projector is None or not projector.covers(
            [pair[1] for batch in linked(drawn).batches() for pair in batch]
        ):
            return None
        if row.annotation_id < newest or row.name_answer_id < newest_name:
            self._store_state(before, newest, newest_name)
        return projector

    def adapted(self, linked: Callable[[Sequence[int]], LinkedTasks]) -> LogLinearProjector:
        """What projects each task on its own, by weights adapted to what people settled in some of them."""
        with self._store.read() as session:
            settled = self._settled(session)
            ids = tasks.ids_by_external(session, self._project, sorted(settled))
        examples = []
        for batch in linked(sorted(ids.values())).batches() if ids else ():
            for _, task in batch:
                try:
                    examples.append(read_example(msgspec.structs.replace(task, entities=settled[str(task.id)])))
                except RecordError:
                    continue  # the pipeline will say what is wrong with it
        return LogLinearProjector(adapt_sentence_weights(self._weights, examples))

    def current(self) -> LearnedProjector | None:
        """What projects single tasks by the newest state; None before there is one for these weights."""
        row = self._newest()
        if row is None:
            return None
        if self._projector is None or self._state_id != row.id:
            state = self._state_of(row)
            if state.weights != self._weights.digest:
                return None
            with self._store.read() as session:
                added = corpus_states.additions(session, row.id)
            tallies = [Tally.load(content) for content in added.values()]
            self._projector, self._state_id = LearnedProjector(self._weights, state, tallies), row.id
        return self._projector

    def answered_before(self, batch: Sequence[tuple[int, entities.Task]], signature: str) -> tuple[list[int], str]:
        """Which tasks, by id, the pipeline of this signature answers as that of another one did, before the table
        was made anew; and the signature of that one, empty where there is none."""
        projector = self.current()
        if projector is None or projector.signature_before is None or projector.signature not in signature:
            return [], ""
        same = [task_id for task_id, task in batch if projector.answers_as_before(task)]
        return same, signature.replace(projector.signature, projector.signature_before)

    def save_additions(self, session: Session, projected: Mapping[int, entities.Task]) -> None:
        """Store what tasks that were projected since add to the counts."""
        if self._projector is None or not self._projector.new:
            return
        new = self._projector.new
        additions: dict[int, bytes] = {}
        for task_id, task in projected.items():
            try:
                key = key_of(build_instance(task)[0])
            except RecordError:
                continue
            if key in new:
                additions[task_id] = new.pop(key).dump()
        corpus_states.add_additions(session, self._state_id, additions)

    def _stored(self) -> tuple[StoredState | None, CorpusState | None]:
        row = self._newest()
        if row is None:
            return None, None
        try:
            state = self._state_of(row)
        except ConfigurationError:
            self._unreadable = row
            return row, None
        return row, state if state.weights == self._weights.digest else None

    def _state_of(self, row: StoredState) -> CorpusState:
        """Raises ConfigurationError for what another version stored."""
        if self._loaded is None or self._loaded[0] != row.id:
            self._loaded = None
            with self._store.read() as session:
                content = corpus_states.content_of(session, row.id)
            if content is None:
                raise ConfigurationError(
                    "another process has just learned anew", hint="run the same command once more"
                )
            self._loaded = row.id, CorpusState.load(content)
        return self._loaded[1]

    def _newest(self) -> StoredState | None:
        with self._store.read() as session:
            return corpus_states.newest_state(session, self._project)

    def _store_state(self, state: CorpusState, annotation_id: int, name_answer_id: int) -> StoredState:
        """Store a state; one that is there already is the same, and knows the newest answers now."""
        new = corpus_states.NewState(
            state.signature, state.gold, annotation_id, state.dump(), name_answer_id=name_answer_id
        )
        with self._store.write() as session:
            if self._unreadable is not None:
                corpus_states.forget_states(session, self._unreadable)  # one may have the signature of the new one
            row = corpus_states.add_state(session, self._project, new)
        self._loaded, self._unreadable = (row.id, state), None
        return row

    def _settled(self, session: Session) -> dict[str, tuple[Entity, ...]]:
        """What people settled and agree on, by external task id; what judges models teaches nothing."""
        return {
            gold.task.external_id: tuple(entity for entity in gold.entities if entity.label in self._labels)
            for gold in gold_of(session, self._project)
            if gold.task.split in TRAINABLE
        }
