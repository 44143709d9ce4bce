"""What to use, and why: the default pipeline unless another one is better beyond chance."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from xner_label.benchmark.grid import Cell, Result
from xner_label.benchmark.outcome import interval, mean_resampled
from xner_label.evaluation.metrics import Floats
from xner_label.settings.choices import PROJECTORS, WEIGHTED_PROJECTORS
from xner_label.settings.rules import weighted_sum


class Advice(msgspec.Struct, frozen=True):
    """What to use. ``f1`` is the mean over the datasets; ``behind_best`` is what it lacks to the best system that
    was measured, ``best``, with the paired interval. ``settings`` are fields of the settings to write."""

    system: str
    f1: float
    ci95: tuple[float, float]
    best: str
    behind_best: float
    behind_best_ci95: tuple[float, float]
    why: str
    settings: dict[str, str]


class _Contender(msgspec.Struct, frozen=True):
    cell: Cell
    f1: float
    resampled: Floats


def advise(results: Sequence[Sequence[Result]], intrinsic: bool) -> Advice | None:
    """The advice of one or more datasets' results; None where no pipeline that settings can name was measured.

    Rows with worse links or after reviews don't count. ``intrinsic``: source entities that come with the tasks are
    people's; whole pipelines are preferred to them where there are any.
    """
    contenders = _contenders(results)
    if intrinsic:
        whole = [contender for contender in contenders if _given(contender.cell) is False]
        contenders = whole if any(_settable(contender.cell) for contender in whole) else contenders
    usable = [contender for contender in contenders if _settable(contender.cell)]
    if not usable:
        return None
    best = max(contenders, key=lambda contender: contender.f1)
    chosen = max(usable, key=lambda contender: contender.f1)
    why = "it is the best that was measured"
    if chosen.cell.method not in WEIGHTED_PROJECTORS:
        ours = [contender for contender in usable if contender.cell.method in WEIGHTED_PROJECTORS]
        default = max(ours, key=lambda contender: contender.f1, default=None)
        if default is not None and interval(chosen.resampled - default.resampled)[0] <= 0.0:
            why = f"{chosen.cell} is not better than it beyond chance, and its confidence is a probability"
            chosen = default
        elif default is not None:
            why = f"it is better than {default.cell} beyond chance"
    low, high = interval(chosen.resampled - best.resampled)
    if best is not chosen and not _settable(best.cell):
        why += f"; {best.cell} was measured too, and can't be put into the settings"
    return Advice(
        str(chosen.cell),
        chosen.f1,
        interval(chosen.resampled),
        str(best.cell),
        chosen.f1 - best.f1,
        (low, high),
        why,
        _settings(chosen.cell),
    )


def _contenders(results: Sequence[Sequence[Result]]) -> list[_Contender]:
    """The systems that were measured on every dataset, as they are."""
    measured = [
        {str(result.cell): result for result in of_dataset if result.outcome is not None} for of_dataset in results
    ]
    contenders = []
    for name, result in measured[0].items() if measured else ():
        outcomes = [of_dataset[name].outcome for of_dataset in measured if name in of_dataset]
        counted = [outcome for outcome in outcomes if outcome is not None]
        if result.cell.as_it_is and len(counted) == len(measured):
            contenders.append(
                _Contender(
                    result.cell,
                    float(np.mean([outcome.scores.f1 for outcome in counted])),
                    mean_resampled(counted),
                )
            )
    return contenders


def _given(cell: Cell) -> bool:
    return cell.tagger is not None and cell.tagger.kind == "given"


def _settable(cell: Cell) -> bool:
    """Whether the settings can name the pipeline: neither a tagger alone nor one that asks another model."""
    projector = cell.method.partition("@")[0]
    known = projector in PROJECTORS or bool(weighted_sum(projector))
    return known and cell.target_tagger is None


def _settings(cell: Cell) -> dict[str, str]:
    """The settings of a cell; a stage that comes with the tasks says nothing about what makes it."""
    values = {"projector": cell.method}
    for role in ("translator", "tagger", "aligner"):
        choice = getattr(cell, role)
        if choice is not None and choice.kind != "given":
            values[role] = choice.kind
            if choice.model:
                values[f"{role}_model"] = choice.model
    return values
