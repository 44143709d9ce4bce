"""`xner-label status`: where the project stands."""

from __future__ import annotations

from collections.abc import Mapping

import click

from xner_label.cli.options import json_option, with_settings
from xner_label.cli.output import write_json
from xner_label.settings.table import Settings


@click.command(name="status")
@with_settings("database_url", "project")
@json_option
def command(settings: Settings, as_json: bool) -> None:
    """Show how many tasks, predictions, reviews, corrections and model runs the project has."""
    from xner_label.reporting.status import status
    from xner_label.store.database import open_store

    with open_store(settings.database_url) as store:
        found = status(store, settings.project)
    if as_json:
        write_json(found)
        return
    click.echo(f"project        {found.project} ({', '.join(found.labels)})")
    click.echo(f"Label Studio   {f'project {found.studio_project}' if found.studio_project else 'not connected'}")
    click.echo(f"tasks          {_counts(found.tasks)}")
    click.echo(f"source data    {found.source_sentences} labelled sentences")
    click.echo(f"predictions    {_counts(found.predictions)}")
    click.echo(f"review         {found.chosen} chosen, {found.pushed} in Label Studio")
    conflicts = f", {found.conflicts} in conflict" if found.conflicts else ""
    click.echo(f"gold           {found.gold} tasks{conflicts}")
    click.echo(f"corrections    {_counts(found.corrections)}")
    click.echo(f"models         {found.model_runs} runs, serving {found.promoted or 'the projection'}")
    click.echo(found.signature)


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items()) or "none"
