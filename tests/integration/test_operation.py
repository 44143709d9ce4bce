"""The shell of docs/operation.md and deploy/, run as it stands there, against real databases."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import stat
import subprocess
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from demo.studio_server import ROOT
from tests.processes import LIMIT
from tests.store_fixtures import count_rows, fill_every_table
from xner_label.store import migrating
from xner_label.store.database import open_store

BACKUP = ROOT / "deploy/xner-label-backup"
NEEDED = [name for name in ("bash", "sqlite3") if shutil.which(name) is None]
pytestmark = pytest.mark.skipif(bool(NEEDED), reason=f"no {', '.join(NEEDED)}")


def snippet(marked: str, holding: str) -> str:
    """The one block of the page that begins with this comment and holds these words."""
    page = (ROOT / "docs/operation.md").read_text("utf-8")
    blocks = [
        re.sub(r"^ {3}", "", body, flags=re.M) if indent else body
        for indent, body in re.findall(r"^( *)```sh\n *# tested(.*?)^ *```$", page, re.M | re.S)
    ]
    (block,) = [
        rest
        for first, _, rest in (body.partition("\n") for body in blocks)
        if first.strip() == marked and holding in rest
    ]
    return block


def run(script: str, folder: Path = ROOT, **environment: object) -> subprocess.CompletedProcess[str]:
    variables = os.environ | {name: str(value) for name, value in environment.items()}
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=variables,
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )


def rows(url: str) -> dict[str, int]:
    with open_store(url) as store, store.read() as session:
        return count_rows(session)


def filled(url: str) -> dict[str, int]:
    with open_store(url, check=False) as store:
        migrating.upgrade(store)
        with store.write() as session:
            fill_every_table(session)
    return rows(url)


def a_label_studio(folder: Path) -> Path:
    file = folder / "label_studio.sqlite3"
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE task (id INTEGER)")
        connection.execute("INSERT INTO task VALUES (7)")
    connection.close()
    return file


def test_sqlite_comes_back_as_it_was_copied(sqlite_url: str, tmp_path: Path) -> None:
    before = filled(sqlite_url)
    studio = a_label_studio(tmp_path)
    backups = tmp_path / "backups"
    script = snippet("", "deploy/xner-label-backup")
    with open_store(sqlite_url) as store, store.write() as session:  # somebody writes meanwhile
        session.connection().exec_driver_sql("DELETE FROM decisions")
        urls = {"XNER_LABEL_DATABASE_URL": sqlite_url, "LABEL_STUDIO_DATABASE_URL": f"sqlite:///{studio}"}
        done = run(script, BACKUPS=backups, **urls)
        assert done.returncode == 0, done.stderr
    copy = Path(done.stdout.strip())
    assert copy.parent == backups
    assert [stat.S_IMODE(path.stat().st_mode) & 0o077 for path in (copy, *copy.iterdir())] == [0, 0, 0]
    assert rows(sqlite_url) != before
    file = Path(sqlite_url.removeprefix("sqlite:///"))
    done = run(snippet("sqlite", "cp "), STORE_FILE=file, COPY=copy)
    assert done.returncode == 0, done.stderr
    assert rows(sqlite_url) == before
    with sqlite3.connect(copy / "label-studio.sqlite3") as connection:
        assert connection.execute("SELECT id FROM task").fetchall() == [(7,)]
    connection.close()


@pytest.mark.postgres
def test_postgresql_comes_back_as_it_was_copied(postgres_url: str, tmp_path: Path) -> None:
    before = filled(postgres_url)
    studio = a_label_studio(tmp_path)
    # a password, which this server doesn't look at, with what has to be quoted in a URL
    secret = postgres_url.replace("test@/", "test:p%40ss%2Fword@/")
    done = run(
        f"{BACKUP} {tmp_path}/backups",
        XNER_LABEL_DATABASE_URL=secret,
        LABEL_STUDIO_DATABASE_URL=f"sqlite:///{studio}",
    )
    assert done.returncode == 0, done.stderr
    with open_store(postgres_url) as store:
        migrating.downgrade(store, "base")
    url = make_url(postgres_url)
    restored = run(
        snippet("postgresql", "pg_restore"),
        COPY=done.stdout.strip(),
        DATABASE=url.database,
        PGHOST=url.query["host"],
        PGUSER="test",
    )
    assert restored.returncode == 0, restored.stderr
    assert rows(postgres_url) == before


def test_a_backup_that_fails_leaves_nothing_and_takes_nothing(sqlite_url: str, tmp_path: Path) -> None:
    filled(sqlite_url)
    for studio in (f"sqlite:///{tmp_path}/nowhere.sqlite3", "mysql://there", ""):
        done = run(
            f"{BACKUP} {tmp_path}/backups", XNER_LABEL_DATABASE_URL=sqlite_url, LABEL_STUDIO_DATABASE_URL=studio
        )
        assert done.returncode != 0
        assert list((tmp_path / "backups").iterdir()) == []
    assert not (tmp_path / "nowhere.sqlite3").exists()


def test_the_newest_copies_are_kept(sqlite_url: str, tmp_path: Path) -> None:
    filled(sqlite_url)
    secret = tmp_path / "url"
    secret.write_text(sqlite_url)
    backups = tmp_path / "backups"
    for day in range(1, 6):
        (backups / f"2020010{day}T000000Z").mkdir(parents=True)
    done = run(
        f"{BACKUP} {backups}",
        XNER_LABEL_DATABASE_URL_FILE=secret,
        LABEL_STUDIO_DATABASE_URL=f"sqlite:///{a_label_studio(tmp_path)}",
        KEEP=2,
    )
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in backups.iterdir()) == ["20200105T000000Z", Path(done.stdout.strip()).name]


def test_secrets_are_made_once_and_rotate(tmp_path: Path) -> None:
    place = tmp_path / "deploy/compose"
    place.mkdir(parents=True)
    shutil.copy(ROOT / "deploy/compose/secrets.sh", place)
    assert run(snippet("", "secrets.sh"), tmp_path).stdout == ""
    made = {path.name: path.read_text() for path in (place / "secrets").iterdir()}
    assert made["database_url"].endswith(f":{made['xner_label_database_password']}@database/xner_label")
    assert made.pop("label_studio_token") == ""
    assert len(set(made.values())) == len(made)
    assert stat.S_IMODE((place / "secrets").stat().st_mode) == 0o700
    (place / "secrets/label_studio_token").chmod(0o600)
    (place / "secrets/label_studio_token").write_text("a token")
    assert run(snippet("", "secrets.sh"), tmp_path).returncode == 0
    assert {path.name: path.read_text() for path in (place / "secrets").iterdir()} == {
        **made,
        "label_studio_token": "a token",
    }
    assert run(snippet("", "webhook_secret.new"), tmp_path).returncode == 0
    assert (place / "secrets/webhook_secret").read_text() != made["webhook_secret"]


@pytest.mark.postgres
def test_the_databases_of_the_containers_are_made(postgres_url: str, tmp_path: Path) -> None:
    import psycopg

    url = make_url(postgres_url)
    database, host = url.database, url.query["host"]
    for name in ("LABEL_STUDIO", "XNER_LABEL"):
        (tmp_path / name).write_text('it\'s \\ "a" password')
    files = {f"{name}_DATABASE_PASSWORD_FILE": tmp_path / name for name in ("LABEL_STUDIO", "XNER_LABEL")}
    with psycopg.connect(f"host={host} user=test dbname={database}", autocommit=True) as connection:
        try:
            done = run(
                "deploy/compose/databases.sh", PGHOST=host, PGDATABASE=database, POSTGRES_USER="test", **files
            )
            assert done.returncode == 0, done.stderr
            owners = connection.execute(
                "SELECT datname, rolname FROM pg_database JOIN pg_roles ON datdba = pg_roles.oid"
            ).fetchall()
            assert {("label_studio", "label_studio"), ("xner_label", "xner_label")} <= set(owners)
        finally:
            for name in ("label_studio", "xner_label"):
                connection.execute(f"DROP DATABASE IF EXISTS {name}")
                connection.execute(f"DROP ROLE IF EXISTS {name}")
