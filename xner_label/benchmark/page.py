"""A report as one self-contained HTML page: no script, nothing fetched, light and dark, printable."""

from __future__ import annotations

from importlib import resources
from itertools import groupby

from xner_label.benchmark.report import Report
from xner_label.benchmark.table import advice_line, p_words, stage_costs, weakness_words
from xner_label.errors import MissingExtraError

_TEMPLATE = "benchmark.html.jinja"


def require_template_engine() -> None:
    """Raise MissingExtraError unless jinja2 can be imported."""
    try:
        import jinja2  # noqa: F401
    except ImportError:
        raise MissingExtraError("report", "the HTML page of `xner-label benchmark -o`") from None


def render(report: Report) -> str:
    """The page. Raises MissingExtraError without jinja2."""
    require_template_engine()
    from jinja2 import Environment, StrictUndefined

    datasets = [(name, list(rows)) for name, rows in groupby(report.rows, key=lambda row: row.data)]
    source = (resources.files("xner_label.benchmark") / _TEMPLATE).read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(source).render(
        report=report,
        datasets=datasets,
        advice=advice_line(report),
        weakness_words=weakness_words,
        p_words=p_words,
        costs={name: stage_costs(rows) for name, rows in datasets},
    )
