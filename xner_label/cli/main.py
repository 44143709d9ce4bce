"""The ``xner-label`` group: finds commands by name, turns errors into messages and exit codes.

A command ``foo-bar`` is the object ``command`` of ``xner_label/cli/foo_bar.py``; its module is imported only when
it is asked for.
"""

from __future__ import annotations

import errno
import importlib
import logging
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from keyword import iskeyword
from types import MappingProxyType
from typing import Any, NoReturn

import click

from xner_label import __version__
from xner_label.errors import XnerLabelError
from xner_label.logs import configure_logging, logs_json, told, without_quotes
from xner_label.tracing import stop_tracing

_LOG = logging.getLogger(__name__)

# As a shell says of a program that SIGPIPE has ended; nothing more is said then.
_READER_WENT_AWAY = 141
# What the system says of a disk or quota that is full, or fails.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS})
# In the order of the loop, then the stateless stages; what `xner-label --help` says about each, on one line.
COMMANDS: Mapping[str, str] = MappingProxyType(
    {
        "init": "Write a settings file",
        "doctor": "Check versions, settings, models, database and Label Studio",
        "db": "Make, migrate, prune or inspect the database",
        "models": "List checkpoints, or fetch them ahead of use",
        "labels": "Show or change the label set of the project",
        "connect": "Make or join a project in Label Studio",
        "disconnect": "Leave the project in Label Studio",
        "import": "Take in tasks, gold or labelled source sentences",
        "predict": "Translate, tag, align and project the stored tasks",
        "push": "Send the least confident tasks to Label Studio",
        "sync": "Take over what people did in Label Studio",
        "calibrate": "Learn how sure to be, and say what that is worth",
        "plan": "Say what so many minutes of review will bring",
        "stop": "Say whether the review may stop",
        "drift": "Say whether new text is like what was reviewed",
        "conflicts": "Show where annotators disagree, and decide",
        "acknowledge": "Go on without annotations that can't be used",
        "exclude": "Set tasks aside",
        "status": "Say where the project stands",
        "slips": "List settled entities that deserve a second look",
        "report": "Write a page on state, quality, errors and people",
        "why": "Show where a task's entities come from",
        "undo": "Withdraw answers and what they moved",
        "dataset": "Say what training learns from, and write it",
        "train": "Train a model on gold and silver",
        "curve": "Say what more review would buy",
        "runs": "List the model runs, show or compare them",
        "promote": "Serve a model run, if it isn't worse",
        "rollback": "Serve the model run before again",
        "serve": "Answer Label Studio as its ML backend",
        "worker": "Do what webhooks, buttons and clocks ask for",
        "annotate": "Find the entities of any text",
        "export-model": "Write a model to take away, with its card",
        "export": "Write gold and silver to files",
        "evaluate": "Score predictions against gold",
        "simulate": "Try the loop of review on gold, before people do",
        "benchmark": "Compare systems on gold: which method for my language?",
        "choose-projector": "Find the projector that suits a language",
        "fit-projector": "Learn the projector's weights from gold",
        "translate": "Translate tasks (JSON Lines in and out)",
        "translate-train": "Translate labelled texts, labels and all, to learn from",
        "tag": "Find the entities of sources (JSON Lines in and out)",
        "align": "Link words to those of the source (JSON Lines in and out)",
        "project": "Project entities onto texts (JSON Lines in and out)",
    }
)


@contextmanager
def _reader_may_go_away() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise click.exceptions.Exit(_READER_WENT_AWAY) from None


class LazyGroup(click.Group):
    """A group whose commands live in modules of their own.

    Where the reader of the output goes away it ends with the code for that, before click makes a 1 of it.
    """

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Parse the arguments; --help and --version write here."""
        with _reader_may_go_away():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was named."""
        with _reader_may_go_away():
            return super().invoke(ctx)

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

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="xner-label")
@click.option(
    "--log-format",
    type=click.Choice(("text", "json")),
    envvar="XNER_LABEL_LOG_FORMAT",
    help="What goes to standard error: words for people, or JSON Lines with ids that join them  [default: text]",
)
@click.pass_context
def cli(context: click.Context, log_format: str | None) -> None:
    """Named entities projected across languages, reviewed in Label Studio, learned from."""
    _Running.command = context.invoked_subcommand or ""
    if log_format == "json":
        configure_logging(log_format)


class _Running:
    """What the log says of this process."""

    command = ""


def main() -> NoReturn:
    """Run the command line and exit with a documented code (docs/exit-codes.md)."""
    began = time.monotonic()
    if _asks_for_json(sys.argv[1:]):
        configure_logging("json")
    code = _run()
    stop_tracing()
    if logs_json():
        fields = {
            "command": _Running.command,
            "exit_code": code,
            "seconds": round(time.monotonic() - began, 3),
        }
        level = logging.ERROR if code else logging.INFO
        _LOG.log(level, "%s ended with %d", _Running.command or "xner-label", code, extra={"fields": fields})
    _drop_output()
    sys.exit(code)


def _asks_for_json(arguments: Sequence[str]) -> bool:
    """Whether the flag before the command, or the environment, wants JSON, also where the line can't be parsed."""
    wanted = os.environ.get("XNER_LABEL_LOG_FORMAT", "")
    rest = iter(arguments)
    for argument in rest:
        if not argument.startswith("-"):
            break
        flag, _, value = argument.partition("=")
        if flag == "--log-format":
            wanted = value or next(rest, "")
    return wanted == "json"


def _run() -> int:
    """Run the command line; returns the exit code, and has said why."""
    try:
        result = cli.main(standalone_mode=False)  # click hands back the code of an Exit as the result
        code = result if isinstance(result, int) else 0
        sys.stdout.flush()  # a full disk shows here, not in Python's last breath
    except XnerLabelError as error:
        if logs_json():
            _LOG.error("%s", told(error))
            return error.exit_code
        code = _say(str(error), error.exit_code)
    except click.ClickException as error:
        if not logs_json():
            with suppress(OSError):
                error.show()
        code = error.exit_code
        if logs_json():
            _LOG.error("wrong usage of the command line: %s", _problem(error))
    except (click.Abort, KeyboardInterrupt):
        code = _say("interrupted; what was finished is saved, run again to go on", 130)
    except BrokenPipeError:
        code = _READER_WENT_AWAY
    except OSError as error:
        if error.errno not in _FULL:
            if not logs_json():
                raise
            _LOG.exception("unexpected")
            return 1
        code = _say(f"can't write: {error.strerror} (make room, then run again; what was finished is saved)", 1)
    except Exception:
        if not logs_json():
            raise
        _LOG.exception("unexpected")
        return 1
    return code


def _problem(error: click.ClickException) -> str:
    """What a log may say of it: arguments, which stand in quotation marks or brackets, may hold anything."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        return "no command, see xner-label --help"
    return re.sub(r"\(.*\)", "(...)", without_quotes(error.format_message()), flags=re.DOTALL)


def _say(message: str, code: int) -> int:
    """Tell people what happened, where that is possible; returns the exit code."""
    if logs_json():
        _LOG.error("%s", message)
        return code
    with suppress(OSError):
        click.echo(f"xner-label: {message}", err=True)
    return code


def _drop_output() -> None:
    """Let Python's own flush at exit find nothing that it can't write."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
