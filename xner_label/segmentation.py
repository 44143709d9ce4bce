"""Words where a script shows none: between spaces that aren't there, and before particles that are written on.

Chinese, Japanese, Thai, Lao, Khmer and Burmese words are found by ICU's dictionaries, through icu4py (the extra
``segmentation``). Korean particles are found by a list: a name and its particle make one word to the eye, so that
without it three quarters of Korean names end inside a token.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

# Particles and forms of the copula that follow nouns, the longest first.
_PARTICLES = sorted(
    (
        *("은", "는", "이", "가", "을", "를", "의", "에", "와", "과", "도", "만", "로", "께", "랑"),
        *(
            "에서",
            "에게",
            "에는",
            "에도",
            "께서",
            "으로",
            "부터",
            "까지",
            "처럼",
            "보다",
            "한테",
            "이나",
            "이랑",
            "하고",
        ),
        *("라고", "라는", "이다", "에서는", "에서의", "으로는", "이라고", "이라는", "입니다"),
    ),
    key=lambda particle: (-len(particle), particle),
)
# Syllables that a word keeps: shorter stems are more often words that happen to end like a particle.
_LEAST_STEM = 2


def segmenter() -> str:
    """What cuts words here: ``icu``, or ``letters`` where the extra isn't installed and each letter is a token."""
    return "letters" if _breaker() is None else "icu"


@lru_cache(maxsize=1 << 16)
def word_lengths(run: str) -> tuple[int, ...] | None:
    """The lengths of the words, in code points, of a run of a script without spaces; None without ICU."""
    breaker = _breaker()
    if breaker is None:
        return None
    # ICU counts UTF-16 units: a rare Chinese character is two of them.
    place, units = {0: 0}, 0
    for number, character in enumerate(run, 1):
        units += 2 if ord(character) > 0xFFFF else 1
        place[units] = number
    return tuple(place[end] - place[start] for start, end in breaker(run, "root").segments())


def particle_length(word: str) -> int:
    """How many of the last syllables of a Korean word are a particle; 0 for none."""
    for particle in _PARTICLES:
        if len(word) - len(particle) >= _LEAST_STEM and word.endswith(particle):
            return len(particle)
    return 0


@lru_cache(maxsize=1)
def _breaker() -> Any:
    try:
        from icu4py.breakers import WordBreaker
    except ImportError:
        return None
    return WordBreaker
