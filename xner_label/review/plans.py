"""A plan of review in minutes, and what became of the last one."""

from __future__ import annotations

import msgspec
import numpy as np
from sqlalchemy.orm import Session

from xner_label.confidence.estimates import Interval, estimate
from xner_label.confidence.lead_times import LeadTimes, fit_lead_times
from xner_label.confidence.planning import Forecast, Plan, TaskHistory, forecast, plan
from xner_label.projection.loglinear.columns import Bools, Floats
from xner_label.review.desk import View, view
from xner_label.review.pool import ReviewPool
from xner_label.review.strategies import make_strategy
from xner_label.settings.choices import DEFAULT_STRATEGY
from xner_label.store import desk, predictions, projects
from xner_label.store.database import Store, id_batches
from xner_label.store.gold import gold_of
from xner_label.store.lead_times import first_answer_times
from xner_label.store.tables import Task

# A lead time so many times as long as expected holds a break: it counts as expected.
_INTERRUPTED = 5.0


class PlanReport(msgspec.Struct, frozen=True, kw_only=True):
    """A plan for so many ``minutes``: ``tasks`` (external ids, in order) with ``changes`` expected in them, and
    the corpus's F1 now and after it, without what the answers teach the other sentences; None without an audit
    slice. ``annotation_id`` is the newest answer that it knew."""

    signature: str
    project: str
    version: str
    annotation_id: int
    minutes: float
    tasks: list[str]
    task_ids: list[int]
    changes: Interval
    f1_now: Interval | None
    f1_after: Interval | None
    lead_times: LeadTimes
    forecast: Forecast


class PlanOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """A stored plan against what people did since: of ``planned`` tasks ``answered`` were, with ``changes``
    where ``expected`` were foreseen for just these; ``minutes`` they took by their lead times (None: unknown)
    where ``expected_minutes`` were. ``held``: whether the changes lie in the interval."""

    planned: int
    answered: int
    changes: int
    expected: Interval
    held: bool
    minutes: float | None
    expected_minutes: float


def make_plan(
    store: Store, name: str, minutes: float, *, strategy: str = DEFAULT_STRATEGY, seed: int = 0, keep: bool = True
) -> PlanReport:
    """Which tasks people can do in ``minutes`` and what they are going to find. ``keep`` stores the plan, so
    that :func:`compare_plan` can hold it against what comes.

    Raises UsageError for an unknown strategy, or where nothing is predicted.
    """
    with store.read() as session:
        seen = view(session, name)
        report, expected = _report(session, seen, minutes, strategy, seed)
    if keep:
        content = {**msgspec.to_builtins(report), "expected": expected.tolist()}
        with store.write() as session:
            desk.add_plan(session, seen.project_id, seen.annotation_id, content)
    return report


def _report(session: Session, seen: View, minutes: float, strategy: str, seed: int) -> tuple[PlanReport, Floats]:
    """A plan, and (tasks, 2) tokens and doubt of each of its tasks."""
    evidence, counts = seen.evidence, seen.counts
    times, outlook = lead_times_of(seen), forecast_of(seen)
    made = planned(seen, minutes, times, outlook, strategy, seed)
    chosen: Bools = np.zeros(len(evidence.ids), bool)
    chosen[made.tasks] = True
    now, after = estimate(counts), estimate(counts, chosen=chosen)
    ids = evidence.ids[made.tasks].tolist()
    names = desk.external_ids(session, ids)
    report = PlanReport(
        signature=f"{seen.signature} strategy={strategy} seed={seed}",
        project=seen.project,
        version=evidence.version,
        annotation_id=seen.annotation_id,
        minutes=made.minutes,
        tasks=[names[task_id] for task_id in ids],
        task_ids=ids,
        changes=made.changes,
        f1_now=None if now is None else now.f1,
        f1_after=None if after is None else after.f1,
        lead_times=times,
        forecast=outlook,
    )
    return report, np.column_stack([evidence.tokens[made.tasks], counts.doubt[made.tasks]]).round(4)


def planned(
    seen: View,
    minutes: float,
    times: LeadTimes,
    outlook: Forecast,
    strategy: str = DEFAULT_STRATEGY,
    seed: int = 0,
) -> Plan:
    """The tasks of a plan, as places in the evidence."""
    evidence = seen.evidence
    order = make_strategy(strategy).choose(
        review_pool(seen), int(evidence.open.sum()), np.random.default_rng(seed)
    )
    return plan(order, evidence.tokens, seen.counts.doubt, minutes, outlook, times)


def review_pool(seen: View) -> ReviewPool:
    """What could be asked, with the pipeline's confidences: what `push` orders by.

    What a task's confidence lacks beside that of its entities stands for spans below the cut, under a name of
    its own.
    """
    evidence = seen.evidence
    signals, size = evidence.signals, len(evidence.ids)
    shown = np.exp(np.bincount(signals.task, np.log(np.maximum(signals.confidence, 1e-9)), size))
    hidden = np.minimum(evidence.confidence / np.maximum(shown, 1e-9), 1.0)
    names = int(signals.text.max(initial=-1)) + 1
    disagreement = None
    if not np.isnan(signals.tagger).all():
        doubted = np.bincount(signals.task, 1.0 - np.nan_to_num(signals.tagger, nan=1.0), size)
        disagreement = doubted + 1.0 - hidden
    return ReviewPool(
        tokens=np.maximum(evidence.tokens, 1.0).astype(np.int64),
        open=evidence.open,
        sentence=np.concatenate([signals.task, np.arange(size)]),
        confidence=np.concatenate([signals.confidence, hidden]),
        name=np.concatenate([signals.text, names + np.arange(size)]),
        cut=0.0,
        disagreement=disagreement,
    )


def lead_times_of(seen: View) -> LeadTimes:
    """What reviews of this project take, by Label Studio's clock."""
    evidence = seen.evidence
    known = evidence.reviewed & np.isfinite(evidence.seconds)
    return fit_lead_times(evidence.tokens[known], seen.counts.changes[known], evidence.seconds[known])


def forecast_of(seen: View) -> Forecast:
    """What the reviewed tasks teach about those to come."""
    evidence, counts = seen.evidence, seen.counts
    read = evidence.reviewed
    return forecast(TaskHistory(evidence.tokens[read], counts.doubt[read], counts.changes[read]))


def compare_plan(store: Store, name: str) -> PlanOutcome | None:
    """The newest plan against what people have done since; None without a plan, or before anything was done."""
    with store.read() as session:
        project_id = projects.get_project(session, name).id
        stored = desk.newest_plan(session, project_id)
        if stored is None:
            return None
        report = msgspec.convert(stored.content, PlanReport)
        since = desk.answered_since(session, project_id, stored.annotation_id)
        place = {task_id: number for number, task_id in enumerate(report.task_ids) if task_id in since}
        answered = [
            gold
            for batch in id_batches(sorted(place))
            for gold in gold_of(session, project_id, Task.id.in_(batch))
        ]
        shown = predictions.of_tasks(session, [gold.task.id for gold in answered], report.version)
        # what was pruned since can't be compared any more
        answered = [gold for gold in answered if gold.task.id in shown]
        if not answered:
            return None
        seconds = first_answer_times(session, project_id)
        changes = 0
        for gold in answered:
            said = {(entity.start, entity.end, entity.label) for entity in gold.entities}
            before = {(row.start, row.end, row.label) for row in shown[gold.task.id].entities}
            changes += max(len(before - said), len(said - before))
    expected = np.array(stored.content["expected"], np.float64).reshape(-1, 2)
    tokens, doubt = expected[[place[gold.task.id] for gold in answered]].T
    foreseen = report.forecast.total(tokens, doubt)
    usual = report.lead_times.seconds(tokens, report.forecast.changes(tokens, doubt))
    taken = np.array([seconds.get(gold.task.id, np.nan) for gold in answered])
    taken = np.where(taken > _INTERRUPTED * usual, usual, taken)
    return PlanOutcome(
        planned=len(report.tasks),
        answered=len(answered),
        changes=changes,
        expected=foreseen,
        held=foreseen.low <= changes <= foreseen.high,
        minutes=None if np.isnan(taken).any() else round(float(taken.sum()) / 60.0, 1),
        expected_minutes=round(float(usual.sum()) / 60.0, 1),
    )
