"""Many rows into PostgreSQL: COPY into a table of the transaction's own, and from there where they belong.

COPY itself can't skip rows that are there already, and says nothing of the rows that went in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, TypeVar

from sqlalchemy import Column, Dialect, MetaData, SQLColumnExpression, Table, select, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from sqlalchemy.schema import CreateTable, DropTable
from sqlalchemy.sql.schema import CallableColumnDefault, ScalarElementColumnDefault

T = TypeVar("T")

# From so many rows on it is quicker than a statement with parameters.
LEAST_ROWS = 200


def may_stage(session: Session) -> bool:
    """Whether the role may make temporary tables, which some servers forbid; asked once for a connection."""
    known = session.connection().info
    if "may_stage" not in known:
        known["may_stage"] = session.scalar(text("SELECT has_database_privilege(current_database(), 'TEMP')"))
    return bool(known["may_stage"])


def copy_new_returning(
    session: Session, table: Table, rows: Sequence[Mapping[str, Any]], column: SQLColumnExpression[T]
) -> list[T]:
    """Insert the rows that break no UNIQUE constraint; returns ``column`` of those, in no particular order.

    All rows have the keys of the first one.
    """
    connection = session.connection()
    defaults = {name: made for name, made in _defaults(table).items() if name not in rows[0]}
    staged = _staged(table, (*rows[0], *defaults))
    connection.execute(CreateTable(staged))
    _copy(session, staged, rows, defaults)
    names = [each.name for each in staged.columns]
    insert = postgresql.insert(table).from_select(names, select(*staged.columns), include_defaults=False)
    added = list(session.scalars(insert.on_conflict_do_nothing().returning(column)))
    connection.execute(DropTable(staged))
    return added


@lru_cache
def _staged(table: Table, names: tuple[str, ...]) -> Table:
    columns = [Column(name, table.columns[name].type) for name in names]
    name = f"staged_{table.name}"
    return Table(name, MetaData(), *columns, prefixes=["TEMPORARY"], postgresql_on_commit="DROP")


def _defaults(table: Table) -> dict[str, Callable[[], Any]]:
    """What fills the columns that rows may lack, as an INSERT would."""
    made: dict[str, Callable[[], Any]] = {}
    for column in table.columns:
        default = column.default
        if isinstance(default, ScalarElementColumnDefault):
            made[column.name] = partial(_same, default.arg)
        elif isinstance(default, CallableColumnDefault):
            made[column.name] = partial(default.arg, None)  # type: ignore[arg-type]
    return made


def _same(value: Any) -> Any:
    return value


def _copy(
    session: Session, staged: Table, rows: Sequence[Mapping[str, Any]], defaults: Mapping[str, Callable[[], Any]]
) -> None:
    connection = session.connection()
    quote = connection.dialect.identifier_preparer.quote
    columns = ", ".join(quote(column.name) for column in staged.columns)
    statement = f"COPY {quote(staged.name)} ({columns}) FROM STDIN"
    driver: Any = connection.connection.driver_connection
    try:
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            for row in _bound(staged, rows, defaults, connection.dialect):
                copy.write_row(row)
    except connection.dialect.dbapi.Error as error:  # type: ignore[union-attr]
        # as every other statement of the session fails
        lost = connection.dialect.is_disconnect(error, driver, None)
        if lost:
            connection.invalidate(error)
        raise DBAPIError.instance(
            statement,
            None,
            error,
            connection.dialect.dbapi.Error,  # type: ignore[union-attr]
            hide_parameters=True,
            connection_invalidated=lost,
            dialect=connection.dialect,
        ) from error


def _bound(
    staged: Table, rows: Sequence[Mapping[str, Any]], defaults: Mapping[str, Callable[[], Any]], dialect: Dialect
) -> Iterator[list[Any]]:
    """The values of each row as the driver takes them."""
    processors = [column.type.dialect_impl(dialect).bind_processor(dialect) for column in staged.columns]
    names = [column.name for column in staged.columns]
    for row in rows:
        values = [row[name] if name in row else defaults[name]() for name in names]
        yield [
            value if process is None else process(value) for process, value in zip(processors, values, strict=True)
        ]
