"""Completing stored tasks: what stages add is looked up in the store, or made and kept there.

A task's row shows the source and the source entities that the present stages made, or what people gave; what
earlier stages made stays readable beside it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial

import msgspec

from xner_label.entities import Entity, Task, with_cut_words
from xner_label.errors import RecordError
from xner_label.pipeline.stage import (
    Added,
    AlignmentStage,
    Stage,
    TaggingStage,
    TranslationStage,
    additions,
    completed,
    completed_by_all,
    fingerprint,
)
from xner_label.predicting.overlapping_stages import chained
from xner_label.progress import SILENCE, Progress
from xner_label.stages.interfaces import Aligner, Tagger, Translator
from xner_label.store import tables, tasks
from xner_label.store.database import Store
from xner_label.store.stages import add_stage_results, ensure_stage, find_stage, stage_results

# Tasks that go through a stage together, and into the store in one transaction.
TASKS_PER_BATCH = 500


class StoredTask(msgspec.Struct, frozen=True):
    """A task of the store: as people ``given`` it, and as its row shows it, with the stages that made it so."""

    id: int
    given: Task
    shown: Task
    translator_id: int | None
    tagger_id: int | None

    @classmethod
    def of(cls, row: tables.Task | tasks.TaskRow) -> StoredTask:
        """The task of a row."""
        shown = tasks.to_record(row)
        given = tasks.as_given(shown, row.translator_id, row.tagger_id)
        return cls(row.id, given, shown, row.translator_id, row.tagger_id)


# A task on its way through the stages, or what keeps it from going on.
_Batch = list[tuple[StoredTask, Task | RecordError]]


class StoredStageResults:
    """Implements xner_label.pipeline.stage.StageResults for the tasks whose ids, by external id, are ``ids``."""

    def __init__(self, store: Store, ids: Mapping[str, int]) -> None:
        self._store = store
        self._ids = ids

    def known(self, stage: Stage, tasks: Sequence[Task]) -> list[Added | None]:
        """What the stage added to each task from the same input before; None where it hasn't."""
        fingerprints = {self._ids[str(task.id)]: fingerprint(stage, task) for task in tasks}
        with self._store.read() as session:
            known = stage_results(session, stage.role, stage.signature, fingerprints)
        return [known.get(self._ids[str(task.id)]) for task in tasks]

    def keep(self, stage: Stage, results: Sequence[tuple[Task, Added]]) -> None:
        """Remember what a stage has added, but for words that can be read from its input again."""
        rows = [
            (self._ids[str(task.id)], fingerprint(stage, task), msgspec.to_builtins(_without_words(added)))
            for task, added in results
        ]
        with self._store.write() as session:
            add_stage_results(session, stage.role, stage.signature, rows)


class Completion:
    """The stages before the projection, run over stored tasks. ``labels``: what is kept of a tagger's entities."""

    def __init__(
        self,
        store: Store,
        labels: Sequence[str],
        translator: Translator | None,
        tagger: Tagger | None,
        aligner: Aligner | None,
    ) -> None:
        self._store = store
        self._labels = frozenset(labels)
        self._translation = None if translator is None else TranslationStage(translator)
        self._tagging = None if tagger is None else TaggingStage(tagger)
        self._alignment = None if aligner is None else AlignmentStage(aligner)

    def translated_and_tagged(
        self, stored: Sequence[StoredTask], progress: Progress = SILENCE
    ) -> list[Task | RecordError]:
        """Each task with a source and source entities, as far as it has them or stages are configured, in order.

        One batch is tagged while the next is translated.
        """
        batches = (stored[start : start + TASKS_PER_BATCH] for start in range(0, len(stored), TASKS_PER_BATCH))
        return [task for _, complete in self.completed_batches(batches, progress) for task in complete]

    def completed_batches(
        self, batches: Iterable[Sequence[StoredTask]], progress: Progress = SILENCE
    ) -> Iterator[tuple[list[StoredTask], list[Task | RecordError]]]:
        """Batches of tasks as :meth:`translated_and_tagged` completes them, in order; few are held at a time."""
        steps: list[Callable[[_Batch], _Batch]] = []
        if self._translation is not None:
            steps.append(partial(self._translate, self._translation))
        if self._tagging is not None:
            steps.append(partial(self._tag, self._tagging))
        begun: Iterator[_Batch] = ([(task, task.given) for task in batch] for batch in batches)
        for batch in chained(begun, steps):
            yield [stored for stored, _ in batch], [task for _, task in batch]
            progress.advance(len(batch))

    def is_shown(self, project_id: int) -> bool:
        """Whether no task shows what another translator or tagger made than the present ones."""
        with self._store.read() as session:
            for stage, column in (
                (self._translation, tables.Task.translator_id),
                (self._tagging, tables.Task.tagger_id),
            ):
                if stage is not None:
                    stage_id = find_stage(session, stage.role, stage.signature)
                    if tasks.has_other(session, project_id, column, stage_id):
                        return False
        return True

    @property
    def aligns(self) -> bool:
        """Whether there is an aligner."""
        return self._alignment is not None

    @property
    def learns_links(self) -> bool:
        """Whether the aligner wants to see all tasks before it links the first."""
        return self._alignment is not None and self._alignment.learns

    def learn_links(self, ready: Sequence[Task]) -> None:
        """Let an aligner that learns see the tasks."""
        if self._alignment is not None and self._alignment.learns:
            self._alignment.learn(ready)

    def aligned(
        self, ready: Sequence[tuple[int, Task]], progress: Progress = SILENCE
    ) -> list[tuple[int, Task | RecordError]]:
        """The tasks, by their id in the store, with links: those they brought along, else the aligner's."""
        if self._alignment is None:
            progress.advance(len(ready))
            return list(ready)
        result: list[tuple[int, Task | RecordError]] = []
        for start in range(0, len(ready), TASKS_PER_BATCH):
            batch = [(key, with_cut_words(task)) for key, task in ready[start : start + TASKS_PER_BATCH]]
            results = StoredStageResults(self._store, {str(task.id): key for key, task in batch})
            additions_of_batch = additions(self._alignment, [task for _, task in batch], results=results)
            result += [
                (key, _linked(task, added)) for (key, task), added in zip(batch, additions_of_batch, strict=True)
            ]
            progress.advance(len(batch))
        return result

    def of_unstored(self, tasks: Sequence[Task]) -> list[Task | RecordError]:
        """Tasks that the store doesn't have with all that the stages add, in order; nothing of it is kept."""
        every = (self._translation, self._tagging, self._alignment)
        done = completed_by_all((stage for stage in every if stage is not None), tasks)
        return [
            task
            if isinstance(task, RecordError)
            or original.source_entities is not None
            or task.source_entities is None
            else msgspec.structs.replace(task, source_entities=self._of_project(task.source_entities))
            for original, task in zip(tasks, done, strict=True)
        ]

    def _translate(self, stage: Stage, batch: _Batch) -> _Batch:
        done = self._run(stage, batch)
        stage_id = self._stage_id(stage)
        new = {
            stored.id: task.source
            for stored, task in done
            if isinstance(task, Task)
            and stored.given.source is None
            and task.source is not None
            and (stored.translator_id, stored.shown.source) != (stage_id, task.source)
        }
        if new:
            with self._store.write() as session:
                tasks.set_sources(session, stage_id, new)
        return done

    def _tag(self, stage: Stage, batch: _Batch) -> _Batch:
        done = [(stored, self._with_known_labels(stored, task)) for stored, task in self._run(stage, batch)]
        stage_id = self._stage_id(stage)
        new = {
            stored.id: task.source_entities
            for stored, task in done
            if isinstance(task, Task)
            and stored.given.source_entities is None
            and task.source_entities is not None
            and (stored.tagger_id, stored.shown.source, stored.shown.source_entities)
            != (stage_id, task.source, task.source_entities)
        }
        if new:
            with self._store.write() as session:
                tasks.set_source_entities(session, stage_id, new)
        return done

    def _run(self, stage: Stage, batch: _Batch) -> _Batch:
        """Run a stage over those tasks that have what it reads; the others stay as they are."""
        places = [
            place
            for place, (_, task) in enumerate(batch)
            if isinstance(task, Task) and ("source" not in stage.reads or task.source is not None)
        ]
        results = StoredStageResults(self._store, {str(stored.given.id): stored.id for stored, _ in batch})
        completed_tasks = completed(stage, [batch[place][1] for place in places], results=results)
        done = list(batch)
        for place, task in zip(places, completed_tasks, strict=True):
            done[place] = (batch[place][0], task)
        return done

    def _with_known_labels(self, stored: StoredTask, task: Task | RecordError) -> Task | RecordError:
        """A tagger may know labels that the project doesn't have."""
        if isinstance(task, RecordError) or task.source_entities is None:
            return task
        if stored.given.source_entities is not None:
            return task
        return msgspec.structs.replace(task, source_entities=self._of_project(task.source_entities))

    def _of_project(self, entities: Sequence[Entity]) -> tuple[Entity, ...]:
        return tuple(entity for entity in entities if entity.label in self._labels)

    def _stage_id(self, stage: Stage) -> int:
        with self._store.write() as session:
            return ensure_stage(session, stage.role, stage.signature)


def ready_to_project(
    stored: Sequence[StoredTask], complete: Sequence[Task | RecordError], *, without_source: bool = False
) -> tuple[list[tuple[int, Task]], Counter[str]]:
    """The tasks with a source and its entities, or all ``without_source``, by their id in the store, and why how
    many others aren't ready."""
    ready: list[tuple[int, Task]] = []
    left_out: Counter[str] = Counter()
    for task, result in zip(stored, complete, strict=True):
        if isinstance(result, RecordError):
            left_out[str(result)] += 1
        elif without_source:
            ready.append((task.id, result))
        elif result.source is None:
            left_out["no source text"] += 1
        elif result.source_entities is None:
            left_out["no source entities, and no tagger: import labelled source data or choose a tagger"] += 1
        else:
            ready.append((task.id, result))
    return ready, left_out


def _linked(task: Task, added: Added | RecordError) -> Task | RecordError:
    if isinstance(added, RecordError):
        return added
    # not the words that the aligner counted: they are those of the text, and every task would hold them
    return msgspec.structs.replace(task, alignment=added["alignment"]) if "alignment" in added else task


def _without_words(added: Added) -> Added:
    return {name: value for name, value in added.items() if name not in ("tokens", "source_tokens")}
