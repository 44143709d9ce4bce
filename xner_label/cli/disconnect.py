"""`xner-label disconnect`: leave the project in Label Studio."""

from __future__ import annotations

import click

from xner_label.cli.options import json_option, with_settings
from xner_label.cli.output import answer
from xner_label.settings.table import Settings


@click.command(name="disconnect")
@with_settings("database_url", "project", "studio_url")
@json_option
def command(settings: Settings, as_json: bool) -> None:
    """Remove the ML backend and the webhook from Label Studio and forget which project is connected.

    The project over there stays as it is, and so does everything that was synced. `sync` first: what people did
    since the last one isn't taken over.
    """
    from xner_label.store.database import open_store
    from xner_label.studio.connect import disconnect

    with open_store(settings.database_url) as store:
        removed = disconnect(store, settings)
    text = f"disconnected; removed {', '.join(removed) or 'nothing'} from Label Studio"
    answer({"removed": removed}, text, as_json=as_json)
