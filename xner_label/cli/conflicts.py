"""`xner-label conflicts`: where annotators disagree, and what is right."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from xner_label.cli.options import json_option, with_settings
from xner_label.cli.output import answer
from xner_label.errors import UsageError
from xner_label.settings.table import Settings

if TYPE_CHECKING:
    from xner_label.review.conflicts import DisputedTask


@click.command(name="conflicts")
@click.argument("task_id", metavar="[TASK]", required=False)
@click.option("--take", "number", type=click.IntRange(min=1), help="The version of TASK that is right")
@click.option("--by", "decided_by", metavar="WHO", help="Who decides; recorded")
@click.option("--reason", help="Why; recorded")
@with_settings("database_url", "project")
@json_option
def command(
    settings: Settings,
    task_id: str | None,
    number: int | None,
    decided_by: str | None,
    reason: str | None,
    as_json: bool,
) -> None:
    """List the tasks about which people disagree, entity by entity, or decide about one.

    Such a task is no gold until somebody decides: here, or in Label Studio by marking the right annotation as
    ground truth (the star) and `sync`.
    """
    from xner_label.review.conflicts import decide, disputed
    from xner_label.store.database import open_store

    if (number is None) != (decided_by is None) or (number is not None and task_id is None):
        raise UsageError("deciding takes a task, a version and a name", hint="TASK --take NUMBER --by WHO")
    with open_store(settings.database_url) as store:
        if task_id is not None and number is not None and decided_by is not None:
            entities = decide(store, settings.project, task_id, number, decided_by, reason)
            text = f"{task_id}: version {number} with {len(entities)} entities is gold"
            answer({"task": task_id, "version": number, "entities": entities}, text, as_json=as_json)
            return
        listed = [item for item in disputed(store, settings.project) if task_id in (None, item.id)]
    answer(listed, "\n".join(map(_shown, listed)) or "nobody disagrees", as_json=as_json)


def _shown(task: DisputedTask) -> str:
    number = "" if task.studio_task is None else f" (task {task.studio_task} in Label Studio)"
    lines = [f"{task.id}{number}: {task.text}"]
    lines += [f"  {place}  {people}" for place, people in enumerate(task.versions, 1)]
    for difference in task.differences:
        said = [
            f"{place}: " + (", ".join(f"{task.text[e.start : e.end]} {e.label}" for e in part) or "nothing")
            for place, part in enumerate(difference.marked, 1)
        ]
        lines.append(f"  {difference.kind:8} {'; '.join(said)}")
    return "\n".join(lines)
