"""The report as one self-contained HTML page: no script, nothing fetched, light and dark, printable."""

from __future__ import annotations

from importlib import resources

from xner_label.errors import MissingExtraError
from xner_label.reporting.report import BINS, Reliability, Report

_TEMPLATE = "report.html.jinja"


def require_drawing() -> None:
    """Raise MissingExtraError unless jinja2 and matplotlib can be imported."""
    try:
        import jinja2  # noqa: F401
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("report", f"`xner-label report` (no module {error.name})") from None


def render(report: Report) -> str:
    """The page. Raises MissingExtraError without jinja2 and matplotlib."""
    require_drawing()
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    drawn = {name: Markup(svg) for name, svg in _charts(report).items()}  # noqa: S704 - matplotlib's own SVG
    source = (resources.files("xner_label.reporting") / _TEMPLATE).read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    return environment.from_string(source).render(report=report, charts=drawn, tiles=_tiles(report))


def _charts(report: Report) -> dict[str, str]:
    """The plots by the name under which the template knows them; "" where there is nothing to draw."""
    from xner_label.reporting import charts

    drawn = dict.fromkeys(("reliability", "histogram", "stages", "curve"), "")
    if report.reliability is not None:
        bins = report.reliability.bins
        drawn["reliability"] = charts.reliability(
            [
                (row.confidence, row.right / row.entities, row.share_low, row.share_high, row.entities)
                for row in bins
            ]
        )
        right, wrong = _histogram(report.reliability)
        drawn["histogram"] = charts.histogram([number / BINS for number in range(BINS + 1)], right, wrong)
    if report.errors is not None and report.errors.stages:
        stages = sorted(report.errors.stages, key=lambda row: -row.errors)
        drawn["stages"] = charts.bars([row.stage for row in stages], [row.errors for row in stages], "Errors")
    points = [(run.gold_tasks, run.f1, run.low, run.high) for run in report.runs if run.f1 is not None]
    if len(points) > 1:
        drawn["curve"] = charts.curve(points, "Gold tasks", "Strict F1 on held-out gold")
    return drawn


def _histogram(reliability: Reliability) -> tuple[list[int], list[int]]:
    """Right and wrong entities of every tenth, empty ones too."""
    right, wrong = [0] * BINS, [0] * BINS
    for row in reliability.bins:
        place = round(row.low * BINS)
        right[place], wrong[place] = row.right, row.entities - row.right
    return right, wrong


def _tiles(report: Report) -> list[tuple[str, str]]:
    state = report.status
    counts = [
        ("Tasks", sum(state.tasks.values())),
        ("Settled by people", state.gold),
        ("Waiting in Label Studio", state.waiting),
        ("In conflict", state.conflicts),
        ("Answers not learned from", state.unlearned),
        ("Names settled", len(report.names)),
        ("Model runs", state.model_runs),
    ]
    served = state.promoted or "the projection"
    synced = f"{state.last_sync:%Y-%m-%d %H:%M} UTC" if state.last_sync else "never"
    return [*((name, f"{count:,}") for name, count in counts), ("Served", served), ("Last sync", synced)]
