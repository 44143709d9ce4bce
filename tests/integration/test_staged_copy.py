"""Many rows into PostgreSQL by COPY: what comes of it is what INSERT makes of them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import select, text

from tests.processes import LIMIT
from xner_label.entities import Task as TaskRecord
from xner_label.errors import StoreUnavailableError
from xner_label.store import database, migrating, projects
from xner_label.store.base import Base
from xner_label.store.database import Store, insert_new, insert_new_returning, open_store
from xner_label.store.tables import CacheEntry, CorpusAddition, CorpusState, ProjectedEntity, Task
from xner_label.store.tasks import to_row

pytestmark = pytest.mark.postgres
COUNT = database.LEAST_ROWS


@pytest.fixture
def store(postgres_url: str) -> Iterator[Store]:
    with open_store(postgres_url, check=False) as store:
        migrating.upgrade(store)
        with store.write() as session:
            projects.ensure_project(session, "default", ["PER"])
        yield store


def task_rows(count: int) -> list[dict[str, Any]]:
    texts = ["plain", "tab\tand\nline", "back\\slash \\N", "'quoted' \"twice\"", "Łódź 𐍈 ​", '{"a": [1, null]}']
    return [
        to_row(1, TaskRecord(id=f"t{number}", text=f"{texts[number % len(texts)]} {number}"), "pool")
        for number in range(count)
    ]


def stored(store: Store, table: type[Base]) -> list[tuple[Any, ...]]:
    mapped = Base.metadata.tables[table.__tablename__]
    kept = [column for column in mapped.columns if column.name not in ("id", "created_at")]
    with store.read() as session:
        return sorted(map(tuple, session.execute(select(*kept)).all()), key=repr)


@pytest.mark.parametrize("kind", ["tasks", "cache", "states"])
def test_rows_are_those_of_an_insert(store: Store, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    table, rows = {
        "tasks": (Task, task_rows(COUNT)),
        "cache": (
            CacheEntry,
            [
                {"namespace": "translator", "key": f"d{number}", "value": bytes([number % 256, 0, 92, 10])}
                for number in range(COUNT)
            ],
        ),
        "states": (
            CorpusState,
            [
                {"project_id": 1, "signature": f"s{n}", "gold": "", "annotation_id": n, "content": b"\\x\x00"}
                for n in range(COUNT)
            ],
        ),
    }[kind]
    begun = datetime.now(UTC)
    with store.write() as session:
        assert insert_new(session, table, rows) == COUNT
    copied = stored(store, table)
    with store.write() as session:
        session.execute(text(f"TRUNCATE {table.__tablename__} CASCADE"))
        monkeypatch.setattr(database, "LEAST_ROWS", 10**9)
        insert_new(session, table, rows)
    assert stored(store, table) == copied
    if kind == "states":
        with store.read() as session:
            (moment,) = session.scalars(
                select(Base.metadata.tables[table.__tablename__].columns["created_at"]).limit(1)
            )
        assert abs((moment - begun).total_seconds()) < 60


def test_rows_that_are_there_are_skipped_and_those_that_went_in_come_back(store: Store) -> None:
    rows = task_rows(2 * COUNT)
    with store.write() as session:
        assert insert_new(session, Task, rows[: COUNT + 5]) == COUNT + 5
        added = insert_new_returning(session, Task, rows, Task.external_id)
        assert sorted(added) == sorted(row["external_id"] for row in rows[COUNT + 5 :])
        assert insert_new(session, Task, rows) == 0
    # a transaction that fails takes its rows along, and the connection serves the next one
    with pytest.raises(RuntimeError), store.write() as session:
        insert_new(session, Task, task_rows(3 * COUNT))
        raise RuntimeError
    with store.write() as session:
        assert insert_new(session, Task, task_rows(3 * COUNT)) == COUNT


def test_references_are_checked(store: Store) -> None:
    from sqlalchemy.exc import IntegrityError

    rows = [{"state_id": 77, "task_id": number, "content": b""} for number in range(COUNT)]
    with pytest.raises(IntegrityError), store.write() as session:
        insert_new(session, CorpusAddition, rows)
    assert stored(store, CorpusAddition) == []


def test_a_role_without_temporary_tables_inserts(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "may_stage", lambda session: False)
    monkeypatch.setattr(database, "copy_new_returning", None)
    with store.write() as session:
        assert insert_new(session, Task, task_rows(COUNT)) == COUNT


def test_two_writers_of_the_same_rows_agree(store: Store, postgres_url: str) -> None:
    rows, counts, barrier = task_rows(4 * COUNT), [], threading.Barrier(2)

    def write() -> None:
        with open_store(postgres_url) as other:
            barrier.wait(LIMIT)
            for start in range(0, len(rows), COUNT):
                with other.write() as session:
                    counts.append(insert_new(session, Task, rows[start : start + COUNT]))

    writers = [threading.Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(LIMIT)
    assert sum(counts) == len(rows) == len(stored(store, Task))


def test_a_lost_connection_is_said_as_elsewhere(store: Store) -> None:
    rows = task_rows(COUNT)

    def ended() -> Iterator[Any]:
        yield from rows[:-1]
        with store.read() as other:
            other.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state LIKE 'active%'"
                    " AND pid <> pg_backend_pid() AND datname = current_database()"
                )
            )
        yield rows[-1]

    class Rows(list[Any]):
        def __iter__(self) -> Iterator[Any]:
            return ended()

    with pytest.raises(StoreUnavailableError), store.write() as session:
        for _ in range(50):  # what was sent may fit the buffers of the socket
            insert_new(session, Task, Rows(rows))
    with store.write() as session:
        assert insert_new(session, Task, rows) == COUNT
    assert stored(store, ProjectedEntity) == []
