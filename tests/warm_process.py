"""Commands in processes of their own that needn't import everything anew: forked from one that has.

A command that is killed hundreds of times spends most of its life importing. These are processes like any others,
with their own connections and locks; only what they import is there from the beginning.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]

_PROGRAM = """
import json, os, sys
import label_studio_sdk.client, httpx, sqlalchemy.dialects.sqlite, sqlalchemy.dialects.postgresql
import xner_label.studio.push, xner_label.studio.sync, xner_label.jobs.worker, xner_label.predicting.predictor
from xner_label.cli import main, predict, push, sync, worker
with open(os.devnull, "w") as nowhere:
    try:  # objects of the SDK are made when they are first asked for
        api = label_studio_sdk.client.LabelStudio(base_url="http://127.0.0.1:9", api_key="0" * 40)
        api.projects, api.tasks, api.users, api.versions
    except Exception:
        pass
print("ready", flush=True)
for line in sys.stdin:
    arguments, log = json.loads(line)
    child = os.fork()
    if child == 0:
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        os.dup2(os.open(log + ".out", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.argv = ["xner-label", *arguments]
        main.main()
    print(child, flush=True)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
"""


class WarmCommands:
    """Starts commands one after the other."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self._process = process
        self._log = folder / "warm.log"
        self._running: int | None = None

    def start(self, arguments: Sequence[str]) -> None:
        """Begin a command; the one before has been waited for."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([list(arguments), str(self._log)]) + "\n")
        self._process.stdin.flush()
        self._running = int(self._read())

    def kill(self) -> None:
        """kill -9, if it still runs."""
        if self._running is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._running, signal.SIGKILL)

    def wait(self) -> tuple[int, str]:
        """Its exit code (below 0: the signal that ended it) and what it wrote to standard error."""
        code = int(self._read())
        self._running = None
        return code, self._log.read_text("utf-8")

    @property
    def answer(self) -> str:
        """What the last command wrote to standard output."""
        return Path(f"{self._log}.out").read_text("utf-8")

    def run(self, arguments: Sequence[str]) -> tuple[int, str]:
        """A whole command."""
        self.start(arguments)
        return self.wait()

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


@contextlib.contextmanager
def warm_commands(environment: dict[str, str], folder: Path) -> Iterator[WarmCommands]:
    """Commands with this environment, in this folder, for the length of a block."""
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment | {"PYTHONPATH": str(ROOT)},
        cwd=folder,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "ready\n"
        yield WarmCommands(process, folder)
        process.stdin.close()
