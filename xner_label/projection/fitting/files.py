"""Weights fitted on files of tasks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from xner_label.projection.fitting.corpus_rounds import fit_rounds
from xner_label.projection.fitting.examples import read_examples
from xner_label.projection.fitting.sentence_weights import fit_weights
from xner_label.projection.fitting.simulated_tagger import simulate_tagger
from xner_label.projection.loglinear.weights_file import Weights


def fit_files(paths: Sequence[Path], *, from_scratch: bool = False, corpus: bool = False) -> Weights:
    """Fit on files, starting from the shipped weights unless ``from_scratch``. Raises as its parts do.

    From scratch, files whose source entities were given are learned from a second time with those of a simulated
    tagger (:func:`simulate_tagger`). ``corpus`` fits the rounds of corpus mode as well, each file being a
    corpus; otherwise the shipped ones stay unless ``from_scratch``.
    """
    files = [read_examples(path) for path in paths]
    named = ", ".join(
        f"{path.parent.name}/{path.name} ({len(examples)})" for path, examples in zip(paths, files, strict=True)
    )
    start = None if from_scratch else Weights.load()
    simulated = simulate_tagger(files) if from_scratch else []
    weights = fit_weights(files, named, start=start, simulated=simulated)
    if corpus:
        return fit_rounds(files, weights, simulated=simulated)
    return weights if start is None else msgspec.structs.replace(weights, rounds=start.rounds)
