"""The pipeline: tasks in, predictions out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from math import prod
from types import MappingProxyType

import msgspec

from xner_label import __version__
from xner_label.entities import Prediction, ProjectedEntity, SourceMention, Task
from xner_label.errors import IncompleteError, RecordError
from xner_label.projection.problem import Instance, Projection, Projector, build_instance
from xner_label.stages.interfaces import Aligner, TargetTagger, Translator, learns

_HINTS = {
    "source": "give the source text, or run `xner-label translate` first",
    "source_entities": "give them ([] if there are none), or run `xner-label tag` first",
    "alignment": "give the links, run `xner-label align` first, or choose a projector or aligner that needs none",
    "target_tags": "give P(tag) of each token, name a --target-tagger, or choose a projector that needs none",
}


class Pipeline:
    """A projector and the stages before it, applied to batches of tasks.

    ``aligner`` makes the links (None: those given with the task count). ``back_translator`` translates source
    entities into the target language to correct links; back-translations given with a task do so in any case.
    ``target_tagger`` judges the target's tokens for projectors that ask for it. ``upstream`` names the stages that
    made what the tasks bring along, for the signature.

    Projections with a confidence below ``min_confidence`` (by default the projector's own cut) are left out, and
    so are labels outside ``labels`` (None: every label is kept). ``filters`` names what a task must pass to be
    answered with a prediction, see :mod:`completeness`; ``strict`` refuses a task that would have to be adjusted.
    """

    def __init__(
        self,
        projector: Projector,
        *,
        aligner: Aligner | None = None,
        back_translator: Translator | None = None,
        target_tagger: TargetTagger | None = None,
        upstream: Mapping[str, str] = MappingProxyType({}),
        min_confidence: float | None = None,
        labels: Collection[str] | None = None,
        filters: Sequence[str] = (),
        strict: bool = False,
    ) -> None:
        self._projector = projector
        self._aligner = aligner
        self._back_translator = back_translator
        self._target_tagger = target_tagger
        self._upstream = dict(upstream)
        self._cut: float = getattr(projector, "cut", 0.0) if min_confidence is None else min_confidence
        self._labels = None if labels is None else frozenset(labels)
        self._filters = tuple(filters)
        self._strict = strict

    @property
    def signature(self) -> str:
        """Names every stage and option that the answers depend on; fitting a stage changes it."""
        stages = {
            "aligner": "given" if self._aligner is None else self._aligner.signature,
            "back-translator": None if self._back_translator is None else self._back_translator.signature,
            "target-tagger": None if self._target_tagger is None else self._target_tagger.signature,
            **self._upstream,
            "projector": self._projector.signature,
            "min-confidence": f"{self._cut:g}",
            "labels": None if self._labels is None else ",".join(sorted(self._labels)),
            "filters": ",".join(self._filters) or None,
        }
        named = (f"{stage}={signature}" for stage, signature in stages.items() if signature is not None)
        return " ".join([f"xner-label/{__version__}", *named])

    @property
    def learns(self) -> bool:
        """Whether a stage wants to see all tasks before the first one is answered."""
        return learns(self._aligner) or hasattr(self._projector, "learn")

    def learn(self, tasks: Sequence[Task]) -> None:
        """Let the stages learn from all tasks; bad ones teach nothing."""
        instances = []
        for task in tasks:
            try:
                instances.append(self._instance(task)[0])
            except RecordError:
                continue
        if learns(self._aligner):
            self._aligner.fit([(instance.source.words(), instance.target.words()) for instance in instances])
        learn: Callable[[list[Instance]], object] | None = getattr(self._projector, "learn", None)
        if learn is not None:
            learn(self._complete(instances))

    def predict(self, tasks: Sequence[Task]) -> list[Prediction | RecordError]:
        """One prediction per task, in order, or the error that keeps a task from having one.

        That error is an IncompleteError where a task fails one of the filters.
        """
        results: list[Prediction | RecordError] = []
        instances: list[Instance] = []
        places: list[int] = []
        notes: list[list[str]] = []
        for place, task in enumerate(tasks):
            try:
                instance, adjusted = self._instance(task)
            except RecordError as error:
                results.append(error)
                continue
            results.append(_PENDING)
            instances.append(instance)
            notes.append(adjusted)
            places.append(place)
        instances = self._complete(instances)
        signature = self.signature
        for place, instance, note, projections in zip(
            places, instances, notes, self._projector.project(instances), strict=True
        ):
            results[place] = self._prediction(tasks[place], instance, note, projections, signature)
        return results

    def _instance(self, task: Task) -> tuple[Instance, list[str]]:
        instance, notes = build_instance(task)
        if notes and self._strict:
            field, _, problem = notes[0].partition(" ")
            raise RecordError(field, f"{problem}; give borders that agree with the tokens")
        if task.source_entities != () and len(instance.target):
            for field in ("source", "source_entities", *sorted(self._projector.needs)):
                if getattr(task, field) is None and not self._supplied(field, task):
                    raise RecordError(field, f"missing; {_HINTS[field]}")
        return instance, notes

    def _supplied(self, field: str, task: Task) -> bool:
        """Whether a stage makes what a task lacks."""
        if field == "alignment":
            return any((self._aligner, self._back_translator, task.back_translations))
        return field == "target_tags" and self._target_tagger is not None

    def _complete(self, instances: list[Instance]) -> list[Instance]:
        """The instances with what the stages before the projector add."""
        if self._aligner is not None:
            instances = _align(self._aligner, instances)
        if self._back_translator is not None:
            from xner_label.pipeline.backtranslation import back_translate

            instances = back_translate(self._back_translator, instances)
        if any(instance.translations for instance in instances):
            from xner_label.pipeline.backtranslation import refine_links

            instances = [refine_links(instance) if instance.translations else instance for instance in instances]
        if self._target_tagger is not None:
            tags = self._target_tagger.tags
            found = self._target_tagger.token_probabilities([instance.target for instance in instances])
            instances = [
                msgspec.structs.replace(
                    instance, target_tags=[dict(zip(tags, row, strict=True)) for row in own.tolist()]
                )
                for instance, own in zip(instances, found, strict=True)
            ]
        return instances

    def _prediction(
        self, task: Task, instance: Instance, notes: list[str], projections: list[Projection], signature: str
    ) -> Prediction | RecordError:
        cut, labels = self._cut, self._labels
        if labels is not None:
            projections = [own for own in projections if own.label in labels]
        kept = [own for own in projections if own.confidence >= cut]
        if self._filters:
            from xner_label.pipeline.completeness import failed_filters

            failed = failed_filters(instance, kept, self._filters)
            if failed:
                return IncompleteError(failed)
        if projections and not projections[0].exact:
            notes = [*notes, "too many entities compete for the same words: matched approximately"]
        return Prediction(
            task.id,
            task.text,
            tuple([_entity(instance, own) for own in kept]),
            # a projection left out by the cut was rightly left out with the complement of its probability
            prod(
                [own.confidence if own.confidence >= cut else 1.0 - own.confidence for own in projections],
                start=1.0,
            ),
            signature,
            "; ".join(notes) or None,
        )


_PENDING = RecordError("task", "not projected yet")


def _align(aligner: Aligner, instances: list[Instance]) -> list[Instance]:
    """The instances with the aligner's links; those without mentions don't need any."""
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
