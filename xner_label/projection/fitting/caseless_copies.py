"""Copies of tasks in scripts without capitals: what weights for such scripts can learn from Latin text.

There is little text with known entities in scripts without capitals. A copy keeps words, links and gold of a task
and rewrites the target's letters: in lower case; spelt in another alphabet, as names are transliterated (vowels
and some consonants change); or by an arbitrary alphabet, so that nothing reads alike, as where names are
translated.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from itertools import accumulate
from zlib import crc32

import msgspec

from xner_label.entities import Tokens
from xner_label.projection.fitting.examples import Example
from xner_label.tokenization import tokenize
from xner_label.word_forms import fold

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_GEORGIAN = "აბცდეფგჰიჯკლმნოპქრსტუვვხიზ"
# Short vowels are mostly left out, long ones share a letter with a consonant; there is no p and no v.
_ARABIC = [*"ابكد", "", *"فغهيجكلمنوبقرستووف", "كس", *"يز"]
_THAI = "าบคดเฟกฮีจคลมนอพครสทุววซยซ"
# Relative frequencies: lower case, and for each alphabet spelt in it and scrambled in it.
_LOWER, _SPELT, _SCRAMBLED = 3, 2, 1
# In this share of the other alphabets' copies names that the target has as the source has them stay Latin.
_KEPT_LATIN = 0.3
# In this share of the copies in an alphabet without spaces each letter is a token.
_LETTERED = 0.6


def caseless_copies(examples: Sequence[Example]) -> list[Example]:
    """A copy of each example; which alphabet it gets depends on its text alone."""
    return [_copy(example) for example in examples]


def _copy(example: Example) -> Example:
    chance = random.Random(crc32(example.instance.target.text.encode()))  # noqa: S311
    alphabets = [dict(zip(_LETTERS, letters, strict=True)) for letters in (_GEORGIAN, _ARABIC, _THAI)]
    places = chance.choices(
        range(1 + 2 * len(alphabets)),
        [_LOWER, *[_SPELT] * len(alphabets), *[_SCRAMBLED] * len(alphabets)],
    )
    place = places[0] - 1
    if place < 0:
        return _with_words(example, [word.lower() for word in example.instance.target.words()], " ")
    unspaced = place % len(alphabets) == len(alphabets) - 1
    alphabet = alphabets[place % len(alphabets)]
    if place >= len(alphabets):
        letters = list(_LETTERS)
        chance.shuffle(letters)
        alphabet = {letter: alphabet[other] for letter, other in zip(_LETTERS, letters, strict=True)}
    source = set(example.instance.source.words()) if chance.random() < _KEPT_LATIN else set()
    words = [_rewritten(word, alphabet, source) for word in example.instance.target.words()]
    if unspaced and chance.random() < _LETTERED:
        return _lettered(example, words)
    return _with_words(example, words, "" if unspaced else " ")


def _with_words(example: Example, words: Sequence[str], space: str) -> Example:
    target = Tokens.locate(space.join(words), words)
    return example._replace(instance=msgspec.structs.replace(example.instance, target=target))


def _lettered(example: Example, words: Sequence[str]) -> Example:
    """The words without spaces and each letter a token with the links of its word."""
    letters = [[word[start:end] for start, end in tokenize(word, letters=True)] for word in words]
    at = [0, *accumulate(map(len, letters))]
    links = example.instance.links
    if links is not None:
        links = tuple(
            (source, letter, weight)
            for source, target, weight in links
            for letter in range(at[target], at[target + 1])
        )
    target = Tokens.locate("".join(words), [letter for word in letters for letter in word])
    gold = tuple((at[first], at[last], label) for first, last, label in example.gold)
    return Example(msgspec.structs.replace(example.instance, target=target, links=links), gold)


def _rewritten(word: str, alphabet: Mapping[str, str], source: set[str]) -> str:
    if not any(char.isalpha() for char in word) or (word in source and word[:1].isupper()):
        return word
    letters = "".join(alphabet.get(char, "" if char.isalpha() else char) for char in fold(word))
    return letters or next(letter for letter in alphabet.values() if letter)
