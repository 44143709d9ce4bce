"""Alembic without an alembic.ini: the migrations travel with the package."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, text

import xner_label
from xner_label.errors import UsageError
from xner_label.store.schema import current_revision, revision_of

if TYPE_CHECKING:
    from alembic.config import Config

    from xner_label.store.database import Store


# Any number, as long as every process takes the same.
_LOCK = 7_301_952_664


def migrations_folder() -> Path:
    """The migrations inside the installed package, or those of the checkout."""
    packaged = Path(xner_label.__file__).parent / "_migrations"
    return packaged if packaged.is_dir() else Path(xner_label.__file__).parents[1] / "migrations"


def upgrade(store: Store, revision: str = "head") -> tuple[str | None, str | None]:
    """Migrate up to a revision or a release, in one transaction. Returns the revisions before and after."""
    from alembic import command

    return _migrate(store, command.upgrade, revision)


def downgrade(store: Store, revision: str) -> tuple[str | None, str | None]:
    """Migrate down to a revision or a release (``base`` removes everything), in one transaction."""
    from alembic import command

    return _migrate(store, command.downgrade, revision)


def _migrate(store: Store, step: Callable[[Config, str], None], revision: str) -> tuple[str | None, str | None]:
    from alembic.util import CommandError

    with store.rebuild() as connection:
        if connection.dialect.name == "postgresql":
            # two at once would both begin with the first revision; SQLite has one writer anyway
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        before = current_revision(connection)
        try:
            step(_config(connection), revision_of(revision))
        except CommandError as error:
            raise UsageError(str(error), hint="`xner-label db current` shows where the database is") from error
        return before, current_revision(connection)


def _config(connection: Connection) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(migrations_folder()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
