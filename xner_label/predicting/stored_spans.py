"""The spans of a corpus as a state keeps them: by task, with places inside the task, wherever the task stands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec
import numpy as np

from xner_label.entities import Provenance
from xner_label.projection.corpus.evidence import Observations
from xner_label.projection.corpus.rounds import ChosenSpans
from xner_label.projection.problem import Projection, Projections
from xner_label.review.name_groups import NameKey
from xner_label.review.name_occurrences import Occurrences, SpanPlace

# The spans of a question about a name: its key, matched mention (-1 for none), tokens.
Asked = tuple[NameKey, int, int, int]


class StoredSpan(msgspec.Struct, array_like=True, frozen=True):
    """A span of a task of the state: place of its mention among those given (-1 for none), tokens, label;
    ``matched``: the mention's place among those that take part, -1 for none."""

    mention: int
    first: int
    last: int
    label: str
    score: float
    confidence: float
    provenance: Provenance | None
    matched: int = -1


def stored(
    observations: Observations, keys: Sequence[str], chosen: ChosenSpans, reasons: Sequence[Provenance]
) -> dict[str, list[StoredSpan]]:
    """What was found of each task, and why."""
    spans: dict[str, list[StoredSpan]] = {key: [] for key in keys}
    first_of = {key: number for number, key in reversed(list(enumerate(keys)))}
    first_mention = _first_mentions(observations, keys)
    for row, number in enumerate(chosen.sentence.tolist()):
        if first_of[keys[number]] != number:
            continue  # equal tasks have equal answers
        mention = int(chosen.mention[row])
        place = observations.place[mention] if mention >= 0 else None
        spans[keys[number]].append(
            StoredSpan(
                -1 if place is None else place,
                int(chosen.first[row]),
                int(chosen.last[row]),
                observations.labels[chosen.label[row]],
                float(chosen.score[row]),
                float(chosen.confidence[row]),
                reasons[row],
                mention - first_mention[number] if mention >= 0 else -1,
            )
        )
    return spans


def spans_of(
    observations: Observations, keys: Sequence[str], spans: Mapping[str, Sequence[StoredSpan]]
) -> ChosenSpans:
    """Stored spans as those of a corpus."""
    first_mention = _first_mentions(observations, keys)
    rows = [
        (
            number,
            first_mention[number] + span.matched if span.matched >= 0 else -1,
            span.first,
            span.last,
            observations.labels.index(span.label),
            span.confidence,
        )
        for number, key in enumerate(keys)
        for span in spans.get(key, ())
        if span.label in observations.labels
    ]
    table = np.array([row[:5] for row in rows], np.int64).reshape(-1, 5)
    sure = np.array([row[5] for row in rows], np.float64)
    return ChosenSpans(
        sentence=table[:, 0],
        mention=table[:, 1],
        first=table[:, 2],
        last=table[:, 3],
        label=table[:, 4],
        score=sure,
        p_span=sure,
        p_label=sure,
        confidence=sure,
        exact=np.ones(len(sure), bool),
    )


def stored_places(
    observations: Observations, keys: Sequence[str], occurrences: Occurrences
) -> dict[str, list[Asked]]:
    """The spans of questions by task, in an order that their answers don't change."""
    first_mention = _first_mentions(observations, keys)
    asked: dict[str, set[Asked]] = {}
    for key, places in occurrences.items():
        for sentence, mention, first, last in places:
            matched = mention - first_mention[sentence] if mention >= 0 else -1
            asked.setdefault(keys[sentence], set()).add((key, matched, first, last))
    return {key: sorted(asked[key]) for key in sorted(asked)}


def places_of(
    observations: Observations, keys: Sequence[str], asked: Mapping[str, Sequence[Asked]]
) -> dict[NameKey, list[SpanPlace]]:
    """Stored spans of questions as those of a corpus."""
    first_mention = _first_mentions(observations, keys)
    occurrences: dict[NameKey, list[SpanPlace]] = {}
    for number, key in enumerate(keys):
        for name, matched, first, last in asked.get(key, ()):
            mention = first_mention[number] + matched if matched >= 0 else -1
            occurrences.setdefault(name, []).append(SpanPlace(number, mention, first, last))
    return occurrences


def projections(spans: Iterable[StoredSpan]) -> Projections:
    """What a projector answers."""
    return Projections(
        Projection(
            None if span.mention < 0 else span.mention,
            span.first,
            span.last,
            span.label,
            span.score,
            span.confidence,
            msgspec.UNSET if span.provenance is None else span.provenance,
        )
        for span in spans
    ).in_order()


def _first_mentions(observations: Observations, keys: Sequence[str]) -> list[int]:
    """The place of each task's first mention among all."""
    places: list[int] = np.searchsorted(observations.sentence, np.arange(len(keys))).tolist()
    return places
