"""Where people disagree, for a third person to see and decide: above the text, in a view of its own.

The annotations themselves stay as they are, each in its tab. Giving one of them the star decides.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

import msgspec

from xner_label.entities import SourceMention
from xner_label.review.conflicts import Difference, differences
from xner_label.store import reviews, showing
from xner_label.store.database import Store
from xner_label.store.gold import Conflict, conflicts_of
from xner_label.studio.client import Studio
from xner_label.studio.labelling import CONFLICT, LOOK_HTML, QUEUE, SOURCE_HTML, Control, label_colours
from xner_label.studio.marking import mark, marked_source
from xner_label.studio.task_fields import FieldMaker, TaskFields, updated_data

if TYPE_CHECKING:
    from xner_label.store.tables import Project

_TASKS_PER_STEP = 200
_KINDS = {"label": "label", "border": "border", "missing": "only one has it"}


def show_conflicts(store: Store, studio: Studio, project: Project, control: Control) -> int:
    """Bring Label Studio's view of the project's conflicts up to date: what is disputed, and what no longer is.

    Returns how many tasks changed there. Raises StudioError; what was sent before it is noted.
    """
    with store.read() as session:
        shown = showing.shown_conflicts(session, project.id)
        conflicts = {row.task.id: row for row in conflicts_of(session, project.id)}
        wanted = {
            task: _conflict_data(conflict, control, label_colours(project.labels))
            for task, conflict in conflicts.items()
            if conflict.task.studio_task is not None
        }
        changed = {task: _digest(data) for task, data in wanted.items() if shown.get(task) != _digest(data)}
        over = [task for task in shown if task not in wanted]
        items = reviews.items_of_tasks(session, over)
        fields = FieldMaker(session, project, control).fields(session, items) if items else {}
        rows = showing.studio_rows(session, [*changed, *over])
    back = {item.task.id: fields[item.item.id] for item in items}
    sent = 0
    for start in range(0, len(rows), _TASKS_PER_STEP):
        part = dict(list(rows.items())[start : start + _TASKS_PER_STEP])
        sent += _send(studio, project, part, {task: wanted[task] for task in part if task in changed}, back)
        with store.write() as session:
            showing.note_conflicts(session, {task: changed[task] for task in part if task in changed})
            ended = [task for task in part if task not in changed]
            showing.forget_conflicts(session, ended)
            restored = [item.item.id for item in items if item.task.id in ended]
            showing.mark_fields(session, {item: fields[item].shown for item in restored})
    gone = [task for task in over if task not in rows]
    if gone:
        with store.write() as session:
            showing.forget_conflicts(session, gone)
    return sent


def _send(
    studio: Studio,
    project: Project,
    rows: Mapping[int, int],
    wanted: Mapping[int, dict[str, Any]],
    back: Mapping[int, TaskFields],
) -> int:
    assert project.studio_project is not None
    tasks, sent = {row: task for task, row in rows.items()}, 0
    for row in studio.full_tasks(project.studio_project, list(tasks), include="id,data"):
        task = tasks[row.id]
        if task in wanted:
            data = row.data | wanted[task]
        elif task in back:
            data = updated_data(row.data, back[task].data)
        else:
            data = {key: value for key, value in row.data.items() if key not in (QUEUE, LOOK_HTML, SOURCE_HTML)}
        if data != row.data:
            studio.write(studio.api.tasks.update, str(row.id), data=data)
            sent += 1
    return sent


def _conflict_data(conflict: Conflict, control: Control, colours: Mapping[str, str]) -> dict[str, Any]:
    data: dict[str, Any] = {QUEUE: CONFLICT}
    if not control.guides:
        return data
    task = conflict.task
    mentions = [
        SourceMention(mention["start"], mention["end"], mention["label"], "")
        for mention in task.source_entities or ()
    ]
    return data | {
        LOOK_HTML: conflict_html(conflict, colours),
        SOURCE_HTML: marked_source(task.source or "", mentions, colours),
    }


def conflict_html(conflict: Conflict, colours: Mapping[str, str]) -> str:
    """What each side marked in the text, and entity by entity where they differ."""
    text = conflict.task.text
    lines = [
        "<b>People disagree.</b> Give the right annotation the star (Set as ground truth), or make one of your "
        "own and give it the star."
    ]
    for number, version in enumerate(conflict.versions, 1):
        spans = [SourceMention(entity.start, entity.end, entity.label, "") for entity in version.entities]
        lines.append(f"<b>{number}</b> {escape(version.annotator)}{marked_source(text, spans, colours)}")
    for difference in differences([version.entities for version in conflict.versions]):
        if difference.kind != "agreed":
            lines.append(_said(text, difference, colours))
    return "".join(f"<div>{line}</div>" for line in lines)


def _said(text: str, difference: Difference, colours: Mapping[str, str]) -> str:
    said = [
        f"<b>{number}</b> "
        + (
            ", ".join(
                f"{mark(text[entity.start : entity.end], entity.label, colours)} {escape(entity.label)}"
                for entity in part
            )
            or "nothing"
        )
        for number, part in enumerate(difference.marked, 1)
    ]
    return f"{_KINDS[difference.kind]}: {'; '.join(said)}"


def _digest(data: Mapping[str, Any]) -> str:
    return hashlib.sha256(msgspec.json.encode(data, order="deterministic")).hexdigest()[:16]
