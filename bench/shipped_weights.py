"""Fit the weights that come with the package, or the like without some languages: minutes of CPU.

``default`` is fitted on every file of the benchmark data, ``permissive`` on Europarl and the sample corpora, both
on caseless copies of these as well, per sentence; ``default`` in corpus mode, too. The same data gives the same
weights. The data isn't part of the project: ../shared/data or XNER_LABEL_BENCH_DATA.
"""

from __future__ import annotations

import argparse
import sys
from importlib.resources import files as package_files
from pathlib import Path

import msgspec
from lowres import data_folder
from projection_quality import ROWS as LATIN
from scripts import ROWS as OTHERS

from xner_label.projection.fitting.corpus_rounds import fit_rounds
from xner_label.projection.fitting.examples import read_examples
from xner_label.projection.fitting.files import (
    cased_part,
    caseless_part,
    fit_every_script,
    fit_part,
    with_caseless,
)
from xner_label.projection.fitting.sentence_weights import Files, cross_fit
from xner_label.projection.fitting.simulated_tagger import simulate_tagger
from xner_label.projection.loglinear.weights_file import Weights

SAMPLES = ("en-sw", "en-hi")


def main() -> None:
    parser = argparse.ArgumentParser(prog=sys.argv[0], description=__doc__)
    parser.add_argument("name", choices=("default", "permissive"))
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--without", nargs="+", default=[], help="languages left out, such as zh or lug")
    parser.add_argument("--no-corpus", action="store_true", help="per sentence only")
    parser.add_argument(
        "--caseless-only", action="store_true", help="leave what sentences with capitals get as it is shipped"
    )
    parser.add_argument(
        "--second-stage-only", action="store_true", help="leave all but what comes after the last round as shipped"
    )
    parser.add_argument("--copies-every", type=int, default=1, help="copy every so manieth sentence only")
    parser.add_argument("--processes", type=int, default=1, help="2: sentences with capitals and others at once")
    options = parser.parse_args()
    paths = default_files() if options.name == "default" else permissive_files()
    kept = {row: path for row, path in paths.items() if row.partition(".")[0] not in options.without}
    files = {row: read_examples(path) for row, path in kept.items()}
    corpus = options.name == "default" and not options.no_corpus
    named = ", ".join(f"{kept[row].parent.name}/{kept[row].name} ({len(files[row])})" for row in files)
    if options.second_stage_only:
        weights = with_second_stage(Weights.load(options.name), list(files.values()))
    elif options.caseless_only:
        every = options.copies_every
        examples = [file if row in OTHERS else file[::every] for row, file in files.items()]
        part = caseless_part(examples, simulate_tagger(examples), copies=True)
        caseless = fit_part(part, "", None, corpus)
        named += f"; caseless sentences: copies of every {every}. one with capitals" * (every > 1)
        weights = with_caseless(msgspec.structs.replace(Weights.load(options.name), fitted_on=named), caseless)
    else:
        weights = fit_every_script(list(files.values()), named, corpus=corpus, processes=options.processes)
    options.output.write_bytes(weights.dump())
    print(f"{options.output}: {weights.digest}, cut {weights.cut:g}")


def with_second_stage(weights: Weights, files: Files) -> Weights:
    """The weights with what comes after the last round, of sentences with capitals, fitted anew."""
    part = cased_part(files, simulate_tagger(files))
    models = cross_fit(part.files, part.simulated, worth=part.worth).models
    return fit_rounds(
        part.corpora,
        weights,
        models,
        part.folds,
        simulated=part.simulated_corpora,
        kept=weights.rounds,
    )


def default_files() -> dict[str, Path]:
    folder = data_folder()
    return {row: folder / f"{name}.jsonl" for row, name in LATIN.items()} | {
        row: folder / "scripts" / f"{row}.jsonl" for row in OTHERS
    }


def permissive_files() -> dict[str, Path]:
    folder, samples = data_folder(), Path(str(package_files("xner_label.sample")))
    europarl = {row: folder / f"{name}.jsonl" for row, name in LATIN.items() if name.startswith("europarl/")}
    return europarl | {name: samples / f"{name}.jsonl" for name in SAMPLES}


if __name__ == "__main__":
    main()
