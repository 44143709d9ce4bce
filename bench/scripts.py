"""F1 and confidence of the projectors in scripts without capitals, as the data is cut and with our own words.

Weights that never saw a row's language are fitted beforehand (``shipped_weights.py default --without zh -o
without-zh.json`` and so on); ``--weights "without-{language}.json"`` judges each row by its own. ``--own-tokens``
drops tokens and links, cuts words anew and aligns them with eflomal on the row's and further text; gold entities
that end inside one of our tokens are then lost. Rows such as ``lug.Grek`` are Latin files with the target's
letters mapped one to one into another script: stand-ins for scripts of which there is no data. The data isn't part
of the project: ../shared/data or XNER_LABEL_BENCH_DATA.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from lowres import data_folder
from projection_quality import RESAMPLES, SEED, counts, judge, project
from projection_quality import ROWS as LATIN

from xner_label import __version__
from xner_label.entities import Task, Tokens
from xner_label.evaluation import metrics
from xner_label.jsonl import read_values
from xner_label.pharaoh import format_links
from xner_label.pipeline.memory_cache import MemoryCache
from xner_label.projection.corpus.projector import LogLinearCorpusProjector
from xner_label.projection.fitting.examples import Example, read_example, read_examples
from xner_label.projection.loglinear.projector import LogLinearProjector
from xner_label.projection.loglinear.weights_file import Weights
from xner_label.projection.projectors import make_projector
from xner_label.segmentation import segmenter

ROWS = ("zh.pud", "zh.pud.pred", "ar.xsid", "th.eamt")
LETTERS = "abcdefghijklmnopqrstuvwxyz"
ALPHABETS = {
    "Cyrl": "абцдефгхийклмнопщрстувўжыз",
    "Grek": "αβψδεφγηιϳκλμνοπϟρστυϝωξύζ",
    "Geor": "აბცდეფგჰიჯკლმნოპქრსტუვჭხყზ",
    "Deva": "अबचदएफगहइजकलमनओपखरसतउवठषयझ",
}
STAND_INS = tuple(f"{row}.{script}" for row in ("lug", "tsn") for script in ALPHABETS)
REFERENCES = ("heuristic", "align", "link-dice", "string")


def main() -> None:
    parser = argparse.ArgumentParser(prog=sys.argv[0], description=__doc__)
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=ROWS + STAND_INS)
    parser.add_argument("--weights", default="", help="weights to judge, {language} standing for the row's")
    parser.add_argument("--own-tokens", action="store_true", help="cut words and align anew")
    parser.add_argument("--no-corpus", action="store_true", help="per sentence only")
    parser.add_argument("--json", type=Path, default=Path("scripts.json"))
    options = parser.parse_args()
    folder = data_folder()
    files = {row: folder / "scripts" / f"{row}.jsonl" for row in ROWS}
    results: list[dict[str, Any]] = []
    for row in options.rows:
        language = row.partition(".")[0]
        weights = Weights.load(options.weights.format(language=language) or None)
        if row in STAND_INS:
            examples_of_row = mapped(read_examples(folder / f"{LATIN[language]}.jsonl"), row.partition(".")[2])
        elif options.own_tokens:
            examples_of_row = own_words(files[row], folder / "scripts" / f"bitext.{language}.jsonl")
        else:
            examples_of_row = read_examples(files[row])
        projectors = [(name, make_projector(name)) for name in REFERENCES]
        projectors.append(("default", LogLinearProjector(weights)))
        if weights.rounds and not options.no_corpus:
            projectors.append(("corpus", LogLinearCorpusProjector(weights)))
        for name, projector in projectors:
            projected = project(projector, examples_of_row)
            scores = judge(examples_of_row, projected, projector)
            table = counts(examples_of_row, projected, projector.cut)
            scores["f1_ci95"] = metrics.bootstrap_f1(table, resamples=RESAMPLES, seed=SEED)
            results.append({"row": row, "projector": name} | scores)
            low, high = scores["f1_ci95"]
            print(
                f"{row:12} {name:10} F1 {scores['f1']:.3f} ({low:.3f}..{high:.3f})"
                f"  P {scores['precision']:.3f} R {scores['recall']:.3f}"
                f"  AUROC {scores['auroc'] or 0:.3f} ECE {scores['ece']:.3f}",
                flush=True,
            )
    document = {"version": __version__, "segmenter": segmenter(), "weights": options.weights, "rows": results}
    options.json.write_text(json.dumps(document, indent=1))


def mapped(examples: Sequence[Example], script: str) -> list[Example]:
    """The examples with the target's letters in another script, capitals where it has them."""
    letters = dict(zip(LETTERS, ALPHABETS[script], strict=True))
    table = str.maketrans(letters | {letter.upper(): other.upper() for letter, other in letters.items()})
    results = []
    for example in examples:
        words = [word.translate(table) for word in example.instance.target.words()]
        target = Tokens.locate(" ".join(words), words)
        results.append(example._replace(instance=msgspec.structs.replace(example.instance, target=target)))
    return results


def own_words(path: Path, bitext: Path) -> list[Example]:
    """The examples with our own tokens and the links that eflomal finds on them and on further text."""
    from xner_label.stages.alignment.eflomal import EflomalAligner

    tasks = [
        msgspec.structs.replace(task, tokens=None, source_tokens=None, alignment=None)
        for task in read_values(path, Task)
    ]
    further = list(read_values(bitext, Task))
    pairs = [
        (Tokens.tokenize(task.source or "").words(), Tokens.tokenize(task.text).words())
        for task in (*tasks, *further)
    ]
    aligner = EflomalAligner(MemoryCache())
    aligner.fit(pairs)
    links = aligner.align(pairs[: len(tasks)])
    return [
        read_example(
            msgspec.structs.replace(
                task, source_tokens=tuple(pair[0]), tokens=tuple(pair[1]), alignment=format_links(weighted)
            )
        )
        for task, pair, weighted in zip(tasks, pairs, links, strict=False)
    ]


if __name__ == "__main__":
    main()
