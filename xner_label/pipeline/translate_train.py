"""Translate-train: labelled source texts become labelled texts of the target language, to learn from.

A text is translated with its entities marked (brackets as in EasyProject, tags as in LabelPigeon), or translated
as it is and its entities projected. What isn't complete is left out, since a lost entity teaches that it is none
(:mod:`xner_label.pipeline.completeness`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import msgspec

from xner_label import __version__
from xner_label.entities import Entity, ProjectedEntity, SilverTask, SourceMention, Span, Task, check_offsets
from xner_label.errors import IncompleteError, RecordError, UsageError
from xner_label.pipeline.completeness import FILTERS
from xner_label.pipeline.pipeline import Pipeline
from xner_label.projection.handmade.marked_translation import CarriedText, MarkedTranslator
from xner_label.stages.interfaces import Translator
from xner_label.stages.translation.markers import MarkerStyle

# How entities get into the translation, and the filters that then say whether it is complete: without links only
# the number of entities can be compared.
METHODS = ("markers", "xml", "projection")
DEFAULT_FILTERS = {"markers": ("counts",), "xml": ("counts",), "projection": tuple(FILTERS)}
_STYLES: dict[str, MarkerStyle] = {"markers": "brackets", "xml": "xml"}
# What keeps a text out beside the filters: nothing came back from the translator.
EMPTY = "empty"


class TranslateTrain:
    """Turns tasks that have a source and source entities, and no text yet, into silver of the target language.

    ``translator`` translates from the source into the target language; ``pipeline``, which must have the same
    filters, projects for the method ``projection``. ``filters`` are names of
    :data:`~xner_label.pipeline.completeness.FILTERS`. While texts are answered, ``dropped`` counts those left out
    by filter, ``markers`` what became of markers, see :func:`xner_label.stages.translation.markers.tally`. Raises
    UsageError for a method or filter that can't be used.
    """

    def __init__(
        self, translator: Translator, method: str, filters: Sequence[str], pipeline: Pipeline | None = None
    ) -> None:
        possible = DEFAULT_FILTERS.get(method)
        if possible is None or (method == "projection") != (pipeline is not None):
            raise UsageError(f"texts can't be labelled by {method!r}", hint=f"choose among {', '.join(METHODS)}")
        unusable = [name for name in filters if name not in possible]
        if unusable:
            raise UsageError(
                f"the filter {unusable[0]!r} looks at links, and {method} makes none",
                hint=f"choose among {', '.join(possible)}, or none",
            )
        self._translator = translator
        self._marked = MarkedTranslator(translator, _STYLES[method]) if method in _STYLES else None
        self._pipeline = pipeline
        self._method = method
        self._filters = tuple(filters)
        self._translated: dict[str, str] = {}
        self.dropped: Counter[str] = Counter()
        self.markers: Counter[str] = Counter()

    @property
    def signature(self) -> str:
        """Names everything that the answers depend on."""
        parts = [f"xner-label/{__version__}", f"projector=translate-train:{self._method}"]
        parts += [f"translator={self._translator.signature}", f"filters={','.join(self._filters) or 'none'}"]
        if self._pipeline is not None:
            parts.append(f"projected-by=({self._pipeline.signature})")
        return " ".join(parts)

    @property
    def learns(self) -> bool:
        """Whether a stage wants to see all texts before the first one is answered."""
        return self._pipeline is not None and self._pipeline.learns

    def learn(self, tasks: Sequence[Task]) -> None:
        """Let the stages see all texts, which translates them; bad ones teach nothing."""
        if self._pipeline is not None:
            good = [task for task in tasks if _problem(task) is None]
            self._pipeline.learn([task for task in self._with_text(good) if task.text])

    def answer(self, tasks: Sequence[Task]) -> list[SilverTask | RecordError]:
        """For each task its translation with the entities in it, in order, or the error that keeps it from that:
        an IncompleteError where a filter leaves it out."""
        problems = [_problem(task) for task in tasks]
        good = [task for task, problem in zip(tasks, problems, strict=True) if problem is None]
        answers = iter(self._by_markers(good) if self._marked is not None else self._by_projection(good))
        results = [next(answers) if problem is None else problem for problem in problems]
        for result in results:
            if isinstance(result, IncompleteError):
                self.dropped.update(result.filters)
        return results

    def _by_markers(self, tasks: Sequence[Task]) -> list[SilverTask | RecordError]:
        assert self._marked is not None
        carried = self._marked.translate(
            [
                (task.source or "", [Span(entity.start, entity.end) for entity in task.source_entities or ()])
                for task in tasks
            ]
        )
        results: list[SilverTask | RecordError] = []
        for task, of_task in zip(tasks, carried, strict=True):
            self.markers += of_task.counts
            entities = _carried_entities(task, of_task)
            failed = [EMPTY] if not of_task.text else []
            if "counts" in self._filters and _labels(entities) != _labels(task.source_entities or ()):
                failed.append("counts")
            if failed:
                results.append(IncompleteError(failed))
                continue
            confidence = math.prod(entity.confidence for entity in entities)
            results.append(self._silver(task, of_task.text, entities, confidence))
        return results

    def _by_projection(self, tasks: Sequence[Task]) -> list[SilverTask | RecordError]:
        assert self._pipeline is not None
        results: list[SilverTask | RecordError] = []
        translated = self._with_text(tasks)
        for task, answer in zip(translated, self._pipeline.predict(translated), strict=True):
            if not task.text:
                results.append(IncompleteError([EMPTY]))
            elif isinstance(answer, RecordError):
                results.append(answer)
            else:
                results.append(self._silver(task, task.text, answer.entities, answer.confidence))
        return results

    def _with_text(self, tasks: Sequence[Task]) -> list[Task]:
        """The tasks with their source's translation as the text; what was translated for learning isn't again."""
        missing = list(dict.fromkeys(task.source or "" for task in tasks if task.source not in self._translated))
        answers = self._translator.translate(missing) if missing else ()
        known = dict(self._translated)
        for source, answer in zip(missing, answers, strict=True):
            known[source] = "" if isinstance(answer, RecordError) else answer.text.strip()
        if self.learns:
            self._translated = known
        return [msgspec.structs.replace(task, text=known[task.source or ""]) for task in tasks]

    def _silver(self, task: Task, text: str, entities: Sequence[ProjectedEntity], confidence: float) -> SilverTask:
        return SilverTask(
            task.id,
            text,
            tuple(entities),
            confidence,
            self.signature,
            source=task.source,
            source_entities=task.source_entities,
        )


def _problem(task: Task) -> RecordError | None:
    if not (task.source or "").strip():
        return RecordError("text", "empty; leave the line out")
    try:
        check_offsets(task.source or "", task.source_entities or (), "entities")
    except RecordError as error:
        return error
    return None


def _labels(entities: Sequence[Entity] | Sequence[ProjectedEntity]) -> Counter[str]:
    return Counter(entity.label for entity in entities)


def _carried_entities(task: Task, carried: CarriedText) -> list[ProjectedEntity]:
    """The entities whose markers came back, in text order; of those that overlap the longest is kept.

    Their confidence is the translation's mean probability of a subtoken, which ranks and isn't calibrated.
    """
    confidence = 1.0 if carried.score is None else min(math.exp(carried.score), 1.0)
    entities: list[ProjectedEntity] = []
    pairs = zip(task.source_entities or (), carried.spans, strict=True)
    landed = [(entity, span) for entity, span in pairs if span is not None]
    for entity, span in sorted(landed, key=lambda pair: (pair[1].start - pair[1].end, pair[1].start)):
        if all(span.end <= other.start or other.end <= span.start for other in entities):
            source = task.source or ""
            mention = SourceMention(entity.start, entity.end, entity.label, source[entity.start : entity.end])
            text = carried.text[span.start : span.end]
            entities.append(
                ProjectedEntity(span.start, span.end, entity.label, text, confidence, confidence, mention)
            )
    return sorted(entities, key=lambda entity: entity.start)
