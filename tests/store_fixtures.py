"""A store of a test's own, once on SQLite and once on PostgreSQL, and rows for every table."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from xner_label.entities import Entity, Prediction, ProjectedEntity, Provenance, SourceMention, Task
from xner_label.store import (
    corpus_states,
    desk,
    documents,
    jobs,
    migrating,
    predictions,
    projects,
    reviews,
    sync_state,
    tables,
    tasks,
)
from xner_label.store.database import Store, open_store
from xner_label.store.gold import add_imported_gold
from xner_label.store.stages import add_stage_results, ensure_stage

TASKS = [
    (Task(id="a", text="Rais wa Kenya", source="The president of Kenya", alignment="1-0 3-2"), "pool"),
    (Task(id=2, text="Habari", source_entities=(Entity(0, 3, "PER", 0.5),), source="Hey"), "test"),
]
PREDICTION = Prediction(
    "a",
    "Rais wa Kenya",
    (
        ProjectedEntity(
            8,
            13,
            "LOC",
            "Kenya",
            1.5,
            0.75,
            SourceMention(17, 22, "LOC", "Kenya"),
            Provenance(names=3, votes=2.5, settled=("b",), settled_count=1),
        ),
    ),
    0.75,
    "p1",
)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/store.db"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def each_url(request: pytest.FixtureRequest) -> str:
    """Of an empty database, of each kind in turn."""
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
    return url


@pytest.fixture
def each_store(each_url: str) -> Iterator[Store]:
    """At head, without rows."""
    with open_store(each_url, check=False) as store:
        migrating.upgrade(store)
        yield store


def task_of_text(session: Session, text: str, project_id: int = 1) -> tables.Task | None:
    """The first stored task with exactly this text."""
    candidates = tasks.find_tasks(session, project_id, external_ids=[], studio_tasks=[], texts=[text])
    return next((task for task in candidates if task.text == text), None)


def fill(session: Session) -> tuple[tables.Project, dict[str, int]]:
    """A project with two tasks; returns it and the tasks' ids by their external ones."""
    project = projects.ensure_project(session, "default", ["PER", "LOC"])
    tasks.add_tasks(session, project.id, TASKS)
    ids = tasks.ids_by_external(session, project.id, ["a", "2"])
    predictions.add_predictions(session, [(ids["a"], PREDICTION)])
    reviews.add_batch(session, project.id, "confidence", [(ids["a"], None)])
    add_imported_gold(session, {ids["2"]: [Entity(0, 6, "PER")]})
    return project, ids


def fill_every_table(session: Session) -> None:
    """At least one row in every table, each reference in use."""
    project, ids = fill(session)
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    add_stage_results(session, "translator", "nllb", [(ids["2"], "f" * 32, {"source": "Hey"})])
    session.get_one(tables.Task, ids["2"]).translator_id = ensure_stage(session, "translator", "nllb")
    tasks.add_source_sentences(session, project.id, [("s", "Kenya", [Entity(0, 5, "LOC")])])
    prediction = predictions.predictions_of(session, project.id, "p1")[0][1]
    run = tables.ModelRun(
        project_id=project.id,
        version="r",
        kind="crf",
        path="r",
        gold_tasks=1,
        silver_tasks=1,
        config={},
        metrics={},
    )
    annotation = tables.Annotation(
        task_id=ids["a"],
        origin="studio",
        studio_annotation=1,
        studio_updated_at=moment,
        regions=[],
        entities=[],
        prediction_id=prediction.id,
        corrections=[tables.Correction(projected_entity_id=prediction.entities[0].id, kind="removed")],
    )
    excluded = tables.ExcludedTask(task_id=ids["a"], reason="no source")
    acknowledged = tables.Acknowledgement(
        project_id=project.id, studio_annotation=2, studio_updated_at=moment, problem="offsets", reason="of no use"
    )
    decision = tables.Decision(task_id=ids["a"], entities=[], annotations=[1], decided_by="third")
    shown = tables.ShownConflict(task_id=ids["a"], digest="d")
    session.add_all([excluded, acknowledged, decision, shown])
    session.add_all([run, annotation, tables.CacheEntry(namespace="n", key="k", value=b"v")])
    session.flush()
    session.add(tables.LearnedAnnotation(model_run_id=run.id, annotation_id=annotation.id))
    session.add(tables.Promotion(project_id=project.id, model_run_id=run.id, reason="first"))
    prediction.model_run_id = run.id
    sync_state.set_cursor(session, project.id, moment)
    question = tables.NameQuestion(
        project_id=project.id, source_name="kenya", target_text="kenya", label="LOC", occurrences=2, card={}
    )
    session.add(question)
    session.flush()
    said = tables.NameAnswer(
        question_id=question.id, studio_annotation=1, studio_updated_at=moment, kind="label", value="LOC"
    )
    place = tables.NameProject(
        project_id=project.id, studio_url="http://127.0.0.1", studio_project=2, studio_created_at=moment
    )
    session.add_all([said, place])
    state = corpus_states.add_state(
        session, project.id, corpus_states.NewState("s", "g", 1, b"c", name_answer_id=1)
    )
    corpus_states.add_additions(session, state.id, {ids["2"]: b"a"})
    jobs.enqueue(session, project.id, "sync")
    document = documents.add_documents(session, project.id, {"d": ("Hey!", 1)})["d"]
    documents.add_sentences(session, [(ids["2"], document, 0)])
    desk.add_calibration(session, project.id, prediction.pipeline_id, 1, {})
    desk.add_plan(session, project.id, 1, {})
    session.flush()
    assert all(count_rows(session).values()), "a new table needs a row here"


def count_rows(session: Session) -> dict[str, int]:
    """Number of rows by table."""
    return {
        name: session.scalar(select(func.count()).select_from(table)) or 0
        for name, table in tables.Base.metadata.tables.items()
    }
