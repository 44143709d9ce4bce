"""Weights fitted on files of tasks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from xner_label.errors import UsageError
from xner_label.projection.fitting.caseless_copies import caseless_copies
from xner_label.projection.fitting.corpus_rounds import fit_rounds
from xner_label.projection.fitting.examples import Example, read_examples
from xner_label.projection.fitting.sentence_weights import MIN_MENTIONS, Files, fit_weights
from xner_label.projection.fitting.simulated_tagger import simulate_tagger
from xner_label.projection.loglinear.columns import Vocabulary, borders, scripts
from xner_label.projection.loglinear.weights_file import CaselessWeights, Weights


def fit_files(paths: Sequence[Path], *, from_scratch: bool = False, corpus: bool = False) -> Weights:
    """Fit on files, starting from the shipped weights unless ``from_scratch``. Raises as its parts do.

    ``corpus`` fits the rounds of corpus mode as well, each file being a corpus; otherwise the shipped ones stay
    unless ``from_scratch``.
    """
    files = [read_examples(path) for path in paths]
    named = ", ".join(
        f"{path.parent.name}/{path.name} ({len(examples)})" for path, examples in zip(paths, files, strict=True)
    )
    return fit_every_script(files, named, start=None if from_scratch else Weights.load(), corpus=corpus)


def fit_every_script(files: Files, named: str, *, start: Weights | None = None, corpus: bool = False) -> Weights:
    """Weights for sentences with capitals and for caseless ones, each fitted on such sentences.

    ``named`` says where the examples are from. With ``start`` what there are too few sentences for stays. Without,
    files whose source entities were given are learned from a second time with those of a simulated tagger, and
    caseless sentences are joined by caseless copies of the others. Raises UsageError for fewer than MIN_MENTIONS
    source entities.
    """
    cased, caseless = split_by_case(files)
    simulated = simulate_tagger(files) if start is None else []
    cased_copies, caseless_simulated = split_by_case(simulated)
    if start is None:
        caseless = [*caseless, *map(caseless_copies, cased)]
        caseless_simulated = [*caseless_simulated, *map(caseless_copies, cased_copies)]
    enough = [_mentions(part) >= MIN_MENTIONS for part in (cased, caseless)]
    if not any(enough):
        raise UsageError(
            f"{_mentions(files)} source entities are too few to fit weights on",
            hint=f"give at least {MIN_MENTIONS}, with gold in `entities`",
        )
    fitted: list[Weights | None] = []
    for part, copies, begin, fits in (
        (cased, cased_copies, start, enough[0]),
        (caseless, caseless_simulated, _for_caseless(start), enough[1]),
    ):
        weights = begin
        if fits:
            kept, own = [_filled(examples) for examples in (part, copies)]
            weights = fit_weights(kept, named, start=begin, simulated=own)
            if corpus:
                weights = fit_rounds(kept, weights, simulated=own)
            elif begin is not None:
                weights = msgspec.structs.replace(weights, rounds=begin.rounds)
        fitted.append(weights)
    weights, other = fitted[0] or fitted[1], fitted[1]
    assert weights is not None
    return weights if other is None else with_caseless(weights, other)


def split_by_case(files: Files) -> tuple[list[list[Example]], list[list[Example]]]:
    """The examples with capitals and the caseless ones of each file."""
    vocabulary = Vocabulary()
    parts: tuple[list[list[Example]], list[list[Example]]] = ([], [])
    for examples in files:
        words = [vocabulary.ids(example.instance.target.words()) for example in examples]
        flat = np.array([number for own in words for number in own], np.int64)
        caseless = scripts(vocabulary.table()[flat], borders(map(len, words)))[0].tolist()
        for which, part in enumerate(parts):
            part.append([example for example, own in zip(examples, caseless, strict=True) if own == which])
    return parts


def _filled(files: Files) -> list[list[Example]]:
    return [list(examples) for examples in files if any(example.instance.mentions for example in examples)]


def _mentions(files: Files) -> int:
    return sum(len(example.instance.mentions) for examples in files for example in examples)


def _for_caseless(weights: Weights | None) -> Weights | None:
    """The weights with those of caseless sentences in the place of the others."""
    own = None if weights is None else weights.caseless
    if weights is None or own is None:
        return weights
    return msgspec.structs.replace(
        weights,
        given=own.given,
        tagged=own.tagged,
        overlooked=own.overlooked,
        rounds=tuple(each.caseless or each for each in weights.rounds),
        caseless=None,
    )


def with_caseless(weights: Weights, caseless: Weights) -> Weights:
    """``weights`` with those of ``caseless`` for caseless sentences, in corpus mode where both know it."""
    rounds = weights.rounds
    if rounds and caseless.rounds:
        rounds = tuple(
            msgspec.structs.replace(own, caseless=msgspec.structs.replace(other, caseless=None))
            for own, other in zip(rounds, caseless.rounds, strict=True)
        )
    return msgspec.structs.replace(weights, rounds=rounds, caseless=_caseless(caseless))


def _caseless(weights: Weights) -> CaselessWeights:
    return CaselessWeights(
        given=weights.given,
        tagged=weights.tagged,
        overlooked=weights.overlooked,
    )
