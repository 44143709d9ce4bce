"""The real low-resource corpora as the benchmarks read them; they are not ours to ship."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from xner_label.entities import Task
from xner_label.jsonl import read_values
from xner_label.projection.fitting.examples import read_examples
from xner_label.projection.fitting.files import cased_part, fit_part
from xner_label.projection.fitting.simulated_tagger import simulate_tagger

LABELS = ("PER", "ORG", "LOC")


class CorpusTask(Task, frozen=True, omit_defaults=True, kw_only=True):
    """A line of projection.jsonl: a task with its gold and its split (train, dev or test)."""

    split: str


def data_folder() -> Path:
    """The folder of benchmark data. Ends the benchmark, saying so, where it is absent."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("XNER_LABEL_BENCH_DATA", beside))
    if not folder.is_dir():
        sys.exit(f"skipped: no benchmark data in {folder}; set XNER_LABEL_BENCH_DATA to its folder")
    return folder


def read_corpus(language: str) -> list[CorpusTask]:
    """Every task of a language, in file order."""
    return list(read_values(data_folder() / "lowres" / language / "projection.jsonl", CorpusTask))


def left_out_weights(language: str, folder: Path) -> str:
    """Fit the default projector, with corpus mode, on everything but a language: two minutes of CPU.

    Returns the weights' file, made in ``folder``.

    The shipped weights were fitted on all the corpora here, so that they would flatter the projection.
    """
    data = data_folder()
    other_languages = sorted(
        path for path in (data / "lowres").glob("*/projection.jsonl") if path.parent.name != language
    )
    europarl = sorted((data / "europarl").glob("*.jsonl"))
    file = folder / f"without-{language}.json"
    paths = [*other_languages, *europarl]
    files = [read_examples(path) for path in paths]
    named = ", ".join(f"{path.parent.name}/{path.name}" for path in paths)
    # all these languages write capitals: what caseless sentences ask for would take most of the time
    weights = fit_part(cased_part(files, simulate_tagger(files)), named, None, corpus=True)
    file.write_bytes(weights.dump())
    return str(file)
