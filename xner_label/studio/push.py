"""Pushing: which tasks people should look at, and bringing each of them to Label Studio exactly once.

Label Studio takes the same task twice without complaint. So the choice is stored before anything is sent, each
chunk is marked as sent before it leaves and as pushed once it is known to be there, and whatever was sent
without an answer is looked for in Label Studio by its external id before it is sent again.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy.orm import Session

from xner_label.errors import ConfigurationError, StudioError, UsageError
from xner_label.progress import SILENCE, Progress
from xner_label.review.selection import RANDOM, costs_of, in_order, waiting
from xner_label.settings.choices import DEFAULT_STRATEGY
from xner_label.settings.table import Settings
from xner_label.store import predictions, projects, reviews, runs
from xner_label.store.database import Store
from xner_label.store.pipelines import readable_name
from xner_label.store.reviews import Outgoing
from xner_label.store.showing import mark_fields
from xner_label.store.tables import Project
from xner_label.studio.answers import NotAnsweredError
from xner_label.studio.client import SETTLE, Studio, open_studio
from xner_label.studio.identity import require_connected
from xner_label.studio.labelling import EXTERNAL_ID, Control, control_of_project
from xner_label.studio.ranking import rank_waiting
from xner_label.studio.regions import require_fitting
from xner_label.studio.showing import Shower, prediction_of, show_version
from xner_label.studio.task_fields import FieldMaker, TaskFields, refresh_fields

# Tasks in one request: about a second of Label Studio's time, and no more than these are in doubt after a kill.
_TASKS_PER_REQUEST = 500


class PushOptions(msgspec.Struct, frozen=True):
    """``limit`` is the number of tasks that should wait for people afterwards, so that pushing again adds
    nothing until some are done; ``strategy`` orders what could be chosen (see
    :mod:`xner_label.review.strategies`), and no more is chosen than people can do in ``minutes``, what waits
    already included. ``max_confidence`` leaves out what is surer than that. ``tasks`` names those to choose, by
    id and in their order, instead of a strategy. ``blind_share`` of the chosen ones are drawn at random from all
    that could be chosen and shown without a prediction: the control slice; ``audit_share`` are drawn in the same
    way and shown with it: the audit slice."""

    limit: int
    strategy: str = DEFAULT_STRATEGY
    minutes: float | None = None
    max_confidence: float | None = None
    split: str = "pool"
    blind_share: float = 0.0
    audit_share: float = 0.0
    seed: int = 0
    dry_run: bool = False
    tasks: tuple[int, ...] | None = None


class PushReport(msgspec.Struct, frozen=True):
    """``chosen`` tasks were added to the queue, ``blind`` of them without their prediction, ``drawn`` at
    random; ``resumed`` had been chosen by an earlier push; ``pushed`` went to Label Studio now; ``refreshed``
    were waiting there and got the prediction of a newer ``version``, for which ``reordered`` of those that wait
    stand elsewhere now; ``repaired`` had lost their prediction; ``waiting`` is the length of the queue.
    ``elsewhere`` counts, by split, what could be chosen from other splits, and ``unpredicted`` the tasks that
    the promoted run has yet to predict before its predictions are shown."""

    project: str
    version: str | None
    chosen: int
    blind: int
    drawn: int
    resumed: int
    pushed: int
    refreshed: int
    reordered: int
    repaired: int
    waiting: int
    lowest_confidence: float | None
    highest_confidence: float | None
    elsewhere: dict[str, int]
    unpredicted: int
    dry_run: bool


class _Choice(msgspec.Struct, frozen=True):
    version: str | None
    items: list[tuple[int, int | None]]
    confidences: list[float]
    drawn: frozenset[int] = frozenset()

    @property
    def blind(self) -> int:
        return sum(prediction is None for _, prediction in self.items)


def push(store: Store, settings: Settings, options: PushOptions, progress: Progress = SILENCE) -> PushReport:
    """Fill the queue up to ``options.limit`` tasks, least confident first, and bring it to Label Studio.

    What an earlier push chose and could not deliver goes first. ``progress`` is told what takes long.
    Raises StudioError, ConfigurationError when the project isn't connected, ContractError when a prediction
    doesn't fit its text; then nothing new is chosen.
    """
    if options.limit < 0:
        raise UsageError("the limit must not be negative", hint="give --limit 100, for example")
    with open_studio(settings) as studio:
        with store.read() as session:
            project, studio_project = projects.connected_project(session, settings.project, studio.url)
            resumed = reviews.unpushed_items(session, project.id)
        found = studio.project(studio_project)
        require_connected(project, found)
        control = control_of_project(found, project)
        with store.read() if options.dry_run else store.write() as session:
            if not options.dry_run:
                projects.lock_project(session, project.id)
            choice = _choose(session, project, options, control)
            if choice.items and not options.dry_run:
                reviews.add_batch(session, project.id, options.strategy, choice.items, choice.drawn)
        pushed = refreshed = repaired = reordered = 0
        if not options.dry_run and choice.version is not None:
            shower = Shower(store, studio, project, control, choice.version, progress)
            delivery = _Delivery(store, studio, project, control, choice.version, progress)
            pushed = delivery.run()
            refreshed = shower.follow()
            if refreshed:
                with store.write() as session:
                    reordered = rank_waiting(session, project.id)
            repaired = shower.complete()
            show_version(studio, studio_project, choice.version)
            # what was sent just now can be out of date only where the queue has changed since
            fresh = set() if reordered else delivery.sent
            refresh_fields(store, studio, project, control, progress, fresh)
        with store.read() as session:
            waiting = reviews.count_open(session, project.id)
            elsewhere = {} if choice.items else _elsewhere(session, project, choice.version, options)
            unpredicted = runs.count_unpredicted(session, project, options.split)
    return PushReport(
        project=project.name,
        version=choice.version,
        chosen=len(choice.items),
        blind=choice.blind,
        drawn=len(choice.drawn),
        resumed=len(resumed),
        pushed=pushed,
        refreshed=refreshed,
        repaired=repaired,
        reordered=reordered,
        waiting=waiting,
        lowest_confidence=min(choice.confidences, default=None),
        highest_confidence=max(choice.confidences, default=None),
        elsewhere=elsewhere,
        unpredicted=unpredicted,
        dry_run=options.dry_run,
    )


def _elsewhere(session: Session, project: Project, version: str | None, options: PushOptions) -> dict[str, int]:
    """How much could be chosen from other splits, where this one holds nothing."""
    if version is None or reviews.eligible(session, project.id, version, options.split, limit=1):
        return {}
    counts = reviews.eligible_by_split(session, project.id, version)
    return {split: count for split, count in counts.items() if split != options.split}


def _choose(session: Session, project: Project, options: PushOptions, control: Control) -> _Choice:
    """What to add to the queue, checked against the contract before anything is stored."""
    version = runs.reviewed_version(session, project, options.split)
    wanted = options.limit - reviews.count_open(session, project.id)
    if version is None or wanted <= 0:
        return _Choice(version, [], [])
    if options.tasks is not None:
        found = reviews.eligible_of(session, project.id, version, options.split, options.tasks)
    else:
        found = _ordered(session, project, version, options, wanted)
    blind: set[int] = set()
    drawn: set[int] = set()
    if options.blind_share or options.audit_share:
        # not only from the doubtful ones: the slices are to say how good predictions are on the whole
        unseen, seen = (round(share * wanted) for share in (options.blind_share, options.audit_share))
        size = min(unseen + seen, wanted)
        sample = reviews.draw_eligible(session, project.id, version, options.split, size, options.seed)
        blind = {task for task, _, _ in sample[:unseen]}
        drawn = {task for task, _, _ in sample}
        found = [*sample, *(item for item in found if item[0] not in drawn)]
    found = found[:wanted]
    if options.strategy == RANDOM and options.max_confidence is None and options.tasks is None:
        drawn = {task for task, _, _ in found}
    for entity in predictions.placed_entities(session, [prediction for _, prediction, _ in found]):
        require_fitting(entity, control.labels)
    items = [(task, None if task in blind else prediction) for task, prediction, _ in found]
    return _Choice(version, items, [confidence for _, _, confidence in found], frozenset(drawn))


def _ordered(
    session: Session, project: Project, version: str, options: PushOptions, wanted: int
) -> list[tuple[int, int, float]]:
    """What could be chosen, in the order of the strategy."""
    costs = seconds = None
    if options.minutes is not None:
        costs = costs_of(session, project.id)
        seconds = 60.0 * options.minutes - waiting(session, project, costs).taken(costs)
    chosen, _ = in_order(
        session,
        project,
        version,
        options.strategy,
        wanted,
        split=options.split,
        max_confidence=options.max_confidence,
        seed=options.seed,
        seconds=seconds,
        costs=costs,
    )
    return chosen


class _Delivery:
    """Brings everything chosen and not yet pushed to one project of Label Studio."""

    def __init__(
        self,
        store: Store,
        studio: Studio,
        project: Project,
        control: Control,
        version: str,
        progress: Progress,
    ) -> None:
        assert project.studio_project is not None
        self._store = store
        self._studio = studio
        self._project = project
        self._project_id = project.id
        self._studio_project = project.studio_project
        self._control = control
        self._version = version
        self._progress = progress
        self._fields: dict[int, TaskFields] = {}
        self.sent: set[int] = set()  # ids of the items that were sent

    def run(self) -> int:
        """Returns how many tasks were sent now. Raises StudioError, saying how far it came."""
        outgoing = self._after_looking()
        with self._store.read() as session:
            confidences = reviews.open_confidences(session, self._project_id)
            if outgoing:
                self._fields = FieldMaker(session, self._project, self._control).fields(outgoing)
        payloads = [self._payload(item, confidences) for item in outgoing]
        sent = 0
        if len(outgoing) > _TASKS_PER_REQUEST:
            self._progress.begin("pushing", len(outgoing))
        for start in range(0, len(outgoing), _TASKS_PER_REQUEST):
            part = slice(start, start + _TASKS_PER_REQUEST)
            try:
                sent += self._send(outgoing[part], payloads[part])
            except StudioError as error:
                done = f"{sent} of {len(outgoing)} tasks pushed"
                raise type(error)(
                    f"{done}, then: {error.args[0]}",
                    hint=f"{error.hint}; then run `xner-label push` again, it goes on where this one stopped",
                    logged=f"{done}, then: {error.logged}",
                ) from None
            self._progress.advance(len(outgoing[part]))
        return sent

    def _after_looking(self) -> list[Outgoing]:
        """What has to be sent, after looking for what an earlier process may have sent."""
        while True:
            with self._store.read() as session:
                outgoing = reviews.unpushed_items(session, self._project_id)
            doubtful = [item for item in outgoing if item.item.sent_at is not None]
            if not doubtful:
                return outgoing
            there = self._found(doubtful)
            absent = [item.item.id for item in doubtful if item.task.id not in there]
            with self._store.write() as session:
                lost = reviews.lost_items(session, absent, SETTLE)
                reviews.mark_pushed(session, there)
                reviews.release_items(session, lost)
            waiting = len(doubtful) - len(there) - len(lost)
            if waiting:
                self._progress.begin(f"looking for {waiting} tasks that an interrupted push sent")
                time.sleep(1.0)

    def _found(self, items: Sequence[Outgoing]) -> dict[int, int]:
        """Those of the items that Label Studio holds: our task id -> its task id."""
        ids = {item.task.external_id: item.task.id for item in items}
        there: dict[int, int] = {}
        for row in self._studio.tasks(self._studio_project, include="id,data"):
            task_id = ids.get(str(row.data.get(EXTERNAL_ID)))
            if task_id is not None:
                there.setdefault(task_id, row.id)
        return there

    def _send(self, outgoing: Sequence[Outgoing], payloads: Sequence[dict[str, Any]]) -> int:
        with self._store.write() as session:
            claimed = reviews.claim_items(session, [item.item.id for item in outgoing])
        ours = [(item, body) for item, body in zip(outgoing, payloads, strict=True) if item.item.id in claimed]
        if not ours:
            return 0
        try:
            answer = self._studio.write(
                self._studio.api.projects.import_tasks,
                self._studio_project,
                request=[body for _, body in ours],
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
                f"Label Studio answered an import of {len(ours)} tasks with {len(ids)} ids",
                hint="only the community edition imports at once; run `xner-label push` again in a minute",
            )
        with self._store.write() as session:
            reviews.mark_pushed(session, {item.task.id: row for (item, _), row in zip(ours, ids, strict=True)})
            mark_fields(session, {item.item.id: self._fields[item.item.id].shown for item, _ in ours})
            self.sent.update(item.item.id for item, _ in ours)
            if answer.prediction_count == len(ours):
                reviews.mark_shown(session, {item.item.id: self._shown(item) for item, _ in ours})
            else:
                # stored without them; `Shower.complete` sends what is missing
                reviews.forget_sending(session, [item.item.id for item, _ in ours])
        return len(ours)

    def _shown(self, item: Outgoing) -> str:
        return readable_name(self._version if item.prediction is None else item.prediction.pipeline.name)

    def _payload(self, item: Outgoing, confidences: Sequence[float]) -> dict[str, Any]:
        """A task as Label Studio imports it."""
        data = {
            self._control.source_key: item.task.source or "",
            self._control.text_key: item.task.text,
            **self._fields[item.item.id].data,
        }
        shown = prediction_of(item.task, item.prediction, self._control, self._version, confidences)
        return {"data": data, "predictions": [shown]}
