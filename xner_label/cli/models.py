"""``xner-label models``: which checkpoints there are, and fetching them ahead of use."""

from __future__ import annotations

import click

from xner_label.cli.options import json_option, with_settings
from xner_label.cli.output import write_json
from xner_label.errors import UsageError
from xner_label.settings.table import Settings


@click.group(name="models")
def command() -> None:
    """List checkpoints, or fetch them from the hub ahead of use."""


@command.command("list")
@with_settings("preset")
@json_option
def list_command(settings: Settings, as_json: bool) -> None:
    """Known checkpoints: size, licence, the presets that use them, and whether they are here."""
    from xner_label.checkpoints.hub import list_models

    entries = list_models(settings)
    if as_json:
        write_json(entries)
        return
    width = max(len(entry.name) for entry in entries)
    for entry in entries:
        size = "" if entry.gigabytes is None else f"{entry.gigabytes:.1f} GB"
        here = "here" if entry.folder else "not here"
        uses = f"{entry.stage} ({', '.join(entry.presets)})" if entry.presets else entry.stage
        click.echo(f"{entry.name:{width}}  {size:>8}  {entry.licence:13} {here:9} {uses}. {entry.note}")


@command.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@with_settings("preset")
def pull(names: tuple[str, ...], settings: Settings) -> None:
    """Fetch checkpoints by hub name; without names, those that the settings (or --preset) need.

    Says size and licence first. Ends with code 3 when the hub can't be reached.
    """
    from xner_label.checkpoints.hub import models_of, pull_model

    wanted = names or models_of(settings)
    if not wanted:
        raise UsageError(
            f"the preset {settings.preset} needs no checkpoint", hint="name one, or give --preset fast or paper"
        )
    for name in wanted:
        folder = pull_model(name, _announce)
        click.echo(folder)


def _announce(name: str, gigabytes: float, licence: str) -> None:
    click.echo(f"{name}: {gigabytes:.1f} GB, licence {licence}", err=True)
