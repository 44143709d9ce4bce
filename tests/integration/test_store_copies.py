"""Copies of a store that is in use, putting them back, and whether what is stored holds together."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import text

from tests.store_fixtures import each_store as each_store
from tests.store_fixtures import each_url as each_url
from tests.store_fixtures import fill_every_table as fill_every_table
from tests.store_fixtures import sqlite_url as sqlite_url
from xner_label.cli.main import cli
from xner_label.entities import Task
from xner_label.errors import CheckFailedError, ConfigurationError, UsageError
from xner_label.store import copies, migrating, projects, tasks
from xner_label.store.checking import check_store
from xner_label.store.database import Store, open_store


def count(url: str) -> int:
    with open_store(url) as store, store.read() as session:
        return sum(tasks.count_tasks(session, projects.get_project(session, "default").id).values())


def add(store: Store, numbers: range) -> None:
    with store.write() as session:
        project = projects.ensure_project(session, "default", ["PER"])
        tasks.add_tasks(session, project.id, [(Task(id=number, text=f"a {number}"), "pool") for number in numbers])


def test_a_copy_is_whole_while_somebody_writes(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    with open_store(url, check=False) as store:
        migrating.upgrade(store)
        add(store, range(5_000))
        stop = threading.Event()

        def write() -> None:
            number = 5_000
            while not stop.is_set():
                add(store, range(number, number + 10))
                number += 10

        writer = threading.Thread(target=write)
        writer.start()
        copies.back_up(store, tmp_path / "copy.db")
        stop.set()
        writer.join()
        copied = count(f"sqlite:///{tmp_path / 'copy.db'}")
        assert copied >= 5_000
        assert copied % 10 == 0  # whole transactions
        assert check_store(store).problems == {}
        with pytest.raises(UsageError, match="there already"):
            copies.back_up(store, tmp_path / "copy.db")
        add(store, range(900_000, 900_020))
        copies.restore(store, tmp_path / "copy.db")
        assert count(url) == copied
        damaged = tmp_path / "damaged.db"
        damaged.write_bytes(b"SQLite format 3\0" + bytes(4000))
        for path in (damaged, tmp_path / "tasks.txt"):
            path.touch()
            with pytest.raises(ConfigurationError, match="no whole XNER-Label store"):
                copies.restore(store, path)
        assert count(url) == copied
    assert sorted(path.name for path in tmp_path.glob(".*")) == []


def test_what_does_not_hold_together_is_named(each_store: Store) -> None:
    with each_store.write() as session:
        fill_every_table(session)
    report = check_store(each_store)
    assert report.problems == {}
    assert report.checked["tasks"]
    with each_store.write() as session:
        session.execute(text("UPDATE tasks SET text = 'x' || text"))
    problems = check_store(each_store).problems
    assert set(problems) == {
        "a text isn't the one that was hashed",
        "a projected entity isn't what stands at its place",
    }
    url = each_store.engine.url.render_as_string(hide_password=False)
    failed = CliRunner().invoke(cli, ["db", "check", "--database-url", url])
    assert isinstance(failed.exception, CheckFailedError)
    if each_store.engine.dialect.name == "postgresql":
        with pytest.raises(UsageError, match="pg_dump"):
            copies.back_up(each_store, Path("copy.dump"))
