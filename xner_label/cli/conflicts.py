"""`xner-label conflicts`: where annotators disagree, and what is right."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from xner_label.cli.options import json_option, with_settings
from xner_label.cli.output import answer, say
from xner_label.errors import UsageError
from xner_label.settings.table import Settings
from xner_label.wording import counted

if TYPE_CHECKING:
    from xner_label.review.agreement import PairAgreement
    from xner_label.review.conflicts import Decided, DisputedTask
    from xner_label.review.settled_names import DisputedName


@click.command(name="conflicts")
@click.argument("task_id", metavar="[TASK]", required=False)
@click.option("--take", "number", type=click.IntRange(min=1), help="The version of TASK that is right")
@click.option("--by", "decided_by", metavar="WHO", help="Who decides; recorded")
@click.option("--reason", help="Why; recorded")
@click.option("--decided", "settled", is_flag=True, help="List what was decided instead, by whom and when")
@click.option("--agreement", "agreement_asked", is_flag=True, help="How far each pair of people agrees, by type")
@with_settings("database_url", "project")
@json_option
def command(
    settings: Settings,
    task_id: str | None,
    number: int | None,
    decided_by: str | None,
    reason: str | None,
    settled: bool,
    agreement_asked: bool,
    as_json: bool,
) -> None:
    """List the tasks about which people disagree, entity by entity, or decide about one.

    Such a task is no gold until somebody decides: here, or in Label Studio, where the view "Conflicts" shows what
    each side says, by marking the right annotation as ground truth (the star) and `sync`. Names on which answers
    differ are named beside them: people settle those among themselves. With the setting
    studio.disagreements = "majority" more than half of at least three people decide.
    """
    from xner_label.review.agreement import agreement
    from xner_label.review.conflicts import decide, decided, disputed
    from xner_label.review.settled_names import disputed_names
    from xner_label.store.database import open_store
    from xner_label.store.projects import get_project

    if (number is None) != (decided_by is None) or (number is not None and task_id is None):
        raise UsageError("deciding takes a task, a version and a name", hint="TASK --take NUMBER --by WHO")
    with open_store(settings.database_url) as store:
        if task_id is not None and number is not None and decided_by is not None:
            entities = decide(store, settings.project, task_id, number, decided_by, reason)
            text = f"{task_id}: version {number} with {counted(len(entities), 'entity')} is gold"
            answer({"task": task_id, "version": number, "entities": entities}, text, as_json=as_json)
            return
        if agreement_asked:
            pairs = agreement(store, settings.project)
            text = "\n".join(map(_agreed, pairs)) or "no two people answered the same task"
            answer(pairs, text, as_json=as_json)
            return
        if settled:
            decisions = [item for item in decided(store, settings.project) if task_id in (None, item.id)]
            answer(decisions, "\n".join(map(_told, decisions)) or "nothing was decided", as_json=as_json)
            return
        listed = [item for item in disputed(store, settings.project) if task_id in (None, item.id)]
        with store.read() as session:
            names = disputed_names(session, get_project(session, settings.project).id) if task_id is None else []
    nobody = "nobody disagrees" + (" about a task" if names else "")
    answer(listed, "\n".join(map(_shown, listed)) or nobody, as_json=as_json)
    for name in names:
        say(_about(name))
    if names:
        say("nothing is settled about these names until an answer is changed or deleted in Label Studio")


def _agreed(pair: PairAgreement) -> str:
    exact, overlap = ("-" if value is None else f"{value:.3f}" for value in (pair.exact, pair.overlap))
    who = f"{pair.first} and {pair.second}, {counted(pair.tasks, 'task')}"
    return (
        f"{pair.label:6} exact F1 {exact}, overlap F1 {overlap} ({pair.first_marked}, {pair.second_marked}): {who}"
    )


def _told(item: Decided) -> str:
    when = f", {item.at:%Y-%m-%d %H:%M} UTC" if item.at else ""
    why = f" ({item.reason})" if item.reason else ""
    return f"{item.id}: {counted(len(item.entities), 'entity')} by {item.how} of {item.by}{when}{why}"


def _about(name: DisputedName) -> str:
    said = "; ".join(
        f"{person or 'somebody'}: {' '.join(filter(None, (str(verdict.kind), verdict.value)))}"
        for person, verdict in name.answers.items()
    )
    source = f" for {name.key.source}" if name.key.source else ""
    return f"name {name.key.target} [{name.key.label}]{source}: {said}"


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
