"""`xner-label labels`: the one place where a project's label set changes."""

from __future__ import annotations

import click
import msgspec

from xner_label.cli.options import json_option, with_settings
from xner_label.cli.output import answer, say
from xner_label.settings.table import Settings


@click.command(name="labels")
@click.option("--apply", is_flag=True, help="Give the project the labels of the settings")
@with_settings("database_url", "project", "labels")
@json_option
def command(settings: Settings, apply: bool, as_json: bool) -> None:
    """Compare the project's labels with those of the settings, or take the settings' over.

    A project gets its labels when it is made. Afterwards only this command changes them; all others stop where the
    settings say something else. Nothing stored is lost: entities with a label that was removed are left out of
    training and review until it is back.
    """
    from xner_label.store import projects
    from xner_label.store.database import open_store

    with open_store(settings.database_url) as store, store.write() if apply else store.read() as session:
        project = projects.get_project(session, settings.project)
        change = projects.compare_labels(session, project, settings.labels)
        if apply:
            projects.set_labels(project, settings.labels)
        connected = project.studio_project is not None
    differs = bool(change.added or change.removed)
    shown = settings.labels if apply else change.labels
    document = {**msgspec.structs.asdict(change), "settings": settings.labels, "applied": apply and differs}
    answer(document, ", ".join(shown), as_json=as_json)
    if change.added:
        say(f"{'added' if apply else 'the settings add'}: {', '.join(change.added)}")
    if change.removed:
        what = "removed" if apply else "the settings lack"
        say(f"{what}: {', '.join(change.removed)} (in the gold of {change.gold} tasks, where it stays)")
    if differs and not apply:
        say("`xner-label labels --apply` gives the project the settings' labels")
    elif differs and connected:
        say("next: `xner-label connect --replace-config` brings them to Label Studio, then `xner-label predict`")
    elif differs:
        say("next: `xner-label predict`")
