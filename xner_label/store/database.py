"""Opening the database: engine options per dialect, read and write sessions, the check of the schema."""

from __future__ import annotations

import fcntl
import hashlib
import os
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import (
    Connection,
    Engine,
    Select,
    SQLColumnExpression,
    create_engine,
    event,
    func,
    inspect,
    literal_column,
    select,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    DBAPIError,
    InterfaceError,
    NoSuchModuleError,
    OperationalError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session

from xner_label.errors import ConfigurationError, MissingExtraError, SchemaError, StoreUnavailableError
from xner_label.store import schema
from xner_label.store.base import Base, utc_now
from xner_label.store.staged_copy import LEAST_ROWS, copy_new_returning, may_stage

T = TypeVar("T")

# How long a writer waits for another one, in seconds.
_BUSY_TIMEOUT = 30.0
# How many ids go into one IN (...).
_IDS = 5_000
# What a connection to SQLite keeps of the file in memory, and what it reads without copying it there.
_CACHE_KIB, _MAPPED_BYTES = 65_536, 256 << 20
# Rows that SQLite is to expect in a table that was empty when it last looked.
_FEW = "100"
# Seconds after which a connection is opened anew: what lies between may have forgotten it.
_RENEWED = 1_800


class Pool(NamedTuple):
    """Connections to PostgreSQL that a process keeps open, how many more it may open for a while, and the seconds
    that somebody waits for a free one. A connection is renewed after half an hour."""

    size: int = 5
    overflow: int = 10
    wait: float = 30.0

    def options(self) -> dict[str, Any]:
        """As SQLAlchemy names them."""
        return {
            "pool_size": self.size,
            "max_overflow": self.overflow,
            "pool_timeout": self.wait,
            "pool_recycle": _RENEWED,
            "pool_pre_ping": True,
        }


_POOL = Pool()


class Store:
    """One database. Sessions end in a commit, or in a rollback when an exception leaves them."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._writing = engine.execution_options(xner_label_write=True)

    @property
    def url(self) -> str:
        """The database URL with its password hidden, or left out where it stands among the options."""
        url = self.engine.url
        secret = [name for name in url.query if "password" in name.lower()]
        return url.difference_update_query(secret).render_as_string(hide_password=True)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session that only reads."""
        with _explained(), Session(self.engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session that may write; takes SQLite's write lock at once, so that it can't fail half-way.

        Raises StoreUnavailableError when another process holds the lock for longer than the busy timeout.
        """
        with _explained(), Session(self._writing, expire_on_commit=False) as session, session.begin():
            yield session

    @contextmanager
    def rebuild(self) -> Iterator[Connection]:
        """A connection in one write transaction that may drop and remake tables whose rows others refer to.

        SQLite would delete those rows with the table, so that foreign keys aren't enforced meanwhile; they are
        checked as a whole before the commit. Raises SchemaError, and leaves everything as it was, when a row
        would refer to one that isn't there.
        """
        with _explained(), self._writing.connect() as connection:
            if connection.dialect.name != "sqlite":
                with connection.begin():
                    yield connection
                return
            # only outside a transaction does SQLite listen to this
            driver = connection.connection.driver_connection
            assert isinstance(driver, sqlite3.Connection)
            driver.execute("PRAGMA foreign_keys = OFF")
            try:
                with connection.begin():
                    yield connection
                    _require_whole(connection)
            finally:
                driver.execute("PRAGMA foreign_keys = ON")

    @contextmanager
    def exclusively(self, doing: str) -> Iterator[None]:
        """Keep every other process from ``doing`` the same with this database meanwhile.

        The lock ends with the process, however that ends. Raises StoreUnavailableError where another holds it.
        """
        busy = StoreUnavailableError(f"another process is {doing} just now", hint="wait for it, then run again")
        key = hashlib.sha256(doing.encode()).digest()
        if self.engine.dialect.name == "postgresql":
            number = int.from_bytes(key[:8], "big", signed=True)
            with self.engine.connect() as connection:
                if not connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": number}):
                    raise busy
                connection.commit()
                try:
                    yield
                finally:
                    connection.scalar(text("SELECT pg_advisory_unlock(:key)"), {"key": number})
            return
        with open(f"{self.engine.url.database}.{key.hex()[:8]}.lock", "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise busy from None
            yield

    def refresh_statistics(self) -> None:
        """Let the database look at how many rows its tables have now: its plans rest on that.

        It does so by itself, in time; after much was written that is too late for the next command. Where others
        write for too long it is left to the next time: nothing but speed depends on it.
        """
        with suppress(OperationalError), self._writing.connect() as connection:
            names = inspect(connection).get_table_names()
            if self.engine.dialect.name == "postgresql":
                connection.exec_driver_sql(f"ANALYZE {', '.join(names)}")
            else:
                connection.exec_driver_sql("ANALYZE")
                # of an empty table SQLite keeps nothing and takes it for a large one ever after
                known = set(connection.exec_driver_sql("SELECT tbl FROM sqlite_stat1").scalars())
                for name in names:
                    if name not in known:
                        connection.exec_driver_sql("INSERT INTO sqlite_stat1 VALUES (?, NULL, ?)", (name, _FEW))
                connection.exec_driver_sql("ANALYZE sqlite_master")
            connection.commit()

    def close(self) -> None:
        """Return every connection."""
        self.engine.dispose()


@contextmanager
def open_store(
    url: str, *, check: bool = True, busy_timeout: float = _BUSY_TIMEOUT, pool: Pool = _POOL
) -> Iterator[Store]:
    """Open a store for the length of a block. ``pool`` is what it keeps of connections to PostgreSQL.

    Raises ConfigurationError for a URL that can't be used or a server that isn't there, MissingExtraError when
    the driver is missing, StoreUnavailableError when its disk is full, SchemaError when ``check`` and the schema
    is not at head.
    """
    store = Store(_engine(url, busy_timeout, pool))
    if check:
        _require_file(store)
    try:
        _reach(store)
        if check:
            require_head(store)
        yield store
    finally:
        store.close()


def _require_file(store: Store) -> None:
    """Raise SchemaError where SQLite would make an empty file, in a folder that has nothing to do with us."""
    path = store.engine.url.database if store.engine.dialect.name == "sqlite" else ""
    if not path or path == ":memory:" or path.startswith("file:"):
        return
    if Path(path).parent.is_dir() and not os.path.lexists(path):
        raise _no_schema(store)


def _no_schema(store: Store) -> SchemaError:
    return SchemaError(f"{store.url} holds no XNER-Label schema", hint="run `xner-label db upgrade`")


def _reach(store: Store) -> None:
    """Raise ConfigurationError where there is no database to talk to: that won't mend itself as a lock does."""
    try:
        with store.engine.connect():
            pass
    except (OperationalError, InterfaceError) as error:
        problem = _problem(error)
        if "disk I/O" in problem or "disk is full" in problem:
            # SQLite's files beside the database need room before anything can be read
            raise StoreUnavailableError(
                f"the database can't be used: {problem}; nothing was written",
                hint="make room on its disk, then run the same command again",
            ) from error
        if "locked" not in problem:
            is_file = store.engine.dialect.name == "sqlite"
            check = "its folder exists and may be written" if is_file else "the server runs"
            raise ConfigurationError(
                f"the database can't be used: {problem}",
                hint=f"check XNER_LABEL_DATABASE_URL and that {check}",
            ) from error
    except DatabaseError as error:
        raise _unreadable(error) or error from None


def require_head(store: Store) -> None:
    """Raise SchemaError unless the schema is exactly the one this version was written for."""
    with store.read() as session:
        current = schema.current_revision(session.connection())
    if current is None:
        raise _no_schema(store)
    if current != schema.HEAD:
        raise SchemaError(
            f"{store.url} is at schema revision {current}, this version needs {schema.HEAD}",
            hint="run `xner-label db upgrade`, or the version of xner-label that made it",
        )


def _require_whole(connection: Connection) -> None:
    broken = Counter((row[0], row[2]) for row in connection.exec_driver_sql("PRAGMA foreign_key_check"))
    if broken:
        what = ", ".join(f"{count} in {child} without their {parent}" for (child, parent), count in broken.items())
        raise SchemaError(
            f"rows would be left alone: {what}; nothing was changed",
            hint="report this; `PRAGMA foreign_key_check` in the sqlite3 shell lists the rows",
        )


def database_time(session: Session) -> datetime:
    """The present moment by the clock that all who use the database share: machines' own clocks differ.

    SQLite has no clock, and everybody who uses it is on this machine.
    """
    if session.get_bind().dialect.name != "postgresql":
        return utc_now()
    now: datetime = session.scalar(select(func.clock_timestamp())) or utc_now()
    return now.astimezone(UTC)


def id_batches(ids: Sequence[T]) -> Iterator[Sequence[T]]:
    """As many at a time as go into one ``IN (...)``."""
    return (ids[start : start + _IDS] for start in range(0, len(ids), _IDS))


def insert_new(session: Session, table: type[Base], rows: Sequence[Mapping[str, Any]]) -> int:
    """Insert the rows that break no UNIQUE constraint, skip the others; returns how many went in."""
    # counted by what comes back: drivers don't report how many of several rows were skipped
    return len(insert_new_returning(session, table, rows, literal_column("1")))


def insert_new_returning(
    session: Session, table: type[Base], rows: Sequence[Mapping[str, Any]], column: SQLColumnExpression[T]
) -> list[T]:
    """Insert as ``insert_new`` does; returns ``column`` of every row that went in, in no particular order."""
    if not rows:
        return []
    dialect = session.get_bind().dialect.name
    mapped = Base.metadata.tables[table.__tablename__]
    if dialect == "postgresql" and len(rows) >= LEAST_ROWS and may_stage(session):
        return copy_new_returning(session, mapped, rows, column)
    insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
    # The table without its mapping, and the rows as parameters: compiled once for all rows, thirty times faster.
    statement = insert(mapped).on_conflict_do_nothing().returning(column)
    return list(session.scalars(statement, list(rows)))


def insert_selected(
    session: Session, table: type[Base], columns: Sequence[str], rows: Select[*tuple[Any, ...]]
) -> None:
    """Insert what a query selects, without the rows that break a UNIQUE constraint."""
    dialect = session.get_bind().dialect.name
    insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
    statement = insert(Base.metadata.tables[table.__tablename__]).from_select(list(columns), rows)
    session.execute(statement.on_conflict_do_nothing())


def _engine(url: str, busy_timeout: float, pool: Pool) -> Engine:
    try:
        parsed = make_url(url)
        if parsed.drivername in ("postgresql", "postgres"):
            parsed = parsed.set(drivername="postgresql+psycopg")
        if parsed.get_backend_name() not in ("sqlite", "postgresql"):
            raise ConfigurationError(
                f"database {parsed.get_backend_name()!r} isn't supported", hint="use sqlite:/// or postgresql://"
            )
        options: dict[str, Any] = {"timeout": busy_timeout} if parsed.get_backend_name() == "sqlite" else {}
        pooled = {} if options else pool.options()
        # what is written doesn't belong into the messages of errors
        engine = create_engine(parsed, connect_args=options, hide_parameters=True, **pooled)
    except (ArgumentError, NoSuchModuleError):
        raise ConfigurationError(
            "the database URL can't be read",
            hint="for example sqlite:///xner-label.db; check XNER_LABEL_DATABASE_URL",
        ) from None
    except ModuleNotFoundError:
        raise MissingExtraError("postgres", "a PostgreSQL store") from None
    if options:
        event.listen(engine, "connect", _configure_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _configure_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    # sqlite3 would otherwise start transactions by itself, and too late
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    # of a store of gigabytes the two megabytes that are usual hold next to nothing
    connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    connection.execute(f"PRAGMA mmap_size = {_MAPPED_BYTES}")


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("xner_label_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def _explained() -> Iterator[None]:
    """Turn what the driver says about locks and absent servers into errors that name the next step."""
    try:
        yield
    except PoolTimeoutError as error:
        raise StoreUnavailableError(
            "all connections to the database are in use; nothing of this step was written",
            hint="raise database.pool_size or database.pool_overflow, or run it again",
        ) from error
    except (OperationalError, InterfaceError) as error:
        problem = _problem(error)
        if "locked" in problem:
            raise StoreUnavailableError(
                "the database is locked by another process; nothing of this step was written",
                hint="wait for it to finish, then run the same command again",
            ) from error
        if "no such table" in problem:
            raise SchemaError(
                "the database holds no XNER-Label schema", hint="run `xner-label db upgrade`"
            ) from error
        raise StoreUnavailableError(
            f"the database can't be used: {problem}; nothing of this step was written",
            hint="check its disk, that its server runs, and XNER_LABEL_DATABASE_URL; then run it again",
        ) from error
    except DatabaseError as error:
        raise _unreadable(error) or error from None


def _unreadable(error: DatabaseError) -> ConfigurationError | None:
    """What to say when the file isn't a database, or is damaged; None for other errors."""
    problem = _problem(error)
    if "not a database" not in problem and "malformed" not in problem:
        return None
    return ConfigurationError(
        f"the database can't be read: {problem}",
        hint="put a copy of it back, or name another file in XNER_LABEL_DATABASE_URL",
    )


def _problem(error: DBAPIError) -> str:
    """What the driver says, on one line."""
    said = str(error.orig).strip()
    return said.splitlines()[0] if said else "no reason given"
