"""Which settled entities somebody should look at again, and where they are in Label Studio."""

from __future__ import annotations

import msgspec

from xner_label.reporting.judged import reviewed_tasks
from xner_label.review.slips import Slip, likely_slips
from xner_label.store import projects, tasks
from xner_label.store.database import Store


class SecondLook(msgspec.Struct, frozen=True):
    """A likely slip, its sentence, and the address of its task in Label Studio; None where it isn't there."""

    slip: Slip
    sentence: str
    studio_task: str | None


def second_looks(store: Store, project: str, limit: int) -> list[SecondLook]:
    """The ``limit`` likeliest slips among what people settled. Raises UsageError when there is no such project."""
    with store.read() as session:
        row = projects.get_project(session, project)
        slips = likely_slips(list(reviewed_tasks(session, row)), row.labels)[:limit]
        candidates = tasks.find_tasks(
            session, row.id, external_ids=sorted({slip.task for slip in slips}), studio_tasks=[], texts=[]
        )
        by_id = {task.external_id: task for task in candidates}
        return [
            SecondLook(
                slip,
                by_id[slip.task].text,
                None
                if by_id[slip.task].studio_task is None or row.studio_project is None
                else f"{row.studio_url}/projects/{row.studio_project}/data?task={by_id[slip.task].studio_task}",
            )
            for slip in slips
        ]
