"""What is done to a batch: the stages that its tasks lack, the projection, and its part of the output."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from xner_label.entities import Prediction, Task
from xner_label.errors import ConfigurationError, RecordError
from xner_label.pipeline import assembly
from xner_label.pipeline.memory_cache import MemoryCache
from xner_label.pipeline.pipeline import Pipeline
from xner_label.pipeline.stage import AlignmentStage, Stage, TaggingStage, TranslationStage, completed_by_all
from xner_label.settings.table import Settings
from xner_label.stages.interfaces import Aligner, learns

# Tasks that go through the stages together.
_TASKS_AT_ONCE = 500


class BulkAnnotator:
    """The pipeline that the settings name, without a store; what is loaded is loaded once.

    Links come from the tasks, or from the settings' aligner where they bring none; one that learns from all of its
    input can't work on a stream: it is left out where only a preset names it. Raises ConfigurationError where the
    settings themselves do, and what :mod:`xner_label.pipeline.assembly` raises.
    """

    def __init__(self, settings: Settings) -> None:
        cache = MemoryCache()
        translator = assembly.make_translator(settings, cache=cache)
        tagger = assembly.make_tagger(settings, cache=cache)
        aligner = _streaming_aligner(settings, cache)
        self._labels = frozenset(settings.labels) if "labels" in settings.chosen else None
        self._stages: list[Stage] = []
        if translator is not None:
            self._stages.append(TranslationStage(translator))
        if tagger is not None:
            self._stages.append(TaggingStage(tagger))
        if aligner is not None:
            self._stages.append(AlignmentStage(aligner))
        projector = assembly.assemble_projector(settings)
        self._pipeline = Pipeline(
            projector,
            target_tagger=assembly.chosen_target_tagger(settings, projector),
            upstream={stage.role: stage.signature for stage in self._stages},
            labels=self._labels,
        )
        self.signature = self._pipeline.signature

    def predict(self, tasks: Sequence[Task]) -> list[Prediction | RecordError]:
        """One prediction per task, in order, or the error that keeps a task from having one."""
        results: list[Prediction | RecordError] = []
        for start in range(0, len(tasks), _TASKS_AT_ONCE):
            results += self._predict(tasks[start : start + _TASKS_AT_ONCE])
        return results

    def _predict(self, tasks: Sequence[Task]) -> list[Prediction | RecordError]:
        # without a source there is nothing to tag or to align: the pipeline says so
        done = completed_by_all(self._stages, tasks)
        ready = [
            self._with_known_labels(given, task)
            for given, task in zip(tasks, done, strict=True)
            if isinstance(task, Task)
        ]
        results = iter(self._pipeline.predict(ready))
        return [task if isinstance(task, RecordError) else next(results) for task in done]

    def _with_known_labels(self, given: Task, task: Task) -> Task:
        """A tagger may know labels that nobody asked for."""
        if self._labels is None or given.source_entities is not None or task.source_entities is None:
            return task
        kept = tuple(entity for entity in task.source_entities if entity.label in self._labels)
        return msgspec.structs.replace(task, source_entities=kept)


def _streaming_aligner(settings: Settings, cache: MemoryCache) -> Aligner | None:
    aligner = assembly.make_aligner(settings, cache=cache)
    if aligner is None or not learns(aligner):
        return aligner
    if "aligner" in settings.chosen:
        raise ConfigurationError(
            f"the aligner {settings.aligner!r} reads all tasks before it links the first",
            hint="add links with `xner-label align`, or choose simalign, mt-encoder or none",
        )
    return None
