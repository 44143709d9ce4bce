"""`xner-label labels`: the label set of the project, the one place where it changes."""

from __future__ import annotations

import click

from xner_label.cli.options import json_option, with_settings
from xner_label.cli.output import answer, say
from xner_label.errors import UsageError
from xner_label.settings.table import Settings


@click.command(name="labels")
@with_settings("database_url", "project", "labels")
@click.option("--apply", is_flag=True, help="Give the project the labels of the settings, or of --labels")
@click.option("--force", is_flag=True, help="Also where gold has entities with a label that goes")
@json_option
def command(settings: Settings, apply: bool, force: bool, as_json: bool) -> None:
    """Show the label set of the project, or change it.

    Other commands take the project's labels, and refuse to work where the settings name others. What is stored
    under a label that goes stays stored. Change `labels` in the settings first, then run this with --apply, then
    `connect --replace-config` and `predict`.
    """
    from xner_label.store.database import open_store
    from xner_label.store.labels import change_labels
    from xner_label.store.projects import get_project

    if apply and "labels" not in settings.chosen:
        raise UsageError("which labels?", hint="name them in the settings file, or with --labels A,B,...")
    with open_store(settings.database_url) as store:
        if not apply:
            with store.read() as session:
                stored = get_project(session, settings.project).labels
            answer({"project": settings.project, "labels": stored}, ",".join(stored), as_json=as_json)
            return
        change = change_labels(store, settings.project, settings.labels, force=force)
    words = f"{change.project}: {','.join(change.labels)} (was {','.join(change.before)})"
    answer(change, words, as_json=as_json)
    if set(change.before) != set(change.labels):
        say("next: `xner-label connect --replace-config`, if Label Studio is connected, and `xner-label predict`")
