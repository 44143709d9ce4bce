"""How alike two names look, across spelling, script, case, diacritics, affixes and abbreviation."""

from __future__ import annotations

from rapidfuzz.fuzz import ratio
from rapidfuzz.process import extract

from xner_label.entities import Tokens
from xner_label.projection.exact.matching import Candidate
from xner_label.projection.spans import UNSPACED_TOKENS, ngrams
from xner_label.word_forms import fold
from xner_label.writing_systems import consonant_skeleton, is_romanisable, is_unspaced, romanise

# An affix is looked for around names of at least this many letters: shorter ones occur inside other words.
STEM_LENGTH = 4
# What an acronym and its long form are worth.
ACRONYM_SIMILARITY = 0.9
# What names of two scripts are worth whose consonants agree, of at least so many.
SKELETON_WORTH, LEAST_CONSONANTS = 0.9, 3


def similarity(left: str, right: str) -> float:
    """Similarity of two names in 0..1, the first of these that applies:

    - 0 where both have digits and not the same ones (``2015`` is no ``2016``);
    - ``ACRONYM_SIMILARITY`` where one is the other's initials in capitals (``EU``, ``European Union``);
    - with folded texts a, b:  2 LCS(a, b) / (|a| + |b|),  the normalised indel similarity, or, where the shorter
      (of STEM_LENGTH letters or more) begins or ends the longer,  2 |a| / (2 |a| + (|b| - |a|) / 2)  if that is
      more: letters of an affix count half, since agglutinating languages attach them to names (``nakwaMandela``).

    Texts of different scripts are compared in Latin letters, or, if that is more, by SKELETON_WORTH of the same
    for their consonants; spaces don't count where one has a script without them.
    """
    if is_acronym(left, right) or is_acronym(right, left):
        return ACRONYM_SIMILARITY
    left, right = fold(left), fold(right)
    if _digits(left) != _digits(right) and _digits(left) and _digits(right):
        return 0.0
    if is_unspaced(left) or is_unspaced(right):
        left, right = left.replace(" ", ""), right.replace(" ", "")
    by_consonants = 0.0
    if is_romanisable(left) != is_romanisable(right):
        left, right = romanise(left), romanise(right)
        skeletons = consonant_skeleton(left), consonant_skeleton(right)
        if min(map(len, skeletons)) >= LEAST_CONSONANTS:
            by_consonants = SKELETON_WORTH * ratio(*skeletons) / 100.0
    return max(ratio(left, right) / 100.0, _affixed(left, right), by_consonants)


def is_acronym(short: str, long: str) -> bool:
    """Whether ``short``, all capitals, spells the initials of the capitalised words of ``long``."""
    if not 2 <= len(short) <= 8 or not short.isupper() or " " not in long:
        return False
    return short == "".join(word[0] for word in long.split() if word[0].isupper())


def _affixed(left: str, right: str) -> float:
    short, long = (left, right) if len(left) <= len(right) else (right, left)
    if len(short) < STEM_LENGTH or " " in long or not (long.startswith(short) or long.endswith(short)):
        return 0.0
    return 2.0 * len(short) / (2.0 * len(short) + (len(long) - len(short)) / 2.0)


def _digits(text: str) -> str:
    return "".join(character for character in text if character.isdigit())


class FoldedTokens:
    """The folded words of a text, from which any run can be cut: one space where the text has white space.

    ``romanised`` is the like in Latin letters, None where that is the same.
    """

    __slots__ = ("ends", "romanised", "starts", "text", "unspaced")

    def __init__(self, tokens: Tokens, *, in_latin: bool = False) -> None:
        self.starts: list[int] = []
        self.ends: list[int] = []
        parts: list[str] = []
        position = previous = 0
        for start, end in zip(tokens.starts, tokens.ends, strict=True):
            if start > previous and parts:
                parts.append(" ")
                position += 1
            word = fold(tokens.text[start:end])
            if in_latin:
                word = romanise(word)
            parts.append(word)
            self.starts.append(position)
            position += len(word)
            self.ends.append(position)
            previous = end
        self.text = "".join(parts)
        self.unspaced = not tokens.text.isascii() and is_unspaced(tokens.text)
        self.romanised = None if in_latin or not is_romanisable(self.text) else FoldedTokens(tokens, in_latin=True)

    def __len__(self) -> int:
        return len(self.starts)


def similar_ngrams(
    mention: str, length: int, target: Tokens, folded: FoldedTokens, least: float
) -> list[Candidate]:
    """The target runs that read like the mention, as ``(similarity, first, last)``, in no particular order.

    Runs of ``length`` +- 1 tokens, UNSPACED_TOKENS times as many in scripts without spaces, are compared by
    :func:`similarity`, and kept from ``least`` on; acronyms and affixes are looked for in single tokens.
    """
    name = fold(mention)
    far = folded.romanised is not None and not is_romanisable(name)
    if folded.romanised is not None and far:
        folded = folded.romanised
    starts, ends, text = folded.starts, folded.ends, folded.text
    longest = (length + 1) * (UNSPACED_TOKENS if folded.unspaced else 1)
    spans = ngrams(0, len(folded), longest, max(1, length - 1))
    texts = [text[starts[first] : ends[last - 1]] for first, last in spans]
    if folded.unspaced:
        name, texts = name.replace(" ", ""), [ngram.replace(" ", "") for ngram in texts]
    near = {
        spans[index] for _, _, index in extract(name, texts, score_cutoff=100.0 * least, limit=None, scorer=ratio)
    }
    if far:
        skeletons = [consonant_skeleton(ngram) for ngram in texts]
        cutoff = 100.0 * min(least / SKELETON_WORTH, 1.0)
        near.update(
            spans[index]
            for _, _, index in extract(
                consonant_skeleton(name), skeletons, score_cutoff=cutoff, limit=None, scorer=ratio
            )
        )
    if length == 1 and len(name) >= STEM_LENGTH and name in text:
        near.update(
            (index, index + 1)
            for index, (start, end) in enumerate(zip(starts, ends, strict=True))
            if name in text[start:end]
        )
    elif length > 1:
        initials = "".join(word[0] for word in name.split())
        near.update(
            (index, index + 1)
            for index, (start, end) in enumerate(zip(starts, ends, strict=True))
            if end - start == len(initials) > 1 and text[start:end] == initials
        )
    scored = []
    for first, last in near:
        score = similarity(mention, target.text[target.starts[first] : target.ends[last - 1]])
        if score >= least:
            scored.append((score, first, last))
    return scored
