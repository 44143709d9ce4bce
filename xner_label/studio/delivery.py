"""The way of chosen tasks to Label Studio.

Each chunk is noted as on its way before it is sent: nothing is sent twice or forgotten, whatever is killed. The
next chunk is made while Label Studio stores the one before.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec

from xner_label.errors import ConfigurationError, StudioError
from xner_label.store import reviews
from xner_label.store.pipelines import readable_name
from xner_label.store.reviews import Outgoing, UnpushedItem
from xner_label.store.showing import ShownFields, mark_fields
from xner_label.studio.answers import NotAnsweredError
from xner_label.studio.client import SETTLE
from xner_label.studio.labelling import EXTERNAL_ID
from xner_label.studio.sender import Sender
from xner_label.studio.showing import prediction_of
from xner_label.studio.task_fields import FieldMaker, TaskFields
from xner_label.wording import counted

# Tasks in one request: about a second of Label Studio's time, and no more than these are in doubt after a kill.
_TASKS_PER_REQUEST = 500


class _Parcel(msgspec.Struct, frozen=True):
    """A task as Label Studio imports it, and what the store notes once it is there."""

    item: int
    task: int
    version: str
    fields: ShownFields
    body: dict[str, Any]


class Delivery(Sender):
    """Brings everything chosen and not yet pushed to one project of Label Studio."""

    sent: frozenset[int] = frozenset()  # ids of the items that were sent

    def run(self) -> int:
        """Returns how many tasks were sent now. Raises StudioError, saying how far it came."""
        items = self._after_looking()
        if not items:
            return 0
        if len(items) > _TASKS_PER_REQUEST:
            self._progress.begin("pushing", len(items))
        with self._store.read() as session:
            confidences = reviews.open_confidences(session, self._project_id)
            maker = FieldMaker(session, self._project, self._control)
        chunks = [items[start : start + _TASKS_PER_REQUEST] for start in range(0, len(items), _TASKS_PER_REQUEST)]
        sent = 0
        with ThreadPoolExecutor(1, "parcels") as ahead:
            following = ahead.submit(self._parcels, chunks[0], maker, confidences)
            for number, chunk in enumerate(chunks, 1):
                parcels = following.result()
                if number < len(chunks):
                    following = ahead.submit(self._parcels, chunks[number], maker, confidences)
                try:
                    sent += self._send(parcels)
                except StudioError as error:
                    done = f"{sent} of {counted(len(items), 'task')} pushed"
                    raise type(error)(
                        f"{done}, then: {error.args[0]}",
                        hint=f"{error.hint}; then run `xner-label push` again, it goes on where this one stopped",
                        logged=f"{done}, then: {error.logged}",
                    ) from None
                self._progress.advance(len(chunk))
        return sent

    def _after_looking(self) -> list[int]:
        """The items that have to be sent, after looking for what an earlier process may have sent."""
        while True:
            with self._store.read() as session:
                items = reviews.unpushed_items(session, self._project_id)
            doubtful = [item for item in items if item.sent_at is not None]
            if not doubtful:
                return [item.id for item in items]
            there = self._held_tasks(doubtful)
            absent = [item.id for item in doubtful if item.task not in there]
            with self._store.write() as session:
                lost = reviews.lost_items(session, absent, SETTLE)
                reviews.mark_pushed(session, there)
                reviews.release_items(session, lost)
            waiting = len(doubtful) - len(there) - len(lost)
            if waiting:
                self._progress.begin(f"looking for {counted(waiting, 'task')} that an interrupted push sent")
                time.sleep(1.0)

    def _held_tasks(self, items: Sequence[UnpushedItem]) -> dict[int, int]:
        """Those of the items that Label Studio holds: our task id -> its task id."""
        ids = {item.external_id: item.task for item in items}
        there: dict[int, int] = {}
        for row in self._studio.tasks(self._studio_project, include="id,data"):
            task_id = ids.get(str(row.data.get(EXTERNAL_ID)))
            if task_id is not None:
                there.setdefault(task_id, row.id)
        return there

    def _parcels(self, items: Sequence[int], maker: FieldMaker, confidences: Sequence[float]) -> list[_Parcel]:
        with self._store.read() as session:
            outgoing = reviews.items_by_id(session, items)
            fields = maker.fields(session, outgoing)
        return [self._parcel(item, fields[item.item.id], confidences) for item in outgoing]

    def _parcel(self, item: Outgoing, fields: TaskFields, confidences: Sequence[float]) -> _Parcel:
        task, prediction = item.task, item.prediction
        shown = prediction_of(task, prediction, self._control, self._version, confidences)
        data = {
            self._control.source_key: task.source or "",
            self._control.text_key: task.text,
            **fields.data,
        }
        version = readable_name(self._version if prediction is None else prediction.pipeline.name)
        return _Parcel(item.item.id, task.id, version, fields.shown, {"data": data, "predictions": [shown]})

    def _send(self, parcels: Sequence[_Parcel]) -> int:
        with self._store.write() as session:
            claimed = reviews.claim_items(session, [parcel.item for parcel in parcels])
        ours = [parcel for parcel in parcels if parcel.item in claimed]
        if not ours:
            return 0
        try:
            answer = self._studio.write(
                self._studio.api.projects.import_tasks,
                self._studio_project,
                request=[parcel.body for parcel in ours],
                return_task_ids=True,
            )
        except NotAnsweredError:
            raise
        except StudioError:
            with self._store.write() as session:
                reviews.release_items(session, sorted(claimed))
            raise
        ids = answer.task_ids or []
        if len(ids) != len(ours):
            raise ConfigurationError(
                f"Label Studio answered an import of {counted(len(ours), 'task')} with {counted(len(ids), 'id')}",
                hint="only the community edition imports at once; run `xner-label push` again in a minute",
            )
        with self._store.write() as session:
            reviews.mark_pushed(session, {parcel.task: row for parcel, row in zip(ours, ids, strict=True)})
            mark_fields(session, {parcel.item: parcel.fields for parcel in ours})
            self.sent |= {parcel.item for parcel in ours}
            if answer.prediction_count == len(ours):
                reviews.mark_shown(session, {parcel.item: parcel.version for parcel in ours})
            else:
                # stored without them; `Shower.complete` sends what is missing
                reviews.forget_sending(session, [parcel.item for parcel in ours])
        return len(ours)
