"""What single words are worth: sparse effects on a candidate's score and on a mention's label.

The score of mention m on span t gains the effects of t's text, of m's name, of both together, of t's first and
last word and of the words before and after it; a label's score gains those of m's name and its words, of t's text,
of the neighbours of both and of the words of the source sentence (the last two together with the present label).
Everything is compared folded. An effect is what a model gets wrong about a word given all other evidence, so that
it needn't grow with how often the word is read (see :mod:`fitting.adaptation`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import msgspec
import numpy as np

from xner_label.projection.corpus.evidence import Observations
from xner_label.projection.loglinear.columns import Floats, Ints, Numbers, expand

BEFORE, AFTER = "^", "$"  # stand for the words outside the sentence
# Source words at least this long, in code points, speak for labels.
_LONG = 3


class Effects(msgspec.Struct, frozen=True):
    """Effects by kind and key: on spans one number each, on labels one per label of ``labels``."""

    labels: tuple[str, ...]
    span: dict[str, dict[str, float]]
    label: dict[str, dict[str, list[float]]]


class Keys(NamedTuple):
    """Which effects of a kind apply: ``key[k]`` to row ``row[k]``; ``name`` writes a key as text."""

    kind: str
    row: Ints
    key: Ints
    name: Callable[[int], str]


class Shift(NamedTuple):
    """Effects as they apply to a corpus: candidate (C,), label (M, K), text (codes,) those of texts alone."""

    candidate: Floats
    label: Floats
    text: Floats


def span_keys(observations: Observations) -> Iterator[Keys]:
    """The keys of each candidate; rows are candidates."""
    candidates, texts = observations.candidates, observations.texts
    rows = np.arange(len(candidates.mention))
    sentence = observations.sentence[candidates.mention]
    low, high = observations.target_at[sentence], observations.target_at[sentence + 1]
    count = len(texts)
    name = observations.name[candidates.mention]

    def word(at: Ints, outside: int) -> Ints:
        inside = (at >= low) & (at < high)
        return np.where(
            inside, observations.word[np.clip(at, 0, max(len(observations.word) - 1, 0))], count + outside
        )

    written = [*texts, BEFORE, AFTER]
    yield Keys("text", rows, observations.text, texts.__getitem__)
    yield Keys("name", rows, name, texts.__getitem__)
    yield Keys(
        "both", rows, name * count + observations.text, lambda key: f"{texts[key // count]}\t{texts[key % count]}"
    )
    if len(rows):
        yield Keys("first", rows, observations.word[candidates.first], texts.__getitem__)
        yield Keys("last", rows, observations.word[candidates.last - 1], texts.__getitem__)
        yield Keys("before", rows, word(candidates.first - 1, 0), written.__getitem__)
        yield Keys("after", rows, word(candidates.last, 1), written.__getitem__)


def label_keys(observations: Observations, candidate: Ints) -> Iterator[Keys]:
    """The keys of each mention on ``candidate`` (M,), -1 where it has none; rows are mentions."""
    texts, labels = observations.texts, observations.labels
    count, size = len(texts), len(labels)
    written = [*texts, BEFORE, AFTER]
    rows = np.arange(len(observations))
    if not len(rows):
        return
    present = observations.base_label.argmax(axis=1)
    landed = np.flatnonzero(candidate >= 0)
    on_span = candidate[landed]
    sentence = observations.sentence
    low, high = observations.source_at[sentence], observations.source_at[sentence + 1]

    def with_label(key: int) -> str:
        return f"{labels[key % size]}\t{written[key // size]}"

    yield Keys("name", rows, observations.name, texts.__getitem__)
    yield Keys("text", landed, observations.text[on_span], texts.__getitem__)
    owner, at = expand(observations.source_first, observations.source_last - observations.source_first)
    yield Keys("word", owner, observations.source_word[at], texts.__getitem__)
    first, last = observations.source_first - 1, observations.source_last
    for kind, at, inside, outside in (
        ("source before", first, first >= low, count),
        ("source after", last, last < high, count + 1),
    ):
        word = np.where(inside, observations.source_word[np.where(inside, at, 0)], outside)
        yield Keys(kind, rows, word * size + present, with_label)
    if len(landed):
        target_low = observations.target_at[sentence[landed]]
        target_high = observations.target_at[sentence[landed] + 1]
        first, last = observations.candidates.first[on_span] - 1, observations.candidates.last[on_span]
        for kind, at, inside, outside in (
            ("target before", first, first >= target_low, count),
            ("target after", last, last < target_high, count + 1),
        ):
            word = np.where(inside, observations.word[np.where(inside, at, 0)], outside)
            yield Keys(kind, landed, word * size + present[landed], with_label)
    yield Keys("bias", rows, present, labels.__getitem__)
    owner, at = expand(low, high - low)
    distinct_pairs = np.unique(owner * count + observations.source_word[at])
    owner, word = distinct_pairs // count, distinct_pairs % count
    long = np.array([len(text) >= _LONG for text in texts], bool)[word]
    yield Keys("sentence", owner[long], word[long] * size + present[owner[long]], with_label)


def best_candidates(observations: Observations) -> Ints:
    """(M,) the candidate of the largest per-sentence score, -1 for a mention without one."""
    result = np.full(len(observations), -1)
    order = np.argsort(observations.score, kind="stable")
    result[observations.candidates.mention[order]] = order
    return result


def shift_of(observations: Observations, effects: Effects) -> Shift:
    """The effects that apply to each candidate and mention of a corpus."""
    candidate = np.zeros(len(observations.candidates.mention))
    text = np.zeros(len(observations.texts))
    for keys in span_keys(observations):
        weights = effects.span.get(keys.kind)
        if weights:
            unique, inverse = np.unique(keys.key, return_inverse=True)
            values = np.array([weights.get(keys.name(key), 0.0) for key in unique.tolist()])
            candidate[keys.row] += values[inverse]
    for name, value in effects.span.get("text", {}).items():
        code = observations.code_of(name)
        if code >= 0:
            text[code] = value
    label: Floats = np.zeros((len(observations), len(observations.labels)))
    places = [observations.labels.index(name) for name in effects.labels if name in observations.labels]
    columns = [place for place, name in enumerate(effects.labels) if name in observations.labels]
    nothing = [0.0] * len(effects.labels)
    for keys in label_keys(observations, best_candidates(observations)):
        rows = effects.label.get(keys.kind)
        if rows and len(keys.row):
            unique, inverse = np.unique(keys.key, return_inverse=True)
            table: Numbers = np.array([rows.get(keys.name(key), nothing) for key in unique.tolist()])
            total = np.zeros((len(observations), len(effects.labels)))
            np.add.at(total, keys.row, table[inverse])
            label[:, places] += total[:, columns]
    return Shift(candidate, label, text)
