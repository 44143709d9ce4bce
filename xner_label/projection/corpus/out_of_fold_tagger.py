"""A target-side tagger that learns from a corpus' own projections and never judges a sentence it has seen."""

from __future__ import annotations

from collections.abc import Sequence
from zlib import crc32

import numpy as np

from xner_label.projection.corpus.evidence import TagMarginals
from xner_label.stages.tagging.crf import CrfTagger

# Per sentence: the marginals (None for an empty one) and the Viterbi tags.
Tagged = tuple[list[TagMarginals | None], list[list[str]]]
FOLDS = 3
MIN_SENTENCES = 50  # below this a corpus teaches a tagger too little
ITERATIONS = 40


def tag_out_of_fold(
    words: Sequence[Sequence[str]], tags: Sequence[Sequence[str]], labels: Sequence[str]
) -> Tagged | None:
    """Marginals for ``labels`` and Viterbi tags of each sentence, by a CRF that was trained on the other folds.

    ``tags`` are IOB2. Equal sentences share a fold, and empty ones have no marginals. None where some fold would
    train on fewer than MIN_SENTENCES sentences or on no entity.
    """
    fold = np.array([crc32(" ".join(sentence).encode()) % FOLDS for sentence in words])
    marginals: list[TagMarginals | None] = [None] * len(words)
    best: list[list[str]] = [[] for _ in words]
    for left_out in range(FOLDS):
        learned = [number for number in np.flatnonzero(fold != left_out).tolist() if words[number]]
        with_entity = sum(any(tag != "O" for tag in tags[number]) for number in learned)
        if len(learned) < MIN_SENTENCES or not with_entity:
            return None
        tagger = CrfTagger.train(
            [words[number] for number in learned],
            [tags[number] for number in learned],
            max_iterations=ITERATIONS,
        )
        begin = [_column(tagger.labels, f"B-{label}") for label in labels]
        inside = [_column(tagger.labels, f"I-{label}") for label in labels]
        for number in np.flatnonzero(fold == left_out).tolist():
            if words[number]:
                best[number], matrix = tagger.tag_with_marginals(words[number])
                padded = np.column_stack([matrix, np.zeros(len(matrix))])
                marginals[number] = TagMarginals(padded[:, begin], padded[:, inside])
    return marginals, best


def _column(tags: Sequence[str], tag: str) -> int:
    """The column of a tag, or the padding column where the tagger has never seen it."""
    return tags.index(tag) if tag in tags else len(tags)
