"""The report as one self-contained HTML page: no script, nothing fetched, light and dark, printable."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import resources

from xner_label.errors import MissingExtraError
from xner_label.reporting.report import Report
from xner_label.review.plan_outcomes import PlanOutcome

_TEMPLATE = "report.html.jinja"
# Plans in one chart, and people whose weeks are drawn: more can't be told apart.
_DRAWN_PLANS, _DRAWN_PEOPLE = 12, 6
# Name, field of Quality, and what it means.
_MEASURES = (
    ("ECE", "ece", "mean distance between confidence and the share that is right, 0 is best"),
    ("AUROC", "auroc", "how often a right entity has more confidence than a wrong one, 1 is best"),
    ("AP of errors", "ap_errors", "precision of looking for errors from the least confident on, 1 is best"),
    ("Brier", "brier", "mean squared distance of confidence and outcome, 0 is best"),
)


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
    from markupsafe import Markup, escape

    def coded(text: str) -> Markup:
        """Commands between backticks as code."""
        return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped

    drawn = {name: Markup(svg) for name, svg in _charts(report).items()}  # noqa: S704 - matplotlib's own SVG
    source = (resources.files("xner_label.reporting") / _TEMPLATE).read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    environment.filters["coded"] = coded
    return environment.from_string(source).render(
        report=report, charts=drawn, tiles=_tiles(report), measures=_MEASURES
    )


def _charts(report: Report) -> dict[str, str]:
    """The plots by the name under which the template knows them; "" where there is nothing to draw."""
    from xner_label.reporting import charts

    drawn = dict.fromkeys(("reliability", "histogram", "stages", "curve", "plans", "name_plans", "weeks"), "")
    bands = () if report.desk is None else [band for band in report.desk.calibration.bands if band.n]
    if bands:
        drawn["reliability"] = charts.reliability(
            [(band.mean, band.right, band.right_low, band.right_high, band.n) for band in bands]
        )
        right = [round(band.right * band.n) for band in bands]
        wrong = [band.n - count for band, count in zip(bands, right, strict=True)]
        drawn["histogram"] = charts.histogram([(band.low, band.high) for band in bands], right, wrong)
    if report.errors is not None and report.errors.stages:
        stages = sorted(report.errors.stages, key=lambda row: -row.errors)
        drawn["stages"] = charts.bars([row.stage for row in stages], [row.errors for row in stages], "Errors")
    if report.desk is not None:
        drawn |= _plans(report.desk.plans)
    weeks = {
        person.annotator: [
            (f"{week.monday:%d %b}", week.agreement.value, week.agreement.low, week.agreement.high)
            for week in person.weeks
            if week.agreement is not None
        ]
        for person in report.people
    }
    several = {name: rows for name, rows in weeks.items() if len(rows) > 1}
    if 0 < len(several) <= _DRAWN_PEOPLE:
        drawn["weeks"] = charts.weeks(several, "Agreement with others, F1")
    points = [(run.gold_tasks, run.f1, run.low, run.high) for run in report.runs if run.f1 is not None]
    if len(points) > 1:
        drawn["curve"] = charts.curve(points, "Gold tasks", "Strict F1 on held-out gold")
    return drawn


def _plans(plans: Sequence[PlanOutcome]) -> dict[str, str]:
    from xner_label.reporting import charts

    drawn = {}
    read = [plan for plan in plans if plan.answered][-_DRAWN_PLANS:]
    if read:
        drawn["plans"] = charts.foreseen(
            _moments(read),
            [(plan.expected.value, plan.expected.low, plan.expected.high) for plan in read],
            [plan.changes for plan in read],
            "Entities put right",
        )
    asked = [plan for plan in plans if plan.answered_names][-_DRAWN_PLANS:]
    if asked:
        expected = [plan.expected_name_changes for plan in asked]
        drawn["name_plans"] = charts.foreseen(
            _moments(asked),
            [(row.value, row.low, row.high) for row in expected],
            [plan.name_changes for plan in asked],
            "Places changed by names",
        )
    return drawn


def _moments(plans: Sequence[PlanOutcome]) -> list[str]:
    """Days, with the time where a day has several plans."""
    days = [f"{plan.made_at:%d %b}" for plan in plans]
    if len(set(days)) == len(days):
        return days
    return [f"{day}\n{plan.made_at:%H:%M}" for day, plan in zip(days, plans, strict=True)]


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
