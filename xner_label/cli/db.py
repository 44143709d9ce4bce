"""`xner-label db`: the schema of the store."""

from __future__ import annotations

import click

from xner_label.cli.options import json_option, with_settings
from xner_label.cli.output import answer
from xner_label.settings.table import Settings


@click.group(name="db")
def command() -> None:
    """Make, migrate or inspect the database."""


@command.command(short_help="Migrate the database up")
@with_settings("database_url")
@click.option("--revision", default="head", show_default=True, help="Revision to migrate up to")
@json_option
def upgrade(settings: Settings, revision: str, as_json: bool) -> None:
    """Migrate the database up; makes it when there is none."""
    from xner_label.store import migrating
    from xner_label.store.database import open_store

    with open_store(settings.database_url, check=False) as store:
        before, after = migrating.upgrade(store, revision)
    _migrated(before, after, as_json)


@command.command(short_help="Migrate the database down")
@with_settings("database_url")
@click.argument("revision")
@click.option("--yes", is_flag=True, help="Don't ask; going down deletes data")
@json_option
def downgrade(settings: Settings, revision: str, yes: bool, as_json: bool) -> None:
    """Migrate the database down to REVISION (`base` removes everything)."""
    from xner_label.store import migrating
    from xner_label.store.database import open_store

    if not yes:
        click.confirm("Going down deletes data. Go on?", abort=True, err=True)
    with open_store(settings.database_url, check=False) as store:
        before, after = migrating.downgrade(store, revision)
    _migrated(before, after, as_json)


@command.command(short_help="Print the revision of the database")
@with_settings("database_url")
@json_option
def current(settings: Settings, as_json: bool) -> None:
    """Print the revision the database is at; exit 7 unless it is the one this version needs."""
    from xner_label.store.database import open_store, require_head
    from xner_label.store.schema import HEAD

    with open_store(settings.database_url, check=False) as store:
        require_head(store)
    answer({"revision": HEAD}, HEAD, as_json=as_json)


def _migrated(before: str | None, after: str | None, as_json: bool) -> None:
    words = f"database at revision {after or 'none'} (was {before or 'empty'})"
    answer({"revision": after, "before": before}, words, as_json=as_json)
