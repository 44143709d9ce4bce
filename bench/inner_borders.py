"""How often names lose affixes that are written on to them, rightly and wrongly, once people have cut one off.

Stand-ins: Luganda names spelt by ear in Arabic and Hebrew letters, a clitic before three in ten of them; of the
right token spans, how many are cut where the name begins. Real rows: how many spans are cut, and how many of these
were gold as they stood. The data isn't part of the project: ../shared/data or XNER_LABEL_BENCH_DATA.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import msgspec
from lowres import data_folder
from projection_quality import ROWS as LATIN
from scripts import LETTERS
from scripts import ROWS as OTHERS

from xner_label.entities import Tokens
from xner_label.projection.fitting.caseless_copies import spelt_by_ear
from xner_label.projection.fitting.examples import Example, read_examples
from xner_label.projection.inner_borders import BorderHabits, name_borders
from xner_label.projection.loglinear.projector import LogLinearProjector
from xner_label.projection.loglinear.weights_file import Weights

ALPHABETS = {
    "Arab": [*"ابكد", "", *"فغهيجكلمنوبقرستووف", "كس", *"يز"],
    "Hebr": [*"אבקדאפגהייכלמנופקרסטוווץיז"],
}
CLITICS = {"Arab": "وفبلك", "Hebr": "ובלכמ"}
SHARE, SEED = 0.3, 1
HABITS = BorderHabits(dict.fromkeys("بב", 1))


def main() -> None:
    folder = data_folder()
    projector = LogLinearProjector(Weights.load())
    names = read_examples(folder / f"{LATIN['lug']}.jsonl")
    for script in ALPHABETS:
        stand_in(script, names, projector)
    rows = {row: f"scripts/{row}" for row in OTHERS} | LATIN
    for row, path in rows.items():
        cut, whole, inner = real_row(read_examples(folder / f"{path}.jsonl"), projector)
        print(f"{row}: {cut} spans cut, {whole} of them gold as they stood, {inner} as cut")


def stand_in(script: str, examples: Sequence[Example], projector: LogLinearProjector) -> None:
    alphabet = dict(zip(LETTERS, ALPHABETS[script], strict=True))
    chance = random.Random(SEED)
    written, with_clitic = [], []
    for example in examples:
        words = [spelt_by_ear(word, alphabet) for word in example.instance.target.words()]
        first = {place for place, _, _ in example.gold if chance.random() < SHARE}
        for place in first:
            words[place] = chance.choice(CLITICS[script]) + words[place]
        target = Tokens.locate(" ".join(words), words)
        written.append(msgspec.structs.replace(example.instance, target=target))
        with_clitic.append(first)
    needed = right = wrong = others = false = 0
    for example, instance, first, projections in zip(
        examples, written, with_clitic, projector.project(written), strict=True
    ):
        spans = {(low, high) for low, high, _ in example.gold}
        for projection in projections:
            if projection.mention is None or (projection.first, projection.last) not in spans:
                continue
            name = name_borders(instance, projection.mention, projection.first, projection.last, HABITS)
            length = name.start - instance.target.starts[projection.first]
            if projection.first in first:
                needed, right, wrong = needed + 1, right + (length == 1), wrong + (length > 1)
            else:
                others, false = others + 1, false + (length > 0)
    print(
        f"{script}: of {needed} names with a clitic {right} cut right, {wrong} wrong;"
        f" {false} of {others} others cut"
    )


def real_row(examples: Sequence[Example], projector: LogLinearProjector) -> tuple[int, int, int]:
    cut = whole = inner = 0
    for example, projections in zip(
        examples, projector.project([example.instance for example in examples]), strict=True
    ):
        target = example.instance.target
        gold = {target.span(first, last) for first, last, _ in example.gold}
        for projection in projections:
            span = target.span(projection.first, projection.last)
            name = name_borders(example.instance, projection.mention, projection.first, projection.last, HABITS)
            if name != span:
                cut, whole, inner = cut + 1, whole + (span in gold), inner + (name in gold)
    return cut, whole, inner


if __name__ == "__main__":
    main()
