"""What people did with affixes of names in a project's gold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
from sqlalchemy.orm import Session

from xner_label.entities import Entity
from xner_label.errors import RecordError
from xner_label.projection.inner_borders import BorderHabits, learn_border_habits
from xner_label.projection.problem import Instance, build_instance
from xner_label.store.gold import gold_of
from xner_label.store.tasks import to_record
from xner_label.training.data import TRAINABLE


def project_habits(session: Session, project_id: int) -> BorderHabits:
    """The habits that the gold of a project's tasks shows; that of tasks that judge models teaches nothing."""
    return learn_border_habits(_settled(session, project_id))


def _settled(session: Session, project_id: int) -> Iterator[tuple[Instance, Sequence[Entity]]]:
    for gold in gold_of(session, project_id):
        if gold.task.split in TRAINABLE and gold.entities:
            try:
                task = msgspec.structs.replace(to_record(gold.task), alignment=None)
                yield build_instance(task)[0], gold.entities
            except RecordError:
                continue  # the pipeline will say what is wrong with it
