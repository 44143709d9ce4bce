"""`xner-label db`: the schema of the store, and what may be deleted from it."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from xner_label.cli.options import json_option, with_settings
from xner_label.cli.output import answer, say
from xner_label.errors import UsageError
from xner_label.settings.table import Settings
from xner_label.wording import counted


@click.group(name="db")
def command() -> None:
    """Make, migrate, copy, check or prune the database."""


@command.command(short_help="Migrate the database up")
@with_settings("database_url")
@click.option("--revision", default="head", show_default=True, help="Revision or release to migrate up to")
@click.option(
    "--backup",
    "backup_path",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Copy an SQLite database to this file first",
)
@json_option
def upgrade(settings: Settings, revision: str, backup_path: Path | None, as_json: bool) -> None:
    """Migrate the database up; makes it when there is none.

    Before an SQLite database with something in it changes, a terminal is asked whether to copy it first; without
    one, and for PostgreSQL, how to do so is said.
    """
    from xner_label.store import copies, migrating
    from xner_label.store.database import open_store

    with open_store(settings.database_url, check=False) as store:
        if backup_path is None and copies.is_worth_a_backup(store):
            backup_path = _offered(copies.backup_beside(store))
        if backup_path is not None:
            copies.back_up(store, backup_path)
            say(f"copied to {backup_path}")
        before, after = migrating.upgrade(store, revision)
        store.refresh_statistics()  # rebuilt tables have lost theirs
    _migrated(before, after, as_json)


@command.command(short_help="Migrate the database down")
@with_settings("database_url")
@click.argument("revision")
@click.option("--yes", is_flag=True, help="Don't ask; going down deletes data")
@json_option
def downgrade(settings: Settings, revision: str, yes: bool, as_json: bool) -> None:
    """Migrate the database down to REVISION or a release (`base` removes everything)."""
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


@command.command(short_help="Delete old predictions nobody needs")
@with_settings("database_url")
@click.option("--delete", is_flag=True, help="Delete; without it, only say what may go")
@click.option(
    "--before",
    metavar="DATE",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]),
    help="Of predictions only those made before then (UTC)",
)
@click.option(
    "--archive",
    "archive_path",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the predictions to this new file first: JSON Lines, packed with gzip",
)
@json_option
def prune(
    settings: Settings, delete: bool, before: datetime | None, archive_path: Path | None, as_json: bool
) -> None:
    """Say which old predictions and stage results may go, and delete them with --delete.

    What the current pipeline and the promoted run predicted stays, and so does every prediction that was pushed or
    reviewed. Interrupt it freely. The file of an SQLite database doesn't shrink; its space is used again. With
    --archive nothing is deleted before the file is there and whole.
    """
    if archive_path is not None and not delete:
        raise UsageError("an archive holds what is deleted", hint="add --delete, or leave --archive out")
    from xner_label.store.database import open_store
    from xner_label.store.pruning import prune as prune_store

    with open_store(settings.database_url) as store:
        moment = None if before is None else before.replace(tzinfo=UTC)
        report = prune_store(store, dry_run=not delete, before=moment, archive_path=archive_path)
    lines = [f"{counted(count, 'prediction')} of {name}" for name, count in report.predictions.items()]
    lines += [f"{counted(count, 'result')} of {name}" for name, count in report.stage_results.items()]
    lines = [f"{line} {'deleted' if delete else 'may go'}" for line in lines] or ["nothing may go"]
    if report.kept:
        lines.append(
            counted(
                report.kept,
                "old prediction stays: it was pushed or reviewed",
                "old predictions stay: they were pushed or reviewed",
            )
        )
    if report.archive:
        lines.append(f"the predictions are in {report.archive}")
    answer(report, "\n".join(lines), as_json=as_json)


@command.command(short_help="Copy an SQLite database to a file")
@with_settings("database_url")
@click.argument("path", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path))
@json_option
def backup(settings: Settings, path: Path, as_json: bool) -> None:
    """Copy the SQLite database to a new FILE while others go on using it; PostgreSQL has pg_dump."""
    from xner_label.store.copies import back_up
    from xner_label.store.database import open_store

    with open_store(settings.database_url, check=False) as store:
        back_up(store, path)
    answer({"backup": str(path), "bytes": path.stat().st_size}, f"copied to {path}", as_json=as_json)


@command.command(short_help="Put a backup back")
@with_settings("database_url")
@click.argument("path", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--yes", is_flag=True, help="Don't ask; what the database holds now is replaced")
@json_option
def restore(settings: Settings, path: Path, yes: bool, as_json: bool) -> None:
    """Replace all that the SQLite database holds by the backup in FILE, in one transaction."""
    from xner_label.store import copies
    from xner_label.store.database import open_store

    if not path.is_file():
        raise UsageError(f"there is no file {path}", hint="name one that `xner-label db backup` made")
    if not yes:
        click.confirm("What the database holds now is replaced. Go on?", abort=True, err=True)
    with open_store(settings.database_url, check=False) as store:
        copies.restore(store, path)
    answer(
        {"restored": str(path)},
        f"restored from {path}; `xner-label db current` says its revision",
        as_json=as_json,
    )


@command.command(short_help="Check that what is stored holds together")
@with_settings("database_url")
@json_option
def check(settings: Settings, as_json: bool) -> None:
    """Look at offsets, texts, hashes and references of every row; exit 6 where something is wrong."""
    from xner_label.errors import CheckFailedError
    from xner_label.store.checking import check_store
    from xner_label.store.database import open_store

    with open_store(settings.database_url) as store:
        report = check_store(store)
    lines = [f"{count} {table} looked at" for table, count in report.checked.items()]
    lines += [
        f"{counted(count, 'time')}: {problem} ({', '.join(report.examples[problem])})"
        for problem, count in report.problems.items()
    ]
    answer(report, "\n".join(lines) or "the database is empty", as_json=as_json)
    if report.problems:
        raise CheckFailedError(
            "the database doesn't hold together", hint="put a backup back, or report what was named"
        )


def _offered(path: Path | None) -> Path | None:
    """Where somebody who was asked wants a copy; None where nobody is there, or it isn't a file of ours."""
    if path is None:
        say("have a backup of this database: pg_dump --format custom --file FILE URL makes one")
        return None
    if not _is_terminal():
        say("the database is changed without a copy: `--backup FILE` makes one first")
        return None
    return path if click.confirm(f"Copy the database to {path} first?", default=True, err=True) else None


def _is_terminal() -> bool:
    return sys.stdin.isatty()


def _migrated(before: str | None, after: str | None, as_json: bool) -> None:
    words = f"database at revision {after or 'none'} (was {before or 'empty'})"
    answer({"revision": after, "before": before}, words, as_json=as_json)
