"""Taking over what people did in Label Studio, incrementally and as often as one likes.

A sync asks for the tasks that changed since the last one began (by the server's own clock, and a little further
back), fetches annotations it has not seen in that state, and writes them together with the new cursor in one
transaction. Webhooks are not needed for it: they may be lost, polling isn't.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy.orm import Session

from xner_label import entities
from xner_label.errors import ContractError, StudioError
from xner_label.settings.table import Settings
from xner_label.store import projects, reviews, syncing, tasks
from xner_label.store.database import Store
from xner_label.store.syncing import State
from xner_label.store.tables import Annotation, Correction, Prediction, Task
from xner_label.studio.client import Studio, open_studio
from xner_label.studio.corrections import Change, compare
from xner_label.studio.labelling import EXTERNAL_ID, SOURCE, Control, find_control
from xner_label.studio.regions import ReviewedEntity, from_studio

# A request that began before ours may commit after it, and several servers' clocks may differ a little.
_OVERLAP = timedelta(seconds=60)


class Rejected(msgspec.Struct, frozen=True):
    """An annotation that was left out because its offsets, text or labels don't fit the task."""

    studio_task: int
    annotation: int
    problem: str


class SyncReport(msgspec.Struct):
    """What one sync took over. ``added`` and ``updated`` count usable annotations, ``skipped`` those of tasks that
    a person passed over; ``corrections`` counts by kind those of added and updated annotations. ``cursor`` is the
    server's time from which the next sync goes on; it waits for rejected annotations."""

    project: str
    changed_tasks: int = 0
    new_tasks: int = 0
    deleted_tasks: int = 0
    added: int = 0
    updated: int = 0
    skipped: int = 0
    deleted: int = 0
    corrections: Counter[str] = msgspec.field(default_factory=Counter)
    rejected: list[Rejected] = msgspec.field(default_factory=list)
    cursor: datetime | None = None


class _Fetched(msgspec.Struct, frozen=True):
    """What Label Studio said: the changed tasks, in full those with unknown annotations, the ids that are gone."""

    changed: list[Any]
    full: dict[int, Any]
    gone: set[int]
    users: dict[int, str]


def sync(store: Store, settings: Settings, *, full: bool = False) -> SyncReport:
    """Take over every change since the last sync; ``full`` looks at every task again.

    Raises StudioError, and ConfigurationError when the project isn't connected. Annotations that break the
    contract are left out and named in the report.
    """
    with open_studio(settings) as studio:
        with store.read() as session:
            project, studio_project = projects.connected_project(session, settings.project, studio.url)
            cursor = None if full else reviews.get_cursor(session, project.id)
        began = studio.clock()
        control = find_control(studio.project(studio_project).label_config, project.labels)
        control = msgspec.structs.replace(control, labels=tuple(project.labels))
        since = None if cursor is None else cursor - _OVERLAP
        fetched = _fetch(store, studio, project.id, studio_project, since)
    report = SyncReport(project.name, changed_tasks=len(fetched.changed))
    with store.write() as session:
        projects.lock_project(session, project.id)
        _Writer(session, project.id, control, fetched, report).run()
        blocked = {rejected.studio_task for rejected in report.rejected}
        held = [task.updated_at for task in fetched.changed if task.id in blocked]
        newest = [task.updated_at for task in fetched.changed]
        report.cursor = min([*held, max([*newest, *([cursor] if cursor else [])], default=began), began])
        reviews.set_cursor(session, project.id, report.cursor)
    return report


def _fetch(store: Store, studio: Studio, project_id: int, studio_project: int, since: datetime | None) -> _Fetched:
    changed = list(studio.tasks(studio_project, changed_after=since, include="id,data,updated_at,annotations"))
    with store.read() as session:
        known = syncing.studio_tasks(session, project_id)
        states = syncing.states(session, [known[task.id] for task in changed if task.id in known])
    seen = {task.id for task in changed}
    # Counting is cheap, so the ids of all tasks are asked for only when one of them must be gone.
    if studio.count_tasks(studio_project) == len(seen | known.keys()):
        gone: set[int] = set()
    else:
        gone = (seen | known.keys()) - {task.id for task in studio.tasks(studio_project, include="id")}
    unseen = [task.id for task in changed if _unseen(task, states.get(known.get(task.id, 0), {}))]
    full = {task.id: task for task in studio.full_tasks(studio_project, unseen)}
    users = _users(studio) if full else {}
    return _Fetched([task for task in changed if task.id not in gone], full, gone, users)


def _unseen(task: Any, states: Mapping[int, State]) -> bool:
    """Whether the task has an annotation in a state that isn't known."""
    return any(
        (state := states.get(stub["id"])) is None or state.updated_at != _moment(stub["updated_at"])
        for stub in task.annotations or ()
    )


def _users(studio: Studio) -> dict[int, str]:
    """E-mail addresses by user id; none where the token may not list users."""
    try:
        return {user.id: user.email for user in studio.read(studio.api.users.list)}
    except StudioError:
        return {}


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


class _Writer:
    """Writes what was fetched, within one transaction."""

    def __init__(
        self, session: Session, project_id: int, control: Control, fetched: _Fetched, report: SyncReport
    ) -> None:
        self._session = session
        self._project_id = project_id
        self._control = control
        self._fetched = fetched
        self._report = report

    def run(self) -> None:
        self._drop_gone()
        ours = self._take_in()
        states = syncing.states(self._session, list(ours.values()))
        stored = syncing.tasks_with_predictions(
            self._session, [ours[row] for row in self._fetched.full if row in ours]
        )
        served = syncing.served_predictions(self._session, list(stored))
        for row in self._fetched.changed:
            if row.id not in ours:
                continue
            task_id = ours[row.id]
            known = states.get(task_id, {})
            present = {stub["id"] for stub in row.annotations or ()}
            self._drop_annotations(task_id, {key: known[key] for key in known.keys() - present})
            full = self._fetched.full.get(row.id)
            for annotation in full.annotations if full is not None else ():
                task, predictions = stored[task_id]
                self._annotation(task, row, annotation, known.get(annotation["id"]), predictions, served)

    def _drop_gone(self) -> None:
        """Tasks deleted in Label Studio: their annotations don't count any more."""
        known = syncing.studio_tasks(self._session, self._project_id)
        gone = [known[row] for row in self._fetched.gone if row in known]
        states = syncing.states(self._session, gone)
        for task_id in gone:
            self._drop_annotations(task_id, states.get(task_id, {}))
        syncing.forget_studio_tasks(self._session, gone)
        self._report.deleted_tasks = len(gone)

    def _drop_annotations(self, task_id: int, states: Mapping[int, State]) -> None:
        for annotation, state in states.items():
            if not state.deleted:
                syncing.mark_deleted(self._session, task_id, annotation, state)
                self._report.deleted += 1

    def _take_in(self) -> dict[int, int]:
        """Our ids of the changed tasks, by Label Studio's; tasks that were made there are added."""
        known = syncing.studio_tasks(self._session, self._project_id)
        unknown = {
            row.id: row
            for row in self._fetched.changed
            if row.id not in known and isinstance(row.data.get(self._control.text_key), str)
        }
        wanted = [str(row.data[EXTERNAL_ID]) for row in unknown.values() if row.data.get(EXTERNAL_ID) is not None]
        by_external = tasks.ids_by_external(self._session, self._project_id, wanted)
        taken = set(known.values())
        linked: dict[int, int] = {}
        for row in unknown.values():
            task_id = by_external.get(str(row.data.get(EXTERNAL_ID)))
            if task_id is not None and task_id not in taken:
                linked[task_id] = row.id
                taken.add(task_id)
        new = {
            external_id(row.id, row.data, taken=by_external): row
            for row in unknown.values()
            if row.id not in linked.values()
        }
        records = [(_record(external, row.data, self._control), "pool") for external, row in new.items()]
        self._report.new_tasks = tasks.add_tasks(self._session, self._project_id, records)
        made = tasks.ids_by_external(self._session, self._project_id, list(new))
        linked |= {made[external]: row.id for external, row in new.items()}
        reviews.mark_pushed(self._session, linked)
        ours = known | {row: task_id for task_id, row in linked.items()}
        return {row.id: ours[row.id] for row in self._fetched.changed if row.id in ours}

    def _annotation(
        self,
        task: Task,
        row: Any,
        annotation: Mapping[str, Any],
        known: State | None,
        predictions: Sequence[Prediction],
        served: Mapping[int, int | None],
    ) -> None:
        updated_at = _moment(annotation["updated_at"])
        if known is not None and known.updated_at == updated_at:
            return
        skipped = bool(annotation["was_cancelled"])
        result = annotation["result"] or []
        try:
            found = [] if skipped else self._entities(task, row, result)
        except ContractError as error:
            self._report.rejected.append(Rejected(row.id, annotation["id"], str(error)))
            return
        shown = None if skipped else _shown(task, annotation, result, predictions, served)
        changes = compare(shown.entities, found) if shown is not None else []
        author = annotation["completed_by"]
        self._session.add(
            Annotation(
                task_id=task.id,
                origin="studio",
                studio_annotation=annotation["id"],
                studio_updated_at=updated_at,
                annotator=self._fetched.users.get(author, str(author)) if author is not None else None,
                skipped=skipped,
                lead_time=annotation["lead_time"],
                regions=result,
                entities=[{"start": one.start, "end": one.end, "label": one.label} for one in found],
                prediction_id=shown.id if shown is not None else None,
                corrections=[_correction(change) for change in changes],
            )
        )
        if skipped:
            self._report.skipped += 1
        elif known is None:
            self._report.added += 1
        else:
            self._report.updated += 1
        self._report.corrections.update(change.kind for change in changes)

    def _entities(self, task: Task, row: Any, result: Iterable[Mapping[str, Any]]) -> list[ReviewedEntity]:
        if row.data.get(self._control.text_key) != task.text:
            raise ContractError(
                f"the text of task {task.external_id!r} was changed in Label Studio",
                hint="offsets into another text can't be used: import the new text as a task of its own",
            )
        return from_studio(task.text, list(result), self._control)


def external_id(studio_task: int, data: Mapping[str, Any], taken: Iterable[str] = ()) -> str:
    """The store's id of a task that was made in Label Studio: the one it brings along, unless that is taken."""
    brought = data.get(EXTERNAL_ID)
    if brought is not None and str(brought) not in taken:
        return str(brought)
    return f"studio-{studio_task}"


def _record(external: str, data: Mapping[str, Any], control: Control) -> entities.Task:
    source = data.get(SOURCE)
    return entities.Task(
        id=external,
        text=data[control.text_key],
        source=source if isinstance(source, str) and source else None,
    )


def _shown(
    task: Task,
    annotation: Mapping[str, Any],
    result: Iterable[Mapping[str, Any]],
    predictions: Sequence[Prediction],
    served: Mapping[int, int | None],
) -> Prediction | None:
    """The prediction that the person had before them; None for one who worked from the bare text.

    The regions' ids tell; failing that (all were deleted), what was pushed, or the newest when the annotation came
    from a prediction of the ML backend.
    """
    regions = {region.get("id") for region in result}
    matches = {
        prediction.id: sum(entity.region in regions for entity in prediction.entities)
        for prediction in predictions
    }
    by_id = {prediction.id: prediction for prediction in predictions}
    best = max(predictions, key=lambda prediction: matches[prediction.id], default=None)
    if best is not None and matches[best.id]:
        return best
    if task.id in served:
        return by_id.get(served[task.id] or 0)
    return predictions[-1] if predictions and annotation.get("parent_prediction") is not None else None


def _correction(change: Change) -> Correction:
    return Correction(
        projected_entity_id=None if change.predicted is None else change.predicted.id,
        kind=change.kind,
        start=None if change.reviewed is None else change.reviewed.start,
        end=None if change.reviewed is None else change.reviewed.end,
        label=None if change.reviewed is None else change.reviewed.label,
    )
