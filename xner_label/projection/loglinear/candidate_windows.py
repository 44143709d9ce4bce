"""Candidates of a whole batch at once: windows around aligned words, similar strings and acronyms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rapidfuzz.distance import LCSseq, Postfix, Prefix
from rapidfuzz.fuzz import partial_ratio_alignment
from rapidfuzz.process import cpdist

from xner_label.projection.loglinear.columns import (
    BRACKETS,
    CAPITAL,
    LENGTH,
    MASK,
    PUNCTUATION,
    ROMANISED,
    UPPER,
    Bools,
    Columns,
    Floats,
    Ints,
    borders,
    exact,
    expand,
)

# Token pairs below this Dice similarity of their letters are no seeds.
SIMILAR = 0.6
# At most this many seeds per mention, the heaviest first, and the outermost ones.
MAX_SEEDS = 8
# Tokens of a script without spaces that may stand for a word of one with spaces, where each letter is a token.
UNSPACED_TOKENS = 3
# What agreement of the consonants alone is worth, of at least so many.
SKELETON_WORTH, LEAST_CONSONANTS = 0.9, 2
# Names of so many letters are looked for across words, from this similarity on.
LEAST_LETTERS, ANCHOR_SIMILARITY = 4, 0.6


@dataclass(frozen=True)
class Grid:
    """What speaks for each (mention, target token) cell; all arrays have one element per cell.

    own: link weight from the mention's words
    similar: best letter similarity to one of them, 0 below SIMILAR; matched: that, times the length in code points
    of the source word; beside: the like of similar for the capitalised source words next to the mention
    acronym: whether the token spells the mention's initials; token: the target token (position in the batch)
    """

    own: Floats
    similar: Floats
    matched: Floats
    beside: Floats
    acronym: Bools
    token: Ints


@dataclass(frozen=True)
class Candidates:
    """Target windows of each mention, sorted by mention, first and last token.

    mention, first, last: (C,), token positions in the batch; at: (M + 1,) borders per mention.
    """

    mention: Ints
    first: Ints
    last: Ints
    at: Ints


def build_grid(columns: Columns) -> Grid:
    """Compare every mention with every target token of its sentence."""
    cells = int(columns.base[-1])
    mention, token = expand(columns.target_at[columns.sentence], columns.width)
    similar, matched = _strings(columns, cells, *expand(columns.first, columns.size))
    beside, _ = _strings(columns, cells, *_neighbours(columns))
    return Grid(_own_links(columns, cells), similar, matched, beside, _acronyms(columns, mention, token), token)


def _neighbours(columns: Columns) -> tuple[Ints, Ints]:
    """Capitalised source words next to each mention, two on either side: the tagger may have cut a name short."""
    number = np.arange(len(columns.first))
    low, high = columns.source_at[columns.sentence], columns.source_at[columns.sentence + 1]
    owners, places = [], []
    for place in (columns.first - 1, columns.first - 2, columns.last, columns.last + 1):
        there = (place >= low) & (place < high)
        there &= columns.table[columns.source[np.where(there, place, 0)], CAPITAL] == 1
        owners.append(number[there])
        places.append(place[there])
    return np.concatenate(owners), np.concatenate(places)


def _own_links(columns: Columns, cells: int) -> Floats:
    counts = np.diff(columns.link_at)[columns.sentence]
    mention, link = expand(columns.link_at[columns.sentence], counts)
    source = columns.link_source[link]
    inside = (source >= columns.first[mention]) & (source < columns.last[mention])
    mention, link = mention[inside], link[inside]
    cell = columns.cell(mention, columns.link_target[link])
    return np.bincount(cell, columns.link_weight[link], cells).astype(np.float64, copy=False)


def _strings(columns: Columns, cells: int, mention: Ints, source: Ints) -> tuple[Floats, Floats]:
    """Best similarity per cell to one of the (mention, source token) pairs, and the similar source letters."""
    table = columns.table
    word = columns.source[source]
    usable = (table[word, PUNCTUATION] == 0) & (table[word, LENGTH] > 1)
    mention, word = mention[usable], word[usable]
    row, target = expand(columns.target_at[columns.sentence[mention]], columns.width[mention])
    mention, word = mention[row], word[row]
    other = columns.target[target]
    mask, mask_other = table[word, MASK], table[other, MASK]
    length, length_other = table[word, LENGTH], table[other, LENGTH]
    common = np.bitwise_count(mask & mask_other)
    likely = common >= SIMILAR * np.minimum(np.bitwise_count(mask), np.bitwise_count(mask_other))
    short = np.minimum(length, length_other)
    likely &= (short > 3) | ((mask == mask_other) & (length == length_other))
    romanised = table[other, ROMANISED] == 1
    likely |= romanised & (length_other > 1)
    likely &= table[other, PUNCTUATION] == 0
    at = np.flatnonzero(likely)
    mention, word, other, target = mention[at], word[at], other[at], target[at]
    length, length_other = length[at], length_other[at]
    latin, consonants = columns.vocabulary.latin, columns.vocabulary.consonants
    left, right = [latin[k] for k in word], [latin[k] for k in other]
    shared = cpdist(left, right, scorer=LCSseq.similarity, dtype=np.int32)
    affix = np.maximum(
        cpdist(left, right, scorer=Prefix.similarity, dtype=np.int32),
        cpdist(left, right, scorer=Postfix.similarity, dtype=np.int32),
    )
    dice: Floats = 2.0 * shared / (length + length_other)
    whole = (affix == np.minimum(length, length_other)) & (affix >= 4)
    value = exact(np.where(whole, 0.5 + dice / 2, dice))
    far = np.flatnonzero(romanised[at])
    if len(far):
        skeletons = ([consonants[k] for k in side[far].tolist()] for side in (word, other))
        value[far] = np.maximum(value[far], skeleton_similarity(*skeletons))
    kept = np.flatnonzero(value >= SIMILAR)
    cell = columns.cell(mention, target)[kept]
    similar, matched = np.zeros(cells), np.zeros(cells)
    np.maximum.at(similar, cell, value[kept])
    np.maximum.at(matched, cell, value[kept] * length[kept])
    return similar, matched


def skeleton_similarity(left: Sequence[str], right: Sequence[str]) -> Floats:
    """Dice similarity of consonant skeletons, pair by pair, shape (n,): at most SKELETON_WORTH."""
    count = [np.fromiter(map(len, side), np.float64, len(side)) for side in (left, right)]
    shared = cpdist(left, right, scorer=LCSseq.similarity, dtype=np.int32)
    enough = np.minimum(*count) >= LEAST_CONSONANTS
    return exact(np.where(enough, SKELETON_WORTH * 2.0 * shared / np.maximum(count[0] + count[1], 1.0), 0.0))


def _acronyms(columns: Columns, mention: Ints, token: Ints) -> Bools:
    """Cells whose token spells the initials, or the capital initials, of a mention of several words."""
    table, words = columns.table, columns.vocabulary.words
    result = np.zeros(len(mention), bool)
    upper = np.flatnonzero((table[columns.target[token], UPPER] == 1) & (columns.size[mention] > 1))
    for cell in upper.tolist():
        owner = mention[cell]
        parts = [words[number] for number in columns.source[columns.first[owner] : columns.last[owner]].tolist()]
        acronym = "".join(char for char in words[columns.target[token[cell]]] if char.isalpha())
        capitals = "".join(part[0] for part in parts if part[0].isupper())
        initials = "".join(part[0] for part in parts if part[0].isalpha())
        result[cell] = acronym in (capitals, initials.upper())
    return result


def _string_anchors(columns: Columns) -> tuple[Ints, Ints]:
    """Cells of the first and of the last token of where an unspaced sentence reads most like each of its mentions.

    It is read in Latin letters, and by the consonants alone. Words of such scripts are hardly ever all cut right,
    so that looking for similar tokens isn't enough.
    """
    begins, ends = [], []
    for forms in (columns.vocabulary.latin, columns.vocabulary.consonants):
        texts: dict[int, tuple[str, Ints]] = {}
        for mention in np.flatnonzero(columns.unspaced[columns.sentence]).tolist():
            sentence = int(columns.sentence[mention])
            if sentence not in texts:
                start, stop = columns.target_at[sentence : sentence + 2]
                words = [forms[number] for number in columns.target[start:stop].tolist()]
                texts[sentence] = "".join(words), borders(map(len, words))
            text, at = texts[sentence]
            name = "".join(
                forms[number] for number in columns.source[columns.first[mention] : columns.last[mention]]
            )
            if len(name) < LEAST_LETTERS or len(text) < len(name):
                continue
            found = partial_ratio_alignment(name, text, score_cutoff=100.0 * ANCHOR_SIMILARITY)
            if found is not None:
                base = columns.base[mention]
                begins.append(base + np.searchsorted(at, found.dest_start, side="right") - 1)
                ends.append(base + np.searchsorted(at, found.dest_end - 1, side="right") - 1)
    return np.array(begins, np.int64), np.array(ends, np.int64)


def build_candidates(columns: Columns, grid: Grid) -> Candidates:
    """Windows whose ends lie at, or one token outside, seeds: cells with a link, a similar string or an acronym.

    Windows are at most max(10, 2 * size + 2) tokens long, close every bracket that they open, and otherwise
    neither begin nor end with punctuation. In sentences without spaces between words, whose tokens may be letters
    or pieces of names, they are up to UNSPACED_TOKENS times as long, start from more seeds, may end two tokens
    outside them, and where the sentence reads most like the mention.
    """
    weight = grid.own + grid.similar + grid.acronym
    seed = np.flatnonzero(weight > 0)
    owner = np.searchsorted(columns.base, seed, side="right") - 1
    order = np.lexsort((seed, -weight[seed], owner))
    position = np.arange(len(seed)) - np.searchsorted(owner[order], owner[order])
    inner = np.ones(len(seed), bool)
    inner[1:] = owner[1:] == owner[:-1]
    outermost = ~inner | ~np.append(inner[1:], False)
    unspaced = columns.unspaced[columns.sentence]
    most = np.where(unspaced, UNSPACED_TOKENS * MAX_SEEDS, MAX_SEEDS)[owner[order]]
    keep = np.union1d(order[position < most], np.flatnonzero(outermost))
    seed, owner = seed[keep], owner[keep]
    low, high = columns.base[owner], columns.base[owner + 1] - 1
    usable = columns.table[columns.target[grid.token], PUNCTUATION] == 0
    begins, ends = [seed, np.maximum(seed - 1, low)], [seed, np.minimum(seed + 1, high)]
    if unspaced.any():
        wide = unspaced[owner]
        begins.append(np.maximum(seed - 2, low)[wide])
        ends.append(np.minimum(seed + 2, high)[wide])
        for anchors, all_of_them in zip(_string_anchors(columns), (begins, ends), strict=True):
            all_of_them.append(anchors)
    begins, ends = np.unique(np.concatenate(begins)), np.unique(np.concatenate(ends))
    begins, ends = begins[usable[begins]], ends[usable[ends]]
    end_at = np.searchsorted(ends, columns.base)
    of = np.searchsorted(columns.base, begins, side="right") - 1
    row, chosen = expand(end_at[of], (end_at[of + 1] - end_at[of]))
    first, last, mention = begins[row], ends[chosen] + 1, of[row]
    length = last - first
    longest = np.maximum(10, 2 * columns.size[mention] + 2)
    longest = np.where(unspaced[mention], UNSPACED_TOKENS * longest, longest)
    fits = (length > 0) & (length <= longest)
    first, last, mention = first[fits], last[fits], mention[fits]
    brackets = columns.table[columns.target[grid.token], BRACKETS]
    depth = np.concatenate([np.zeros(1, np.int64), np.cumsum(brackets)])
    follows = last < columns.base[mention + 1]
    closes = follows & (brackets[np.where(follows, last, 0)] < 0) & (depth[last] - depth[first] == 1)
    last = last + closes
    fits = depth[last] == depth[first]
    first, last, mention = first[fits], last[fits], mention[fits]
    shift = columns.target_at[columns.sentence[mention]] - columns.base[mention]
    at = np.searchsorted(mention, np.arange(len(columns.size) + 1))
    return Candidates(mention, first + shift, last + shift, at)
