"""`xner-label runs`: the registry of model runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from xner_label.cli.options import json_option, with_settings
from xner_label.cli.output import answer
from xner_label.settings.table import Settings

if TYPE_CHECKING:
    from xner_label.training.registry import LearnedFrom, RunDetails, RunDifference, RunSummary


@click.group(name="runs")
def command() -> None:
    """List the model runs, show what made one, compare two."""


@command.command(name="list", short_help="List the model runs of the project")
@with_settings("database_url", "project")
@json_option
def list_(settings: Settings, as_json: bool) -> None:
    """List the model runs of the project, oldest first; the served one is marked."""
    from xner_label.store.database import open_store
    from xner_label.training.registry import list_runs

    with open_store(settings.database_url) as store:
        listed = list_runs(store, settings.project)
    answer(listed, "\n".join(map(_line, listed)) or "no model run: `xner-label train`", as_json=as_json)


@command.command(short_help="Show what made a run")
@click.argument("version")
@with_settings("database_url", "project", "training_folder")
@json_option
def show(settings: Settings, version: str, as_json: bool) -> None:
    """Show a run: data, options, code, scores, promotions, and by annotator and date what it learned from."""
    from xner_label.store.database import open_store
    from xner_label.training.registry import show_run

    with open_store(settings.database_url) as store:
        details = show_run(store, settings.project, Path(settings.training_folder), version)
    answer(details, _details(details), as_json=as_json)


@command.command(short_help="Compare two runs")
@click.argument("old")
@click.argument("new")
@with_settings("database_url", "project")
@json_option
def diff(settings: Settings, old: str, new: str, as_json: bool) -> None:
    """Say how the run NEW differs from OLD: data, options, code, scores and the annotations learned from."""
    from xner_label.store.database import open_store
    from xner_label.training.registry import diff_runs

    with open_store(settings.database_url) as store:
        difference = diff_runs(store, settings.project, old, new)
    answer(difference, _difference(difference), as_json=as_json)


def _line(run: RunSummary) -> str:
    score = (
        "not judged"
        if run.f1 is None or run.ci95 is None
        else f"F1 {run.f1:.3f} {run.ci95[0]:.3f}..{run.ci95[1]:.3f}"
    )
    served = "  served" if run.served else ""
    return f"{run.version}  {run.created}  {run.gold} gold, {run.silver} silver  {score}{served}"


def _details(details: RunDetails) -> str:
    from xner_label.evaluation.text_alone import recorded

    data = details.config.get("data") or {}
    lines = [
        _line(details.run),
        f"signature   {details.config.get('signature')}",
        f"data        {details.config.get('data_hash', 'not recorded')}; silver by {data.get('pipeline')}",
        f"code        {details.config.get('code', 'not recorded')}",
        f"options     {details.config.get('options')}",
        f"files       {details.files}, {details.artefact or 'no hash recorded'}",
        *([f"no source   {text_alone.line}"] if (text_alone := recorded(details.metrics)) else []),
        "learned from",
        *_learned(details.learned_from),
        *(f"promoted    {item.at} by {item.by or 'nobody named'}: {item.reason}" for item in details.promotions),
    ]
    return "\n".join(lines)


def _difference(difference: RunDifference) -> str:
    lines = [f"{name}: {old} -> {new}" for name, (old, new) in difference.changed.items()]
    lines += [f"F1 {name}: {_score(old)} -> {_score(new)}" for name, (old, new) in difference.f1.items()]
    for title, listed in (("added", difference.annotations_added), ("gone", difference.annotations_gone)):
        if listed:
            lines += [f"annotations {title}", *_learned(listed)]
    return "\n".join(lines) or "no difference"


def _learned(listed: list[LearnedFrom]) -> list[str]:
    return [f"  {item.annotations:>6} by {item.annotator} on {item.date}" for item in listed] or [
        "  no annotation"
    ]


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
