"""How alike names are in other scripts and in English, once romanised: countries and cities by CLDR.

Some 640 pairs a language from the package Babel (``pip install babel``), which isn't otherwise needed. For each
language: the mean Dice similarity of letters of true pairs, its AUROC against five random pairs for each of them,
and with consonant skeletons the shares of both that pass what makes words similar.
"""

from __future__ import annotations

import argparse
import random
import sys

import numpy as np
from rapidfuzz.distance import LCSseq

from xner_label.evaluation import metrics
from xner_label.projection.loglinear.candidate_windows import SIMILAR
from xner_label.projection.loglinear.romanised_strings import skeleton_similarity
from xner_label.word_forms import fold
from xner_label.writing_systems import consonant_skeleton, romanise

# Languages with capitals first, those without spaces last.
LANGUAGES = (
    *("ru", "uk", "bg", "sr", "mk", "be", "kk", "ky", "mn", "uz_Cyrl", "tg", "el", "hy"),
    *("ka", "he", "ar", "fa", "ur", "ps", "ckb", "am", "ti", "hi", "mr", "ne", "bn", "gu", "pa", "ta", "te"),
    *("kn", "ml", "si", "ko", "th", "lo", "km", "my", "ja", "zh", "yue"),
)


def main() -> None:
    parser = argparse.ArgumentParser(prog=sys.argv[0], description=__doc__)
    parser.add_argument("--languages", nargs="+", default=LANGUAGES)
    for language in parser.parse_args().languages:
        pairs = name_pairs(language)
        chance = random.Random(1)
        others = [other for _, other in pairs]
        drawn = {(name, chance.choice(others)) for name, _ in pairs for _ in range(5)}
        wrong = sorted(drawn.difference(pairs))
        (true, true_far), (false, false_far) = similarities(pairs), similarities(wrong)
        right = np.repeat([True, False], [len(pairs), len(wrong)])
        print(
            f"{language:8} pairs {len(pairs)}  Dice {true.mean():.3f}"
            f"  AUROC {metrics.auroc(np.concatenate([true, false]), right) or 0:.3f}"
            f"  similar, with skeletons: true {np.mean(true_far >= SIMILAR):.3f}"
            f" random {np.mean(false_far >= SIMILAR):.3f}"
            f"  AUROC {metrics.auroc(np.concatenate([true_far, false_far]), right) or 0:.3f}"
        )


def name_pairs(language: str) -> list[tuple[str, str]]:
    """(English name, its name in the language) of countries and of the cities that time zones are named after."""
    from babel import Locale

    english, locale = Locale("en"), Locale.parse(language)
    pairs = {(english.territories[code], name) for code, name in locale.territories.items() if len(code) == 2}
    for zone, names in locale.time_zones.items():
        if "city" in names and not zone.startswith("Etc"):
            plain = zone.rpartition("/")[2].replace("_", " ")
            pairs.add((english.time_zones.get(zone, {}).get("city", plain), names["city"]))
    return sorted(pairs)


def similarities(pairs: list[tuple[str, str]]) -> tuple[np.ndarray, np.ndarray]:
    """Dice similarity of the letters of each pair, and the better of it and that of the skeletons."""
    sides = [
        [" ".join(romanise(fold(word)) for word in pair[place].split()) for pair in pairs] for place in (0, 1)
    ]
    dice = np.array([2 * LCSseq.similarity(a, b) / max(len(a) + len(b), 1) for a, b in zip(*sides, strict=True)])
    return dice, np.maximum(dice, skeleton_similarity(*([*map(consonant_skeleton, side)] for side in sides)))


def _columns(pairs: list[tuple[str, str]]) -> tuple[list[str], list[str]]:
    return [name for name, _ in pairs], [other for _, other in pairs]


if __name__ == "__main__":
    main()
