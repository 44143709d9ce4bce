"""Labelled tasks, batch by batch: what is exported and learned from outside the store.

Each batch is read in a session of its own, so that no transaction stays open while somebody else's slow pipe takes
the rows. A task is given as it stands when its batch is read.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from sqlalchemy import select

from xner_label.store import predictions, projects, set_aside
from xner_label.store.database import Store
from xner_label.store.gold import Gold, conflicts_of, gold_of, skipped_task_ids
from xner_label.store.stages import newest_links
from xner_label.store.tables import Prediction, Task

# Tasks in a batch.
_BATCH = 1_000


class LabelledTask(msgspec.Struct, frozen=True):
    """A task with what people settled, else with the current pipeline's prediction; never with both.

    ``alignment`` holds the task's own links, else, where they were asked for, those that an aligner made last.
    """

    task: Task
    gold: Gold | None = None
    prediction: Prediction | None = None
    alignment: str | None = None


def labelled_tasks(
    store: Store, project: str, *, gold: bool, silver: bool, links: bool = False
) -> Iterator[LabelledTask]:
    """The tasks that have gold, a prediction and no gold (``silver``), or either, in the order they came.

    Raises UsageError when there is no such project.
    """
    with store.read() as session:
        row = projects.get_project(session, project)
        project_id, pipeline = row.id, row.pipeline.name if row.pipeline else None
    last = 0
    while True:
        with store.read() as session:
            query = (
                select(Task)
                .where(Task.project_id == project_id, Task.id > last, set_aside.not_excluded())
                .order_by(Task.id)
            )
            batch = list(session.scalars(query.limit(_BATCH)))
            if not batch:
                return
            last = batch[-1].id
            in_batch = Task.id.between(batch[0].id, last)
            settled = {item.task.id: item for item in gold_of(session, project_id, in_batch)}
            predicted: dict[int, Prediction] = {}
            if silver and pipeline:
                # what people disagree about, or wouldn't answer, is neither gold nor unreviewed
                seen = {item.task.id for item in conflicts_of(session, project_id, in_batch)}
                seen |= skipped_task_ids(session, project_id, in_batch)
                open_ids = [task.id for task in batch if task.id not in settled.keys() | seen]
                predicted = predictions.of_tasks(session, open_ids, pipeline)
            wanted = [task for task in batch if task.id in predicted or (gold and task.id in settled)]
            alignments = newest_links(session, [task.id for task in wanted]) if links else {}
        for task in wanted:
            yield LabelledTask(
                task,
                settled.get(task.id) if gold else None,
                predicted.get(task.id),
                alignments.get(task.id) if task.alignment is None else task.alignment,
            )
