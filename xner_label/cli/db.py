"""`xner-label db`: the schema of the store."""

from __future__ import annotations

import click

from xner_label.cli.options import with_settings
from xner_label.settings.table import Settings


@click.group(name="db")
def command() -> None:
    """Make, migrate or inspect the database."""


@command.command()
@with_settings("database_url")
@click.option("--revision", default="head", show_default=True, help="Revision to migrate up to")
def upgrade(settings: Settings, revision: str) -> None:
    """Migrate the database up; makes it when there is none."""
    from xner_label.store import migrating
    from xner_label.store.database import open_store

    with open_store(settings.database_url, check=False) as store:
        before, after = migrating.upgrade(store, revision)
    click.echo(f"database at revision {after or 'none'} (was {before or 'empty'})", err=True)


@command.command()
@with_settings("database_url")
@click.argument("revision")
@click.option("--yes", is_flag=True, help="Don't ask; going down deletes data")
def downgrade(settings: Settings, revision: str, yes: bool) -> None:
    """Migrate the database down to REVISION (`base` removes everything)."""
    from xner_label.store import migrating
    from xner_label.store.database import open_store

    if not yes:
        click.confirm("Going down deletes data. Go on?", abort=True, err=True)
    with open_store(settings.database_url, check=False) as store:
        before, after = migrating.downgrade(store, revision)
    click.echo(f"database at revision {after or 'none'} (was {before or 'empty'})", err=True)


@command.command()
@with_settings("database_url")
def current(settings: Settings) -> None:
    """Print the revision the database is at; exit 7 unless it is the one this version needs."""
    from xner_label.store.database import open_store, require_head
    from xner_label.store.schema import HEAD

    with open_store(settings.database_url, check=False) as store:
        require_head(store)
    click.echo(HEAD)
