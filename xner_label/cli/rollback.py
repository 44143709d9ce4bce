"""`xner-label rollback`: serve the run before."""

from __future__ import annotations

from pathlib import Path

import click

from xner_label.cli.options import json_option, with_settings
from xner_label.cli.output import answer
from xner_label.settings.table import Settings


@click.command(name="rollback")
@click.option("--reason", required=True, help="Why; recorded")
@click.option("--by", metavar="WHO", help="Who says so; recorded [default: the system's user]")
@with_settings("database_url", "project", "training_folder", "device", "dtype")
@json_option
def command(settings: Settings, reason: str, by: str | None, as_json: bool) -> None:
    """Serve the model run again that was served before the present one.

    The ML backend takes it over without a restart. What it has predicted is stored already; a `push` brings that
    to what waits in Label Studio.
    """
    from xner_label.checkpoints.devices import PlacementRequest
    from xner_label.store.database import open_store
    from xner_label.training.registry import rollback

    where = PlacementRequest(settings.device, settings.dtype)
    with open_store(settings.database_url) as store:
        before, after = rollback(store, settings.project, Path(settings.training_folder), reason, by, where)
    answer({"before": before, "after": after}, f"{after} is served again in place of {before}", as_json=as_json)
