"""Where a name's answer applies in a corpus: the spans of its question, and what the answer makes of them.

The product and the simulation share it. The spans of a question are those that were found before its answer moved
anything, so that taking an answer back gives the projection that stood without it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from xner_label.entities import Span
from xner_label.projection.corpus.evidence import Observations
from xner_label.projection.corpus.rounds import ChosenSpans
from xner_label.projection.corpus.settled import NameAnswers
from xner_label.review.name_answers import Kind, Verdict
from xner_label.review.name_groups import NameKey, name_form, place_of

# Spans of each question.
Occurrences = Mapping[NameKey, Sequence["SpanPlace"]]


class SpanPlace(NamedTuple):
    """A span: number of its sentence, of its mention among all (-1 where none is behind it), and its tokens."""

    sentence: int
    mention: int
    first: int
    last: int


def keys_of_spans(observations: Observations, chosen: ChosenSpans) -> list[NameKey]:
    """The group of each span; see :func:`xner_label.review.name_answers.key_of`."""
    keys = []
    for place, label in zip(_places(chosen), chosen.label.tolist(), strict=True):
        target = observations.instances[place.sentence].target
        text = target.text[target.starts[place.first] : target.ends[place.last - 1]]
        keys.append(
            NameKey(_source_name(observations, place.mention), name_form(text), observations.labels[label])
        )
    return keys


def occurrences_of(
    observations: Observations,
    chosen: ChosenSpans,
    wanted: Collection[NameKey],
    known: Occurrences | None = None,
) -> dict[NameKey, list[SpanPlace]]:
    """The spans of the questions ``wanted``, which were asked when ``chosen`` stood.

    ``known`` are those of questions that were asked before: they stay, since their answers may have moved them,
    and belong to no other question.
    """
    known = known or {}
    result: dict[NameKey, list[SpanPlace]] = {key: list(known.get(key, ())) for key in sorted(wanted)}
    taken = {_identity(place) for places in result.values() for place in places}
    for key, place in zip(keys_of_spans(observations, chosen), _places(chosen), strict=True):
        if key in result and key not in known and _identity(place) not in taken:
            result[key].append(place)
    return result


def without_reviewed(occurrences: Occurrences, reviewed: Collection[int]) -> dict[NameKey, list[SpanPlace]]:
    """The spans in sentences that nobody has reviewed: what people say of a sentence itself comes first."""
    return {
        key: [place for place in places if place.sentence not in reviewed] for key, places in occurrences.items()
    }


def answers_on(
    observations: Observations, occurrences: Occurrences, verdicts: Mapping[NameKey, Verdict]
) -> NameAnswers | None:
    """What the verdicts make of the spans of their questions; None where they settle none.

    "It depends" settles nothing, and so does another span in a sentence that doesn't have it. Every label must be
    among the observations'.
    """
    rows: list[tuple[int, int, int, int, int]] = []
    for key, places in occurrences.items():
        verdict = verdicts.get(key)
        if verdict is not None and verdict.kind is not Kind.DEPENDS:
            for place in places:
                rows += _settled(observations, key, place, verdict)
    if not rows:
        return None
    return NameAnswers(*np.array(rows, np.int64).T)


def _settled(
    observations: Observations, key: NameKey, place: SpanPlace, verdict: Verdict
) -> Iterator[tuple[int, int, int, int, int]]:
    if verdict.kind is Kind.LABEL:
        yield (*place, observations.labels.index(verdict.value))
    elif verdict.kind is Kind.NO_NAME:
        yield (*place, -1)
    else:
        target = observations.instances[place.sentence].target
        span = place_of(target.text, Span(target.starts[place.first], target.ends[place.last - 1]), verdict.value)
        if span is not None:
            first, last, _ = target.covering(span.start, span.end)
            if place.mention < 0:
                yield (*place, -1)
            yield place.sentence, place.mention, first, last, observations.labels.index(key.label)


def _places(chosen: ChosenSpans) -> Iterator[SpanPlace]:
    columns = (chosen.sentence, chosen.mention, chosen.first, chosen.last)
    return (SpanPlace(*row) for row in zip(*(column.tolist() for column in columns), strict=True))


def _source_name(observations: Observations, mention: int) -> str:
    if mention < 0 or observations.place[mention] is None:
        return ""  # a run of capitals that no tagger named
    number = int(observations.sentence[mention])
    instance = observations.instances[number]
    entity = instance.mentions[mention - int(np.searchsorted(observations.sentence, number))].entity
    return name_form(instance.source.text[entity.start : entity.end])


def _identity(place: SpanPlace) -> tuple[int, int, int, int]:
    """What stays the same when an answer moves a span: its mention, or its tokens where none is behind it."""
    return (place.sentence, place.mention, -1, -1) if place.mention >= 0 else place
