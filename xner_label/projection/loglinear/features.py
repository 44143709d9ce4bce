"""Features of candidates and of mentions, a batch at a time.

Candidate features are the columns of an array of shape (C, len(CANDIDATE_FEATURES)); mention features, shape
(M, len(MENTION_FEATURES)), speak for "not projected". None of them knows a language or a word; all lie roughly
between -1 and 2. A name that ends in ``*`` is weighted by what a capital letter is worth in its sentence: little
in a German one, where every noun has one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from rapidfuzz.distance import Indel, Postfix, Prefix
from rapidfuzz.process import cpdist

from xner_label.projection.loglinear.candidate_windows import Candidates, Grid
from xner_label.projection.loglinear.columns import (
    CAPITAL,
    DIGIT,
    LENGTH,
    PUNCTUATION,
    UPPER,
    Bools,
    Columns,
    Floats,
    Numbers,
    running,
    segment_max,
)

_EDGE = 0.3  # link mass above which an end of the window counts as linked to the mention
_CROSSED = ("ratio", "dice", "longer", "shorter", "no_capital*", "first_lower*", "lower_inside", "affixed", "same")

CANDIDATE_FEATURES: tuple[str, ...] = (
    *("dice", "inside", "precision", "first_own", "last_own", "edges", "left_own", "right_own", "foreign"),
    *("first_foreign", "last_foreign", "left_foreign", "right_foreign", "unlinked", "first_unlinked"),
    *("last_unlinked", "outside"),
    *(
        "cover",
        "purity",
        "first_similar",
        "last_similar",
        "left_similar",
        "right_similar",
        "beside",
        "left_beside",
    ),
    *("right_beside", "ratio", "same", "prefix", "suffix", "affixed", "acronym"),
    *("ratio_gap", "dice_gap", "best_ratio", "best_dice"),
    *("longer", "shorter", "as_long"),
    *("first_capital", "first_capital*", "last_capital*", "capitals", "capitals*", "case_gap*", "no_capital*"),
    *("first_lower*", "last_lower*", "lower_inside", "initial", "upper"),
    *("first_short", "last_short", "left_short", "right_short"),
    *("punctuation", "left_punctuation", "right_punctuation", "digits", "shift"),
    *(f"{label}:{name}" for label in ("PER", "LOC") for name in _CROSSED),
)
MENTION_FEATURES: tuple[str, ...] = (
    *("bias", "odds", "doubt", "PER", "ORG", "LOC", "size", "one", "capitals", "upper", "digits", "lower"),
    *("source_initial", "previous_capital", "next_capital", "next_lower", "short_name"),
    *("best_ratio", "best_same", "best_dice", "best_cover", "best_capitals*", "best_acronym"),
    *("no_links", "unlinked", "linked_share", "sentence_linked", "sentence_strength", "width_gap"),
)
# Features that are used only where a tagger gave the source entity: elsewhere they don't carry over.
TAGGED_CANDIDATE_FEATURES = frozenset(
    {"prefix", "suffix", "affixed"} | {name for name in CANDIDATE_FEATURES if ":" in name}
)
TAGGED_MENTION_FEATURES = frozenset(name for name in MENTION_FEATURES if name.startswith("best_"))


class Features(NamedTuple):
    """``candidate``: (C, len(CANDIDATE_FEATURES)); ``mention``: (M, len(MENTION_FEATURES))."""

    candidate: Floats
    mention: Floats


class _View:
    """Shapes that several groups of features share; see :mod:`columns` for the notation."""

    def __init__(self, columns: Columns, grid: Grid, found: Candidates) -> None:
        self.columns, self.grid, self.found = columns, grid, found
        self.mention, self.first, self.last = found.mention, found.first, found.last
        self.sentence = columns.sentence[self.mention]
        self.start, self.stop = columns.target_at[self.sentence], columns.target_at[self.sentence + 1]
        self.begin = columns.cell(self.mention, self.first)
        self.end = columns.cell(self.mention, self.last)
        self.length = (self.last - self.first).astype(np.float64)
        self.has_left, self.has_right = self.first > self.start, self.last < self.stop
        self.left, self.right = self.first - self.has_left, self.last - ~self.has_right
        self.word = columns.table[columns.target]
        self.source_word = columns.table[columns.source]
        self.mass = np.bincount(columns.link_target, columns.link_weight, len(columns.target))
        self.row_mass = np.bincount(columns.link_source, columns.link_weight, len(columns.source))

    def window(self, values: Numbers) -> Floats:
        """The sum over each candidate's window of a per-cell quantity."""
        sums = running(values)
        return sums[self.end] - sums[self.begin]

    def tokens(self, values: Numbers) -> Floats:
        """The sum over each candidate's window of a per-token quantity."""
        sums = running(values)
        return sums[self.last] - sums[self.first]

    def of_source(self, values: Numbers) -> Floats:
        """The sum over each mention of a per-source-token quantity."""
        sums = running(values)
        return sums[self.columns.last] - sums[self.columns.first]

    def cells(self, name: str, values: Numbers, into: dict[str, Numbers]) -> None:
        """A per-cell quantity at the first, the last and the two neighbouring tokens."""
        into[f"first_{name}"] = values[self.begin]
        into[f"last_{name}"] = values[self.end - 1]
        self.neighbours(name, values, into)

    def neighbours(self, name: str, values: Numbers, into: dict[str, Numbers]) -> None:
        into[f"left_{name}"] = values[self.begin - self.has_left] * self.has_left
        into[f"right_{name}"] = values[self.end - ~self.has_right] * self.has_right


def build_features(columns: Columns, grid: Grid, found: Candidates) -> Features:
    """The features of every candidate and every mention of a batch."""
    view = _View(columns, grid, found)
    own: dict[str, Numbers] = {}
    null: dict[str, Numbers] = {}
    _links(view, own, null)
    _strings(view, own, null)
    _lengths(view, own)
    _case(view, own, null)
    for label in ("PER", "LOC"):
        here = _labelled(columns, label)[view.mention]
        for name in _CROSSED:
            own[f"{label}:{name}"] = own[name] * here
    _mentions(view, null)
    for name in ("ratio", "same", "dice", "cover", "capitals*", "acronym"):
        null[f"best_{name}"] = segment_max(own[name], found.at)
    return Features(
        np.column_stack([own[name] for name in CANDIDATE_FEATURES]),
        np.column_stack([null[name] for name in MENTION_FEATURES]),
    )


def _links(view: _View, own: dict[str, Numbers], null: dict[str, Numbers]) -> None:
    """Link mass inside, at the edges of, beside and outside the window, and that of other mentions' words."""
    columns, grid = view.columns, view.grid
    inside = view.window(grid.own)
    cells = running(grid.own)
    total = cells[columns.base[1:]] - cells[columns.base[:-1]]
    row = view.of_source(np.minimum(view.row_mass, 1.0))
    col = view.tokens(np.minimum(view.mass, 1.5))
    own["dice"] = np.minimum(
        np.where(inside > 0, 2 * inside / np.maximum(row[view.mention] + col, 1e-9), 0.0), 1.0
    )
    own["inside"] = inside / np.maximum(total[view.mention], 1e-9)
    own["precision"] = inside / np.maximum(view.tokens(view.mass), 1e-9)
    own["outside"] = np.minimum((total[view.mention] - inside) / columns.size[view.mention], 1.0)
    view.cells("own", np.minimum(grid.own, 1.0), own)
    own["edges"] = ((own["first_own"] > _EDGE) & (own["last_own"] > _EDGE)) * 1.0
    linked = view.mass[grid.token] > 0
    foreign = linked & (grid.own <= 0)
    own["foreign"] = view.window(foreign) / view.length
    view.cells("foreign", foreign * 1.0, own)
    own["unlinked"] = view.window(~linked) / view.length
    own["first_unlinked"] = ~linked[view.begin] * 1.0
    own["last_unlinked"] = ~linked[view.end - 1] * 1.0
    own["dice_gap"] = segment_max(own["dice"], view.found.at)[view.mention] - own["dice"]
    own["best_dice"] = (own["dice_gap"] < 1e-9) * 1.0

    source_at, link_at, sentence = columns.source_at, columns.link_at, columns.sentence
    has_link = view.row_mass > 0
    per_word = running(has_link)
    width = np.maximum(np.diff(source_at), 1)
    strength = running(columns.link_weight)
    null["no_links"] = ~columns.linked[sentence] * 1.0
    null["unlinked"] = (total <= 0) * 1.0
    null["linked_share"] = view.of_source(has_link) / columns.size
    null["sentence_linked"] = ((per_word[source_at[1:]] - per_word[source_at[:-1]]) / width)[sentence]
    mean = (strength[link_at[1:]] - strength[link_at[:-1]]) / np.maximum(np.diff(link_at), 1)
    null["sentence_strength"] = mean[sentence]
    gap = np.abs(np.log(np.diff(columns.target_at) / width))
    null["width_gap"] = np.minimum(gap, 2.0)[sentence]


def _strings(view: _View, own: dict[str, Numbers], null: dict[str, Numbers]) -> None:
    """Similarity of letters, by word and of the whole: names are often copied or respelled."""
    columns, grid = view.columns, view.grid
    letters = view.of_source(view.source_word[:, LENGTH])
    own["cover"] = np.minimum(view.window(grid.matched) / letters[view.mention], 1.0)
    own["purity"] = view.window(grid.similar) / view.length
    view.cells("similar", grid.similar, own)
    beside = grid.beside * (grid.similar <= 0)
    own["beside"] = np.minimum(view.window(beside), 2.0) / 2
    view.neighbours("beside", beside, own)
    own["acronym"] = ((view.window(grid.acronym) > 0) & (view.length == 1)) * 1.0
    folded = columns.vocabulary.folded
    target = [folded[number] for number in columns.target.tolist()]
    source = [folded[number] for number in columns.source.tolist()]
    names = [" ".join(source[i:j]) for i, j in zip(columns.first.tolist(), columns.last.tolist(), strict=True)]
    texts = [" ".join(target[i:j]) for i, j in zip(view.first.tolist(), view.last.tolist(), strict=True)]
    pairs = [names[number] for number in view.mention.tolist()]
    shorter = np.minimum(
        np.fromiter(map(len, texts), np.float64, len(texts)), np.fromiter(map(len, pairs), np.float64, len(pairs))
    )
    ratio = cpdist(texts, pairs, scorer=Indel.normalized_similarity, dtype=np.float64)
    prefix = cpdist(texts, pairs, scorer=Prefix.similarity, dtype=np.int32)
    suffix = cpdist(texts, pairs, scorer=Postfix.similarity, dtype=np.int32)
    own["ratio"] = ratio
    own["same"] = (ratio == 1.0) * 1.0
    own["prefix"] = prefix / shorter
    own["suffix"] = suffix / shorter
    own["affixed"] = ((np.maximum(prefix, suffix) == shorter) & (ratio < 1.0) & (shorter > 3)) * 1.0
    own["ratio_gap"] = segment_max(ratio, view.found.at)[view.mention] - ratio
    own["best_ratio"] = (own["ratio_gap"] < 1e-9) * 1.0
    null["short_name"] = (letters <= 3) * 1.0


def _lengths(view: _View, own: dict[str, Numbers]) -> None:
    columns = view.columns
    more = view.length - columns.size[view.mention]
    own["longer"] = np.clip(more, 0.0, 4.0) / 2
    own["shorter"] = np.clip(-more, 0.0, 4.0) / 2
    own["as_long"] = (more == 0) * 1.0
    source_width = np.diff(columns.source_at)[columns.sentence]
    middle = (columns.first + columns.last) / 2 - columns.source_at[columns.sentence]
    place = ((view.first + view.last) / 2 - view.start) / (view.stop - view.start)
    own["shift"] = np.abs(place - (middle / source_width)[view.mention])


def _case(view: _View, own: dict[str, Numbers], null: dict[str, Numbers]) -> None:
    """Capitals, digits, punctuation and short words in and around the window."""
    columns, word, source_word = view.columns, view.word, view.source_word
    capital = word[:, CAPITAL] == 1
    lower = (word[:, CAPITAL] + word[:, PUNCTUATION] + word[:, DIGIT]) == 0
    later = capital.copy()
    later[columns.target_at[:-1]] = False  # the first word's capital says nothing
    capitals = running(later)
    at = columns.target_at
    rate = (capitals[at[1:]] - capitals[at[:-1]] + 1.0) / (np.diff(at) + 8.0)
    source_share = view.of_source(source_word[:, CAPITAL]) / columns.size
    worth = (-np.log(rate) / 3.0)[view.sentence] * source_share[view.mention]
    first, end = view.first, view.last - 1
    share = view.tokens(capital) / view.length
    own["initial"] = ~view.has_left * 1.0
    own["first_capital"] = capital[first] * 1.0
    own["first_capital*"] = capital[first] * worth * view.has_left
    own["last_capital*"] = capital[end] * worth
    own["capitals"] = share
    own["capitals*"] = share * worth
    own["case_gap*"] = np.maximum(source_share[view.mention] - share, 0.0) * worth
    own["no_capital*"] = (share == 0.0) * worth
    own["first_lower*"] = lower[first] * worth
    own["last_lower*"] = lower[end] * worth
    own["lower_inside"] = np.minimum(view.tokens(lower), 4.0) / 4 * source_share[view.mention]
    short = lower & (word[:, LENGTH] <= 3)
    own["first_short"] = short[first] * 1.0
    own["last_short"] = short[end] * 1.0
    own["left_short"] = (short[view.left] & view.has_left) * 1.0
    own["right_short"] = (short[view.right] & view.has_right) * 1.0
    own["punctuation"] = np.minimum(view.tokens(word[:, PUNCTUATION]), 2.0)
    own["left_punctuation"] = word[view.left, PUNCTUATION] * view.has_left * 1.0
    own["right_punctuation"] = word[view.right, PUNCTUATION] * view.has_right * 1.0
    source_digits = view.of_source(source_word[:, DIGIT]) > 0
    source_upper = view.of_source(source_word[:, UPPER]) == columns.size
    own["digits"] = ((view.tokens(word[:, DIGIT]) > 0) != source_digits[view.mention]) * 1.0
    own["upper"] = ((view.tokens(word[:, UPPER]) == view.length) != source_upper[view.mention]) * 1.0
    null["capitals"] = source_share
    null["lower"] = (source_share < 1.0) * 1.0
    null["upper"] = source_upper * 1.0
    null["digits"] = source_digits * 1.0


def _mentions(view: _View, null: dict[str, Numbers]) -> None:
    """The source entity itself: its tagger's probability, label, length and surroundings."""
    columns = view.columns
    score = np.where(columns.scored, columns.score, 0.5)
    null["bias"] = np.ones(len(score))
    null["odds"] = np.clip(np.log(score + 1e-6) - np.log1p(1e-6 - score), -3.0, 5.0) / 3
    null["doubt"] = (columns.scored & (score < 0.7)) * 1.0
    for label in ("PER", "ORG", "LOC"):
        null[label] = _labelled(columns, label) * 1.0
    null["size"] = np.minimum(columns.size, 6) / 3
    null["one"] = (columns.size == 1) * 1.0
    low, high = columns.source_at[columns.sentence], columns.source_at[columns.sentence + 1]
    null["source_initial"] = (columns.first == low) * 1.0
    capital, mark = view.source_word[:, CAPITAL] == 1, view.source_word[:, PUNCTUATION] == 1
    following = np.minimum(columns.last, high - 1)
    there = columns.last < high
    null["previous_capital"] = (capital[columns.first - 1] & (columns.first > low)) * 1.0
    null["next_capital"] = (capital[following] & there) * 1.0
    null["next_lower"] = (~capital[following] & ~mark[following] & there) * 1.0


def _labelled(columns: Columns, label: str) -> Bools:
    """(M,) whether a mention has that label."""
    if label not in columns.labels:
        return np.zeros(len(columns.label), bool)
    result: Bools = columns.label == columns.labels.index(label)
    return result
