"""Where a name begins or ends inside a token: clitics written on to it, endings behind an apostrophe.

Projection ends where tokens do. Some scripts write other words on to names: Arabic and Hebrew conjunctions and
prepositions before them, Korean particles behind them, and many languages put endings behind an apostrophe
(``Ankara'da``). A projected span leaves such an affix out where the rest of the token reads more like a word of
the source entity than the whole token does, or is what people settled as a name. Clitics and affixes that aren't
listed here stay until people have cut some off: annotation by whole words is as common. What people do overrules
the lists.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from hashlib import sha256

import msgspec
import regex
from rapidfuzz.fuzz import ratio

from xner_label.entities import Entity, Span
from xner_label.projection.problem import Instance
from xner_label.segmentation import particle_length
from xner_label.word_forms import fold
from xner_label.writing_systems import consonant_skeleton, romanise

# Arabic and, from, with, for, like; Hebrew and, in, for, like, from, that: one, or "and" before another. Each with
# the letters that a name may begin with to be spelt with it.
_CLITICS = {
    **{"و": "wuov", "ف": "fpv", "ب": "bpv", "ل": "l", "ك": "kcqgx"},
    **{"ו": "wuov", "ב": "bpv", "ל": "l", "כ": "kcqgx", "מ": "m", "ש": "s"},
}
_AND = {"و": "فبلك", "ו": "בלכמש"}
_PREFIXES = frozenset(_CLITICS) | {
    conjunction + clitic for conjunction, clitics in _AND.items() for clitic in clitics
}
# An ending behind an apostrophe; the possessive belongs to names as often as not.
_ENDING = regex.compile(r"(?<=\p{L}{2})['’ʼ](?!s$)\p{Ll}{1,7}$")
_APOSTROPHES = "'’ʼ"
_HANGUL = regex.compile(r"\p{Script=Hangul}{3,}")
# What is left must be so long, in code points, and read so much like a word of the source entity: by its letters,
# or by its consonants where there are so many.
_LEAST_STEM, _LEAST_SIMILARITY, _LEAST_CONSONANTS = 2, 0.75, 3
# An affix of the lists counts as cut so often beside what people did; others must have been cut so often.
_PRESUMED, _LEAST_CUTS = 2, 2
_LONGEST_AFFIX = 8


class BorderHabits(msgspec.Struct, frozen=True):
    """What people did with affixes: how often they cut them off a name (``prefixes_cut``, ``suffixes_cut``) or
    left them standing where the lists of this module would have cut, and the tokens that they settled as names,
    folded."""

    prefixes_cut: dict[str, int] = {}
    prefixes_kept: dict[str, int] = {}
    suffixes_cut: dict[str, int] = {}
    suffixes_kept: dict[str, int] = {}
    names: frozenset[str] = frozenset()

    @property
    def signature(self) -> str:
        """A short hash of what matters; empty where people never set a border inside a token, nor left one out."""
        counts = [self.prefixes_cut, self.prefixes_kept, self.suffixes_cut, self.suffixes_kept]
        if not any(counts):
            return ""
        content = msgspec.json.encode([*counts, sorted(self.names)], order="deterministic")
        return sha256(content).hexdigest()[:10]


NO_HABITS = BorderHabits()
# By these every affix of the lists is cut off.
_EVERY_CLITIC = BorderHabits(dict.fromkeys(_CLITICS, 1))


def name_borders(
    instance: Instance, mention: int | None, first: int, last: int, habits: BorderHabits = NO_HABITS
) -> Span:
    """The code points of the name in the target tokens ``[first, last)``, without affixes where evidence says so.

    ``mention`` is an index into the instance's mentions, None for a span without a source entity: then only what
    people settled counts.
    """
    target = instance.target
    whole = target.span(first, last)
    text = target.text[whole.start : whole.end]
    may_have_affix = not text.isascii() or "'" in text or habits.prefixes_cut or habits.suffixes_cut
    if not may_have_affix:
        return whole

    def words() -> list[str]:
        return [] if mention is None else _source_words(instance, mention)

    start, end = whole.start, whole.end
    begin = _cut(target.text[start : target.ends[first]], _prefixes, words, habits)
    start += begin
    finish = _cut(target.text[max(target.starts[last - 1], start) : end], _suffixes, words, habits)
    return Span(start, end - finish)


def learn_border_habits(settled: Iterable[tuple[Instance, Sequence[Entity]]]) -> BorderHabits:
    """What people do with affixes, from instances and the entities that they settled in them."""
    cut: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    kept: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    names: set[str] = set()
    for instance, entities in settled:
        target = instance.target
        words = partial(_all_source_words, instance)
        for entity in entities:
            first, last, _ = target.covering(entity.start, entity.end)
            if first == last:
                continue
            begin, end = target.starts[first], target.ends[last - 1]
            affixes = target.text[begin : entity.start], target.text[entity.end : end]
            edges = (
                target.text[entity.start : min(entity.end, target.ends[first])],
                target.text[max(entity.start, target.starts[last - 1]) : entity.end],
            )
            names.update(map(fold, edges))
            for affix, edge, candidates, cuts, keeps in zip(
                affixes, edges, (_prefixes, _suffixes), cut, kept, strict=True
            ):
                if 0 < len(affix) <= _LONGEST_AFFIX:
                    cuts[affix] += 1
                elif not affix and not edge.isascii():
                    length = _cut(edge, candidates, words, _EVERY_CLITIC)
                    if length:
                        keeps[edge[:length] if candidates is _prefixes else edge[len(edge) - length :]] += 1
    return BorderHabits(dict(cut[0]), dict(kept[0]), dict(cut[1]), dict(kept[1]), frozenset(names))


_Candidates = Callable[[str, BorderHabits], Iterator[tuple[str, str]]]


def _cut(token: str, candidates: _Candidates, words: Callable[[], list[str]], habits: BorderHabits) -> int:
    """How many code points of a token are an affix: the longest candidate that something speaks for.

    ``words`` gives those of the source entities; hardly any token has an affix to compare them with.
    """
    for affix, stem in candidates(token, habits):
        if len(stem) < _LEAST_STEM:
            continue
        known = bool(habits.names) and fold(stem) in habits.names and fold(token) not in habits.names
        if known or any(_reads_better(affix, stem, token, word) for word in words()):
            return len(affix)
    return 0


def _prefixes(token: str, habits: BorderHabits) -> Iterator[tuple[str, str]]:
    """Prefixes of a token that may be cut off, and the rest, the longest first."""
    clitics = {token[:1], token[:2]} & _PREFIXES
    if clitics and not _cut_more_often(habits, _PREFIXES):
        clitics = set()
    cut = {prefix for prefix in habits.prefixes_cut if token.startswith(prefix)}
    for prefix in sorted(clitics | cut, key=len, reverse=True):
        if _usual(prefix, prefix in clitics, habits.prefixes_cut, habits.prefixes_kept):
            yield prefix, token[len(prefix) :]


def _cut_more_often(habits: BorderHabits, prefixes: Iterable[str]) -> bool:
    cut, kept = habits.prefixes_cut, habits.prefixes_kept
    return bool(cut) and sum(cut.get(prefix, 0) - kept.get(prefix, 0) for prefix in prefixes) > 0


def _suffixes(token: str, habits: BorderHabits) -> Iterator[tuple[str, str]]:
    """The like of :func:`_prefixes` for the other end."""
    ending = _ENDING.search(token) if any(mark in token for mark in _APOSTROPHES) else None
    listed = {ending[0]} if ending else set()
    if _HANGUL.fullmatch(token) and (length := particle_length(token)):
        listed = {token[-length:]}
    cut = {suffix for suffix in habits.suffixes_cut if token.endswith(suffix)}
    for suffix in sorted(listed | cut, key=len, reverse=True):
        if _usual(suffix, suffix in listed, habits.suffixes_cut, habits.suffixes_kept):
            yield suffix, token[: -len(suffix)]


def _usual(affix: str, listed: bool, cut: dict[str, int], kept: dict[str, int]) -> bool:
    cuts = cut.get(affix, 0)
    return (listed or cuts >= _LEAST_CUTS) and cuts + _PRESUMED * listed > kept.get(affix, 0)


def _reads_better(affix: str, stem: str, token: str, word: str) -> bool:
    """Whether the stem reads like the folded source word, and more so than the token."""
    if word[:1] in _CLITICS.get(affix[-1], "") and not stem.startswith(affix[-1]):
        return False  # the name itself begins with that letter
    near, far, name = romanise(fold(stem)), romanise(fold(token)), romanise(word)
    if ratio(near, name) <= ratio(far, name):
        return False
    bare, of_token, of_name = consonant_skeleton(near), consonant_skeleton(far), consonant_skeleton(name)
    by_consonants = 0.0
    if min(len(bare), len(of_name)) >= _LEAST_CONSONANTS:
        by_consonants = ratio(bare, of_name)
        if by_consonants < ratio(of_token, of_name):
            return False
    return max(ratio(near, name), by_consonants) >= 100.0 * _LEAST_SIMILARITY


def _source_words(instance: Instance, mention: int) -> list[str]:
    """The folded names of a source entity: what isn't in lower case is spelt elsewhere as it sounds, all together
    too, since Korean writes a name as one word. Those with an apostrophe of their own tell nothing about one."""
    owner, source = instance.mentions[mention], instance.source
    words = [source.text[source.starts[k] : source.ends[k]] for k in range(owner.first, owner.last)]
    names = [fold(word) for word in words if word.isalnum() and not word[0].islower()]
    if not names or len(words) < 2 or any(mark in word for word in words for mark in _APOSTROPHES):
        return names
    return [*names, fold("".join(filter(str.isalnum, "".join(words))))]


def _all_source_words(instance: Instance) -> list[str]:
    return [word for mention in range(len(instance.mentions)) for word in _source_words(instance, mention)]
