"""Whether a run answers texts that come without a source from the text alone, or beside a projection.

Such a text can be translated and projected first. That costs a translator, and what is projected from a machine's
translation is worse than from a source that people gave: a good run is better off without it. Held-out gold says
whether this one is, for its language. The tasks whose source a translator made say it best; where there are too
few of them, those with a source that people gave do, which a translation hardly is better than.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from xner_label.evaluation.metrics import f1_score, resampled_sums

# Tasks below which nothing is concluded, and in which share of the resamples the text alone must be better.
MIN_TASKS = 20
MIN_BETTER = 0.9
_RESAMPLES = 1_000
_SEED = 13


class TextAlone(msgspec.Struct, frozen=True):
    """A run on the ``tasks`` held-out gold tasks that have a projection: F1 from the text alone and beside the
    projection, and in which share of the bootstrap resamples the former is ``better``. ``sources`` says whose they
    are: ``translated`` by a machine or ``given`` by people. ``chosen``: texts without a source are answered from
    the text alone."""

    tasks: int
    sources: Literal["translated", "given"]
    f1: float
    with_projection_f1: float
    better: float
    chosen: bool

    @property
    def line(self) -> str:
        """The choice and why, in words."""
        how = "from the text alone" if self.chosen else "beside the projection of a translation"
        return (
            f"{how}: F1 {self.f1:.3f} alone, {self.with_projection_f1:.3f} with projections "
            f"from {self.sources} sources ({self.tasks} held-out tasks)"
        )


def judge_text_alone(counts: NDArray[np.float64], sources: Literal["translated", "given"]) -> TextAlone | None:
    """What (S, 6) counts of held-out tasks say: correct, predicted and gold entities from the text alone, then
    beside the projection. ``sources`` says whose they are. None for fewer than ``MIN_TASKS`` tasks."""
    if len(counts) < MIN_TASKS:
        return None
    totals = counts.sum(axis=0)
    sums = resampled_sums(counts, _RESAMPLES, _SEED)
    better = float(np.mean(f1_score(*sums[:, :3].T) > f1_score(*sums[:, 3:].T)))
    return TextAlone(
        tasks=len(counts),
        sources=sources,
        f1=float(f1_score(*totals[:3])),
        with_projection_f1=float(f1_score(*totals[3:])),
        better=better,
        chosen=better >= MIN_BETTER,
    )


def recorded(metrics: Mapping[str, Any] | None) -> TextAlone | None:
    """What was found out when a run was trained, from its recorded metrics."""
    metric = (metrics or {}).get("text_alone")
    return None if metric is None else msgspec.convert(metric, TextAlone)


def answers_from_text_alone(metrics: Mapping[str, Any] | None, choice: str) -> bool:
    """Whether a run with these metrics answers texts without a source from the text alone. ``choice`` is the
    setting ``training.without_source``."""
    if choice == "auto":
        measured = recorded(metrics)
        return measured is not None and measured.chosen
    return choice == "text"
