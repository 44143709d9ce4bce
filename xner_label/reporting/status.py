"""Where a project stands, in numbers."""

from __future__ import annotations

import msgspec

from xner_label.evaluation.signature import data_hash, signature
from xner_label.store import corpus_states, predictions, projects, reviews, runs, tasks
from xner_label.store.database import Store
from xner_label.store.gold import count_corrections, count_gold
from xner_label.store.pipelines import signatures_by_name


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of everything a project holds. ``predictions`` are counted by the name of their pipeline version,
    ``pipelines`` holds the full signature of each. ``signature`` names version, labels and a hash of all that."""

    signature: str
    project: str
    labels: list[str]
    studio_project: int | None
    tasks: dict[str, int]
    source_sentences: int
    predictions: dict[str, int]
    pipelines: dict[str, str]
    chosen: int
    pushed: int
    gold: int
    unlearned: int
    conflicts: int
    corrections: dict[str, int]
    model_runs: int
    promoted: str | None


def status(store: Store, project: str) -> Status:
    """The state of a project. Raises UsageError when the store has none of that name."""
    with store.read() as session:
        row = projects.get_project(session, project)
        gold = count_gold(session, row.id)
        chosen, pushed = reviews.count_items(session, row.id)
        promoted = runs.promoted_run(session, row.id)
        predicted = predictions.count_predictions(session, row.id)
        found = Status(
            signature="",
            project=row.name,
            labels=list(row.labels),
            studio_project=row.studio_project,
            tasks=tasks.count_tasks(session, row.id),
            source_sentences=tasks.count_source_sentences(session, row.id),
            predictions=predicted,
            pipelines=signatures_by_name(session, predicted),
            chosen=chosen,
            pushed=pushed,
            gold=gold.tasks,
            unlearned=corpus_states.count_unlearned(session, row.id),
            conflicts=gold.conflicts,
            corrections=count_corrections(session, row.id),
            model_runs=len(runs.model_runs(session, row.id)),
            promoted=None if promoted is None else promoted.version,
        )
    labels = ",".join(found.labels)
    return msgspec.structs.replace(found, signature=signature(data=data_hash(found), labels=labels))
