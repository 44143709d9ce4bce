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


def span_keys(seen: Observations) -> Iterator[Keys]:
    """The keys of each candidate; rows are candidates."""
    found, texts = seen.found, seen.texts
    rows = np.arange(len(found.mention))
    sentence = seen.sentence[found.mention]
    low, high = seen.target_at[sentence], seen.target_at[sentence + 1]
    count = len(texts)
    name = seen.name[found.mention]

    def word(at: Ints, outside: int) -> Ints:
        inside = (at >= low) & (at < high)
        return np.where(inside, seen.word[np.clip(at, 0, max(len(seen.word) - 1, 0))], count + outside)

    written = [*texts, BEFORE, AFTER]
    yield Keys("text", rows, seen.text, texts.__getitem__)
    yield Keys("name", rows, name, texts.__getitem__)
    yield Keys("both", rows, name * count + seen.text, lambda key: f"{texts[key // count]}\t{texts[key % count]}")
    if len(rows):
        yield Keys("first", rows, seen.word[found.first], texts.__getitem__)
        yield Keys("last", rows, seen.word[found.last - 1], texts.__getitem__)
        yield Keys("before", rows, word(found.first - 1, 0), written.__getitem__)
        yield Keys("after", rows, word(found.last, 1), written.__getitem__)


def label_keys(seen: Observations, candidate: Ints) -> Iterator[Keys]:
    """The keys of each mention on ``candidate`` (M,), -1 where it has none; rows are mentions."""
    texts, labels = seen.texts, seen.labels
    count, size = len(texts), len(seen.labels)
    written = [*texts, BEFORE, AFTER]
    rows = np.arange(len(seen))
    present = seen.base_label.argmax(axis=1) if size else np.zeros(len(seen), np.int64)
    landed = np.flatnonzero(candidate >= 0)

    def joint(key: int) -> str:
        return f"{labels[key % size]}\t{written[key // size]}"

    yield Keys("name", rows, seen.name, texts.__getitem__)
    yield Keys("text", landed, seen.text[candidate[landed]], texts.__getitem__)
    owner, at = expand(seen.source_first, seen.source_last - seen.source_first)
    yield Keys("word", owner, seen.source_word[at], texts.__getitem__)
    low, high = seen.source_at[seen.sentence], seen.source_at[seen.sentence + 1]
    first, last = seen.source_first - 1, seen.source_last
    for kind, where, inside, outside in (
        ("source before", first, first >= low, count),
        ("source after", last, last < high, count + 1),
    ):
        word = np.where(inside, seen.source_word[np.clip(where, 0, max(len(seen.source_word) - 1, 0))], outside)
        yield Keys(kind, rows, word * size + present, joint)
    if len(landed):
        own = candidate[landed]
        low, high = seen.target_at[seen.sentence[landed]], seen.target_at[seen.sentence[landed] + 1]
        first, last = seen.found.first[own] - 1, seen.found.last[own]
        for kind, where, inside, outside in (
            ("target before", first, first >= low, count),
            ("target after", last, last < high, count + 1),
        ):
            word = np.where(inside, seen.word[np.clip(where, 0, len(seen.word) - 1)], outside)
            yield Keys(kind, landed, word * size + present[landed], joint)
    yield Keys("bias", rows, present, labels.__getitem__)
    low, high = seen.source_at[seen.sentence], seen.source_at[seen.sentence + 1]
    owner, at = expand(low, high - low)
    pair = np.unique(owner * count + seen.source_word[at]) if len(at) else np.zeros(0, np.int64)
    owner, code = pair // max(count, 1), pair % max(count, 1)
    long = np.array([len(text) >= _LONG for text in texts], bool)[code] if count else np.zeros(0, bool)
    yield Keys("sentence", owner[long], code[long] * size + present[owner[long]], joint)


def best_candidates(seen: Observations) -> Ints:
    """(M,) the candidate of the largest per-sentence score, -1 for a mention without one."""
    result = np.full(len(seen), -1)
    order = np.argsort(seen.score, kind="stable")
    result[seen.found.mention[order]] = order
    return result


def shift_of(seen: Observations, effects: Effects) -> Shift:
    """The effects that apply to each candidate and mention of a corpus."""
    candidate = np.zeros(len(seen.found.mention))
    text = np.zeros(len(seen.texts))
    for keys in span_keys(seen):
        weights = effects.span.get(keys.kind)
        if weights:
            unique, inverse = np.unique(keys.key, return_inverse=True)
            values = np.array([weights.get(keys.name(key), 0.0) for key in unique.tolist()])
            candidate[keys.row] += values[inverse]
    for name, value in effects.span.get("text", {}).items():
        code = seen.code_of(name)
        if code >= 0:
            text[code] = value
    label: Floats = np.zeros((len(seen), len(seen.labels)))
    places = [seen.labels.index(name) for name in effects.labels if name in seen.labels]
    mine = [place for place, name in enumerate(effects.labels) if name in seen.labels]
    nothing = [0.0] * len(effects.labels)
    for keys in label_keys(seen, best_candidates(seen)):
        rows = effects.label.get(keys.kind)
        if rows and len(keys.row):
            unique, inverse = np.unique(keys.key, return_inverse=True)
            table: Numbers = np.array([rows.get(keys.name(key), nothing) for key in unique.tolist()])
            total = np.zeros((len(seen), len(effects.labels)))
            np.add.at(total, keys.row, table[inverse])
            label[:, places] += total[:, mine]
    return Shift(candidate, label, text)
