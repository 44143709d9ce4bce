"""The store on SQLite and PostgreSQL: schema, idempotent writes, append-only history, locks."""

import subprocess
import sys

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from xner_label.entities import Entity, Prediction, ProjectedEntity, SourceMention, Task
from xner_label.errors import ConfigurationError, PartialError, SchemaError
from xner_label.store import migrating, models, predictions, projects, reviews, schema, tasks
from xner_label.store.cache import DatabaseCache
from xner_label.store.database import open_store
from xner_label.store.gold import add_imported_gold, gold_of


@pytest.fixture
def sqlite_url(tmp_path):
    return f"sqlite:///{tmp_path}/store.db"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def url(request):
    return request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")


@pytest.fixture
def store(url):
    with open_store(url, check=False) as store:
        migrating.upgrade(store)
        yield store


TASKS = [
    (Task(id="a", text="Rais wa Kenya", source="The president of Kenya", alignment="1-0 3-2"), "pool"),
    (Task(id=2, text="Habari", source_entities=(Entity(0, 3, "PER", 0.5),), source="Hey"), "test"),
]
PREDICTION = Prediction(
    "a",
    "Rais wa Kenya",
    (ProjectedEntity(8, 13, "LOC", "Kenya", 1.5, 0.75, SourceMention(17, 22, "LOC", "Kenya")),),
    0.75,
    "p1",
)


def fill(session):
    project = projects.ensure_project(session, "default", ["PER", "LOC"])
    tasks.add_tasks(session, project.id, TASKS)
    ids = tasks.ids_by_external(session, project.id, ["a", "2"])
    predictions.add_predictions(session, [(ids["a"], PREDICTION)])
    reviews.add_batch(session, project.id, "confidence", [(ids["a"], None)])
    add_imported_gold(session, {ids["2"]: [Entity(0, 6, "PER")]})
    return project, ids


def test_models_and_migrations_agree(store):
    with store.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), models.Base.metadata) == []


def test_head_is_the_newest_migration():
    assert ScriptDirectory(str(migrating.migrations_folder())).get_current_head() == schema.HEAD


def test_up_down_up_with_rows_in_the_tables(store, url):
    with store.write() as session:
        fill(session)
    migrating.downgrade(store, "base")
    with pytest.raises(SchemaError, match="db upgrade"), open_store(url):
        pass
    migrating.upgrade(store)
    with store.write() as session:
        fill(session)


def test_writing_the_same_again_adds_nothing(store):
    with store.write() as session:
        project, ids = fill(session)
    with store.write() as session:
        assert tasks.add_tasks(session, project.id, TASKS) == 0
        assert predictions.add_predictions(session, [(ids["a"], PREDICTION)]) == 0
        assert add_imported_gold(session, {ids["2"]: []}) == 0
        reviews.add_batch(session, project.id, "confidence", [(ids["a"], None)])
        assert reviews.count_items(session, project.id) == (1, 0)


def test_what_goes_in_comes_out(store):
    with store.write() as session:
        project, ids = fill(session)
    with store.read() as session:
        stored = list(tasks.iterate_tasks(session, project.id))
        links = tasks.get_links(session, tasks.GIVEN, [task.id for task in stored])
        assert tasks.to_record(stored[0], links[stored[0].id]) == TASKS[0][0]
        ((task, prediction),) = predictions.predictions_of(session, project.id, "p1")
        assert predictions.to_record(task, prediction) == PREDICTION
        (gold,) = gold_of(session, project.id)
        assert gold.entities == (Entity(0, 6, "PER"),)
        assert tasks.find_by_text(session, project.id, "Rais wa Kenya").id == ids["a"]
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
        assert session.scalars(select(models.Task)).all() == []


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


def test_killed_writer_leaves_a_whole_database(store, url, tmp_path):
    script = (
        "import os, signal\n"
        "from xner_label.store.database import open_store\n"
        "from xner_label.store import projects, tasks\n"
        "from xner_label.entities import Task\n"
        f"with open_store({url!r}) as store, store.write() as session:\n"
        "    project = projects.ensure_project(session, 'default', ['PER'])\n"
        "    tasks.add_tasks(session, project.id, [(Task(id=str(n), text='x'), 'pool') for n in range(2000)])\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", script], check=False)
    assert killed.returncode == -9
    with store.write() as session:
        project, _ = fill(session)
        assert tasks.count_tasks(session, project.id) == {"pool": 1, "test": 1}
