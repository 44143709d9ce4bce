"""Which stage an error came from: every correction laid at the door of the source tagger, the translation, ...

The stages are told apart by what is stored with a task (source, its entities, links) and what people settled.
Nobody reviews the source, so that what is said of it is an inference.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Literal, get_args

import msgspec

from xner_label.entities import Entity, ProjectedEntity, Tokens
from xner_label.evaluation.metrics import f1_score
from xner_label.pharaoh import parse_links
from xner_label.projection.similarity import similarity
from xner_label.projection.spans import longest_run, ngrams

Stage = Literal["source tagger", "translation", "alignment", "border", "label habit", "corpus", "cut"]
STAGES: tuple[Stage, ...] = get_args(Stage)
Kind = Literal["missed", "invented", "mislabelled", "misplaced"]
# Names at least this alike are taken for each other's translation.
_ALIKE = 0.75
# A change of labels is a habit of the people once it befell so many different names, and most of that label's.
_HABIT_NAMES = 3
_EXAMPLES = 5


class ReviewedTask(msgspec.Struct, frozen=True, kw_only=True):
    """A settled task: what was predicted, what people left standing, and what the prediction was made from."""

    id: str
    text: str
    tokens: Tokens
    predicted: tuple[ProjectedEntity, ...]
    gold: tuple[Entity, ...]
    source: str | None = None
    source_tokens: Tokens | None = None
    source_entities: tuple[Entity, ...] = ()
    alignment: str | None = None


class Error(msgspec.Struct, frozen=True):
    """One thing that people changed. ``predicted`` is None for an entity that was missed, ``gold`` for one that
    is none; ``task`` is the task's id."""

    stage: Stage
    task: str
    predicted: ProjectedEntity | None
    gold: Entity | None

    @property
    def kind(self) -> Kind:
        """What is wrong: nothing was there, nothing should be, the label, or the place."""
        if self.predicted is None or self.gold is None:
            return "missed" if self.predicted is None else "invented"
        same_span = (self.predicted.start, self.predicted.end) == (self.gold.start, self.gold.end)
        return "mislabelled" if same_span else "misplaced"


class Example(msgspec.Struct, frozen=True):
    """An error in its sentence: what was predicted and what is right, as ``text [LABEL]``; None: nothing."""

    task: str
    text: str
    source: str | None
    predicted: str | None
    right: str | None


class StageErrors(msgspec.Struct, frozen=True):
    """What a stage did: ``share`` of all errors, ``kinds`` by kind, and ``f1_if_mended``, the F1 that the reviewed
    tasks would reach if its errors alone were put right."""

    stage: Stage
    errors: int
    kinds: dict[Kind, int]
    share: float
    f1_if_mended: float
    examples: tuple[Example, ...]


class ErrorSources(msgspec.Struct, frozen=True):
    """Errors by stage, the costliest first. ``f1`` is that of the predictions against what people settled, on the
    ``tasks`` reviewed ones (not a random sample unless they were drawn at random)."""

    tasks: int
    f1: float
    stages: tuple[StageErrors, ...]


def error_sources(tasks: Iterable[ReviewedTask]) -> ErrorSources:
    """Lay every error of the reviewed tasks at a stage's door; say what putting each stage right would bring."""
    reviewed = list(tasks)
    errors = [error for task in reviewed for error in errors_of(task)]
    errors = _with_habits(errors, _right_labels(reviewed))
    by_id = {task.id: task for task in reviewed}
    wrong = sum(error.predicted is not None for error in errors)
    predicted = sum(len(task.predicted) for task in reviewed)
    gold = sum(len(task.gold) for task in reviewed)
    correct = predicted - wrong
    by_stage: dict[Stage, list[Error]] = defaultdict(list)
    for error in errors:
        by_stage[error.stage].append(error)
    stages = []
    for stage, its in by_stage.items():
        mended = sum(error.gold is not None for error in its)
        kept = predicted + mended - sum(error.predicted is not None for error in its)
        stages.append(
            StageErrors(
                stage,
                len(its),
                dict(Counter(error.kind for error in its)),
                len(its) / len(errors),
                float(f1_score(correct + mended, kept, gold)),
                tuple(_example(by_id[error.task], error) for error in its[:_EXAMPLES]),
            )
        )
    stages.sort(key=lambda row: (-row.f1_if_mended, row.stage))
    return ErrorSources(len(reviewed), float(f1_score(correct, predicted, gold)), tuple(stages))


def errors_of(task: ReviewedTask) -> list[Error]:
    """The errors of one task, in the order of the text.

    A predicted and a settled entity that overlap are one error (``border``; where the spans agree, the label's);
    a predicted one without any is the alignment's where its name stands elsewhere, else the source tagger's; a
    missed one is the ``cut``'s where its source entity is known and linked, the alignment's where it is known but
    not linked, the source tagger's where other source words belong to it, and the translation's where none do.
    """
    gold, predicted = set(map(_key, task.gold)), set(map(_key, task.predicted))
    wrong = [entity for entity in task.predicted if _key(entity) not in gold]
    missed = [entity for entity in task.gold if _key(entity) not in predicted]
    errors: list[Error] = []
    for entity in wrong:
        partner = max(missed, key=partial(_shared, entity), default=None)
        if partner is not None and _shared(entity, partner) > 0:
            missed.remove(partner)
            same_span = (entity.start, entity.end) == (partner.start, partner.end)
            errors.append(Error(_stage_of_label(entity) if same_span else "border", task.id, entity, partner))
        else:
            errors.append(Error("source tagger" if entity.source else "corpus", task.id, entity, None))
    links = SourceLinks(task)
    used = {error.predicted.source for error in errors if error.predicted and error.gold}
    used |= {entity.source for entity in task.predicted if _key(entity) in gold}
    left = [error for error in errors if error.gold is None]
    for settled in missed:
        strayed = next((error for error in left if links.names(error.predicted, settled)), None)
        if strayed is not None:
            left.remove(strayed)
            errors[errors.index(strayed)] = Error("alignment", task.id, strayed.predicted, settled)
        else:
            spans = {(mention.start, mention.end) for mention in used if mention is not None}
            errors.append(Error(links.stage_of_missed(settled, spans), task.id, None, settled))
    return sorted(errors, key=_place)


class SourceLinks:
    """A task's links, and which source words belong to a stretch of its text."""

    def __init__(self, task: ReviewedTask) -> None:
        self._task = task
        self._pairs: list[tuple[int, int, float]] = []
        if task.source_tokens is not None and task.alignment:
            self._pairs = list(parse_links(task.alignment, len(task.source_tokens), len(task.tokens)))

    def names(self, predicted: ProjectedEntity | None, gold: Entity) -> bool:
        """Whether a predicted entity's name is the settled one's."""
        if predicted is None or predicted.source is None:
            return False
        text = self._task.text[gold.start : gold.end]
        return self._linked(predicted.source.start, predicted.source.end, gold) or (
            similarity(predicted.source.text, text) >= _ALIKE
        )

    def mention_of(self, gold: Entity) -> Entity | None:
        """The source entity that a settled entity translates: linked with it, else alike."""
        text, source = self._task.text[gold.start : gold.end], self._task.source or ""
        linked = [item for item in self._task.source_entities if self._linked(item.start, item.end, gold)]
        for mention in self._task.source_entities:
            if not linked and similarity(source[mention.start : mention.end], text) >= _ALIKE:
                linked = [mention]
        return linked[0] if linked else None

    def stage_of_missed(self, gold: Entity, used: set[tuple[int, int]]) -> Stage:
        """The stage that lost an entity; ``used`` are the source mentions that other entities came from."""
        task = self._task
        text = task.text[gold.start : gold.end]
        for mention in task.source_entities:
            if (mention.start, mention.end) not in used and task.source is not None:
                if self._linked(mention.start, mention.end, gold):
                    return "cut"
                if similarity(task.source[mention.start : mention.end], text) >= _ALIKE:
                    return "alignment"
        if self._sources(gold) or self._stands_in_source(text):
            return "source tagger"
        return "translation"

    def _sources(self, entity: Entity) -> set[int]:
        first, last, _ = self._task.tokens.covering(entity.start, entity.end)
        return {source for source, target, _ in self._pairs if first <= target < last}

    def _linked(self, start: int, end: int, entity: Entity) -> bool:
        if self._task.source_tokens is None:
            return False
        first, last, _ = self._task.source_tokens.covering(start, end)
        return any(first <= source < last for source in self._sources(entity))

    def _stands_in_source(self, text: str) -> bool:
        tokens = self._task.source_tokens
        if tokens is None:
            return False
        longest = longest_run(len(text.split()) + 1, tokens.text)
        spans = (tokens.span(first, last) for first, last in ngrams(0, len(tokens), longest))
        return any(similarity(tokens.text[span.start : span.end], text) >= _ALIKE for span in spans)


def _stage_of_label(entity: ProjectedEntity) -> Stage:
    """Whose a wrong label is: the source tagger's, or the corpus' that gave another than the source has."""
    if entity.source is None or entity.source.label != entity.label:
        return "corpus"
    return "source tagger"


def _right_labels(tasks: Sequence[ReviewedTask]) -> Counter[str]:
    """How many entities kept their label, by label."""
    kept: Counter[str] = Counter()
    for task in tasks:
        gold = set(map(_key, task.gold))
        kept.update(entity.label for entity in task.predicted if _key(entity) in gold)
    return kept


def _with_habits(errors: Sequence[Error], kept: Mapping[str, int]) -> list[Error]:
    """Changes of a label that people make again and again are a habit of theirs, not slips of a tagger."""
    names: dict[tuple[str, str], set[str]] = defaultdict(set)
    for error in errors:
        if (change := _relabelled(error)) and error.predicted is not None:
            names[change].add(error.predicted.text.casefold())
    habits = {
        change for change, of in names.items() if len(of) >= _HABIT_NAMES and len(of) > kept.get(change[0], 0)
    }
    return [
        msgspec.structs.replace(error, stage="label habit") if _relabelled(error) in habits else error
        for error in errors
    ]


def _relabelled(error: Error) -> tuple[str, str] | None:
    if error.predicted is None or error.gold is None or error.stage in ("border", "alignment"):
        return None
    return error.predicted.label, error.gold.label


def _example(task: ReviewedTask, error: Error) -> Example:
    def shown(entity: Entity | ProjectedEntity | None) -> str | None:
        return None if entity is None else f"{task.text[entity.start : entity.end]} [{entity.label}]"

    return Example(task.id, task.text, task.source, shown(error.predicted), shown(error.gold))


def _place(error: Error) -> int:
    marked = error.predicted if error.gold is None else error.gold
    return 0 if marked is None else marked.start


def _key(entity: Entity | ProjectedEntity) -> tuple[int, int, str]:
    return entity.start, entity.end, entity.label


def _shared(left: Entity | ProjectedEntity, right: Entity | ProjectedEntity) -> int:
    """Code points that both cover; negative or zero when they are apart."""
    return min(left.end, right.end) - max(left.start, right.start)
