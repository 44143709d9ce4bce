"""`xner-label connect`: make or join the project in Label Studio."""

from __future__ import annotations

import click

from xner_label.cli.options import json_option, with_settings
from xner_label.cli.output import answer, say
from xner_label.settings.table import Settings


@click.command(name="connect")
@click.option("--project-id", "studio_project", type=int, help="Join this project of Label Studio")
@click.option("--new", is_flag=True, help="Make another project, also when one is connected or was deleted")
@click.option("--backend/--no-backend", default=True, help="Attach the ML backend and its webhook")
@click.option("--replace-config", is_flag=True, help="Overwrite the labelling configuration with ours")
@click.option("--text-field", metavar="FIELD", help="Where a joined project shows the text [default: the first]")
@click.option("--source-field", metavar="FIELD", help="Where a joined project shows the source [source_text]")
@with_settings("database_url", "project", "labels", "studio_url", "backend_url")
@json_option
def command(settings: Settings, as_json: bool, **options: object) -> None:
    """Make a project in Label Studio, or join one, with ML backend, webhook and a view by confidence.

    Connecting again changes nothing that is right already. Annotations are left alone.
    """
    from xner_label.store.database import open_store
    from xner_label.store.labels import agreed
    from xner_label.studio.connect import ConnectOptions, connect

    with open_store(settings.database_url) as store:
        connection = connect(store, agreed(store, settings), ConnectOptions(**options))  # type: ignore[arg-type]
    how = "made and connected" if connection.created else "connected"
    parts = [
        f"project {connection.studio_project} {how}: {connection.url}",
        f"ML backend {connection.backend or 'none'}",
        f"webhook {connection.webhook or 'none'}",
    ]
    answer(connection, ", ".join(parts), as_json=as_json)
    for note in connection.notes:
        say(note)
