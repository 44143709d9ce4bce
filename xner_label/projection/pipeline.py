"""The pipeline: tasks in, predictions out."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from math import prod
from types import MappingProxyType

from xner_label import __version__
from xner_label.entities import Prediction, ProjectedEntity, SourceMention, Task
from xner_label.errors import RecordError
from xner_label.projection.instance import Instance, Projection, Projector, build_instance
from xner_label.projection.interfaces import Aligner

_HINTS = {
    "source": "give the source text, or run `xner-label translate` first",
    "source_entities": "give them ([] if there are none), or run `xner-label tag` first",
    "alignment": "give the links, run `xner-label align` first, or choose a projector or aligner that needs none",
    "target_tags": "give P(tag) of each token, or choose a projector that needs none",
}


class Pipeline:
    """An optional aligner and a projector, applied to batches of tasks.

    Without an aligner, links are those given with the task. Projections with a confidence below
    ``min_confidence`` (by default the projector's own cut) are left out, and so are labels outside ``labels``
    (None: every label is kept). ``upstream`` names the stages that made what the tasks bring along, for the
    signature. ``strict`` refuses a task that would have to be adjusted.
    """

    def __init__(
        self,
        projector: Projector,
        *,
        aligner: Aligner | None = None,
        upstream: Mapping[str, str] = MappingProxyType({}),
        min_confidence: float | None = None,
        labels: Collection[str] | None = None,
        strict: bool = False,
    ) -> None:
        self._projector = projector
        self._aligner = aligner
        self._cut = getattr(projector, "cut", 0.0) if min_confidence is None else min_confidence
        self._labels = None if labels is None else frozenset(labels)
        self._strict = strict
        stages = {"aligner": "given" if aligner is None else aligner.signature, **upstream}
        parts = [
            f"xner-label/{__version__}",
            *(f"{stage}={signature}" for stage, signature in stages.items()),
            f"projector={projector.signature}",
            f"min-confidence={self._cut:g}",
        ]
        if self._labels is not None:
            parts.append(f"labels={','.join(sorted(self._labels))}")
        self.signature = " ".join(parts)

    def predict(self, tasks: Sequence[Task]) -> list[Prediction | RecordError]:
        """One prediction per task, in order, or the error that keeps a task from having one."""
        results: list[Prediction | RecordError] = []
        instances: list[Instance] = []
        notes: list[list[str]] = []
        for task in tasks:
            try:
                instance, adjusted = self._instance(task)
            except RecordError as error:
                results.append(error)
                continue
            results.append(_PENDING)
            instances.append(instance)
            notes.append(adjusted)
        if self._aligner is not None:
            instances = _align(self._aligner, instances)
        answers = iter(zip(instances, notes, self._projector.project(instances), strict=True))
        return [
            self._prediction(task, *next(answers)) if result is _PENDING else result
            for task, result in zip(tasks, results, strict=True)
        ]

    def _instance(self, task: Task) -> tuple[Instance, list[str]]:
        instance, notes = build_instance(task)
        if notes and self._strict:
            field, _, problem = notes[0].partition(" ")
            raise RecordError(field, f"{problem}; give borders that agree with the tokens")
        if len(instance.target) and task.source_entities != ():
            for field in ("source", "source_entities"):
                if getattr(task, field) is None:
                    raise RecordError(field, f"missing; {_HINTS[field]}")
            for field in sorted(self._projector.needs):
                if getattr(task, field) is None and not (field == "alignment" and self._aligner is not None):
                    raise RecordError(field, f"missing; {_HINTS[field]}")
        return instance, notes

    def _prediction(
        self, task: Task, instance: Instance, notes: list[str], projections: list[Projection]
    ) -> Prediction:
        entities = tuple(
            _entity(instance, projection)
            for projection in projections
            if projection.confidence >= self._cut and (self._labels is None or projection.label in self._labels)
        )
        return Prediction(
            task.id,
            task.text,
            entities,
            prod((entity.confidence for entity in entities), start=1.0),
            self.signature,
            "; ".join(notes) or None,
        )


_PENDING = RecordError("task", "not projected yet")


def _align(aligner: Aligner, instances: list[Instance]) -> list[Instance]:
    """The instances with the aligner's links; those without mentions don't need any."""
    import msgspec

    busy = [index for index, instance in enumerate(instances) if instance.mentions and len(instance.target)]
    pairs = [(instances[index].source.words(), instances[index].target.words()) for index in busy]
    result = list(instances)
    for index, links in zip(busy, aligner.align(pairs) if pairs else (), strict=True):
        result[index] = msgspec.structs.replace(instances[index], links=tuple(links))
    return result


def _entity(instance: Instance, projection: Projection) -> ProjectedEntity:
    target = instance.target
    start, end = target.starts[projection.first], target.ends[projection.last - 1]
    source = None
    if projection.mention is not None:
        entity = instance.mentions[projection.mention].entity
        source = SourceMention(
            entity.start, entity.end, entity.label, instance.source.text[entity.start : entity.end]
        )
    return ProjectedEntity(
        start, end, projection.label, target.text[start:end], projection.score, projection.confidence, source
    )
