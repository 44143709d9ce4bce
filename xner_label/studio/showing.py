"""That every waiting task shows the prediction that the store thinks it shows.

Label Studio may store the tasks of an import and lose all their predictions when anything else writes at the same
time, and answers as if nothing had happened. Whoever sends one may also be killed before it hears the answer. So
each prediction counts as shown only once Label Studio has said so, by a count or when asked; what is missing is
sent again, and nothing is sent while it may still be on its way. The same brings the predictions of a newer
version to tasks that wait there already: Label Studio shows one version at a time.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from typing import Any

from xner_label.errors import StudioError
from xner_label.store import projects, reviews
from xner_label.store.pipelines import readable_name
from xner_label.store.reviews import Outgoing
from xner_label.store.tables import Prediction, Task
from xner_label.studio.answers import NotAnsweredError
from xner_label.studio.client import SETTLE, Studio
from xner_label.studio.labelling import Control
from xner_label.studio.regions import to_studio
from xner_label.studio.sender import Sender
from xner_label.wording import counted

# Predictions in one request: about a second of Label Studio's time.
_TASKS_PER_REQUEST = 500
# How often Label Studio may lose predictions before that is an error.
_ATTEMPTS = 5


class Shower(Sender):
    """Brings the predictions of the waiting tasks of one connected project to Label Studio."""

    _following: frozenset[int] = frozenset()

    def follow(self) -> int:
        """Let the waiting tasks follow ``version`` where it has predicted them; returns how many will change.

        The control slice stays blind.
        """
        with self._store.write() as session:
            projects.lock_project(session, self._project_id)
            outdated = reviews.outdated_items(session, self._project_id, self._version)
            reviews.set_shown(
                session, {item.item.id: item.prediction.id for item in outdated if item.prediction is not None}
            )
            self._following = frozenset(item.item.id for item in outdated)
        if outdated:
            self._progress.begin("sending newer predictions of waiting tasks", len(outdated))
        return len(outdated)

    def complete(self) -> int:
        """Send every prediction that Label Studio lacks; returns how many of them it should have had already.

        Raises StudioError, and ContractError when a prediction doesn't fit its text.
        """
        repaired = lost = 0
        while missing := self._missing():
            with self._store.write() as session:
                claimed = reviews.claim_predictions(session, [item.item.id for item in missing], SETTLE)
            ours = [item for item in missing if item.item.id in claimed]
            if not ours:
                self._progress.begin(f"looking for {counted(len(missing), 'prediction')} on the way")
                time.sleep(1.0)
                continue
            payloads = self._payloads(ours)
            for start in range(0, len(ours), _TASKS_PER_REQUEST):
                chunk = slice(start, start + _TASKS_PER_REQUEST)
                self._progress.advance(len(ours[chunk]))
                if self._send(ours[chunk], payloads[chunk]):
                    repaired += sum(
                        item.item.shown_version is None and item.item.id not in self._following
                        for item in ours[chunk]
                    )
                else:
                    lost += 1
            if lost >= _ATTEMPTS:
                raise StudioError(
                    f"Label Studio at {self._studio.url} lost predictions {counted(lost, 'time')}",
                    hint="it does so when much is written at once: run `xner-label push` again later",
                )
        return repaired

    def _missing(self) -> list[Outgoing]:
        """The waiting items whose prediction Label Studio doesn't hold, after asking it about the doubtful
        ones."""
        with self._store.read() as session:
            doubtful = reviews.items_by_id(
                session,
                [
                    item
                    for item, shown, pipeline in reviews.waiting_versions(session, self._project_id)
                    if shown != readable_name(pipeline or self._version)
                ],
            )
        held = held_versions(self._studio, self._studio_project, doubtful)
        already_shown: dict[int, str] = {}
        missing = []
        for item in doubtful:
            wanted, versions = self._wanted(item.prediction), held.get(item.task.studio_task or 0)
            if versions is None:
                continue  # deleted over there: a sync will find out
            if wanted in versions:
                already_shown[item.item.id] = wanted
            else:
                missing.append(item)
        if already_shown:
            with self._store.write() as session:
                reviews.mark_shown(session, already_shown)
        return missing

    def _wanted(self, prediction: Prediction | None) -> str:
        return readable_name(self._version if prediction is None else prediction.pipeline.name)

    def _payloads(self, items: Sequence[Outgoing]) -> list[dict[str, Any]]:
        confidences = self.confidences()
        return [
            {
                "task": item.task.studio_task,
                **prediction_of(item.task, item.prediction, self._control, self._version, confidences),
            }
            for item in items
        ]

    def confidences(self) -> list[float]:
        """Those of everything that waits or is about to: what a blind task may pretend to have."""
        with self._store.read() as session:
            return reviews.open_confidences(session, self._project_id)

    def _send(self, items: Sequence[Outgoing], payloads: Sequence[dict[str, Any]]) -> bool:
        """Whether Label Studio stored them all."""
        ids = [item.item.id for item in items]
        try:
            answer = self._studio.write(
                self._studio.api.projects.import_predictions, self._studio_project, request=payloads
            )
        except NotAnsweredError:
            raise
        except StudioError:
            with self._store.write() as session:
                reviews.forget_sending(session, ids)
            # a task that was deleted since it was asked about makes it refuse them all
            if len(held_versions(self._studio, self._studio_project, items)) == len(items):
                raise
            return False
        with self._store.write() as session:
            if answer.created == len(items):
                reviews.mark_shown(session, {item.item.id: self._wanted(item.prediction) for item in items})
            else:
                reviews.forget_sending(session, ids)
        return bool(answer.created == len(items))


def held_versions(studio: Studio, studio_project: int, items: Sequence[Outgoing]) -> Mapping[int, frozenset[str]]:
    """Of which versions Label Studio holds predictions, by its task id; a task that is gone is missing."""
    ids = [item.task.studio_task for item in items if item.task.studio_task is not None]
    held: dict[int, frozenset[str]] = {}
    for row in studio.full_tasks(studio_project, ids, include="id,predictions_model_versions"):
        versions = row.predictions_model_versions or ()
        held[row.id] = frozenset(versions.split(",") if isinstance(versions, str) else map(str, versions))
    return held


def prediction_of(
    task: Task, prediction: Prediction | None, control: Control, version: str, confidences: Sequence[float]
) -> dict[str, Any]:
    """A prediction as Label Studio takes it; of a blind task an empty one.

    Label Studio serves tasks by the score of their prediction, and those without one last, when nobody may be left
    to see them. So a blind task gets the score of any other, always the same one, that says nothing about it.
    """
    if prediction is not None:
        return to_studio(task.text, prediction, control)
    drawn = random.Random(task.external_id)  # noqa: S311 - no secret: it must be the same each time
    score = drawn.choice(sorted(confidences)) if confidences else 0.5
    return {"model_version": readable_name(version), "score": score, "result": []}


def show_version(studio: Studio, studio_project: int, version: str) -> bool:
    """Make Label Studio show the predictions of this version; False when it holds none of them yet."""
    name = readable_name(version)
    if studio.project(studio_project).model_version == name:
        return True
    try:
        studio.write(studio.api.projects.update, studio_project, model_version=name)
    except StudioError as error:
        if "Model version doesn't exist" in str(error):
            return False
        raise
    return True
