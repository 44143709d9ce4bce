"""Features of candidates and of mentions, a batch at a time.

Candidate features are the columns of an array of shape (C, len(CANDIDATE_FEATURES)); mention features, shape
(M, len(MENTION_FEATURES)), speak for "not projected". None of them knows a language or a word; all lie roughly
between -1 and 2. A name that ends in ``*`` is weighted by what a capital letter is worth in its sentence: little
in a German one, where every noun has one.

Capitals are looked at in sentences that have them (:class:`Columns`, ``caseless``): elsewhere all features of case
are 0. Letters are compared and counted as romanised, and what a short word is depends on its script.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from rapidfuzz.distance import Indel, Postfix, Prefix
from rapidfuzz.process import cpdist

from xner_label.projection.loglinear.candidate_windows import SIMILAR, Candidates, Grid
from xner_label.projection.loglinear.columns import (
    CAPITAL,
    CASED,
    DIGIT,
    DOT,
    LENGTH,
    LETTERS,
    PUNCTUATION,
    ROMANISED,
    UNSPACED,
    UPPER,
    Bools,
    Columns,
    Floats,
    Ints,
    Numbers,
    running,
    segment_max,
)
from xner_label.projection.loglinear.romanised_strings import skeleton_similarity

_LONG_NAME = 12.0  # letters
_EDGE = 0.3  # link mass above which an end of the window counts as linked to the mention

# The names are those of the weights file. ``own`` is link mass from the mention's words, ``foreign`` tokens are
# linked to other words alone, ``left`` and ``right`` are the tokens beside the window.
_LINK_FEATURES = (
    *("dice", "inside", "precision", "first_own", "last_own", "edges", "left_own", "right_own", "foreign"),
    *("first_foreign", "last_foreign", "left_foreign", "right_foreign", "unlinked", "first_unlinked"),
    *("last_unlinked", "outside", "left_unlinked", "right_unlinked", "repeated"),
)
_STRING_FEATURES = (
    *("cover", "purity", "first_similar", "last_similar", "left_similar", "right_similar", "beside"),
    *("left_beside", "right_beside", "ratio", "same", "prefix", "suffix", "affixed", "acronym"),
)
_RIVAL_FEATURES = ("ratio_gap", "dice_gap", "best_ratio", "best_dice")
_LENGTH_FEATURES = ("longer", "shorter", "as_long")
_CASE_FEATURES = (
    *("first_capital", "first_capital*", "last_capital*", "capitals", "capitals*", "case_gap*", "no_capital*"),
    *("first_lower*", "last_lower*", "lower_inside", "initial", "upper"),
)
# Looked at in caseless sentences alone, so that weights of others needn't know them. ``joined`` sides have a dot
# that parts of names stand around, ``separators`` are other punctuation that the source's name hasn't.
_SCRIPT_FEATURES = (
    *("other_script", "left_other_script", "right_other_script"),
    *("left_joined", "right_joined", "separators", "long_ratio", "long_ratio_gap"),
)
_SURFACE_FEATURES = (
    *("first_short", "last_short", "left_short", "right_short"),
    *("punctuation", "left_punctuation", "right_punctuation", "digits", "shift"),
    *_SCRIPT_FEATURES,
)
# What is weighted once more for mentions of each of these labels.
_CROSSED = ("ratio", "dice", "longer", "shorter", "no_capital*", "first_lower*", "lower_inside", "affixed", "same")
_CROSSED_LABELS = ("PER", "LOC")

CANDIDATE_FEATURES: tuple[str, ...] = (
    *_LINK_FEATURES,
    *_STRING_FEATURES,
    *_RIVAL_FEATURES,
    *_LENGTH_FEATURES,
    *_CASE_FEATURES,
    *_SURFACE_FEATURES,
    *(f"{label}:{name}" for label in _CROSSED_LABELS for name in _CROSSED),
)

# Mention features that are the maximum over its candidates of the candidate feature.
_BEST = ("ratio", "same", "dice", "cover", "capitals*", "acronym")
_SOURCE_FEATURES = (
    *("bias", "odds", "doubt", "PER", "ORG", "LOC", "size", "one", "capitals", "upper", "digits", "lower"),
    *("source_initial", "previous_capital", "next_capital", "next_lower", "short_name"),
)
_SENTENCE_FEATURES = (
    *("no_links", "unlinked", "linked_share", "sentence_linked", "sentence_strength", "width_gap"),
)

MENTION_FEATURES: tuple[str, ...] = (
    *_SOURCE_FEATURES,
    *(f"best_{name}" for name in _BEST),
    *_SENTENCE_FEATURES,
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


class _Group(NamedTuple):
    """Features that are computed together, by name: (C,) of each candidate, (M,) of each mention."""

    candidate: dict[str, Numbers]
    mention: dict[str, Numbers]


class _View:
    """Arrays that several groups of features share; see :mod:`columns` for the notation."""

    def __init__(self, columns: Columns, grid: Grid, candidates: Candidates) -> None:
        self.columns, self.grid, self.candidates = columns, grid, candidates
        self.mention, self.first, self.last = candidates.mention, candidates.first, candidates.last
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

    def at_edges(self, name: str, values: Numbers) -> dict[str, Numbers]:
        """A per-cell quantity at the first, the last and the two neighbouring tokens, by feature name."""
        return {
            f"first_{name}": values[self.begin],
            f"last_{name}": values[self.end - 1],
            **self.neighbours(name, values),
        }

    def neighbours(self, name: str, values: Numbers) -> dict[str, Numbers]:
        """A per-cell quantity at the two neighbouring tokens, 0 where there is none, by feature name."""
        return {
            f"left_{name}": values[self.begin - self.has_left] * self.has_left,
            f"right_{name}": values[self.end - ~self.has_right] * self.has_right,
        }


def build_features(columns: Columns, grid: Grid, candidates: Candidates) -> Features:
    """The features of every candidate and every mention of a batch."""
    view = _View(columns, grid, candidates)
    groups = (_links(view), _scripts(view), _strings(view), _lengths(view), _case(view), _mentions(view))
    of_candidate = {name: values for group in groups for name, values in group.candidate.items()}
    of_mention = {name: values for group in groups for name, values in group.mention.items()}
    for label in _CROSSED_LABELS:
        has_label = _labelled(columns, label)[view.mention]
        of_candidate |= {f"{label}:{name}": of_candidate[name] * has_label for name in _CROSSED}
    of_mention |= {f"best_{name}": segment_max(of_candidate[name], candidates.at) for name in _BEST}
    return Features(
        np.column_stack([of_candidate[name] for name in CANDIDATE_FEATURES]),
        np.column_stack([of_mention[name] for name in MENTION_FEATURES]),
    )


def _links(view: _View) -> _Group:
    """Link mass inside, at the edges of, beside and outside the window, and that of other mentions' words."""
    of_candidate: dict[str, Numbers] = {}
    of_mention: dict[str, Numbers] = {}
    columns, grid = view.columns, view.grid
    inside = view.window(grid.link_mass)
    cells = running(grid.link_mass)
    total = cells[columns.base[1:]] - cells[columns.base[:-1]]
    row = view.of_source(np.minimum(view.row_mass, 1.0))
    col = view.tokens(np.minimum(view.mass, 1.5))
    of_candidate["dice"] = np.minimum(
        np.where(inside > 0, 2 * inside / np.maximum(row[view.mention] + col, 1e-9), 0.0), 1.0
    )
    of_candidate["inside"] = inside / np.maximum(total[view.mention], 1e-9)
    of_candidate["precision"] = inside / np.maximum(view.tokens(view.mass), 1e-9)
    of_candidate["outside"] = np.minimum((total[view.mention] - inside) / columns.size[view.mention], 1.0)
    of_candidate |= view.at_edges("own", np.minimum(grid.link_mass, 1.0))
    of_candidate["edges"] = ((of_candidate["first_own"] > _EDGE) & (of_candidate["last_own"] > _EDGE)) * 1.0
    linked = view.mass[grid.token] > 0
    foreign = linked & (grid.link_mass <= 0)
    of_candidate["foreign"] = view.window(foreign) / view.length
    of_candidate |= view.at_edges("foreign", foreign * 1.0)
    of_candidate["unlinked"] = view.window(~linked) / view.length
    of_candidate["first_unlinked"] = ~linked[view.begin] * 1.0
    of_candidate["last_unlinked"] = ~linked[view.end - 1] * 1.0
    of_candidate |= view.neighbours("unlinked", ~linked & (view.word[grid.token, PUNCTUATION] == 0))
    of_candidate["repeated"] = np.clip((inside - row[view.mention]) / columns.size[view.mention], 0.0, 1.0)
    of_candidate["dice_gap"] = (
        segment_max(of_candidate["dice"], view.candidates.at)[view.mention] - of_candidate["dice"]
    )
    of_candidate["best_dice"] = (of_candidate["dice_gap"] < 1e-9) * 1.0

    source_at, link_at, sentence = columns.source_at, columns.link_at, columns.sentence
    has_link = view.row_mass > 0
    per_word = running(has_link)
    width = np.maximum(np.diff(source_at), 1)
    strength = running(columns.link_weight)
    of_mention["no_links"] = ~columns.linked[sentence] * 1.0
    of_mention["unlinked"] = (total <= 0) * 1.0
    of_mention["linked_share"] = view.of_source(has_link) / columns.size
    of_mention["sentence_linked"] = ((per_word[source_at[1:]] - per_word[source_at[:-1]]) / width)[sentence]
    mean = (strength[link_at[1:]] - strength[link_at[:-1]]) / np.maximum(np.diff(link_at), 1)
    of_mention["sentence_strength"] = mean[sentence]
    gap = np.abs(np.log(np.diff(columns.target_at) / width))
    of_mention["width_gap"] = np.where(columns.lettered, 0.0, np.minimum(gap, 2.0))[sentence]
    return _Group(of_candidate, of_mention)


def _strings(view: _View) -> _Group:
    """Similarity of letters, by word and of the whole: names are often copied or respelled."""
    of_candidate: dict[str, Numbers] = {}
    of_mention: dict[str, Numbers] = {}
    columns, grid = view.columns, view.grid
    letters = view.of_source(view.source_word[:, LENGTH])
    of_candidate["cover"] = np.minimum(view.window(grid.matched) / letters[view.mention], 1.0)
    of_candidate["purity"] = view.window(grid.similar) / view.length
    of_candidate |= view.at_edges("similar", grid.similar)
    beside = grid.beside * (grid.similar <= 0)
    of_candidate["beside"] = np.minimum(view.window(beside), 2.0) / 2
    of_candidate |= view.neighbours("beside", beside)
    of_candidate["acronym"] = ((view.window(grid.acronym) > 0) & (view.length == 1)) * 1.0
    latin = columns.vocabulary.latin
    names, texts = _mention_texts(columns, latin), _window_texts(view, latin)
    pairs = [names[number] for number in view.mention.tolist()]
    shorter = np.minimum(
        np.fromiter(map(len, texts), np.float64, len(texts)), np.fromiter(map(len, pairs), np.float64, len(pairs))
    )
    ratio = cpdist(texts, pairs, scorer=Indel.normalized_similarity, dtype=np.float64)
    far = np.flatnonzero(view.tokens(view.word[:, ROMANISED]))
    if len(far):
        consonants = columns.vocabulary.consonants
        mentions, windows = _mention_texts(columns, consonants), _window_texts(view, consonants)
        owners = view.mention[far].tolist()
        alike = skeleton_similarity([windows[k] for k in far.tolist()], [mentions[k] for k in owners])
        ratio[far] = np.maximum(ratio[far], alike)
    prefix = cpdist(texts, pairs, scorer=Prefix.similarity, dtype=np.int32)
    suffix = cpdist(texts, pairs, scorer=Postfix.similarity, dtype=np.int32)
    of_candidate["ratio"] = ratio
    of_candidate["same"] = (ratio == 1.0) * 1.0
    of_candidate["prefix"] = prefix / shorter
    of_candidate["suffix"] = suffix / shorter
    of_candidate["affixed"] = ((np.maximum(prefix, suffix) == shorter) & (ratio < 1.0) & (shorter > 3)) * 1.0
    if columns.caseless.any():  # chance makes short words alike
        long = np.minimum(letters, _LONG_NAME)[view.mention] / _LONG_NAME * columns.caseless[view.sentence]
        long_ratio = np.maximum(ratio - SIMILAR, 0.0) / (1.0 - SIMILAR) * long
        of_candidate["long_ratio"] = long_ratio
        of_candidate["long_ratio_gap"] = segment_max(long_ratio, view.candidates.at)[view.mention] - long_ratio
    of_candidate["ratio_gap"] = segment_max(ratio, view.candidates.at)[view.mention] - ratio
    of_candidate["best_ratio"] = (of_candidate["ratio_gap"] < 1e-9) * 1.0
    of_mention["short_name"] = (letters <= 3) * 1.0
    return _Group(of_candidate, of_mention)


def _mention_texts(columns: Columns, forms: Sequence[str]) -> list[str]:
    """Each mention in one of its vocabulary's forms, its words apart where the target's are."""
    words = [forms[number] for number in columns.source.tolist()]
    between = np.where(columns.unspaced, "", " ")[columns.sentence].tolist()
    ranges = zip(between, columns.first.tolist(), columns.last.tolist(), strict=True)
    return [space.join(words[i:j]) for space, i, j in ranges]


def _window_texts(view: _View, forms: Sequence[str]) -> list[str]:
    words = [forms[number] for number in view.columns.target.tolist()]
    between = np.where(view.columns.unspaced, "", " ")[view.sentence].tolist()
    ranges = zip(between, view.first.tolist(), view.last.tolist(), strict=True)
    return [space.join(words[i:j]) for space, i, j in ranges]


def _lengths(view: _View) -> _Group:
    of_candidate: dict[str, Numbers] = {}
    columns = view.columns
    source_width = np.diff(columns.source_at)
    # Where spaces don't make words, lengths are comparable only as shares of their sentences, and where each
    # letter is a token, the mention's length is that of its letters.
    stretch = np.maximum(np.diff(columns.target_at) / np.maximum(source_width, 1), 1.0)
    stretch = np.where(columns.unspaced, stretch, 1.0)
    expected = columns.size.astype(np.float64)
    if columns.lettered.any():
        letters = running(view.source_word[:, LENGTH])
        per_word = (letters[columns.source_at[1:]] - letters[columns.source_at[:-1]]) / np.maximum(source_width, 1)
        by_letters = view.of_source(view.source_word[:, LENGTH]) / np.maximum(per_word, 1.0)[columns.sentence]
        expected = np.where(columns.lettered[columns.sentence], by_letters, expected)
    more = view.length / stretch[view.sentence] - expected[view.mention]
    of_candidate["longer"] = np.clip(more, 0.0, 4.0) / 2
    of_candidate["shorter"] = np.clip(-more, 0.0, 4.0) / 2
    of_candidate["as_long"] = (np.abs(more) < 0.5) * 1.0
    middle = (columns.first + columns.last) / 2 - columns.source_at[columns.sentence]
    place = ((view.first + view.last) / 2 - view.start) / (view.stop - view.start)
    of_candidate["shift"] = np.abs(place - (middle / source_width[columns.sentence])[view.mention])
    return _Group(of_candidate, {})


def _case(view: _View) -> _Group:
    """Capitals, digits, punctuation and short words in and around the window."""
    of_candidate: dict[str, Numbers] = {}
    of_mention: dict[str, Numbers] = {}
    columns, word, source_word = view.columns, view.word, view.source_word
    capital = word[:, CAPITAL] == 1
    cased = ~columns.caseless[view.sentence] * 1.0
    plain = (word[:, CAPITAL] + word[:, PUNCTUATION] + word[:, DIGIT]) == 0
    lower = plain & (word[:, CASED] == 1)
    later = capital.copy()
    later[columns.target_at[:-1]] = False  # the first word's capital says nothing
    capitals = running(later)
    at = columns.target_at
    rate = (capitals[at[1:]] - capitals[at[:-1]] + 1.0) / (np.diff(at) + 8.0)
    source_share = view.of_source(source_word[:, CAPITAL]) / columns.size
    worth = (-np.log(rate) / 3.0)[view.sentence] * source_share[view.mention] * cased
    first, end = view.first, view.last - 1
    share = view.tokens(capital) / view.length * cased
    of_candidate["initial"] = ~view.has_left * 1.0
    of_candidate["first_capital"] = capital[first] * cased
    of_candidate["first_capital*"] = capital[first] * worth * view.has_left
    of_candidate["last_capital*"] = capital[end] * worth
    of_candidate["capitals"] = share
    of_candidate["capitals*"] = share * worth
    of_candidate["case_gap*"] = np.maximum(source_share[view.mention] - share, 0.0) * worth
    of_candidate["no_capital*"] = (share == 0.0) * worth
    of_candidate["first_lower*"] = lower[first] * worth
    of_candidate["last_lower*"] = lower[end] * worth
    lower_inside = np.minimum(view.tokens(lower), 4.0) / 4
    of_candidate["lower_inside"] = lower_inside * source_share[view.mention] * cased
    short = plain & _is_short(word) & ~np.repeat(columns.lettered, np.diff(at))
    of_candidate["first_short"] = short[first] * 1.0
    of_candidate["last_short"] = short[end] * 1.0
    of_candidate["left_short"] = (short[view.left] & view.has_left) * 1.0
    of_candidate["right_short"] = (short[view.right] & view.has_right) * 1.0
    of_candidate["punctuation"] = np.minimum(view.tokens(word[:, PUNCTUATION]), 2.0)
    of_candidate["left_punctuation"] = word[view.left, PUNCTUATION] * view.has_left * 1.0
    of_candidate["right_punctuation"] = word[view.right, PUNCTUATION] * view.has_right * 1.0
    source_digits = view.of_source(source_word[:, DIGIT]) > 0
    source_upper = view.of_source(source_word[:, UPPER]) == columns.size
    of_candidate["digits"] = ((view.tokens(word[:, DIGIT]) > 0) != source_digits[view.mention]) * 1.0
    all_upper = view.tokens(word[:, UPPER]) == view.length
    of_candidate["upper"] = (all_upper != source_upper[view.mention]) * cased
    of_mention["capitals"] = source_share
    of_mention["lower"] = (source_share < 1.0) * 1.0
    of_mention["upper"] = source_upper * 1.0
    of_mention["digits"] = source_digits * 1.0
    return _Group(of_candidate, of_mention)


def _is_short(word: Ints) -> Bools:
    """(T,) words as short as function words are: up to three letters, romanised; one in scripts without spaces.

    It says nothing where each letter is a token."""
    result: Bools = np.where(word[:, UNSPACED] == 1, word[:, LETTERS] == 1, word[:, LENGTH] <= 3)
    return result


def _scripts(view: _View) -> _Group:
    """Words of another script than most of their sentence's, in a caseless sentence often names, and punctuation
    that joins or separates names there. 0 in sentences with capitals, which tell more.
    """
    columns, word, at = view.columns, view.word, view.columns.target_at
    if not columns.caseless.any():
        return _Group(dict.fromkeys(_SCRIPT_FEATURES, np.zeros(len(view.length))), {})
    caseless = np.repeat(columns.caseless, np.diff(at))
    latin = (word[:, CASED] == 1) & (word[:, ROMANISED] == 0)
    other = word[:, ROMANISED] == 1
    balance = running(latin * 1.0 - other * 1.0)
    mostly_latin = np.repeat(balance[at[1:]] > balance[at[:-1]], np.diff(at))
    strange = np.where(mostly_latin, other, latin) & caseless
    dot = (word[:, DOT] == 1) & caseless
    separators = view.tokens((word[:, PUNCTUATION] == 1) & (word[:, DOT] == 0) & caseless)
    expected = view.of_source(view.source_word[:, PUNCTUATION])[view.mention]
    of_candidate: dict[str, Numbers] = {
        "other_script": view.tokens(strange) / view.length,
        "left_other_script": strange[view.left] & view.has_left,
        "right_other_script": strange[view.right] & view.has_right,
        "left_joined": dot[view.left] & view.has_left,
        "right_joined": dot[view.right] & view.has_right,
        "separators": np.clip(separators - expected, 0.0, 2.0),
    }
    return _Group(of_candidate, {})


def _mentions(view: _View) -> _Group:
    """The source entity itself: its tagger's probability, label, length and surroundings."""
    of_mention: dict[str, Numbers] = {}
    columns = view.columns
    score = np.where(columns.scored, columns.score, 0.5)
    of_mention["bias"] = np.ones(len(score))
    of_mention["odds"] = np.clip(np.log(score + 1e-6) - np.log1p(1e-6 - score), -3.0, 5.0) / 3
    of_mention["doubt"] = (columns.scored & (score < 0.7)) * 1.0
    for label in ("PER", "ORG", "LOC"):
        of_mention[label] = _labelled(columns, label) * 1.0
    of_mention["size"] = np.minimum(columns.size, 6) / 3
    of_mention["one"] = (columns.size == 1) * 1.0
    low, high = columns.source_at[columns.sentence], columns.source_at[columns.sentence + 1]
    of_mention["source_initial"] = (columns.first == low) * 1.0
    capital, mark = view.source_word[:, CAPITAL] == 1, view.source_word[:, PUNCTUATION] == 1
    following = np.minimum(columns.last, high - 1)
    has_next = columns.last < high
    of_mention["previous_capital"] = (capital[columns.first - 1] & (columns.first > low)) * 1.0
    of_mention["next_capital"] = (capital[following] & has_next) * 1.0
    of_mention["next_lower"] = (~capital[following] & ~mark[following] & has_next) * 1.0
    return _Group({}, of_mention)


def _labelled(columns: Columns, label: str) -> Bools:
    """(M,) whether a mention has that label."""
    if label not in columns.labels:
        return np.zeros(len(columns.label), bool)
    result: Bools = columns.label == columns.labels.index(label)
    return result
