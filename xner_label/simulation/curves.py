"""Learning curves of a simulation as one plot: every strategy, by minutes of review."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from xner_label.errors import MissingExtraError
from xner_label.review.queue import ONE_QUEUE
from xner_label.simulation.loop import Run

_PANELS = {
    "pool_f1": "pool",
    "rest_f1": "unreviewed rest",
    "test_f1": "test, source known",
    "text_f1": "test, text alone",
}
# What the same answers are worth without spreading, by panel: the field and the name of the line.
_REFERENCES = {
    "pool_f1": ("replaced_pool_f1", "own sentence alone"),
    "rest_f1": ("replaced_rest_f1", "own sentence alone"),
    "test_f1": ("replaced_test_f1", "own sentence alone"),
    "text_f1": ("gold_only_text_f1", "the reviewed sentences alone"),
}


class Point(NamedTuple):
    """The mean over seeds, and the lowest and highest bound of their intervals; the same where there is none."""

    minutes: float
    score: float
    low: float
    high: float


def plot_curves(runs_by_title: dict[str, Sequence[Run]], file: Path) -> None:
    """Draw a row of panels for each title: a line per strategy, seeds averaged, with 95 % intervals shaded for the
    first; dashed what its answers are worth without spreading, dotted a text model of the silver alone.

    States with questions about names are left out, but for the one queue. The file's name says the format. Raises
    MissingExtraError without matplotlib.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("report", "a plot") from None
    panels = {
        name: title
        for name, title in _PANELS.items()
        if any(getattr(run, name) is not None for runs in runs_by_title.values() for run in runs)
    }
    figure = Figure(figsize=(3.4 * len(panels), 3.2 * max(len(runs_by_title), 1)), layout="constrained")
    grid = figure.subplots(max(len(runs_by_title), 1), len(panels), squeeze=False)
    for (title, runs), row in zip(runs_by_title.items(), grid, strict=True):
        for axes, name in zip(row, panels, strict=True):
            _draw(axes, runs, name)
            axes.set(title=f"{title}: {panels[name]}" if title else panels[name], xlabel="minutes of review")
        row[0].set_ylabel("strict span F1")
    handles = {
        label: handle
        for row in grid
        for axes in row
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4, fontsize=7)
    # the same runs give the same file
    with rc_context({"svg.hashsalt": "xner-label"}):
        figure.savefig(file, metadata={"Date": None} if file.suffix == ".svg" else None)


def curve(runs: Sequence[Run], strategy: str, name: str) -> list[Point]:
    """A strategy's states in the order of their minutes; states without this score are left out."""
    states: dict[tuple[int, int], list[Run]] = {}
    for run in runs:
        counts = not run.names or strategy == ONE_QUEUE
        if counts and run.strategy == strategy and getattr(run, name) is not None:
            states.setdefault((run.budget, run.names), []).append(run)
    points = []
    for draws in states.values():
        scores = [getattr(run, name) for run in draws]
        bounds = [
            getattr(run, f"{name}_ci95", None) or (score, score) for run, score in zip(draws, scores, strict=True)
        ]
        points.append(
            Point(
                sum(run.minutes for run in draws) / len(draws),
                sum(scores) / len(scores),
                min(low for low, _ in bounds),
                max(high for _, high in bounds),
            )
        )
    return sorted(points)


def _draw(axes: Any, runs: Sequence[Run], name: str) -> None:
    strategies = list(dict.fromkeys(run.strategy for run in runs))
    for number, strategy in enumerate(strategies):
        points = curve(runs, strategy, name)
        if points:
            minutes = [point.minutes for point in points]
            axes.plot(
                minutes, [point.score for point in points], marker="o", markersize=3, linewidth=1, label=strategy
            )
            if not number:
                low, high = [point.low for point in points], [point.high for point in points]
                axes.fill_between(minutes, low, high, alpha=0.15, linewidth=0)
    field, label = _REFERENCES[name]
    without = curve(runs, strategies[0], field) if strategies else []
    if without:
        axes.plot(
            *zip(*((point.minutes, point.score) for point in without), strict=True),
            "k--",
            linewidth=1,
            label=label,
        )
    silver = next((run.full_silver_text_f1 for run in runs if run.full_silver_text_f1 is not None), None)
    if name == "text_f1" and silver is not None:
        axes.axhline(silver, color="k", linestyle=":", linewidth=1, label="the silver alone")
