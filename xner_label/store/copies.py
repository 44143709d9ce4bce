"""Copies of an SQLite store while it is in use, and putting one back, by SQLite's online backup."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from xner_label.errors import ConfigurationError, UsageError
from xner_label.new_file import new_file
from xner_label.store.base import utc_now
from xner_label.store.database import Store
from xner_label.store.schema import HEAD, current_revision

# Pages copied before others get a turn: 1,000 are 4 MiB.
_PAGES = 1_000


def back_up(store: Store, path: Path) -> None:
    """Copy the store to a file that appears when it is whole and was checked.

    Raises UsageError for PostgreSQL, which has its own tools, for a file that is there already, and for a folder
    that can't be written to.
    """
    _require_sqlite(store)
    with new_file(path, "a backup") as stream, closing(sqlite3.connect(stream.name)) as copy:
        with store.read() as session:
            source = session.connection().connection.driver_connection
            assert isinstance(source, sqlite3.Connection)
            source.backup(copy, pages=_PAGES, sleep=0.01)
        # no files beside it that would have to travel with it
        copy.execute("PRAGMA journal_mode = DELETE")
        _require_store(copy, path)


def is_worth_a_backup(store: Store) -> bool:
    """Whether the store has a schema of another version, so that migrating changes what people have."""
    with store.read() as session:
        return current_revision(session.connection()) not in (None, HEAD)


def backup_beside(store: Store) -> Path | None:
    """A new file beside an SQLite database, named after its revision; None for other databases."""
    name = store.engine.url.database
    if store.engine.dialect.name != "sqlite" or not name or name == ":memory:":
        return None
    with store.read() as session:
        revision = current_revision(session.connection())
    return Path(f"{name}.{revision}.{utc_now():%Y%m%dT%H%M%S}.backup")


def restore(store: Store, path: Path) -> None:
    """Put a backup in the place of all that the store holds, in one transaction.

    Raises UsageError for PostgreSQL and for a file that can't be read, ConfigurationError for one that is damaged
    or isn't a store; the store stays as it was.
    """
    _require_sqlite(store)
    if not path.is_file():
        raise UsageError(f"can't read {path}", hint="check the path")
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as source:
        _require_store(source, path)
        connection = store.engine.raw_connection()
        try:
            target = connection.driver_connection
            assert isinstance(target, sqlite3.Connection)
            source.backup(target)
        finally:
            connection.close()


def _require_sqlite(store: Store) -> None:
    if store.engine.dialect.name != "sqlite":
        raise UsageError(
            "PostgreSQL has its own tools",
            hint="pg_dump --format custom --file FILE URL, and pg_restore --clean --if-exists --dbname URL FILE",
        )


def _require_store(connection: sqlite3.Connection, path: Path) -> None:
    try:
        verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict == "ok":
            connection.execute("SELECT version_num FROM alembic_version").fetchone()
            return
    except sqlite3.DatabaseError as error:
        verdict = error
    raise ConfigurationError(f"{path} is no whole XNER-Label store: {verdict}", hint="use another copy")
