"""The ``xner-label`` group: finds commands by name, turns errors into messages and exit codes.

A command ``foo-bar`` is the object ``command`` of ``xner_label/cli/foo_bar.py``; its module is imported only when
it is asked for.
"""

from __future__ import annotations

import importlib
import os
import sys
from keyword import iskeyword
from typing import NoReturn

import click

from xner_label import __version__
from xner_label.errors import XnerLabelError

# In the order of the loop, then the stateless stages.
COMMANDS: tuple[str, ...] = (
    "init",
    "doctor",
    "db",
    "models",
    "connect",
    "import",
    "predict",
    "push",
    "sync",
    "status",
    "train",
    "promote",
    "serve",
    "export",
    "evaluate",
    "simulate",
    "choose-projector",
    "fit-projector",
    "translate",
    "tag",
    "align",
    "project",
)


class LazyGroup(click.Group):
    """A group whose commands live in modules of their own."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every command, in the order of a project's life."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command when it is asked for; None for an unknown one."""
        if cmd_name not in COMMANDS:
            return None
        name = cmd_name.replace("-", "_") + ("_" if iskeyword(cmd_name) else "")
        module = importlib.import_module(f"xner_label.cli.{name}")
        command = module.command
        assert isinstance(command, click.Command)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="xner-label")
def cli() -> None:
    """Named entities projected across languages, reviewed in Label Studio, learned from."""


def main() -> NoReturn:
    """Run the command line and exit with a documented code (docs/exit-codes in the README's table)."""
    try:
        result = cli.main(standalone_mode=False)  # click hands back the code of an Exit as the result
        code = result if isinstance(result, int) else 0
    except XnerLabelError as error:
        click.echo(f"xner-label: {error}", err=True)
        code = error.exit_code
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("xner-label: interrupted; what was finished is saved, run again to go on", err=True)
        code = 130
    except BrokenPipeError:
        # The reader went away: say nothing more, not even when Python flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 141
    sys.exit(code)
