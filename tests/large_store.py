"""A store of any size in seconds, made by the database itself: for what depends on how many rows there are."""

from __future__ import annotations

from sqlalchemy import text

from xner_label.store import projects
from xner_label.store.database import Store
from xner_label.store.pipelines import ensure_pipeline

LABELS = ("PER", "LOC")
SENTENCE = "Waziri Mkuu Amina Mwakasege alifungua ofisi mpya mjini Dodoma siku ya Jumanne"
_ROWS = (
    f"""
    WITH RECURSIVE numbers(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM numbers WHERE i < :tasks)
    INSERT INTO tasks (project_id, external_id, split, text, text_hash, source, created_at)
    SELECT CASE WHEN i % :others = 0 THEN 2 ELSE 1 END, i, 'pool', '{SENTENCE} ' || i, 'hash ' || i, '{SENTENCE}',
    '2026-01-01' FROM numbers ORDER BY i""",
    """
    INSERT INTO predictions (task_id, pipeline_id, confidence, created_at)
    SELECT tasks.id, pipelines.id, (tasks.id % 997) / 997.0, '2026-01-01' FROM pipelines, tasks
    ORDER BY pipelines.id, tasks.id""",
    """
    INSERT INTO projected_entities (prediction_id, position, region, start, "end", label, text, score, confidence)
    SELECT id, 0, 'p' || id, 12, 27, 'PER', 'Amina Mwakasege', 1.0, 0.9 FROM predictions""",
    "INSERT INTO stages (role, signature, created_at) VALUES ('aligner', 'e', '2026-01-01')",
    """
    INSERT INTO stage_results (task_id, stage_id, fingerprint, added, created_at)
    SELECT id, 1, 'f', '{"alignment": "0-0"}', '2026-01-01' FROM tasks""",
)
# A count of all rows reads all of them, of the index or, where rows are as narrow, of the table.
_COUNT = "SELECT predictions.pipeline_id, count(*)"


def fill(store: Store, tasks: int, *, others: int | None = None) -> None:
    """A project ``default`` with ``tasks``, each with a prediction by two pipeline versions; one in ``others``
    belongs to another project."""
    with store.write() as session:
        for name in ("default", "other")[: 1 if others is None else 2]:
            project = projects.ensure_project(session, name, LABELS)
            project.pipeline = ensure_pipeline(session, "p2")
        ensure_pipeline(session, "p1")
        for statement in _ROWS:
            session.execute(text(statement), {"tasks": tasks, "others": others or tasks + 1})
    store.refresh_statistics()
    if store.engine.dialect.name == "postgresql":
        with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM"))  # as it does by itself after a while
