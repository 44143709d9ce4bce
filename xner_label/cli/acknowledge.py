"""`xner-label acknowledge`: annotations that can't be used and needn't be named again."""

from __future__ import annotations

import click

from xner_label.cli.options import json_option, with_settings
from xner_label.cli.output import answer
from xner_label.settings.table import Settings
from xner_label.wording import counted


@click.command(name="acknowledge")
@click.argument("annotations", metavar="ANNOTATION...", nargs=-1, type=int, required=True)
@click.option("--reason", required=True, help="Why; recorded")
@with_settings("database_url", "project", "studio_url")
@json_option
def command(settings: Settings, annotations: tuple[int, ...], reason: str, as_json: bool) -> None:
    """Take note of annotations, by Label Studio's numbers, that `sync` refuses: it goes on without them.

    One that is changed later is looked at again.
    """
    from xner_label.store.database import open_store
    from xner_label.studio.sync import acknowledge

    with open_store(settings.database_url) as store:
        noted = acknowledge(store, settings, annotations, reason)
    answer({"acknowledged": noted}, f"{counted(len(noted), 'annotation')} acknowledged", as_json=as_json)
