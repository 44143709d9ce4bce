"""Pushing: which tasks people should look at, and bringing each of them to Label Studio exactly once.

Label Studio takes the same task twice without complaint. So the choice is stored before anything is sent, each
chunk is marked as sent before it leaves and as pushed once it is known to be there, and whatever was sent
without an answer is looked for in Label Studio by its external id before it is sent again.
"""

from __future__ import annotations

import msgspec
from sqlalchemy.orm import Session

from xner_label.errors import UsageError
from xner_label.progress import SILENCE, Progress
from xner_label.review.selection import RANDOM, costs_of, in_order, waiting
from xner_label.settings.choices import DEFAULT_STRATEGY
from xner_label.settings.table import Settings
from xner_label.store import eligible_tasks, predictions, projects, reviews, runs
from xner_label.store.database import Store
from xner_label.store.tables import Project
from xner_label.studio.client import open_studio
from xner_label.studio.delivery import Delivery
from xner_label.studio.identity import require_connected
from xner_label.studio.labelling import Control, control_of_project
from xner_label.studio.ranking import rank_waiting
from xner_label.studio.regions import require_fitting
from xner_label.studio.showing import Shower, show_version
from xner_label.studio.task_fields import refresh_fields


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
        connected = studio.project(studio_project)
        require_connected(project, connected)
        control = control_of_project(connected, project)
        with store.read() if options.dry_run else store.write() as session:
            if not options.dry_run:
                projects.lock_project(session, project.id)
            choice = _choose(session, project, options, control)
            if choice.items and not options.dry_run:
                reviews.add_batch(session, project.id, options.strategy, choice.items, choice.drawn)
        pushed = refreshed = repaired = reordered = 0
        if not options.dry_run and choice.version is not None:
            shower = Shower(store, studio, project, control, choice.version, progress)
            delivery = Delivery(store, studio, project, control, choice.version, progress)
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
    if version is None or eligible_tasks.least_confident(session, project.id, version, options.split, limit=1):
        return {}
    counts = eligible_tasks.count_by_split(session, project.id, version)
    return {split: count for split, count in counts.items() if split != options.split}


def _choose(session: Session, project: Project, options: PushOptions, control: Control) -> _Choice:
    """What to add to the queue, checked against the contract before anything is stored."""
    version = runs.reviewed_version(session, project, options.split)
    wanted = options.limit - reviews.count_open(session, project.id)
    if version is None or wanted <= 0:
        return _Choice(version, [], [])
    if options.tasks is not None:
        chosen = eligible_tasks.among(session, project.id, version, options.split, options.tasks)
    else:
        chosen = _ordered(session, project, version, options, wanted)
    blind: set[int] = set()
    drawn: set[int] = set()
    if options.blind_share or options.audit_share:
        # not only from the doubtful ones: the slices are to say how good predictions are on the whole
        unseen, seen = (round(share * wanted) for share in (options.blind_share, options.audit_share))
        size = min(unseen + seen, wanted)
        sample = eligible_tasks.draw(session, project.id, version, options.split, size, options.seed)
        blind = {task for task, _, _ in sample[:unseen]}
        drawn = {task for task, _, _ in sample}
        chosen = [*sample, *(item for item in chosen if item[0] not in drawn)]
    chosen = chosen[:wanted]
    if options.strategy == RANDOM and options.max_confidence is None and options.tasks is None:
        drawn = {task for task, _, _ in chosen}
    for entity in predictions.placed_entities(session, [prediction for _, prediction, _ in chosen]):
        require_fitting(entity, control.labels)
    items = [(task, None if task in blind else prediction) for task, prediction, _ in chosen]
    return _Choice(version, items, [confidence for _, _, confidence in chosen], frozenset(drawn))


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
