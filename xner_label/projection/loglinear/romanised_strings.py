"""Where a text in another script reads like a name, in Latin letters and by its consonants alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rapidfuzz.distance import LCSseq
from rapidfuzz.fuzz import partial_ratio_alignment
from rapidfuzz.process import cpdist

from xner_label.projection.loglinear.columns import Columns, Floats, Ints, borders, exact

# What agreement of the consonants alone is worth, of at least so many.
SKELETON_WORTH, LEAST_CONSONANTS = 0.9, 2
# Names of so many letters are looked for across words, from this similarity on.
LEAST_LETTERS, ANCHOR_SIMILARITY = 4, 0.6


def skeleton_similarity(left: Sequence[str], right: Sequence[str]) -> Floats:
    """Dice similarity of consonant skeletons, pair by pair, shape (n,): at most SKELETON_WORTH."""
    count = [np.fromiter(map(len, side), np.float64, len(side)) for side in (left, right)]
    shared = cpdist(left, right, scorer=LCSseq.similarity, dtype=np.int32)
    enough = np.minimum(*count) >= LEAST_CONSONANTS
    return exact(np.where(enough, SKELETON_WORTH * 2.0 * shared / np.maximum(count[0] + count[1], 1.0), 0.0))


def string_anchors(columns: Columns) -> tuple[Ints, Ints]:
    """Cells of the first and of the last token of where an unspaced sentence reads most like each of its mentions.

    Words of such scripts are hardly ever all cut right, so that looking for similar tokens isn't enough.
    """
    begins: list[int] = []
    ends: list[int] = []
    mentions = np.flatnonzero(columns.unspaced[columns.sentence]).tolist()
    for forms in (columns.vocabulary.latin, columns.vocabulary.consonants):
        texts: dict[int, tuple[str, Ints]] = {}
        for mention in mentions:
            sentence = int(columns.sentence[mention])
            if sentence not in texts:
                start, stop = columns.target_at[sentence : sentence + 2]
                words = [forms[number] for number in columns.target[start:stop].tolist()]
                texts[sentence] = "".join(words), borders(map(len, words))
            text, at = texts[sentence]
            source = columns.source[columns.first[mention] : columns.last[mention]].tolist()
            name = "".join(forms[number] for number in source)
            if not LEAST_LETTERS <= len(name) <= len(text):
                continue
            alignment = partial_ratio_alignment(name, text, score_cutoff=100.0 * ANCHOR_SIMILARITY)
            if alignment is not None:
                base = int(columns.base[mention])
                begins.append(base + int(np.searchsorted(at, alignment.dest_start, side="right")) - 1)
                ends.append(base + int(np.searchsorted(at, alignment.dest_end - 1, side="right")) - 1)
    return np.array(begins, np.int64), np.array(ends, np.int64)
