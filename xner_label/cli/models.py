"""``xner-label models``: which checkpoints there are, and fetching them ahead of use."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from xner_label.cli.options import json_option, with_settings
from xner_label.cli.output import answer, say
from xner_label.cli.progress import console_progress
from xner_label.errors import UsageError
from xner_label.settings.table import Settings

if TYPE_CHECKING:
    from xner_label.checkpoints.hub import ModelEntry


@click.group(name="models")
def command() -> None:
    """List checkpoints, or fetch them from the hub ahead of use."""


@command.command("list", short_help="Known checkpoints and whether they are here")
@with_settings("preset")
@json_option
def list_command(settings: Settings, as_json: bool) -> None:
    """Known checkpoints: size, licence, the presets that use them, and whether they are here.

    The projector's weights that come with the package are listed with what they were fitted on.
    """
    from xner_label.checkpoints.hub import ModelEntry, list_models
    from xner_label.projection.loglinear.weights_file import SHIPPED

    entries = list_models(settings)
    for name, data in SHIPPED.items():
        entries.append(
            ModelEntry(name, "projector weights", "as its data", None, (), f"Fitted on {data}", "shipped")
        )
    answer(entries, "\n".join(_rows(entries)), as_json=as_json)


def _rows(entries: Sequence[ModelEntry]) -> Iterator[str]:
    width = max(len(entry.name) for entry in entries)
    for entry in entries:
        size = "" if entry.gigabytes is None else f"{entry.gigabytes:.1f} GB"
        here = "here" if entry.folder else "not here"
        uses = f"{entry.stage} ({', '.join(entry.presets)})" if entry.presets else entry.stage
        yield f"{entry.name:{width}}  {size:>8}  {entry.licence:13} {here:9} {uses}. {entry.note}"


@command.command(short_help="Fetch checkpoints from the hub")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@with_settings("preset")
@json_option
def pull(names: tuple[str, ...], settings: Settings, as_json: bool) -> None:
    """Fetch checkpoints by hub name; without names, those that the settings (or --preset) need.

    Says size and licence first. Ends with code 3 when the hub can't be reached.
    """
    from xner_label.checkpoints.hub import models_of, pull_model

    wanted = names or models_of(settings)
    if not wanted:
        raise UsageError(
            f"the preset {settings.preset} needs no checkpoint", hint="name one, or give --preset fast or paper"
        )
    folders: dict[str, str] = {}
    with console_progress() as progress:  # on a terminal the hub's client shows bars of its own
        for name in wanted:
            progress.begin(f"fetching {name}")
            folders[name] = pull_model(name, _announce)
    answer(folders, "\n".join(folders.values()), as_json=as_json)


def _announce(name: str, gigabytes: float, licence: str) -> None:
    say(f"{name}: {gigabytes:.1f} GB, licence {licence}")
