"""The report's plots, drawn by matplotlib as SVG.

Colours are placeholders that the page replaces by its own, light or dark; every series also has a marker or a
hatching of its own, so that nothing depends on colour.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any
from zlib import crc32

# Placeholders that matplotlib understands, and the variables of the page's style sheet that take their place.
_INK, _GRID, _FIRST, _SECOND, _FILL = "#010203", "#040506", "#070809", "#0a0b0c", "#0d0e0f"
_VARIABLES = {_INK: "--ink", _GRID: "--grid", _FIRST: "--first", _SECOND: "--second", _FILL: "--fill"}
_SIZE = (5.6, 3.4)  # inches
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "xner-label",
    "font.family": "sans-serif",
    "font.size": 10,
    "hatch.color": _INK,
    "hatch.linewidth": 0.5,
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), _INK),
}


def reliability(bins: Sequence[tuple[float, float, float, float, int]]) -> str:
    """Share of right entities over mean confidence: (confidence, share, low, high, count) of each band."""
    figure = _Figure("Mean confidence of the band", "Share that is right")
    axes = figure.axes
    axes.plot([0, 1], [0, 1], color=_INK, linestyle=":", linewidth=1, label="as it should be")
    shown = [row for row in bins if row[4]]
    x, y = [row[0] for row in shown], [row[1] for row in shown]
    errors = [[max(row[1] - row[2], 0.0) for row in shown], [max(row[3] - row[1], 0.0) for row in shown]]
    axes.errorbar(
        x, y, yerr=errors, color=_FIRST, marker="o", linewidth=1.5, capsize=3, label="measured, 95 % interval"
    )
    for confidence, share, _, _, count in shown:
        axes.annotate(
            str(count), (confidence, share), (5, -12), textcoords="offset points", fontsize=8, color=_INK
        )
    axes.set(xlim=(0, 1.02), ylim=(0, 1.05))
    # above the plot: bands with few entities may lie anywhere in it
    axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2, labelcolor=_INK)
    return figure.svg()


def histogram(bands: Sequence[tuple[float, float]], right: Sequence[int], wrong: Sequence[int]) -> str:
    """Entities by band (low, high) of confidence, right and wrong ones stacked."""
    figure = _Figure("Confidence", "Reviewed entities")
    axes = figure.axes
    names = [f"{low:g} to\n{high:g}" for low, high in bands]
    style = {"width": 0.8, "edgecolor": _INK, "linewidth": 0.6}
    axes.bar(names, right, color=_FIRST, label="right", **style)
    axes.bar(names, wrong, bottom=right, color=_SECOND, hatch="///", label="wrong", **style)
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2, labelcolor=_INK)
    return figure.svg()


def curve(points: Sequence[tuple[float, float, float | None, float | None]], across: str, up: str) -> str:
    """A line through (x, y, low, high); an interval that is None is left out."""
    figure = _Figure(across, up)
    axes = figure.axes
    x, y = [row[0] for row in points], [row[1] for row in points]
    axes.plot(x, y, color=_FIRST, marker="o", linewidth=1.5)
    bounds = [(row[0], row[2], row[3]) for row in points if row[2] is not None and row[3] is not None]
    if bounds:
        axes.vlines(
            [row[0] for row in bounds],
            [row[1] for row in bounds],
            [row[2] for row in bounds],
            color=_FIRST,
            linewidth=1,
        )
    axes.margins(x=0.08, y=0.15)
    return figure.svg()


def foreseen(
    names: Sequence[str], expected: Sequence[tuple[float, float, float]], made: Sequence[float], up: str
) -> str:
    """What was expected, (value, low, high) each, and what was made, side by side, in the order of time."""
    figure = _Figure("Plans, oldest first", up)
    axes = figure.axes
    places = range(len(names))
    values = [row[0] for row in expected]
    errors = [[row[0] - row[1] for row in expected], [row[2] - row[0] for row in expected]]
    axes.errorbar(
        places,
        values,
        yerr=errors,
        color=_FIRST,
        marker="o",
        linestyle="none",
        capsize=4,
        label="plan, 95 % interval",
    )
    axes.plot(places, made, color=_SECOND, marker="X", markersize=8, linestyle="--", linewidth=1, label="reality")
    axes.set_xticks(list(places), list(names))
    axes.set_ylim(bottom=0)
    axes.margins(x=0.1, y=0.15)
    axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2, labelcolor=_INK)
    return figure.svg()


def weeks(rows: Mapping[str, Sequence[tuple[str, float, float, float]]], up: str) -> str:
    """A line for each person: (week, value, low, high), every one with a marker of its own."""
    figure = _Figure("Week", up)
    axes = figure.axes
    names = sorted({row[0] for of_person in rows.values() for row in of_person})
    for number, (person, of_person) in enumerate(rows.items()):
        shift = (number - (len(rows) - 1) / 2) * 0.06
        places = [names.index(row[0]) + shift for row in of_person]
        errors = [[row[1] - row[2] for row in of_person], [row[3] - row[1] for row in of_person]]
        axes.errorbar(
            places,
            [row[1] for row in of_person],
            yerr=errors,
            color=(_FIRST, _SECOND, _INK)[number % 3],
            marker="osD^vP"[number % 6],
            linestyle=("-", "--", ":")[number // 3 % 3],
            linewidth=1,
            capsize=3,
            label=person,
        )
    axes.set_xticks(range(len(names)), names)
    axes.set_ylim(0, 1.05)
    axes.margins(x=0.1)
    axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3, labelcolor=_INK, fontsize=8)
    return figure.svg()


def bars(names: Sequence[str], values: Sequence[float], along: str) -> str:
    """Horizontal bars with their values, the first on top."""
    figure = _Figure(along, "", height=0.6 + 0.36 * max(len(names), 1))
    axes = figure.axes
    axes.barh(list(names), values, color=_FILL, edgecolor=_INK, linewidth=0.6)
    axes.invert_yaxis()
    axes.xaxis.get_major_locator().set_params(integer=all(float(value).is_integer() for value in values))
    axes.grid(visible=False, axis="y")
    for row, value in enumerate(values):
        axes.annotate(f"{value:g}", (value, row), (4, 0), textcoords="offset points", va="center", color=_INK)
    axes.margins(x=0.12)
    return figure.svg()


class _Figure:
    """An empty figure in the page's style."""

    def __init__(self, across: str, up: str, height: float = _SIZE[1]) -> None:
        from matplotlib import rc_context
        from matplotlib.figure import Figure

        with rc_context(_STYLE):
            self._figure = Figure(figsize=(_SIZE[0], height), layout="constrained")
            self.axes: Any = self._figure.subplots()
            self.axes.set(xlabel=across, ylabel=up)
            self.axes.patch.set_alpha(0.0)
            self.axes.grid(visible=True, color=_GRID, linewidth=0.6)
            self.axes.set_axisbelow(True)
            self.axes.spines[["top", "right"]].set_visible(False)

    def svg(self) -> str:
        """The finished plot."""
        from matplotlib import rc_context

        buffer = io.StringIO()
        with rc_context(_STYLE):
            self._figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
        return _for_page(buffer.getvalue())


def _for_page(svg: str) -> str:
    """The SVG element alone, in the page's colours, as wide as its place."""
    element = svg[svg.index("<svg") :]
    for placeholder, variable in _VARIABLES.items():
        element = element.replace(placeholder, f"var({variable})")
    element = re.sub(
        r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1" aria-hidden="true">', element, count=1
    )
    element = re.sub(r"<metadata>.*?</metadata>", "", element, flags=re.DOTALL).replace('xlink:href="', 'href="')
    # Several charts stand on one page, and an id may stand there once.
    prefix = f"c{crc32(element.encode()):08x}-"
    return re.sub(r'( id="|"#|url\(#)', rf"\g<1>{prefix}", element)
