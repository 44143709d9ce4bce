"""That no command reads a whole big table where it wants a few rows of it, by the plans of its queries."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event, select, text

from tests.large_store import LABELS, SENTENCE, fill
from tests.loopback_studio import LoopbackStudio
from xner_label.errors import StoreUnavailableError
from xner_label.predicting.service import Asked, PredictionService
from xner_label.reporting.status import status
from xner_label.settings.table import Settings
from xner_label.store import eligible_tasks, projects, tables
from xner_label.store.database import Pool, Store, open_store
from xner_label.studio.push import PushOptions, push
from xner_label.studio.sync import sync

TASKS = 100_000
BIG = ("tasks", "predictions", "projected_entities", "stage_results")
_MANY = 1_000
# A count of all rows reads all of them, of the index or, where rows are as narrow, of the table.
_COUNT = (
    "SELECT predictions.pipeline_id, count(*)",
    "SELECT count(tasks.studio_task)",
    "SELECT tasks.split, count(*)",
)
# Statements, with their parameters, in the order in which they were run.
Statements = list[tuple[str, Any]]


@pytest.fixture
def settings() -> Settings:
    return Settings(labels=LABELS, studio_api_key="a" * 40, aligner="none")


@pytest.fixture
def large(each_store: Store) -> Store:
    """A project with predictions by two pipeline versions, and a small one beside it."""
    fill(each_store, TASKS, others=100)
    return each_store


@contextmanager
def recorded(store: Store) -> Iterator[Statements]:
    statements: Statements = []

    def note(_c: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, executemany: bool) -> None:
        statements.append(
            (statement, parameters[0] if executemany and isinstance(parameters, list) else parameters)
        )

    event.listen(store.engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(store.engine, "before_cursor_execute", note)


def scans(store: Store, statements: Statements) -> dict[str, str]:
    """The statements that read a big table from end to end, and what the database says of it."""
    postgres = store.engine.dialect.name == "postgresql"
    explain = "EXPLAIN " if postgres else "EXPLAIN QUERY PLAN "
    big = "|".join(BIG)
    # all of a project or of a version is as good as all of the table
    whole = rf"^SCAN ({big})(_\d+)?(?!.*COVERING INDEX)|^SEARCH ({big}) .*\((project|pipeline)_id=\?\)$"
    whole = rf"Seq Scan on ({big})\b" if postgres else whole
    plans: dict[str, str] = {}
    with store.engine.connect() as connection:
        if postgres:  # two processes that share the work make reading all of a small table look cheap
            connection.exec_driver_sql("SET max_parallel_workers_per_gather = 0")
        for statement, parameters in statements:
            if not re.match(r"\s*(SELECT|UPDATE|DELETE|WITH)", statement) or statement.startswith(_COUNT):
                continue
            if postgres and len(parameters) > _MANY:
                continue  # for thousands of ids of so small a table reading all of it may be the quicker way
            plan = connection.exec_driver_sql(explain + statement, parameters).all()
            for row in plan:
                in_order = (
                    not postgres and "USE TEMP B-TREE" not in str(plan) and "LIMIT" in statement
                )  # it ends when it has enough
                if not in_order and re.search(whole, str(row[0] if postgres else row[3]).strip()):
                    plans[statement] = str(row)
    return plans


def test_no_command_reads_a_big_table_from_end_to_end(large: Store, settings: Settings) -> None:
    outcomes: dict[str, dict[str, str]] = {}

    def run(name: str, work: Callable[[], Any]) -> Any:
        with recorded(large) as statements:
            outcome = work()
        assert statements
        outcomes[name] = scans(large, statements)
        return outcome

    with LoopbackStudio(LABELS).open() as studio:
        settings = Settings(**{**vars(settings), "studio_url": studio.url})
        studio.connect(large, "default")
        pushed = run("push", lambda: push(large, settings, PushOptions(limit=50)))
        assert (pushed.chosen, pushed.pushed, pushed.highest_confidence) == (50, 50, 0.0)
        sliced = run("push slices", lambda: push(large, settings, PushOptions(limit=60, audit_share=0.5)))
        assert (sliced.chosen, sliced.drawn) == (10, 5)
        run("first sync", lambda: sync(large, settings))
        for number in range(1, 11):
            studio.annotate(number, [])
        assert run("sync", lambda: sync(large, settings)).added == 10
    with large.write() as session:  # counting a project's predictions beside others' takes a look at its tasks
        session.delete(projects.get_project(session, "other"))
    run("status", lambda: status(large, "default"))
    service = PredictionService(large, settings)
    asked = [Asked(text=f"{SENTENCE} {number}", external_id=str(number)) for number in (77, 78, 79)]
    stored = run("serve", lambda: service.stored(service.current(), asked))
    assert all(answer is not None for answer in stored)
    assert not any(outcomes.values()), outcomes


def test_drawing_from_many_is_fair(large: Store) -> None:
    with large.read() as session:
        seen: list[int] = []
        for seed in range(30):
            drawn = eligible_tasks.draw(session, 1, "p2", "pool", 40, seed)
            assert len({row[0] for row in drawn}) == 40
            seen += [row[0] for row in drawn]
        assert session.scalars(
            select(tables.Task.project_id).where(tables.Task.id.in_(seen)).distinct()
        ).all() == [1]
    below = sum(number <= TASKS // 2 for number in seen)
    assert 500 < below < 700  # of 1,200, five standard deviations to each side


@pytest.mark.postgres
def test_a_pool_that_is_in_use_says_what_to_do(postgres_url: str) -> None:
    pool = Pool(size=1, overflow=0, wait=0.05)
    with open_store(postgres_url, check=False, pool=pool) as store, store.read() as session:
        session.execute(text("SELECT 1"))
        with pytest.raises(StoreUnavailableError, match="in use"), store.read() as another:
            another.execute(text("SELECT 1"))
