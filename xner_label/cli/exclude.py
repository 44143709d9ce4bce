"""`xner-label exclude`: set tasks aside."""

from __future__ import annotations

import click

from xner_label.cli.options import json_option, with_settings
from xner_label.cli.output import answer
from xner_label.errors import UsageError
from xner_label.settings.table import Settings
from xner_label.wording import counted


@click.command(name="exclude")
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--reason", help="Why; recorded")
@click.option("--undo", is_flag=True, help="Take the tasks back in")
@with_settings("database_url", "project")
@json_option
def command(settings: Settings, ids: tuple[str, ...], reason: str | None, undo: bool, as_json: bool) -> None:
    """Set tasks aside by their ids: they aren't predicted, pushed, learned from or exported any more.

    Nothing is deleted. Without ids it lists what is set aside.
    """
    from xner_label.store.database import open_store
    from xner_label.store.set_aside import change_exclusions, exclusions

    if ids and not undo and not reason:
        raise UsageError("why should they be set aside?", hint="give --reason TEXT")
    with open_store(settings.database_url) as store:
        changed = change_exclusions(store, settings.project, ids, None if undo else reason) if ids else 0
        listed = exclusions(store, settings.project)
    if ids:
        text = f"{counted(changed, 'task')} {'taken back in' if undo else 'set aside'}, {len(listed)} in all"
    else:
        text = "\n".join(f"{name}\t{why}" for name, why in listed.items()) or "no task is set aside"
    answer({"changed": changed, "excluded": listed}, text, as_json=as_json)
