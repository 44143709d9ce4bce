"""Copies of tasks in scripts without capitals: what weights for such scripts can learn from Latin text.

There is little text with known entities in scripts without capitals. A copy keeps the gold of a task and rewrites
the target's letters: in lower case; spelt in another alphabet, as names are transliterated (by ear, so that vowels
and some consonants change); or by an arbitrary alphabet, so that nothing reads alike, as where names are
translated. Where a copy's alphabet has no spaces, its letters may be tokens, and persons' names may have dots
between their parts, as in Chinese and Japanese. Links are made worse in most copies: in new languages names are
rare words, which aligners leave without a link or tie to some other rare word of the sentence.
"""

from __future__ import annotations

import random
import re
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate, count
from typing import NamedTuple
from zlib import crc32

import msgspec

from xner_label.entities import Link, Tokens
from xner_label.projection.fitting.examples import Example
from xner_label.projection.problem import Instance
from xner_label.tokenization import tokenize
from xner_label.word_forms import fold

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_VOWELS = "aeiou"
_GEORGIAN = "აბცდეფგჰიჯკლმნოპქრსტუვვხიზ"
# Short vowels are mostly left out, long ones share a letter with a consonant; there is no p and no v.
_ARABIC = [*"ابكد", "", *"فغهيجكلمنوبقرستووف", "كس", *"يز"]
_THAI = "าบคดเฟกฮีจคลมนอพครสทุววซยซ"
# Written before the consonant that it follows.
_VOWEL_AFTER = re.compile("([ก-ฮ])(เ)")
_ALPHABETS = (_GEORGIAN, _ARABIC, _THAI)
# Relative frequencies: lower case, spelt in each alphabet, and scrambled in it.
_FREQUENCIES = (3, 2, 2, 2, 1, 1, 1)
_STRIDE = 5  # has no factor in common with their sum
# Lines of a corpus that is written in one way.
CORPUS = 800
# In this share of the other alphabets' copies names that the target has as the source has them stay Latin.
_KEPT_LATIN = 0.3
# In these shares of the copies in an alphabet without spaces each letter is a token, and names have dots.
_LETTERED, _DOTTED = 0.4, 0.5
_DOT, _PERSON = "·", "PER"
# By ear: how often a vowel becomes another one, and one is put between consonants.
_OTHER_VOWEL, _MORE_VOWEL = 0.4, 0.3
# How often a mention's links are wrong, one of these in each sentence, and how often that means that it has none.
_FAULTS = (0.0, 0.15, 0.35)
_UNLINKED = 0.4


class _Style(NamedTuple):
    """How a copy is written: ``alphabet`` None for lower case."""

    alphabet: Mapping[str, str] | None
    spelt: bool
    unspaced: bool
    keeps_latin: bool
    lettered: bool
    dotted: bool


def caseless_copies(examples: Sequence[Example]) -> list[Example]:
    """A copy of each example; how it is written depends on its text alone."""
    return [_copy(example, _draw_style(_chance_of(example))) for example in examples]


def caseless_corpora(examples: Sequence[Example], number: int) -> list[list[Example]]:
    """Copies in runs of at most CORPUS lines, each written in one way: its sentences can inform each other.

    ``number`` is that of the first run among all: each is written unlike its neighbours.
    """
    runs = [examples[at : at + CORPUS] for at in range(0, len(examples), CORPUS)]
    return [
        [_copy(example, style) for example in run]
        for run, style in zip(runs, map(_style_of_corpus, count(number)), strict=False)
    ]


def _chance_of(example: Example) -> random.Random:
    return random.Random(crc32(example.instance.target.text.encode()))  # noqa: S311


def _style_of_corpus(number: int) -> _Style:
    chance = random.Random(number)  # noqa: S311
    ways = [way for way, frequency in enumerate(_FREQUENCIES) for _ in range(frequency)]
    return _draw_style(chance, ways[number * _STRIDE % len(ways)])


def _draw_style(chance: random.Random, way: int | None = None) -> _Style:
    """``way``: lower case (0), spelt in one of the alphabets or scrambled in it; drawn when None."""
    if way is None:
        way = chance.choices(range(len(_FREQUENCIES)), _FREQUENCIES)[0]
    if way == 0:
        return _Style(None, spelt=False, unspaced=False, keeps_latin=False, lettered=False, dotted=False)
    spelt, which = way <= len(_ALPHABETS), (way - 1) % len(_ALPHABETS)
    alphabet = dict(zip(_LETTERS, _ALPHABETS[which], strict=True))
    if not spelt:
        letters = list(_LETTERS)
        chance.shuffle(letters)
        alphabet = {letter: alphabet[other] for letter, other in zip(_LETTERS, letters, strict=True)}
    keeps_latin, lettered, dotted = (chance.random() < share for share in (_KEPT_LATIN, _LETTERED, _DOTTED))
    unspaced = which == len(_ALPHABETS) - 1
    return _Style(alphabet, spelt, unspaced, keeps_latin, lettered and unspaced, dotted and unspaced)


def _copy(example: Example, style: _Style) -> Example:
    words = example.instance.target.words()
    example = example._replace(instance=_with_faulty_links(example.instance, _chance_of(example)))
    if style.alphabet is None:
        return _with_pieces(example, [[word.lower()] for word in words], " ")
    source = set(example.instance.source.words()) if style.keeps_latin else set()
    written = [_rewritten(word, style.alphabet, source, by_ear=style.spelt) for word in words]
    pieces = [[word] for word in written]
    if style.lettered:
        pieces = [[word[start:end] for start, end in tokenize(word, letters=True)] for word in written]
    followed = {
        place
        for first, last, label in example.gold
        for place in range(first, last - 1)
        if style.dotted and label == _PERSON and all(word[0].isalpha() for word in words[place : place + 2])
    }
    return _with_pieces(example, pieces, "" if style.unspaced else " ", followed)


def _with_pieces(
    example: Example,
    pieces: Sequence[Sequence[str]],
    space: str,
    followed: Collection[int] = (),
) -> Example:
    """Each word as its pieces, which share its links, and a dot after the words of the places ``followed``."""
    counts = [len(piece) for piece in pieces]
    at = [0, *accumulate(size + (place in followed) for place, size in enumerate(counts))]
    links = example.instance.links
    if links is not None:
        links = tuple(
            (source, piece, weight)
            for source, target, weight in links
            for piece in range(at[target], at[target] + counts[target])
        )
    tokens = [
        part for place, piece in enumerate(pieces) for part in (*piece, *([_DOT] if place in followed else ()))
    ]
    target = Tokens.locate(space.join(tokens), tokens)
    gold = tuple((at[first], at[last - 1] + counts[last - 1], label) for first, last, label in example.gold)
    return Example(msgspec.structs.replace(example.instance, target=target, links=links), gold)


def _with_faulty_links(instance: Instance, chance: random.Random) -> Instance:
    """The instance with the links of some mentions on another token, or gone."""
    rate = chance.choice(_FAULTS)
    if not rate or instance.links is None:
        return instance
    moved: dict[int, int | None] = {}
    for mention in instance.mentions:
        if chance.random() < rate:
            place = None if chance.random() < _UNLINKED else chance.randrange(len(instance.target))
            moved |= dict.fromkeys(range(mention.first, mention.last), place)
    links: dict[tuple[int, int], Link] = {}
    for source, target, weight in instance.links:
        landed = moved.get(source, target)
        if landed is not None:
            links.setdefault((source, landed), (source, landed, weight))
    return msgspec.structs.replace(instance, links=tuple(links.values()))


def spelt_by_ear(word: str, alphabet: Mapping[str, str]) -> str:
    """A Latin word in another alphabet, as somebody writes it down who heard it."""
    return _rewritten(word, alphabet, set(), by_ear=True)


def _rewritten(word: str, alphabet: Mapping[str, str], source: set[str], *, by_ear: bool) -> str:
    if not any(char.isalpha() for char in word) or (word in source and word[:1].isupper()):
        return word
    heard = _by_ear(word) if by_ear else fold(word)
    letters = "".join(alphabet.get(char, "" if char.isalpha() else char) for char in heard)
    letters = _VOWEL_AFTER.sub(r"\2\1", letters)
    return letters or next(letter for letter in alphabet.values() if letter)


@lru_cache(maxsize=1 << 16)
def _by_ear(word: str) -> str:
    """The word as somebody writes it down who heard it: the same one always the same way."""
    chance = random.Random(crc32(word.encode()))  # noqa: S311
    heard: list[str] = []
    for char in fold(word):
        between = heard and heard[-1] in _LETTERS and heard[-1] not in _VOWELS
        if char in _VOWELS and chance.random() < _OTHER_VOWEL:
            char = chance.choice(_VOWELS)
        elif between and char in _LETTERS and char not in _VOWELS and chance.random() < _MORE_VOWEL:
            heard.append(chance.choice(_VOWELS))
        heard.append(char)
    return "".join(heard)
