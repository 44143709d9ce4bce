"""Migrations on SQLite and PostgreSQL: up, down, and rebuilding a table that others refer to."""

import os
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from click.testing import CliRunner
from sqlalchemy import MetaData, func, select, text

from tests.processes import LIMIT, begin
from tests.store_fixtures import count_rows, fill, fill_every_table
from xner_label.cli.main import cli
from xner_label.entities import Entity
from xner_label.errors import SchemaError
from xner_label.pipeline.stage import AlignmentStage, fingerprint
from xner_label.reporting.status import status
from xner_label.store import migrating, pipelines, predictions, schema, tables, tasks
from xner_label.store.checking import check_store
from xner_label.store.database import open_store
from xner_label.store.gold import gold_of
from xner_label.store.stages import stage_results

_REBUILDS_TASKS = """
import sqlalchemy as sa
from alembic import op

revision = "9999"
down_revision = {head!r}


def upgrade():
    {first}
    with op.batch_alter_table("tasks") as batch:
        batch.alter_column("split", existing_type=sa.Text(), server_default="pool")
        batch.add_column(sa.Column("extra", sa.Integer(), nullable=True))


def downgrade():
    with op.batch_alter_table("tasks") as batch:
        batch.drop_column("extra")
        batch.alter_column("split", existing_type=sa.Text(), server_default=None)
"""


@pytest.fixture
def store(each_store):
    return each_store


@pytest.fixture
def with_revision(monkeypatch, tmp_path):
    """Adds a revision after head that rebuilds the table of tasks, after a statement of the caller's."""

    def add(first="pass"):
        folder = tmp_path / "migrations"
        shutil.copytree(migrating.migrations_folder(), folder)
        script = _REBUILDS_TASKS.format(head=schema.HEAD, first=first)
        (folder / "versions" / "9999_rebuilds_tasks.py").write_text(script)
        monkeypatch.setattr(migrating, "migrations_folder", lambda: folder)

    return add


def test_tables_and_migrations_agree(store):
    with store.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.Base.metadata) == []


def test_head_is_the_newest_migration():
    assert ScriptDirectory(str(migrating.migrations_folder())).get_current_head() == schema.HEAD


def test_up_down_up_with_rows_in_the_tables(store, each_url):
    with store.write() as session:
        fill_every_table(session)
    migrating.downgrade(store, "base")
    with pytest.raises(SchemaError, match="db upgrade"), open_store(each_url):
        pass
    migrating.upgrade(store)
    with store.write() as session:
        fill_every_table(session)


def test_rebuilding_a_table_keeps_every_row_that_refers_to_it(store, with_revision):
    with store.write() as session:
        fill_every_table(session)
        before = count_rows(session)
    with_revision()
    assert migrating.upgrade(store) == (schema.HEAD, "9999")
    with store.read() as session:
        assert count_rows(session) == before
    migrating.downgrade(store, schema.HEAD)
    with store.write() as session:
        assert count_rows(session) == before
        if session.get_bind().dialect.name == "sqlite":
            assert session.scalar(text("PRAGMA foreign_keys")) == 1


def test_a_migration_that_would_orphan_rows_changes_nothing(sqlite_url, with_revision):
    with open_store(sqlite_url, check=False) as store:
        migrating.upgrade(store)
        with store.write() as session:
            fill(session)
            before = count_rows(session)
        with_revision('op.execute("DELETE FROM tasks")')
        with pytest.raises(SchemaError, match="1 in predictions without their tasks"):
            migrating.upgrade(store)
        with store.read() as session:
            assert count_rows(session) == before
            assert schema.current_revision(session.connection()) == schema.HEAD


def _rows_of_0001(connection):
    """Three pipelines' predictions, one of them pushed, as the first schema held them."""
    old = MetaData()
    old.reflect(connection)
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    connection.execute(
        old.tables["projects"].insert(),
        {"id": 1, "name": "p", "labels": [], "pipeline": LONG, "created_at": moment},
    )
    task = {"project_id": 1, "split": "pool", "text": "x", "text_hash": "h", "created_at": moment}
    connection.execute(old.tables["tasks"].insert(), [{"id": n, "external_id": str(n), **task} for n in (1, 2)])
    rows = [
        {"id": n, "task_id": 1 + n % 2, "pipeline": pipeline, "confidence": 0.5, "created_at": moment}
        for n, pipeline in enumerate((LONG, LONG, PUSHED, "run-1"))
    ]
    connection.execute(old.tables["predictions"].insert(), rows)
    connection.execute(
        old.tables["review_batches"].insert(), {"id": 1, "project_id": 1, "strategy": "s", "created_at": moment}
    )
    item = {"id": 1, "batch_id": 1, "task_id": 1, "prediction_id": 2, "position": 0, "sent_at": moment}
    connection.execute(old.tables["review_items"].insert(), item)


def _reviewed_rows_of_0001(connection):
    """The same, with an entity that somebody put right."""
    _rows_of_0001(connection)
    old = MetaData()
    old.reflect(connection)
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    entity = {"id": 1, "prediction_id": 2, "position": 0, "region": "p2-0", "start": 0, "end": 1, "label": "LOC"}
    connection.execute(
        old.tables["projected_entities"].insert(), entity | {"text": "x", "score": 1.0, "confidence": 0.5}
    )
    annotation = {"id": 1, "task_id": 1, "origin": "studio", "studio_annotation": 7, "studio_updated_at": moment}
    annotation |= {"regions": [], "entities": [{"start": 0, "end": 1, "label": "PER"}], "prediction_id": 2}
    connection.execute(
        old.tables["annotations"].insert(),
        annotation | {"skipped": False, "deleted": False, "created_at": moment},
    )
    correction = {"id": 1, "annotation_id": 1, "projected_entity_id": 1, "kind": "relabelled"}
    connection.execute(old.tables["corrections"].insert(), correction | {"start": 0, "end": 1, "label": "PER"})


# What is in the store of each release: the next one adds a row here, and one to schema.RELEASES.
FILLED = {"0.1.0": _reviewed_rows_of_0001}


def test_every_release_has_a_revision():
    changelog = (Path(__file__).parents[2] / "CHANGELOG.md").read_text(encoding="utf-8")
    released = re.findall(r"^## (\d+\.\d+\.\d+)", changelog, re.MULTILINE)
    assert set(released) == schema.RELEASES.keys() == FILLED.keys(), "a release needs its row in each"
    known = {script.revision for script in ScriptDirectory(str(migrating.migrations_folder())).walk_revisions()}
    assert known.issuperset(schema.RELEASES.values())


@pytest.mark.parametrize("release", FILLED)
def test_the_store_of_a_release_comes_forward_and_goes_back(each_url, release):
    def counts(connection):
        old = MetaData()
        old.reflect(connection)
        return {
            name: connection.scalar(select(func.count()).select_from(table))
            for name, table in old.tables.items()
            if name != "alembic_version"
        }

    with open_store(each_url, check=False) as store:
        migrating.upgrade(store, release)
        with store.write() as session:
            FILLED[release](session.connection())
        with store.read() as session:
            before = counts(session.connection())
        migrating.upgrade(store)
        with store.read() as session:
            version = pipelines.find_name(session, PUSHED)
            ((task, prediction),) = predictions.predictions_of(session, 1, version)
            assert [entity.text for entity in predictions.to_record(task, prediction).entities] == ["x"]
            assert [item.entities for item in gold_of(session, 1)] == [(Entity(0, 1, "PER"),)]
        assert status(store, "p").corrections == {"relabelled": 1}
        assert check_store(store).problems.keys() <= {"a text isn't the one that was hashed"}  # "h" never was
        migrating.downgrade(store, release)
        with store.read() as session:
            after = counts(session.connection())
        assert {name: after[name] for name in before} == before


def test_a_backup_is_offered_before_a_migration(sqlite_url, tmp_path, monkeypatch):
    def upgrade(*arguments, **options):
        return CliRunner().invoke(cli, ["db", "upgrade", "--database-url", sqlite_url, *arguments], **options)

    assert "copy" not in upgrade().stderr, "there was nothing to copy"
    with open_store(sqlite_url) as store:
        migrating.downgrade(store, "0001")
    assert "--backup FILE" in upgrade().stderr
    assert not list(tmp_path.glob("*.backup"))
    with open_store(sqlite_url) as store:
        migrating.downgrade(store, "0001")
    copy = tmp_path / "before.db"
    assert upgrade("--backup", str(copy)).exit_code == 0
    with open_store(f"sqlite:///{copy}", check=False) as store, store.read() as session:
        assert schema.current_revision(session.connection()) == "0001"
    with open_store(sqlite_url) as store:
        migrating.downgrade(store, "0.1.0")
    monkeypatch.setattr("xner_label.cli.db._is_terminal", lambda: True)
    assert "Copy the database" in upgrade(input="y\n").stderr
    assert len(list(tmp_path.glob("store.db.0001.*.backup"))) == 1


LONG = "xner-label/1 aligner=given projector=log-linear-2(weights=a,b) labels=LOC,PER"
PUSHED = "xner-label/1 aligner=eflomal projector=corpus(x) labels=LOC,PER"


def test_pipelines_are_carried_over_and_back(each_url):
    with open_store(each_url, check=False) as store:
        migrating.upgrade(store, "0001")
        with store.write() as session:
            _rows_of_0001(session.connection())
        migrating.upgrade(store)
        with store.read() as session:
            names = {row.signature: row.name for row in session.scalars(select(tables.PipelineVersion))}
            assert names[PUSHED] == PUSHED, "Label Studio holds predictions of that name"
            assert names["run-1"] == "run-1"
            assert re.fullmatch("log-linear-[0-9a-f]{4}", names[LONG])
            assert session.scalars(select(tables.Project)).one().pipeline.name == names[LONG]
            stored = session.scalars(select(tables.Prediction).order_by(tables.Prediction.id)).all()
            assert [row.pipeline.signature for row in stored] == [LONG, LONG, PUSHED, "run-1"]
            assert session.scalars(select(tables.ReviewItem)).one().prediction_id == 2
        migrating.downgrade(store, "0001")
        with store.read() as session:
            assert session.scalars(text("SELECT pipeline FROM projects")).all() == [LONG]
            pipelines = session.scalars(text("SELECT pipeline FROM predictions ORDER BY id")).all()
            assert pipelines == [LONG, LONG, PUSHED, "run-1"]


def test_links_are_carried_over_with_the_fingerprint_of_their_input(each_url):
    with open_store(each_url, check=False) as store:
        migrating.upgrade(store, "0002")
        with store.write() as session:
            connection = session.connection()
            old = MetaData()
            old.reflect(connection)
            moment = datetime(2026, 1, 1, tzinfo=UTC)
            connection.execute(
                old.tables["projects"].insert(), {"id": 1, "name": "p", "labels": [], "created_at": moment}
            )
            task = {"project_id": 1, "external_id": "a", "split": "pool", "text": "Habari ya leo"}
            task |= {"text_hash": "h", "source": "The news", "tokens": ["Habari ya", "leo"], "created_at": moment}
            connection.execute(old.tables["tasks"].insert(), task)
            links = [
                {"task_id": 1, "aligner": name, "alignment": f"{n}-0"} for n, name in enumerate(["given", "e"])
            ]
            connection.execute(old.tables["task_links"].insert(), [{**row, "created_at": moment} for row in links])
        migrating.upgrade(store)
        with store.read() as session:
            (task,) = tasks.iterate_tasks(session, 1)
            record = tasks.to_record(task)
            assert record.alignment == "0-0"
            print_of = fingerprint(AlignmentStage(None), record)
            assert stage_results(session, "aligner", "e", {task.id: print_of}) == {task.id: {"alignment": "1-0"}}
        migrating.downgrade(store, "0002")
        with store.read() as session:
            back = session.execute(text("SELECT aligner, alignment FROM task_links ORDER BY aligner")).all()
            assert [tuple(row) for row in back] == [("e", "1-0"), ("given", "0-0")]


def test_names_of_the_migration_are_those_of_the_store(each_url):
    with open_store(each_url, check=False) as store:
        migrating.upgrade(store, "0001")
        with store.write() as session:
            _rows_of_0001(session.connection())
        migrating.upgrade(store)
        with store.read() as session:
            assert pipelines.find_name(session, LONG) == pipelines.readable_name(LONG)


def test_two_upgrades_at_once_make_one_schema(each_url):
    command = [sys.executable, "-m", "xner_label", "db", "upgrade"]
    environment = os.environ | {"XNER_LABEL_DATABASE_URL": each_url}
    running = [begin(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(3)]
    outcomes = [(*process.communicate(timeout=LIMIT), process.returncode) for process in running]
    assert [code for *_, code in outcomes] == [0, 0, 0], outcomes
    with open_store(each_url) as store, store.read() as session:
        assert schema.current_revision(session.connection()) == schema.HEAD
