"""Which label a tagged name should have: multinomial regression on hashed observations of the source.

A tagger's label is one observation beside the words of the name, their endings and shapes, and the words around.
Words are seen only through a hash into a fixed number of buckets, so that a weights file is numbers alone.
Labels that a person gave are never changed, nor are labels that the regression doesn't know.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xner_label.projection.loglinear.columns import ENDING, SHAPE, WORD, Columns, Floats, Ints, Numbers

BUCKETS = 32768
_WORDS = 4  # words of a name that are looked at one by one
_PRIME, _OTHER = np.uint64(0x9E3779B1), np.uint64(0x85EBCA6B)
_MASK, _SHIFT = np.uint64(0xFFFFFFFF), np.uint64(15)


def label_observations(columns: Columns, known: Sequence[str], *, blind: bool = False) -> Ints:
    """The buckets that each mention falls into, shape (M, observations); BUCKETS stands for "nothing here".

    ``known`` are the labels of the regression; the label given by the tagger enters by its place among them, and
    not at all with ``blind``: then mentions look like those that the tagger missed.
    """
    table = columns.table[columns.source].astype(np.uint64)
    words, endings, shapes = table[:, WORD], table[:, ENDING], table[:, SHAPE]
    low, high = columns.source_at[columns.sentence], columns.source_at[columns.sentence + 1]
    first, last, size = columns.first, columns.last, columns.size
    place = {label: number + 1 for number, label in enumerate(known)}
    label = np.array([place.get(name, 0) for name in columns.labels], np.uint64)[columns.label]
    tenths = (np.nan_to_num(columns.score, nan=1.0) * 10).astype(np.uint64)
    if blind:
        label = np.zeros_like(label)
    tenths[label == 0] = 0

    def near(offset: Ints) -> Numbers:
        inside = (offset >= low) & (offset < high)
        return np.where(inside, words[np.clip(offset, 0, len(words) - 1)], np.uint64(1))

    before = [near(first - step) for step in (1, 2, 3)]
    after = [near(last - 1 + step) for step in (1, 2, 3)]
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(words)])
    observed = [
        _bucket(1, np.zeros_like(label)),
        _bucket(2, label),
        _bucket(3, label, tenths),
        _bucket(4, label, np.minimum(size, _WORDS).astype(np.uint64)),
        _bucket(5, words[first]),
        _bucket(6, words[last - 1]),
        _bucket(7, sums[last] - sums[first]),
        *(_bucket(10 + step, word) for step, word in enumerate(before)),
        *(_bucket(20 + step, word) for step, word in enumerate(after)),
        _bucket(31, before[1], before[0]),
        _bucket(32, after[0], after[1]),
        _bucket(33, before[0], after[0]),
        _bucket(34, label, before[0]),
        _bucket(35, label, after[0]),
    ]
    form: Numbers = np.zeros_like(label)
    for step in range(_WORDS):
        at = np.minimum(first + step, len(words) - 1)
        inside = step < size
        form = np.where(inside, form * np.uint64(31) + shapes[at], form)
        observed.append(np.where(inside, _bucket(40, words[at]), BUCKETS))
        observed.append(np.where(inside, _bucket(41, endings[at]), BUCKETS))
    observed.append(_bucket(42, form))
    return np.column_stack(observed)


def label_probabilities(observed: Ints, weights: Floats) -> Floats:
    """P(label | observations) = softmax of the sum of the buckets' weights; shape (M, labels).

    ``weights`` has shape (BUCKETS, labels).
    """
    padded = np.concatenate([weights, np.zeros((1, weights.shape[1]))])
    scores = padded[observed].sum(axis=1)
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    result: Floats = powers / powers.sum(axis=1, keepdims=True)
    return result


def _bucket(kind: int, *values: Numbers) -> Ints:
    """(n,) the bucket of each combination of values; ``kind`` keeps observations of different meaning apart."""
    mixed: Numbers = np.full(len(values[0]), np.uint64(kind) * _PRIME & _MASK)
    for value in values:
        mixed = (mixed ^ (value & _MASK)) * _OTHER & _MASK
        mixed ^= mixed >> _SHIFT
    return (mixed % np.uint64(BUCKETS)).astype(np.int64)
