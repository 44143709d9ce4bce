"""A PostgreSQL server of the tests' own, on a Unix socket, that can be restarted in the middle of things."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.processes import LIMIT


def postgres_folder() -> Path | None:
    """The folder of initdb and pg_ctl; Debian keeps them off the PATH, one folder per major version."""
    on_path = shutil.which("pg_ctl")
    versions = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"), key=lambda path: float(path.parts[-3]), reverse=True
    )
    candidates = [*versions, *([Path(on_path).resolve()] if on_path else [])]
    return candidates[0].parent if candidates else None


@dataclass
class PostgresProcess:
    """A running server whose programs are in ``programs`` and whose data is in ``folder``."""

    programs: Path
    folder: Path
    identity: dict[str, Any] = field(default_factory=dict)

    def url(self, name: str) -> str:
        """The SQLAlchemy URL of a database."""
        return f"postgresql+psycopg://test@/{name}?host={self.folder}"

    def control(self, *arguments: str) -> None:
        """pg_ctl, until it has done what it was told."""
        self._run("pg_ctl", "-w", "-t", "240", *arguments)

    def start(self) -> None:
        """Make the data and begin."""
        self._run("initdb", "-A", "trust", "-U", "test", "-E", "UTF8", "--locale=C", "--no-sync")
        # Without a log of its own the server would hold pg_ctl's output pipe open, and run() would never return.
        options = f"-c listen_addresses='' -k {self.folder} -c fsync=off"
        self.control("-l", str(self.folder / "server.log"), "-o", options, "start")

    def restart(self) -> None:
        """As after a crash: no connection is told, and the log is replayed."""
        self.control("-l", str(self.folder / "server.log"), "-m", "immediate", "restart")

    def stop(self) -> None:
        """End it, if it runs."""
        if (self.folder / "data" / "postmaster.pid").exists():
            self.control("-m", "immediate", "stop")

    @contextlib.contextmanager
    def database(self) -> Iterator[str]:
        """The URL of an empty database, which is dropped at the end."""
        import psycopg

        name = f"t{uuid4().hex}"
        administration = self.url("postgres").replace("+psycopg", "")
        with psycopg.connect(administration, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        yield self.url(name)
        with psycopg.connect(administration, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self.programs / program), "-D", str(self.folder / "data"), *arguments]
        done = subprocess.run(
            command, cwd=self.folder, capture_output=True, text=True, timeout=LIMIT, **self.identity
        )
        if done.returncode:
            log = self.folder / "server.log"
            raise RuntimeError(f"{program}: {done.stdout}{done.stderr}{log.read_text() if log.exists() else ''}")


@contextlib.contextmanager
def running_postgres(programs: Path) -> Iterator[PostgresProcess]:
    """A server for the length of a block."""
    # The server refuses to run as root, and the path of a Unix socket may have 107 bytes at most.
    owner = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="xner-pg-"))
    if owner:
        os.chown(folder, owner.pw_uid, owner.pw_gid)
    identity = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []} if owner else {}
    server = PostgresProcess(programs, folder, identity)
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        stack.callback(server.stop)
        server.start()
        yield server
