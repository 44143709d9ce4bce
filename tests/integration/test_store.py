"""The store on SQLite and PostgreSQL: schema, idempotent writes, append-only history, locks."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from tests.store_fixtures import PREDICTION, TASKS, fill, task_of_text
from xner_label.entities import Entity, Prediction
from xner_label.errors import ConfigurationError, PartialError
from xner_label.store import predictions, reviews, tables, tasks
from xner_label.store.cache import DatabaseCache
from xner_label.store.database import open_store
from xner_label.store.gold import GoldImport, add_imported_gold, gold_of

CASES = Path(__file__).parents[1] / "cases"


@pytest.fixture
def store(each_store):
    return each_store


def test_writing_the_same_again_adds_nothing(store):
    with store.write() as session:
        project, ids = fill(session)
    with store.write() as session:
        assert tasks.add_tasks(session, project.id, TASKS) == 0
        assert predictions.add_predictions(session, [(ids["a"], PREDICTION)]) == 0
        assert add_imported_gold(session, {ids["2"]: [Entity(0, 6, "PER")]}) == GoldImport(0, 0)
        reviews.add_batch(session, project.id, "confidence", [(ids["a"], None)])
        assert reviews.count_items(session, project.id) == (1, 0)


def test_what_goes_in_comes_out(store):
    with store.write() as session:
        project, ids = fill(session)
    with store.read() as session:
        stored = list(tasks.iterate_tasks(session, project.id))
        assert tasks.to_record(stored[0]) == tasks.to_given(stored[0]) == TASKS[0][0]
        ((task, prediction),) = predictions.predictions_of(session, project.id, "p1")
        assert predictions.to_record(task, prediction) == PREDICTION
        (gold,) = gold_of(session, project.id)
        assert gold.entities == (Entity(0, 6, "PER"),)
        assert task_of_text(session, "Rais wa Kenya", project.id).id == ids["a"]
        assert stored[0].created_at.tzinfo is not None


def test_probabilities_are_checked(store):
    with store.write() as session:
        _, ids = fill(session)
    bad = Prediction("a", "Rais wa Kenya", (), 1.5, "p2")
    with pytest.raises(IntegrityError, match="confidence_is_probability"), store.write() as session:
        predictions.add_predictions(session, [(ids["a"], bad)])


def test_a_failed_transaction_leaves_nothing(store):
    with pytest.raises(RuntimeError), store.write() as session:
        fill(session)
        raise RuntimeError
    with store.read() as session:
        assert session.scalars(select(tables.Task)).all() == []


def test_a_locked_database_says_run_again(sqlite_url):
    with (
        open_store(sqlite_url, check=False) as store,
        open_store(sqlite_url, check=False, busy_timeout=0.05) as other,
        store.write() as session,
        pytest.raises(PartialError, match="locked"),
    ):
        session.connection()
        with other.write() as late:
            late.connection()


def test_cache_round_trip(store):
    cache = DatabaseCache(store)
    cache.put_many("priors", {"a": b"1", "b": b"2"})
    cache.put_many("priors", {"a": b"3"})
    assert cache.get_many("priors", ["a", "b", "c"]) == {"a": b"3", "b": b"2"}
    assert cache.get_many("other", ["a"]) == {}


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://x/y", "isn't supported"),
        ("nonsense", "can't be read"),
        ("sqlite:////nowhere/at/all.db", "can't be used"),
    ],
)
def test_unusable_urls_are_explained(url, message):
    with pytest.raises(ConfigurationError, match=message), open_store(url):
        pass


@pytest.mark.parametrize("command", [["status"], ["db", "upgrade"], ["import", "again-1.jsonl"]])
def test_a_file_that_is_no_database_is_one_sentence(command, tmp_path):
    shutil.copy(CASES / "not-a-database.db", tmp_path / "xner-label.db")
    shutil.copy(CASES / "again-1.jsonl", tmp_path)
    script = [sys.executable, "-m", "xner_label", *command]
    environment = {**os.environ, "PYTHONPATH": str(CASES.parents[1])}
    done = subprocess.run(script, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "the database can't be read: file is not a database (put a copy of it back" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_killed_writer_leaves_a_whole_database(store, each_url):
    script = (
        "import os, signal\n"
        "from xner_label.store.database import open_store\n"
        "from xner_label.store import projects, tasks\n"
        "from xner_label.entities import Task\n"
        f"with open_store({each_url!r}) as store, store.write() as session:\n"
        "    project = projects.ensure_project(session, 'default', ['PER'])\n"
        "    tasks.add_tasks(session, project.id, [(Task(id=str(n), text='x'), 'pool') for n in range(2000)])\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", script], check=False)
    assert killed.returncode == -9
    with store.write() as session:
        project, _ = fill(session)
        assert tasks.count_tasks(session, project.id) == {"pool": 1, "test": 1}
