"""Runs the real ``xner-label`` commands in a folder and shows what they say."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from demo.processes import running

PROGRAM = (sys.executable, "-m", "xner_label")


class CommandFailedError(RuntimeError):
    """A command of the demonstration did not end well."""


class Commands:
    """The command line in one folder, with one environment. ``transcript`` keeps what every command wrote."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self.environment = environment
        self.transcript = folder / "commands.log"
        self._began = time.monotonic()

    def say(self, text: str) -> None:
        """Tell the person who watches, with the seconds since the beginning."""
        click.echo(f"{click.style(f'{time.monotonic() - self._began:4.0f} s', dim=True)}  {text}")

    def run(self, *arguments: str, accept: tuple[int, ...] = (0,)) -> int:
        """Run a command, show its standard error as it comes and then its output; returns its exit code.

        Raises CommandFailedError for a code that isn't in ``accept``.
        """
        code, output = self._run(arguments, accept)
        for line in output.decode(errors="replace").splitlines():
            click.echo(f"        {line}")
        return code

    def ask(self, *arguments: str) -> dict[str, Any]:
        """Run a command with ``--json`` and return its document."""
        _, output = self._run((*arguments, "--json"), (0,))
        document: dict[str, Any] = json.loads(output)
        return document

    def _run(self, arguments: tuple[str, ...], accept: tuple[int, ...]) -> tuple[int, bytes]:
        shown = shlex.join(("xner-label", *arguments))
        self.say(click.style(shown, bold=True))
        with (
            self.transcript.open("ab") as transcript,
            tempfile.TemporaryFile() as output,
            running(
                (*PROGRAM, *arguments),
                environment=self.environment,
                folder=self.folder,
                stdout=output,
                stderr=subprocess.PIPE,
            ) as process,
        ):
            transcript.write(f"$ {shown}\n".encode())
            assert process.stderr is not None
            with process.stderr:
                for line in process.stderr:
                    transcript.write(line)
                    click.echo(f"        {line.decode(errors='replace').rstrip()}")
            code = process.wait()
            output.seek(0)
            written = output.read()
            transcript.write(written)
        if code not in accept:
            raise CommandFailedError(f"`{shown}` ended with exit code {code}")
        return code, written
