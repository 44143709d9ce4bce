"""Where a project stands, in numbers."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec
from sqlalchemy.orm import Session

from xner_label.confidence.drift import DriftVerdict
from xner_label.confidence.stopping import Verdict
from xner_label.evaluation.signature import data_hash, signature
from xner_label.evaluation.text_alone import TextAlone, recorded
from xner_label.pipeline.pipeline import names_signature
from xner_label.review.doubts import HintCounts, count_accepted
from xner_label.review.name_audit import NameDecisions, measured_decisions
from xner_label.review.settled_names import name_answers
from xner_label.store import (
    corpus_states,
    desk,
    predictions,
    projects,
    reviews,
    runs,
    set_aside,
    showing,
    sync_state,
    tasks,
)
from xner_label.store.base import utc_now
from xner_label.store.database import Store
from xner_label.store.gold import acceptance, count_corrections, count_gold, skipped_task_ids
from xner_label.store.jobs import JobState, job_states
from xner_label.store.pipelines import signatures_by_name
from xner_label.store.tables import Project
from xner_label.wording import counted

# How long a job may be due before somebody should look, and how old the last sync may be.
_PATIENCE = timedelta(minutes=5)
_STALE = timedelta(days=1)


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of everything a project holds. ``predictions`` are counted by the name of their pipeline version,
    ``pipelines`` holds the full signature of each. Of the ``chosen`` tasks ``pushed`` are in Label Studio and
    ``waiting`` have no answer; ``unshown`` of these aren't known to show the prediction they should,
    ``unpredicted`` lack the promoted run's. ``unlearned`` tasks and ``unlearned_names`` questions about names
    have answers that the predictions don't know; ``name_decisions`` says how often those by name are wrong.
    ``skipped`` tasks somebody skipped; ``acceptance``: share of shown entities that people left as they were.
    ``hints`` counts possible missed entities that people saw in tasks they answered. ``verdict``: whether the
    review may stop, by the newest calibration; ``drift``: whether new text is like what was reviewed, when that
    was last looked at. ``jobs`` has the newest job of each kind and state. ``advice`` says what to do next, in
    words. ``without_source``: how the promoted run answers texts that come without a source, by held-out gold.
    ``signature`` names version, labels and a hash of all that."""

    signature: str
    project: str
    labels: list[str]
    studio_project: int | None
    studio_url: str | None
    tasks: dict[str, int]
    source_sentences: int
    predictions: dict[str, int]
    pipelines: dict[str, str]
    chosen: int
    pushed: int
    waiting: int
    unshown: int
    unpredicted: int
    gold: int
    unlearned: int
    unlearned_names: int
    name_decisions: NameDecisions
    conflicts: int
    excluded: int
    acknowledged: int
    last_sync: datetime | None
    corrections: dict[str, int]
    skipped: int
    acceptance: float | None
    hints: HintCounts
    model_runs: int
    promoted: str | None
    without_source: TextAlone | None
    verdict: Verdict | None
    drift: DriftVerdict | None
    jobs: list[JobState]

    @property
    def advice(self) -> list[str]:
        """What to do next, the most urgent first."""
        lines = []
        if self.unshown:
            push = f"`xner-label push --limit {self.waiting}`"
            lacking = counted(self.unshown, "waiting task may lack its", "waiting tasks may lack their")
            lines.append(f"{lacking} prediction in Label Studio: {push}")
        if self.unpredicted:
            predict = "`xner-label predict --with-model`, then push"
            lines.append(f"the promoted model hasn't predicted {counted(self.unpredicted, 'task')}: {predict}")
        if self.unlearned:
            lines.append(
                f"{counted(self.unlearned, 'task has', 'tasks have')} answers that nothing was learned from: "
                "`xner-label predict`"
            )
        lines += [f"{job.kind} failed: {job.problem}" for job in self.jobs if self._stands_failed(job)]
        if any(job.state == "waiting" and job.due_at < utc_now() - _PATIENCE for job in self.jobs):
            lines.append("jobs are due and nobody does them: run `xner-label worker`")
        if self.studio_project is not None and (self.last_sync is None or utc_now() - self.last_sync > _STALE):
            lines.append("nothing was taken over for a day or more: `xner-label sync`")
        if self.drift is not None and self.drift.action in ("retrain", "recalibrate"):
            lines.append(f"new text isn't like what was reviewed, {self.drift.action}: `xner-label drift`")
        if self.conflicts:
            disputed = "task is in conflict and counts", "tasks are in conflict and count"
            lines.append(f"{counted(self.conflicts, *disputed)} for nothing: `xner-label conflicts`")
        return lines

    def _stands_failed(self, job: JobState) -> bool:
        """Whether a job failed and none of its kind was done since."""
        done = [other.finished_at for other in self.jobs if other.kind == job.kind and other.state == "done"]
        if job.state != "failed" or job.finished_at is None:
            return False
        return not any(moment is not None and moment > job.finished_at for moment in done)


def status(store: Store, project: str) -> Status:
    """The state of a project. Raises UsageError when the store has none of that name."""
    with store.read() as session:
        row = projects.get_project(session, project)
        gold = count_gold(session, row.id)
        chosen, pushed = reviews.count_items(session, row.id)
        promoted = runs.promoted_run(session, row.id)
        noted = desk.newest_calibration(session, row.id)
        predicted = predictions.count_predictions(session, row.id)
        corrections = count_corrections(session, row.id)
        counts = Status(
            signature="",
            project=row.name,
            labels=list(row.labels),
            studio_project=row.studio_project,
            studio_url=None
            if row.studio_project is None
            else f"{row.studio_url}/projects/{row.studio_project}/data",
            tasks=tasks.count_tasks(session, row.id),
            source_sentences=tasks.count_source_sentences(session, row.id),
            predictions=predicted,
            pipelines=signatures_by_name(session, predicted),
            chosen=chosen,
            pushed=pushed,
            waiting=reviews.count_open(session, row.id),
            unshown=reviews.unshown_items(session, row.id),
            unpredicted=runs.count_unpredicted(session, row, "pool"),
            gold=gold.tasks,
            unlearned=corpus_states.count_unlearned(session, row.id),
            unlearned_names=_unlearned_names(session, row),
            name_decisions=measured_decisions(session, row.id),
            conflicts=gold.conflicts,
            excluded=len(set_aside.excluded(session, row.id)),
            acknowledged=set_aside.count_acknowledged(session, row.id),
            last_sync=sync_state.last_sync(session, row.id),
            corrections=corrections,
            skipped=len(skipped_task_ids(session, row.id)),
            acceptance=acceptance(corrections),
            hints=count_accepted(showing.answered_hints(session, row.id)),
            model_runs=len(runs.model_runs(session, row.id)),
            promoted=None if promoted is None else promoted.version,
            without_source=None if promoted is None else recorded(promoted.metrics),
            drift=None
            if noted is None or noted.content.get("drift") is None
            else msgspec.convert(noted.content["drift"]["verdict"], DriftVerdict),
            verdict=None if not noted else msgspec.convert(noted.content["verdict"], Verdict),
            jobs=job_states(session, row.id),
        )
    labels = ",".join(counts.labels)
    # the same data has the same hash, whenever it was last looked at
    data = data_hash(msgspec.structs.replace(counts, last_sync=None, jobs=[]))
    return msgspec.structs.replace(counts, signature=signature(data=data, labels=labels))


def _unlearned_names(session: Session, project: Project) -> int:
    """Questions whose answers the current predictions don't know; at least one where these are others."""
    known = "" if project.pipeline is None else names_signature(project.pipeline.signature)
    if name_answers(session, project.id).verdict_signature == known:
        return 0
    return max(1, corpus_states.count_unlearned_names(session, project.id))
