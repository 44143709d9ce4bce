"""Writing what a sync fetched, within one transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy.orm import Session

from xner_label import entities
from xner_label.errors import ContractError
from xner_label.store import reviews, syncing, tasks
from xner_label.store.set_aside import AnnotationState
from xner_label.store.syncing import State
from xner_label.store.tables import Annotation, Correction, Prediction, Task
from xner_label.studio.corrections import Change, compare
from xner_label.studio.fetching import Fetched, moment
from xner_label.studio.labelling import EXTERNAL_ID, Control
from xner_label.studio.regions import ReviewedEntity, from_studio
from xner_label.studio.sync_report import Doubled, Rejected, SyncReport


class Recorder:
    """Writes what was fetched and counts it in the report. ``acknowledged`` annotations may be unusable."""

    def __init__(
        self,
        session: Session,
        project_id: int,
        control: Control,
        fetched: Fetched,
        report: SyncReport,
        acknowledged: set[AnnotationState],
    ) -> None:
        self._session = session
        self._project_id = project_id
        self._control = control
        self._fetched = fetched
        self._report = report
        self._acknowledged = acknowledged

    def run(self) -> None:
        """Deletions first, then tasks, then their annotations."""
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
            present = {stub["id"] for stub in row.annotations}
            self._drop_annotations(task_id, {key: known[key] for key in known.keys() - present})
            full = self._fetched.full.get(row.id)
            for annotation in full.annotations if full is not None else ():
                task, predictions = stored[task_id]
                self._annotation(task, row, annotation, known.get(annotation["id"]), predictions, served)

    def _drop_gone(self) -> None:
        """Tasks deleted in Label Studio: their annotations don't count any more."""
        known = syncing.studio_tasks(self._session, self._project_id, self._fetched.gone)
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
        known = syncing.studio_tasks(self._session, self._project_id, [row.id for row in self._fetched.changed])
        rows = {
            row.id: row for row in self._fetched.changed if isinstance(row.data.get(self._control.text_key), str)
        }
        names = {name for row in rows.values() for name in self._names(row)}
        by_name = tasks.identities(self._session, self._project_id, sorted(names))
        linked = self._misplaced(rows, known, by_name)
        taken = {task for row, task in known.items() if row not in linked} | set(linked.values())
        new: dict[str, Any] = {}
        for row in rows.values():
            if row.id in known or row.id in linked:
                continue
            stored_task = self._stored_as(row, by_name, taken)
            if stored_task is not None:
                linked[row.id] = stored_task
                taken.add(stored_task)
            else:
                new[self._free_name(row, by_name.keys() | new.keys())] = row
        records = [(_record(name, row.data, self._control), "pool") for name, row in new.items()]
        self._report.new_tasks = tasks.add_tasks(self._session, self._project_id, records)
        made = tasks.ids_by_external(self._session, self._project_id, list(new))
        linked |= {row.id: made[name] for name, row in new.items()}
        reviews.mark_pushed(self._session, {task: row for row, task in linked.items()})
        ours = known | linked
        return {row.id: ours[row.id] for row in self._fetched.changed if row.id in ours}

    def _names(self, row: Any) -> list[str]:
        """The external ids that a task of Label Studio may have in the store, the best first."""
        brought = row.data.get(EXTERNAL_ID)
        text = row.data[self._control.text_key]
        names = [] if brought is None else [str(brought)]
        return [*names, f"studio-{row.id}", tasks.text_name(text)]

    def _misplaced(
        self, rows: Mapping[int, Any], known: Mapping[int, int], by_name: Mapping[str, tasks.Identity]
    ) -> dict[int, int]:
        """Rows whose number was another task's: what they say about themselves is right, our memory isn't."""
        by_id = {identity.id: identity for identity in by_name.values()}
        moved: dict[int, int] = {}
        for row in rows.values():
            identity = by_name.get(str(row.data.get(EXTERNAL_ID)))
            if row.id not in known or identity is None or identity.id == known[row.id]:
                continue
            text = entities.text_hash(row.data[self._control.text_key])
            thought = by_id.get(known[row.id]) or tasks.identity(self._session, known[row.id])
            if identity.text_hash == text != thought.text_hash and identity.id not in moved.values():
                moved[row.id] = identity.id
        return moved

    def _stored_as(self, row: Any, by_name: Mapping[str, tasks.Identity], taken: set[int]) -> int | None:
        """The task of the store that a row is; None for a new one.

        What brings our id along is ours even if its text was changed there (its annotations are refused then). A
        name that somebody else may have thought of must come with the text.
        """
        text = entities.text_hash(row.data[self._control.text_key])
        for name in self._names(row):
            identity = by_name.get(name)
            if identity is None or identity.id in taken:
                continue
            if identity.text_hash == text or name == str(row.data.get(EXTERNAL_ID)):
                return identity.id
        return None

    def _free_name(self, row: Any, taken: Iterable[str]) -> str:
        """An external id for a new task: the one it brings along, unless that is taken."""
        brought = row.data.get(EXTERNAL_ID)
        if brought is not None and str(brought) not in taken:
            return str(brought)
        name = f"studio-{row.id}"
        if name in taken:
            name = f"{name}-{entities.text_hash(row.data[self._control.text_key])[:8]}"
        if brought is not None:
            self._report.doubled.append(Doubled(row.id, str(brought), name))
        return name

    def _annotation(
        self,
        task: Task,
        row: Any,
        annotation: Mapping[str, Any],
        known: State | None,
        predictions: Sequence[Prediction],
        served: Mapping[int, int | None],
    ) -> None:
        updated_at = moment(annotation["updated_at"])
        if known is not None and known.gone:
            syncing.revive(self._session, task.id, annotation["id"])
            self._report.revived += 1
        if known is not None and updated_at <= known.updated_at:
            return
        skipped = bool(annotation["was_cancelled"])
        result = annotation["result"] or []
        try:
            reviewed = [] if skipped else self._entities(task, row, result)
        except ContractError as error:
            if (annotation["id"], updated_at) in self._acknowledged:
                self._report.acknowledged += 1
            else:
                self._report.rejected.append(Rejected(row.id, annotation["id"], updated_at, str(error)))
            return
        shown = None if skipped else _shown(task, annotation, result, predictions, served)
        changes = compare(shown.entities, reviewed) if shown is not None else []
        self._session.add(
            Annotation(
                task_id=task.id,
                origin="studio",
                studio_annotation=annotation["id"],
                studio_updated_at=updated_at,
                annotator=self._user(annotation["completed_by"]),
                skipped=skipped,
                ground_truth=bool(annotation.get("ground_truth")),
                ground_truth_by=self._user(annotation.get("updated_by"))
                if annotation.get("ground_truth")
                else None,
                lead_time=annotation["lead_time"],
                regions=result,
                entities=[
                    {"start": entity.start, "end": entity.end, "label": entity.label} for entity in reviewed
                ],
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

    def _user(self, number: int | None) -> str | None:
        """A user of Label Studio by their e-mail address, or by number where the token may not list users."""
        return None if number is None else self._fetched.users.get(number, str(number))

    def _entities(self, task: Task, row: Any, result: Iterable[Mapping[str, Any]]) -> list[ReviewedEntity]:
        if row.data.get(self._control.text_key) != task.text:
            raise ContractError(
                f"the text of task {task.external_id!r} was changed in Label Studio",
                hint="offsets into another text can't be used: import the new text as a task of its own",
            )
        return from_studio(task.text, list(result), self._control)


def _record(external: str, data: Mapping[str, Any], control: Control) -> entities.Task:
    source = data.get(control.source_key)
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
