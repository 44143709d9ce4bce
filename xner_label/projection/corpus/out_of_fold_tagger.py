"""A target-side tagger that learns from a corpus' own projections and never judges a sentence it has seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from zlib import crc32

import numpy as np

from xner_label.projection.corpus.evidence import TagMarginals
from xner_label.stages.tagging.crf import CrfTagger

FOLDS = 3
MIN_SENTENCES = 50  # below this a corpus teaches a tagger too little
ITERATIONS = 40


class Tagged(NamedTuple):
    """Per sentence the marginals (None for an empty one) and the Viterbi tags, and the tagger of each fold."""

    marginals: list[TagMarginals | None]
    best: list[list[str]]
    taggers: tuple[CrfTagger, ...]


def fold_of_words(words: Sequence[str]) -> int:
    """The fold of a sentence: that of the tagger which hasn't learned from it. Equal sentences share it."""
    return crc32(" ".join(words).encode()) % FOLDS


def tag_out_of_fold(
    words: Sequence[Sequence[str]],
    tags: Sequence[Sequence[str]],
    labels: Sequence[str],
    repeats: Sequence[int] | None = None,
) -> Tagged | None:
    """Marginals for ``labels`` and Viterbi tags of each sentence, by a CRF that was trained on the other folds.

    ``tags`` are IOB2; ``repeats`` says how often each sentence counts (once when None). Empty sentences have no
    marginals. None where some fold would train on fewer than MIN_SENTENCES sentences or on no entity.
    """
    fold = np.array([fold_of_words(sentence) for sentence in words], np.int64)
    taggers: list[CrfTagger] = []
    for left_out in range(FOLDS):
        learned = [number for number in np.flatnonzero(fold != left_out).tolist() if words[number]]
        with_entity = sum(any(tag != "O" for tag in tags[number]) for number in learned)
        if len(learned) < MIN_SENTENCES or not with_entity:
            return None
        taggers.append(
            CrfTagger.train(
                [words[number] for number in learned],
                [tags[number] for number in learned],
                repeats=None if repeats is None else [repeats[number] for number in learned],
                max_iterations=ITERATIONS,
            )
        )
    return tag_by_fold(words, labels, tuple(taggers))


def tag_by_fold(words: Sequence[Sequence[str]], labels: Sequence[str], taggers: tuple[CrfTagger, ...]) -> Tagged:
    """What the tagger of each sentence's fold, which hasn't learned from it, says of the sentence."""
    columns = [
        (
            [_column(tagger.labels, f"B-{label}") for label in labels],
            [_column(tagger.labels, f"I-{label}") for label in labels],
        )
        for tagger in taggers
    ]
    marginals: list[TagMarginals | None] = [None] * len(words)
    best: list[list[str]] = [[] for _ in words]
    for number, sentence in enumerate(words):
        if sentence:
            fold = fold_of_words(sentence)
            best[number], matrix = taggers[fold].tag_with_marginals(sentence)
            padded = np.column_stack([matrix, np.zeros(len(matrix))])
            begin, inside = columns[fold]
            marginals[number] = TagMarginals(padded[:, begin], padded[:, inside])
    return Tagged(marginals, best, taggers)


def _column(tags: Sequence[str], tag: str) -> int:
    """The column of a tag, or the padding column where the tagger has never seen it."""
    return tags.index(tag) if tag in tags else len(tags)
