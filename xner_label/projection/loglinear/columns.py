"""A batch of instances as columns, so that features of hundreds of sentences take one array operation each.

Notation: S sentences, T target tokens, U source tokens, M mentions, C candidates, all counted over the batch.
"Ragged" arrays keep rows of different length one behind the other; :func:`expand` turns (start, length) pairs into
flat indices. Weights and similarities are multiples of 2**-20, so that running sums of them are exact and a
sentence gets the same features in whatever batch it travels.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache
from itertools import chain
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
import numpy.typing as npt

from xner_label.letter_case import has_case, shape
from xner_label.projection.loglinear.mentions import NAMELESS
from xner_label.projection.problem import Instance
from xner_label.word_forms import fold_word
from xner_label.writing_systems import (
    CLOSING,
    NAME_DOTS,
    OPENING,
    consonant_skeleton,
    is_romanisable,
    is_unspaced,
    romanise,
)

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Numbers = npt.NDArray[Any]  # any numeric type

# Columns of Vocabulary.table(): length in romanised code points, letter mask of the same, has a capital, all
# capitals (two letters or more), has a digit, is punctuation, brackets opened less brackets closed, hashes of the
# lower-cased word, of its ending and of its shape; has a letter of a script with capitals; has letters, none of
# them such; has one of a script without spaces, of another script than Latin; letters as written, without marks;
# is a dot between the parts of a name.
LENGTH, MASK, CAPITAL, UPPER, DIGIT, PUNCTUATION, BRACKETS, WORD, ENDING, SHAPE = range(10)
CASED, CASELESS, UNSPACED, ROMANISED, LETTERS, DOT = range(10, 16)

# What a mention is: given by a person, found by a tagger, or overlooked by it.
KINDS = 3
GIVEN, TAGGED, OVERLOOKED = range(KINDS)

_STEP = float(2**20)
# Text of a script without spaces counts as cut into letters where so many of its words have a single one: short
# Japanese sentences may have .9 of such words.
_LETTERED = 0.95


def exact(values: Floats) -> Floats:
    """Round to multiples of 2**-20."""
    result: Floats = np.rint(values * _STEP) / _STEP
    return result


def expand(starts: Ints, counts: Ints) -> tuple[Ints, Ints]:
    """Flatten ragged rows.

    ``starts`` and ``counts``, shape (n,), describe rows; returns ``(owner, index)``, both of shape
    (sum(counts),): the row of each element and its flat position.
    """
    owner = np.repeat(np.arange(len(counts)), counts)
    before = np.cumsum(counts) - counts
    return owner, np.arange(len(owner)) + np.repeat(starts - before, counts)


def borders(counts: Iterable[int]) -> Ints:
    """Row borders, shape (n + 1,), from row lengths."""
    lengths = np.fromiter(counts, np.int64)
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])


def running(values: Numbers) -> Floats:
    """Sums up to, not including, each position; shape (n + 1,)."""
    return np.concatenate([np.zeros(1), np.cumsum(values, dtype=np.float64)])


def segment_max(values: Floats, at: Ints) -> Floats:
    """The maximum of each ragged row, 0 for rows without elements."""
    result = np.zeros(len(at) - 1)
    filled = np.flatnonzero(np.diff(at))
    if len(filled):
        result[filled] = np.maximum.reduceat(values, at[filled])
    return result


class Vocabulary:
    """Token types and what can be known of a type alone, computed once per type.

    ``words[k]``, ``folded[k]``, ``latin[k]`` and ``consonants[k]`` are type ``k`` as written, folded, romanised,
    and its consonant skeleton; :meth:`table` has one row per type.
    """

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}
        self.words: list[str] = []
        self.folded: list[str] = []
        self.latin: list[str] = []
        self._consonants: list[str] = []
        self._rows: list[bytes] = []
        self._table: Ints = np.zeros((0, 16), np.int64)

    def __len__(self) -> int:
        return len(self.words)

    @property
    def consonants(self) -> list[str]:
        """The consonant skeleton of each type; made when they are asked for, since Latin text never needs them."""
        self._consonants += map(consonant_skeleton, self.latin[len(self._consonants) :])
        return self._consonants

    def ids(self, words: Sequence[str]) -> list[int]:
        """The type of each word; new ones are added."""
        known = self._ids
        try:
            return [known[word] for word in words]
        except KeyError:
            for word in dict.fromkeys(words):
                if word not in known:
                    known[word] = len(self.words)
                    self._add(word)
            return [known[word] for word in words]

    def types(self, sentences: Iterable[Sequence[str]]) -> Ints:
        """The types of all words of some sentences, one sentence after the other."""
        return np.array(self.ids(list(chain.from_iterable(sentences))), np.int64)

    def table(self) -> Ints:
        """What is known of each type, shape (types, 16), columns as named in this module."""
        if len(self._table) != len(self._rows):
            new = np.frombuffer(b"".join(self._rows[len(self._table) :]), np.int64)
            self._table = np.concatenate([self._table, new.reshape(-1, self._table.shape[1])])
        return self._table

    def _add(self, word: str) -> None:
        word_type = _word_type(word)
        self.words.append(word)
        self.folded.append(word_type.folded)
        self.latin.append(word_type.latin)
        self._rows.append(word_type.row)


class _WordType(NamedTuple):
    """A word folded and romanised, and its row of :meth:`Vocabulary.table`, 8 bytes a column."""

    folded: str
    latin: str
    row: bytes


@lru_cache(maxsize=1 << 16)
def _word_type(word: str) -> _WordType:
    """Kept from batch to batch: each has a vocabulary of its own, and the same words."""
    folded = fold_word(word)
    letters = sum(char.isalpha() for char in word)
    capitals = sum(char.isupper() for char in word)
    latin = folded if folded.isascii() else romanise(folded)
    cased = letters > 0 and (word.isascii() or has_case(word))
    capitals *= cased
    mask = 0
    for char in latin:
        mask |= 1 << (ord(char) % 61)
    lowered = word.lower()
    row = (
        len(latin),
        mask,
        capitals > 0,
        letters > 1 and capitals == letters,
        any(char.isdigit() for char in word),
        not any(char.isalnum() for char in word),
        sum(map(OPENING.__contains__, word)) - sum(map(CLOSING.__contains__, word)),
        crc32(lowered.encode()),
        crc32(b"-" + lowered[-3:].encode()),
        crc32(b"#" + shape(word).encode()),
        cased,
        letters > 0 and not cased,
        is_unspaced(word),
        is_romanisable(word),
        letters,
        word in NAME_DOTS,
    )
    return _WordType(folded, latin, np.array(row, np.int64).tobytes())


def scripts(words: Ints, at: Ints) -> tuple[Bools, Bools, Bools]:
    """Which sentences are caseless, which are unspaced and which of these are cut into letters, all (S,); see
    :class:`Columns`.

    ``words`` are the rows of :meth:`Vocabulary.table` of all sentences' tokens, ``at`` (S + 1,) their borders.
    """
    letter = (words[:, UNSPACED] == 1) & (words[:, LETTERS] <= 1)
    counted = np.cumsum(np.column_stack([words[:, [CASED, CASELESS, UNSPACED, CAPITAL]], letter]), axis=0)
    sums = np.concatenate([np.zeros((1, 5), np.int64), counted])
    cased, caseless, unspaced, capital, single = (sums[at[1:]] - sums[at[:-1]]).T
    mixed = (3 * caseless >= cased) & (caseless > 0)
    mostly_unspaced = 2 * unspaced > cased + caseless
    return mixed | (capital == 0), mostly_unspaced, mostly_unspaced & (single >= _LETTERED * unspaced)


class Columns:
    """The columns of a batch of instances; every sentence should have a mention and a target token.

    target, source: (T,), (U,) token type; target_at, source_at: (S + 1,) borders per sentence
    sentence, first, last, label, score: (M,) per mention; first and last count in the batch's source tokens,
    ``label`` indexes ``labels``, ``score`` is NaN where a person gave the source entity
    link_source, link_target, link_weight: per link, token positions in the batch; link_at: (S + 1,) borders
    linked: (S,) whether an aligner ran
    caseless: (S,) whether capitals tell nothing in the target: a quarter of the words that have letters have none
    that could be one, or no word has one; unspaced: (S,) whether most of the target's words are of a script
    without spaces; lettered: (S,) whether these words are letters, nearly all of them
    """

    def __init__(
        self, instances: Sequence[Instance], vocabulary: Vocabulary, types: tuple[Ints, Ints] | None = None
    ) -> None:
        """``types``: those of all target and of all source words, where they are known already."""
        self.vocabulary = vocabulary
        self.target_at = borders(len(instance.target) for instance in instances)
        self.source_at = borders(len(instance.source) for instance in instances)
        if types is None:
            types = (
                vocabulary.types([instance.target.words() for instance in instances]),
                vocabulary.types([instance.source.words() for instance in instances]),
            )
        self.target, self.source = types
        mentions = [mention for instance in instances for mention in instance.mentions]
        counts = np.fromiter((len(instance.mentions) for instance in instances), np.int64, len(instances))
        self.sentence: Ints = np.repeat(np.arange(len(instances)), counts)
        start = self.source_at[self.sentence]
        self.first: Ints = np.array([mention.first for mention in mentions], np.int64) + start
        self.last: Ints = np.array([mention.last for mention in mentions], np.int64) + start
        self.labels = sorted({mention.label for mention in mentions})
        index = {label: number for number, label in enumerate(self.labels)}
        self.label: Ints = np.array([index[mention.label] for mention in mentions], np.int64)
        scores = [np.nan if mention.score is None else mention.score for mention in mentions]
        self.score: Floats = np.array(scores, np.float64)
        links = [instance.links or () for instance in instances]
        self.linked: Bools = np.array([instance.links is not None for instance in instances], bool)
        self.link_at = borders(map(len, links))
        flat: Floats = np.fromiter(
            chain.from_iterable(chain.from_iterable(links)), np.float64, 3 * int(self.link_at[-1])
        ).reshape(-1, 3)
        owner = np.repeat(np.arange(len(links)), np.diff(self.link_at))
        self.link_source = flat[:, 0].astype(np.int64) + self.source_at[owner]
        self.link_target = flat[:, 1].astype(np.int64) + self.target_at[owner]
        self.link_weight = exact(flat[:, 2])
        self.table = vocabulary.table()
        self.caseless, self.unspaced, self.lettered = scripts(self.table[self.target], self.target_at)

    @cached_property
    def scored(self) -> Bools:
        """(M,) whether a tagger was at work."""
        return ~np.isnan(self.score)

    @cached_property
    def kind(self) -> Ints:
        """(M,) GIVEN, TAGGED or OVERLOOKED."""
        nameless = np.array([label == NAMELESS for label in self.labels], bool)[self.label]
        result: Ints = np.where(nameless, OVERLOOKED, np.where(self.scored, TAGGED, GIVEN))
        return result

    @cached_property
    def weight_set(self) -> Ints:
        """(M,) which weights apply: the kind, and KINDS more in caseless sentences."""
        result: Ints = self.kind + KINDS * self.caseless[self.sentence]
        return result

    @cached_property
    def size(self) -> Ints:
        """(M,) source tokens of each mention."""
        return self.last - self.first

    @cached_property
    def width(self) -> Ints:
        """(M,) target tokens of the sentence of each mention."""
        return np.diff(self.target_at)[self.sentence]

    @cached_property
    def base(self) -> Ints:
        """(M + 1,) borders of the grid: one cell per mention and target token of its sentence."""
        return np.concatenate([np.zeros(1, np.int64), np.cumsum(self.width)])

    def cell(self, mention: Ints, token: Ints) -> Ints:
        """The grid cell of each (mention, target token position in the batch)."""
        return self.base[mention] + token - self.target_at[self.sentence[mention]]
