"""Which revision of the schema this version needs, and which one a database has."""

from __future__ import annotations

from sqlalchemy import Connection, inspect, text

# The revision this version of the package needs; a test holds it to the newest migration.
HEAD = "0017"

# The revision that each release was made with; a test wants a row for every release that the changelog names.
RELEASES = {"0.1.0": "0001"}


def revision_of(name: str) -> str:
    """The revision of a release; any other name is one itself."""
    return RELEASES.get(name, name)


def current_revision(connection: Connection) -> str | None:
    """The revision the database is at; None for one without our schema."""
    # asked by every command, so without Alembic, whose import takes over a second
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return revision
