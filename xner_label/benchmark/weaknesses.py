"""Where a pipeline is weak: which kinds of names, constructions and words get lost, and in which stage.

After Cross-Lingual Pitfalls (arXiv 2505.18673), which searches for what models get right in English and wrong in
the target language. Here the gold says it: each settled entity either has a source entity or was lost before
(by the translation or the source tagger), and with one it either arrives in the target text exactly or is lost on
the way (alignment, border, cut). For every property of the entities both shares are compared with those of all
entities that don't have it.

Small numbers are taken for what they are: shares are drawn towards the overall one with the weight of PRIOR
entities (the mean of a Beta posterior), the order is that of the entities lost beyond what the others lose,
counted with the drawn-in share, and the one-sided hypergeometric tests (Fisher's) are corrected together by
Benjamini and Hochberg's rule. Of one name in one task the first counts: they aren't independent.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from typing import Literal

import msgspec

from xner_label.entities import Entity
from xner_label.letter_case import has_case
from xner_label.projection.similarity import similarity
from xner_label.review.error_sources import ReviewedTask, SourceLinks, Stage, errors_of
from xner_label.word_forms import fold

Group = Literal["label", "construction", "word"]
Phase = Literal["before the source entity", "from source to target"]
# Stages that lose an entity before there is a source entity to project.
BEFORE: frozenset[Stage] = frozenset({"translation", "source tagger"})
# Entities that the overall share counts as beside those of a property.
PRIOR = 10.0
# A share of properties that are called sure without being worse, among all that are: the false discovery rate.
RATE = 0.05
# Rarer properties aren't tested: they could hardly be told from chance, and every test costs the others.
LEAST = 5
_SHOWN, _EXAMPLES = 10, 3
# From this similarity on a name is nearly the source's.
_ALIKE = 0.75


class Occurrence(msgspec.Struct, frozen=True):
    """A settled entity: what it is like, and the stage that lost it (None: it arrived)."""

    properties: tuple[tuple[Group, str], ...]
    stage: Stage | None
    text: str
    sentence: str
    source: str | None = None
    predicted: str | None = None


class Loss(msgspec.Struct, frozen=True):
    """An entity that was lost: ``text`` with its label, its sentence, the source, and what stood there instead."""

    text: str
    sentence: str
    source: str | None
    predicted: str | None
    stage: Stage


class Weakness(msgspec.Struct, frozen=True):
    """A property whose entities are lost more often than the others.

    ``lost`` of ``n`` entities; ``share`` with its Wilson interval, ``rest_share`` of the entities without the
    property; ``drawn_share`` is drawn towards the overall one; ``excess`` is how many entities more are lost than
    the others' share would lose, by the drawn-in share. ``p`` is corrected for all properties tested, None where
    fewer than LEAST have the property; ``sure``: p is below RATE.
    """

    group: Group
    value: str
    n: int
    lost: int
    share: float
    ci95: tuple[float, float]
    rest_share: float
    drawn_share: float
    excess: float
    p: float | None
    sure: bool
    stages: dict[Stage, int]
    examples: tuple[Loss, ...]


class PhaseWeaknesses(msgspec.Struct, frozen=True):
    """One half of the way: ``lost`` of ``n`` entities, ``stages`` that lost them, and the properties that are
    lost more often, the costliest first; ``tested`` of them were tested."""

    phase: Phase
    n: int
    lost: int
    stages: dict[Stage, int]
    tested: int
    weaknesses: tuple[Weakness, ...]


class Probe(msgspec.Struct, frozen=True):
    """The weaknesses of one system on one dataset."""

    data: str
    system: str
    phases: tuple[PhaseWeaknesses, ...]


def probe_tasks(data: str, system: str, tasks: Sequence[ReviewedTask]) -> Probe:
    """The weaknesses of the system that predicted the tasks."""
    occurrences = [occurrence for task in tasks for occurrence in _occurrences(task)]
    return Probe(data, system, weaknesses(occurrences))


def weaknesses(occurrences: Sequence[Occurrence]) -> tuple[PhaseWeaknesses, ...]:
    """Both halves of the way; what never had a source entity isn't counted in the second."""
    reached = [each for each in occurrences if each.stage not in BEFORE]
    return (
        _of_phase("before the source entity", occurrences, BEFORE),
        _of_phase("from source to target", reached, {each.stage for each in reached if each.stage} - BEFORE),
    )


def _of_phase(phase: Phase, occurrences: Sequence[Occurrence], stages: Collection[Stage]) -> PhaseWeaknesses:
    lost = [each for each in occurrences if each.stage in stages]
    total, all_lost = len(occurrences), len(lost)
    counted = Counter(each.stage for each in lost if each.stage)
    having: Counter[tuple[Group, str]] = Counter()
    losing: defaultdict[tuple[Group, str], list[Occurrence]] = defaultdict(list)
    for each in occurrences:
        having.update(each.properties)
        if each.stage in stages:
            for named in each.properties:
                losing[named].append(each)
    if not all_lost or all_lost == total:  # no property tells one from another
        return PhaseWeaknesses(phase, total, all_lost, dict(counted), 0, ())
    tested = [named for named, n in having.items() if LEAST <= n < total]
    p_values = _corrected([(having[named], len(losing[named])) for named in tested], total, all_lost)
    corrected = dict(zip(tested, p_values, strict=True))
    weaknesses = []
    for named, n in having.items():
        k = len(losing[named])
        rest = (all_lost - k) / (total - n) if n < total else all_lost / total
        drawn = (k + PRIOR * all_lost / total) / (n + PRIOR)
        excess = n * (drawn - rest)
        if not k or excess <= 0.0 or n == total:
            continue
        p = corrected.get(named)
        weaknesses.append(
            Weakness(
                *named,
                n=n,
                lost=k,
                share=k / n,
                ci95=wilson(k, n),
                rest_share=rest,
                drawn_share=drawn,
                excess=excess,
                p=p,
                sure=p is not None and p < RATE,
                stages=dict(Counter(each.stage for each in losing[named] if each.stage)),
                examples=tuple(_example(each) for each in losing[named][:_EXAMPLES]),
            )
        )
    weaknesses.sort(key=lambda item: (not item.sure, -item.excess, item.group, item.value))
    places: Counter[Group] = Counter()
    shown = []
    for item in weaknesses:
        places[item.group] += 1
        if item.sure or places[item.group] <= _SHOWN:
            shown.append(item)
    return PhaseWeaknesses(phase, total, all_lost, dict(counted), len(tested), tuple(shown))


def _corrected(counts: Sequence[tuple[int, int]], total: int, lost: int) -> list[float]:
    """Corrected P(at least so many of n lost) where ``lost`` of ``total`` are lost whatever the property."""
    if not counts:
        return []
    from scipy.stats import false_discovery_control, hypergeom

    p = [float(hypergeom.sf(k - 1, total, lost, n)) for n, k in counts]
    corrected: list[float] = false_discovery_control([min(1.0, max(0.0, value)) for value in p]).tolist()
    return corrected


def wilson(k: int, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share."""
    z = 1.959963984540054
    middle = (k + z * z / 2) / (n + z * z)
    half = z / (n + z * z) * (k * (n - k) / n + z * z / 4) ** 0.5
    return max(0.0, middle - half), min(1.0, middle + half)


def _example(each: Occurrence) -> Loss:
    assert each.stage is not None
    return Loss(each.text, each.sentence, each.source, each.predicted, each.stage)


def _occurrences(task: ReviewedTask) -> Iterator[Occurrence]:
    """The settled entities of a task, the first of each name and label."""
    errors = {
        (error.gold.start, error.gold.end, error.gold.label): error for error in errors_of(task) if error.gold
    }
    links = SourceLinks(task)
    first: dict[tuple[str, str], Occurrence] = {}
    for number, gold in enumerate(task.gold):
        error = errors.get(_key(gold))
        text = task.text[gold.start : gold.end]
        name = fold(text), gold.label
        if name in first:
            continue
        mention = links.mention_of(gold)
        mentioned = None if mention is None or task.source is None else task.source[mention.start : mention.end]
        predicted = error.predicted if error is not None else None
        first[name] = Occurrence(
            tuple(dict.fromkeys(_properties(task, number, mentioned))),
            None if error is None else error.stage,
            f"{text} [{gold.label}]",
            task.text,
            task.source,
            None if predicted is None else f"{predicted.text} [{predicted.label}]",
        )
    yield from first.values()


def _properties(task: ReviewedTask, number: int, mentioned: str | None) -> Iterator[tuple[Group, str]]:
    gold = task.gold[number]
    text = task.text[gold.start : gold.end]
    words = task.tokens.words()
    first, last, whole = task.tokens.covering(gold.start, gold.end)
    yield "label", gold.label
    length = last - first
    yield "construction", ("one word", "two words")[length - 1] if length in (1, 2) else "three words or more"
    if first == 0:
        yield "construction", "begins the text"
    if last == len(words) or (last == len(words) - 1 and not any(map(str.isalnum, words[-1]))):
        yield "construction", "ends the text"
    if not whole:
        yield "construction", "its borders lie inside words"
    if has_case(text):
        if not any(map(str.isupper, text)):
            yield "construction", "no capital letter"
        elif text.upper() == text and sum(map(str.isalpha, text)) > 1:
            yield "construction", "all capitals"
    if any(map(str.isdigit, text)):
        yield "construction", "holds a digit"
    if any(mark in text for mark in "-‐–'’ʼ"):
        yield "construction", "holds a hyphen or apostrophe"
    if fold(task.text).count(fold(text)) > 1:
        yield "construction", "stands there more than once"
    if _has_neighbour(task, number):
        yield "construction", "beside another name"
    if mentioned is not None:
        yield "construction", _spelling(text, mentioned)
    for word in words[first:last]:
        if any(map(str.isalpha, word)):
            yield "word", f"… {word.casefold()} …"
    if 0 < first <= len(words):
        yield "word", f"{words[first - 1].casefold()} | …"
    if last < len(words):
        yield "word", f"… | {words[last].casefold()}"


def _spelling(text: str, mentioned: str) -> str:
    target, source = fold(text), fold(mentioned)
    if target == source:
        return "spelt as in the source"
    if source in target:
        return "the source's spelling with something added"
    if target in source:
        return "a part of the source's spelling"
    return (
        "spelt nearly as in the source"
        if similarity(text, mentioned) >= 0.75
        else "spelt otherwise than in the source"
    )


def _has_neighbour(task: ReviewedTask, number: int) -> bool:
    """Whether another name stands one word away at most."""
    gold = task.gold[number]
    first, last, _ = task.tokens.covering(gold.start, gold.end)
    return any(
        0 <= begin - last <= 1 or 0 <= first - end <= 1
        for begin, end, _ in (task.tokens.covering(each.start, each.end) for each in _others(task.gold, number))
    )


def _others(gold: Sequence[Entity], number: int) -> list[Entity]:
    return [entity for place, entity in enumerate(gold) if place != number]


def _key(entity: Entity) -> tuple[int, int, str]:
    return entity.start, entity.end, entity.label
