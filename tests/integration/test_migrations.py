"""Migrations on SQLite and PostgreSQL: up, down, and rebuilding a table that others refer to."""

import shutil

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from tests.store_fixtures import count_rows, fill, fill_every_table
from xner_label.errors import SchemaError
from xner_label.store import migrating, schema, tables
from xner_label.store.database import open_store

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
