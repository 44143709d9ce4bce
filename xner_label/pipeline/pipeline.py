"""The pipeline: tasks in, predictions out."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from hashlib import blake2b, sha256
from math import prod
from types import MappingProxyType
from typing import Protocol

import msgspec

from xner_label import __version__
from xner_label.entities import Prediction, ProjectedEntity, SourceMention, Task
from xner_label.errors import IncompleteError, RecordError
from xner_label.projection.inner_borders import NO_HABITS, BorderHabits, name_borders
from xner_label.projection.problem import (
    CorpusProjector,
    Instance,
    Projection,
    Projections,
    Projector,
    build_instance,
    project_all,
    works_without_source,
)
from xner_label.stages.interfaces import Aligner, SentencePair, TargetTagger, Translator, learns
from xner_label.tracing import span

_HINTS = {
    "source": "give the source text, or run `xner-label translate` first",
    "source_entities": "give them ([] if there are none), or run `xner-label tag` first",
    "alignment": "give the links, run `xner-label align` first, or choose a projector or aligner that needs none",
    "target_tags": "give P(tag) of each token, name a --target-tagger, or choose a projector that needs none",
}


class _Problem(msgspec.Struct, frozen=True, gc=False):
    """A task's instance before the stages have completed it, and what had to be adjusted."""

    instance: Instance
    notes: list[str]


class _Projected(msgspec.Struct, frozen=True, gc=False):
    """A task's completed instance, what had to be adjusted, and its projections."""

    instance: Instance
    notes: list[str]
    projections: Projections


class Amendment(Protocol):
    """What changes predictions once they are made, as answers about names do; empty ``signature``: nothing."""

    @property
    def signature(self) -> str:
        """Names everything that the changes depend on."""
        ...

    def amend(self, prediction: Prediction) -> Prediction:
        """The prediction as it should be."""
        ...


def names_signature(signature: str) -> str:
    """What a pipeline's signature says of the answers about names that had the last word; empty without any.

    What it says of the reviewed sentences that they would speak of is left out.
    """
    said = next((part[6:] for part in signature.split() if part.startswith("names=")), "")
    return said.partition("-")[0]


class Pipeline:
    """A projector and the stages before it, applied to batches of tasks.

    ``aligner`` makes the links (None: those given with the task count), with ``realign`` False only where a task
    brings none. ``back_translator`` translates source entities into the target language to correct links;
    back-translations given with a task do so in any case. ``target_tagger`` judges the target's tokens for
    projectors that ask for it. ``upstream`` names the stages that made what the tasks bring along, for the
    signature.

    Projections with a confidence below ``min_confidence`` (by default the projector's own cut) are left out, and
    so are labels outside ``labels`` (None: every label is kept). ``filters`` names what a task must pass to be
    answered with a prediction, see :mod:`completeness`; ``strict`` refuses a task that would have to be adjusted.
    ``amendment`` has the last word; ``border_habits`` is what people do with affixes written on to names.
    """

    def __init__(
        self,
        projector: Projector | CorpusProjector,
        *,
        aligner: Aligner | None = None,
        realign: bool = True,
        back_translator: Translator | None = None,
        target_tagger: TargetTagger | None = None,
        upstream: Mapping[str, str] = MappingProxyType({}),
        min_confidence: float | None = None,
        labels: Collection[str] | None = None,
        filters: Sequence[str] = (),
        strict: bool = False,
        amendment: Amendment | None = None,
        border_habits: BorderHabits = NO_HABITS,
    ) -> None:
        self._projector = projector
        self._without_source = works_without_source(projector)
        self._aligner = aligner
        self._realign = realign
        self._back_translator = back_translator
        self._target_tagger = target_tagger
        self._upstream = dict(upstream)
        self._cut = projector.cut if min_confidence is None else min_confidence
        self._labels = None if labels is None else frozenset(labels)
        self._filters = tuple(filters)
        self._strict = strict
        self._amendment = amendment
        self._border_habits = border_habits
        self._corpus: dict[bytes, _Projected] = {}
        self._corpus_digest = ""

    @property
    def signature(self) -> str:
        """Names every stage and option that the answers depend on; fitting a stage changes it."""
        stages = {
            "aligner": self._links_signature,
            "back-translator": None if self._back_translator is None else self._back_translator.signature,
            "target-tagger": None if self._target_tagger is None else self._target_tagger.signature,
            **self._upstream,
            "projector": self._projector.signature + (f":{self._corpus_digest}" if self._corpus_digest else ""),
            "min-confidence": f"{self._cut:g}",
            "labels": None if self._labels is None else ",".join(sorted(self._labels)),
            "filters": ",".join(self._filters) or None,
            "borders": self._border_habits.signature or None,
            "names": None if self._amendment is None else self._amendment.signature or None,
        }
        named = (f"{stage}={signature}" for stage, signature in stages.items() if signature is not None)
        return " ".join([f"xner-label/{__version__}", *named])

    @property
    def _links_signature(self) -> str:
        if self._aligner is None:
            return "given"
        return self._aligner.signature if self._realign else f"given/{self._aligner.signature}"

    @property
    def learns(self) -> bool:
        """Whether a stage wants to see all tasks before the first one is answered."""
        return learns(self._aligner) or isinstance(self._projector, CorpusProjector)

    def learn(self, tasks: Sequence[Task]) -> None:
        """Let the stages see all tasks; bad ones teach nothing.

        A corpus projector projects them here, and :meth:`predict` looks up what a task's fields (all but ``id``
        and ``entities``) have led to: no stage runs on them again. The signature then names the corpus.
        """
        built = [(task, self._problem(task)) for task in tasks]
        good = [(task, problem) for task, problem in built if not isinstance(problem, RecordError)]
        if learns(self._aligner):
            self._aligner.fit([_words(problem.instance) for _, problem in good])
        if isinstance(self._projector, CorpusProjector):
            contents = [_content(task) for task, _ in good]
            projected = self._projected([problem for _, problem in good])
            self._corpus = dict(zip(contents, projected, strict=True))
            self._corpus_digest = sha256(b"".join(sorted(contents))).hexdigest()[:10]

    def predict(self, tasks: Sequence[Task]) -> list[Prediction | RecordError]:
        """One prediction per task, in order, or the error that keeps a task from having one.

        That error is an IncompleteError where a task fails one of the filters. A corpus projector takes those that
        it hasn't learned from as a corpus of their own.
        """
        if self._corpus:
            learned = [self._corpus.get(_content(task)) for task in tasks]
            unknown = [task for task, known in zip(tasks, learned, strict=True) if known is None]
            fresh = iter(self._solved(unknown))
            solved = [next(fresh) if known is None else known for known in learned]
        else:
            solved = self._solved(tasks)
        signature = self.signature
        answers = [
            self._prediction(task, projected, signature) for task, projected in zip(tasks, solved, strict=True)
        ]
        if self._amendment is None:
            return answers
        amend = self._amendment.amend
        return [amend(answer) if isinstance(answer, Prediction) else answer for answer in answers]

    def _solved(self, tasks: Sequence[Task]) -> list[_Projected | RecordError]:
        """Each task projected, or the error that keeps it from that."""
        problems = [self._problem(task) for task in tasks]
        projected = iter(self._projected([problem for problem in problems if isinstance(problem, _Problem)]))
        return [problem if isinstance(problem, RecordError) else next(projected) for problem in problems]

    def _projected(self, problems: Sequence[_Problem]) -> list[_Projected]:
        if not problems:
            return []
        with span("stage projector", tasks=len(problems)):
            instances = self._complete([problem.instance for problem in problems])
            projected = project_all(self._projector, instances)
        return [
            _Projected(instance, problem.notes, projections)
            for problem, instance, projections in zip(problems, instances, projected, strict=True)
        ]

    def _problem(self, task: Task) -> _Problem | RecordError:
        if task.alignment is not None and self._aligner is not None and self._realign:
            task = msgspec.structs.replace(task, alignment=None)  # it would only say how to count tokens
        try:
            instance, notes = build_instance(task)
        except RecordError as error:
            return error
        if notes and self._strict:
            field, _, problem = notes[0].partition(" ")
            return RecordError(field, f"{problem}; give borders that agree with the tokens")
        if (self._without_source or task.source_entities != ()) and len(instance.target):
            by_source = () if self._without_source else ("source", "source_entities")
            for field in (*by_source, *sorted(self._projector.needs)):
                if getattr(task, field) is None and not self._supplied(field, task):
                    return RecordError(field, f"missing; {_HINTS[field]}")
        return _Problem(instance, notes)

    def _supplied(self, field: str, task: Task) -> bool:
        """Whether a stage makes what a task lacks."""
        if field == "alignment":
            return any((self._aligner, self._back_translator, task.back_translations))
        return field == "target_tags" and self._target_tagger is not None

    def _complete(self, instances: list[Instance]) -> list[Instance]:
        """The instances with what the stages before the projector add."""
        if self._aligner is not None:
            instances = _align(self._aligner, instances, realign=self._realign)
        if self._back_translator is not None:
            from xner_label.pipeline.backtranslation import back_translate

            instances = back_translate(self._back_translator, instances)
        if any(instance.translations for instance in instances):
            from xner_label.pipeline.backtranslation import refine_links

            instances = [refine_links(instance) if instance.translations else instance for instance in instances]
        if self._target_tagger is not None:
            tags = self._target_tagger.tags
            probabilities = self._target_tagger.token_probabilities([instance.target for instance in instances])
            instances = [
                msgspec.structs.replace(
                    instance, target_tags=[dict(zip(tags, row, strict=True)) for row in of_tokens.tolist()]
                )
                for instance, of_tokens in zip(instances, probabilities, strict=True)
            ]
        return instances

    def _prediction(
        self, task: Task, projected: _Projected | RecordError, signature: str
    ) -> Prediction | RecordError:
        if isinstance(projected, RecordError):
            return projected
        instance, notes, projections = projected.instance, projected.notes, projected.projections
        cut, labels = self._cut, self._labels
        judged: list[Projection] = projections
        if labels is not None:
            judged = [projection for projection in projections if projection.label in labels]
        kept = [projection for projection in judged if projection.confidence >= cut]
        if self._filters:
            from xner_label.pipeline.completeness import failed_filters

            failed = failed_filters(instance, kept, self._filters)
            if failed:
                return IncompleteError(failed)
        if projections.notes:
            notes = [*notes, *projections.notes]
        if not projections.exact:
            notes = [*notes, "too many entities compete for the same words: matched approximately"]
        return Prediction(
            task.id,
            task.text,
            tuple([_entity(instance, projection, self._border_habits) for projection in kept]),
            # a projection left out by the cut was rightly left out with the complement of its probability
            prod([p.confidence if p.confidence >= cut else 1.0 - p.confidence for p in judged], start=1.0),
            signature,
            "; ".join(notes) or None,
        )


def _content(task: Task) -> bytes:
    """A hash of all that a projection depends on. Links that an aligner makes are left to its signature: the
    rounding of their weights varies with the batch that a pair is aligned in."""
    fields = msgspec.structs.replace(task, id=0, entities=None)
    return blake2b(msgspec.json.encode(fields), digest_size=16).digest()


def _words(instance: Instance) -> SentencePair:
    return instance.source.words(), instance.target.words()


def _align(aligner: Aligner, instances: list[Instance], *, realign: bool) -> list[Instance]:
    """The instances with the aligner's links; those without mentions don't need any."""
    alignable = [
        index
        for index, instance in enumerate(instances)
        if instance.mentions and len(instance.target) and (realign or instance.links is None)
    ]
    pairs = [_words(instances[index]) for index in alignable]
    result = list(instances)
    for index, links in zip(alignable, aligner.align(pairs) if pairs else (), strict=True):
        result[index] = msgspec.structs.replace(instances[index], links=tuple(links))
    return result


def _entity(instance: Instance, projection: Projection, habits: BorderHabits) -> ProjectedEntity:
    target = instance.target
    name = name_borders(instance, projection.mention, projection.first, projection.last, habits)
    start, end = name.start, name.end
    source = None
    if projection.mention is not None:
        entity = instance.mentions[projection.mention].entity
        source = SourceMention(
            entity.start, entity.end, entity.label, instance.source.text[entity.start : entity.end]
        )
    return ProjectedEntity(
        start=start,
        end=end,
        label=projection.label,
        text=target.text[start:end],
        score=projection.score,
        confidence=projection.confidence,
        source=source,
        provenance=projection.provenance,
    )
