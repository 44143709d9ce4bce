"""Weights fitted on files of tasks."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from xner_label.errors import UsageError
from xner_label.projection.fitting.caseless_copies import CORPUS, caseless_copies, caseless_corpora
from xner_label.projection.fitting.corpus_rounds import fit_rounds
from xner_label.projection.fitting.examples import Example, read_examples
from xner_label.projection.fitting.sentence_weights import (
    MIN_MENTIONS,
    Files,
    balanced_worth,
    cross_fit,
    fit_weights,
    fold_of,
)
from xner_label.projection.fitting.simulated_tagger import simulate_tagger
from xner_label.projection.loglinear.columns import Vocabulary, borders, scripts
from xner_label.projection.loglinear.weights_file import CaselessWeights, Weights
from xner_label.wording import counted


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


class _Part(NamedTuple):
    """What one set of weights is fitted on.

    files, simulated: for scores, those of a simulated tagger apart; worth: what a sentence of each counts
    corpora, simulated_corpora, folds: for corpus mode, and the fold of each line, simulated ones last
    caseless: whether its sentences have no capitals. There what was projected elsewhere says nothing new after the
    last round, as far as was measured (Chinese), so that there is no second stage
    """

    files: Files
    simulated: Files
    worth: Sequence[float] | None
    corpora: Files
    simulated_corpora: Files
    folds: Sequence[Sequence[int]]
    caseless: bool


def fit_every_script(
    files: Files,
    named: str,
    *,
    start: Weights | None = None,
    corpus: bool = False,
    processes: int = 1,
) -> Weights:
    """Weights for sentences with capitals and for caseless ones, each fitted on such sentences.

    ``named`` says where the examples are from. With ``start`` what there are too few sentences for stays. Without,
    files whose source entities were given are learned from a second time with those of a simulated tagger, and
    caseless sentences are joined by caseless copies of the others. With two ``processes`` both are fitted at once.
    Raises UsageError for fewer than MIN_MENTIONS source entities.
    """
    simulated = simulate_tagger(files) if start is None else []
    parts = [cased_part(files, simulated), caseless_part(files, simulated, copies=start is None)]
    begin = [start, _for_caseless(start)]
    enough = [place for place, part in enumerate(parts) if _mentions(part.files) >= MIN_MENTIONS]
    if not enough:
        raise UsageError(
            f"{counted(_mentions(files), 'source entity is', 'source entities are')} too few to fit weights on",
            hint=f"give at least {MIN_MENTIONS}, with gold in `entities`",
        )
    jobs = [(parts[place], named, begin[place], corpus) for place in enough]
    fitted = dict(enumerate(begin))
    if processes > 1:
        with ProcessPoolExecutor(processes) as pool:
            fitted |= zip(enough, pool.map(fit_part, *zip(*jobs, strict=True)), strict=True)
    else:
        fitted |= zip(enough, itertools.starmap(fit_part, jobs), strict=True)
    weights, other = fitted[0] or fitted[1], fitted[1]
    assert weights is not None
    return weights if other is None else with_caseless(weights, other)


def cased_part(files: Files, simulated: Files) -> _Part:
    """What the weights for sentences with capitals are fitted on."""
    kept, simulated_kept = [_filled(split_by_case(part)[0]) for part in (files, simulated)]
    return _Part(
        kept,
        simulated_kept,
        None,
        kept,
        simulated_kept,
        [fold_of(len(examples)) for examples in (*kept, *simulated_kept)],
        False,
    )


def caseless_part(files: Files, simulated: Files, *, copies: bool) -> _Part:
    """What the weights for caseless sentences are fitted on: such, and ``copies`` of the others."""
    (cased, kept), (cased_simulated, simulated_kept) = [
        map(_filled, split_by_case(part)) for part in (files, simulated)
    ]
    corpora, simulated_corpora = [*kept], [*simulated_kept]
    folds = [[fold_of(len(examples)) for examples in part] for part in (kept, simulated_kept)]
    worth = None
    if copies:
        number = 0
        for part, into, folds_of_part in (
            (cased, corpora, folds[0]),
            (cased_simulated, simulated_corpora, folds[1]),
        ):
            for examples in part:
                runs = caseless_corpora(examples, number)
                fold, borders_of_runs = fold_of(len(examples)), range(0, len(examples), CORPUS)
                into += runs
                folds_of_part += [fold[at : at + CORPUS] for at in borders_of_runs]
                number += len(runs)
        kept = [*kept, *map(caseless_copies, cased)]
        simulated_kept = [*simulated_kept, *map(caseless_copies, cased_simulated)]
        worth = balanced_worth([*kept, *simulated_kept])
    return _Part(kept, simulated_kept, worth, corpora, simulated_corpora, [*folds[0], *folds[1]], True)


def fit_part(part: _Part, named: str, start: Weights | None, corpus: bool) -> Weights:
    """The weights of a part; with ``corpus`` the rounds of corpus mode, too, else those of ``start``."""
    cross = cross_fit(part.files, part.simulated, start=start, worth=part.worth)
    weights = fit_weights(part.files, named, start=start, simulated=part.simulated, worth=part.worth, cross=cross)
    if corpus:
        models = cross.models if start is None else cross_fit(part.files, part.simulated, worth=part.worth).models
        return fit_rounds(
            part.corpora,
            weights,
            models,
            part.folds,
            simulated=part.simulated_corpora,
            second_stage=not part.caseless,
        )
    return weights if start is None else msgspec.structs.replace(weights, rounds=start.rounds)


def split_by_case(files: Files) -> tuple[list[list[Example]], list[list[Example]]]:
    """The examples with capitals and the caseless ones of each file."""
    vocabulary = Vocabulary()
    parts: tuple[list[list[Example]], list[list[Example]]] = ([], [])
    for examples in files:
        words = [vocabulary.ids(example.instance.target.words()) for example in examples]
        flat = np.array([number for sentence in words for number in sentence], np.int64)
        caseless = scripts(vocabulary.table()[flat], borders(map(len, words)))[0].tolist()
        for which, part in enumerate(parts):
            part.append(
                [example for example, sentence in zip(examples, caseless, strict=True) if sentence == which]
            )
    return parts


def _filled(files: Files) -> list[list[Example]]:
    return [list(examples) for examples in files if any(example.instance.mentions for example in examples)]


def _mentions(files: Files) -> int:
    return sum(len(example.instance.mentions) for examples in files for example in examples)


def _for_caseless(weights: Weights | None) -> Weights | None:
    """The weights with those of caseless sentences in the place of the others."""
    caseless = None if weights is None else weights.caseless
    if weights is None or caseless is None:
        return weights
    return msgspec.structs.replace(
        weights,
        given=caseless.given,
        tagged=caseless.tagged,
        overlooked=caseless.overlooked,
        rounds=tuple(each.caseless or each for each in weights.rounds),
        caseless=None,
    )


def with_caseless(weights: Weights, caseless: Weights) -> Weights:
    """``weights`` with those of ``caseless`` for caseless sentences, in corpus mode where both know it."""
    rounds = weights.rounds
    if rounds and caseless.rounds:
        rounds = tuple(
            msgspec.structs.replace(cased, caseless=msgspec.structs.replace(other, caseless=None))
            for cased, other in zip(rounds, caseless.rounds, strict=True)
        )
    return msgspec.structs.replace(weights, rounds=rounds, caseless=_caseless(caseless))


def _caseless(weights: Weights) -> CaselessWeights:
    return CaselessWeights(
        given=weights.given,
        tagged=weights.tagged,
        overlooked=weights.overlooked,
    )
