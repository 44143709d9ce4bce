"""Candidates of a whole batch at once: windows around aligned words, similar strings and acronyms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from rapidfuzz.distance import LCSseq, Postfix, Prefix
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
    exact,
    expand,
)
from xner_label.projection.loglinear.romanised_strings import skeleton_similarity, string_anchors
from xner_label.projection.spans import UNSPACED_TOKENS

# Token pairs below this Dice similarity of their letters are no seeds.
SIMILAR = 0.6
# At most this many seeds per mention, the heaviest first, and the outermost ones.
MAX_SEEDS = 8


@dataclass(frozen=True)
class Grid:
    """What speaks for each (mention, target token) cell; all arrays have one element per cell.

    link_mass: link weight from the mention's words
    similar: best letter similarity to one of them, 0 below SIMILAR; matched: that, times the length in code points
    of the source word; beside: the like of similar for the capitalised source words next to the mention
    acronym: whether the token spells the mention's initials; token: the target token (position in the batch)
    """

    link_mass: Floats
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
    return Grid(_link_mass(columns, cells), similar, matched, beside, _acronyms(columns, mention, token), token)


def _neighbours(columns: Columns) -> tuple[Ints, Ints]:
    """Capitalised source words next to each mention, two on either side: the tagger may have cut a name short."""
    mention = np.arange(len(columns.first))
    low, high = columns.source_at[columns.sentence], columns.source_at[columns.sentence + 1]
    mentions, tokens = [], []
    for token in (columns.first - 1, columns.first - 2, columns.last, columns.last + 1):
        usable = (token >= low) & (token < high)
        usable &= columns.table[columns.source[np.where(usable, token, 0)], CAPITAL] == 1
        mentions.append(mention[usable])
        tokens.append(token[usable])
    return np.concatenate(mentions), np.concatenate(tokens)


def _link_mass(columns: Columns, cells: int) -> Floats:
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
    pair = np.flatnonzero(likely)
    mention, word, other, target = mention[pair], word[pair], other[pair], target[pair]
    length, length_other = length[pair], length_other[pair]
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
    far = np.flatnonzero(romanised[pair])
    if len(far):
        skeletons = ([consonants[k] for k in side[far].tolist()] for side in (word, other))
        value[far] = np.maximum(value[far], skeleton_similarity(*skeletons))
    kept = np.flatnonzero(value >= SIMILAR)
    cell = columns.cell(mention, target)[kept]
    similar, matched = np.zeros(cells), np.zeros(cells)
    np.maximum.at(similar, cell, value[kept])
    np.maximum.at(matched, cell, value[kept] * length[kept])
    return similar, matched


def _acronyms(columns: Columns, mention: Ints, token: Ints) -> Bools:
    """Cells whose token spells the initials, or the capital initials, of a mention of several words."""
    table, words = columns.table, columns.vocabulary.words
    result = np.zeros(len(mention), bool)
    upper = np.flatnonzero((table[columns.target[token], UPPER] == 1) & (columns.size[mention] > 1))
    for cell in upper.tolist():
        owner = mention[cell]
        name = [words[number] for number in columns.source[columns.first[owner] : columns.last[owner]].tolist()]
        acronym = "".join(char for char in words[columns.target[token[cell]]] if char.isalpha())
        capitals = "".join(word[0] for word in name if word[0].isupper())
        initials = "".join(word[0] for word in name if word[0].isalpha())
        result[cell] = acronym in (capitals, initials.upper())
    return result


def build_candidates(columns: Columns, grid: Grid) -> Candidates:
    """Windows whose ends lie at, or one token outside, seeds: cells with a link, a similar string or an acronym.

    Windows are at most max(10, 2 * size + 2) tokens long, close every bracket that they open, and otherwise
    neither begin nor end with punctuation. In sentences without spaces between words, whose tokens may be letters
    or pieces of names, they are up to UNSPACED_TOKENS times as long, start from more seeds, may end two tokens
    outside them, and where the sentence reads most like the mention.
    """
    weight = grid.link_mass + grid.similar + grid.acronym
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
    first_cells, last_cells = [seed, np.maximum(seed - 1, low)], [seed, np.minimum(seed + 1, high)]
    if unspaced.any():
        wide = unspaced[owner]
        anchors = string_anchors(columns)
        first_cells += [np.maximum(seed - 2, low)[wide], anchors[0]]
        last_cells += [np.minimum(seed + 2, high)[wide], anchors[1]]
    begins, ends = np.unique(np.concatenate(first_cells)), np.unique(np.concatenate(last_cells))
    begins, ends = begins[usable[begins]], ends[usable[ends]]
    end_at = np.searchsorted(ends, columns.base)
    owner_of_begin = np.searchsorted(columns.base, begins, side="right") - 1
    row, chosen = expand(end_at[owner_of_begin], (end_at[owner_of_begin + 1] - end_at[owner_of_begin]))
    first, last, mention = begins[row], ends[chosen] + 1, owner_of_begin[row]
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
    candidate_at = np.searchsorted(mention, np.arange(len(columns.size) + 1))
    return Candidates(mention, first + shift, last + shift, candidate_at)
