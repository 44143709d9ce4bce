"""What all commands have in common: help that is whole, --json, exit codes."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from tools.commands_page import PAGE, commands, page
from xner_label import errors
from xner_label.cli.main import COMMANDS, cli

ROOT = Path(__file__).parents[2]


def test_the_page_of_commands_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run `make docs`"


def test_help_says_every_command_on_a_line_of_its_own_and_cuts_none() -> None:
    shown = CliRunner().invoke(cli, ["--help"], terminal_width=80).output
    for name, text in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(text)}$", shown, re.M), name
    assert "..." not in shown.partition("Commands:")[2]


@pytest.mark.parametrize("group", ["db", "models"])
def test_help_of_a_group_cuts_nothing(group: str) -> None:
    shown = CliRunner().invoke(cli, [group, "--help"], terminal_width=80).output
    assert "..." not in shown.partition("Commands:")[2]


@pytest.mark.parametrize(("name", "command"), list(commands()), ids=lambda value: value if value else "")
def test_every_command_answers_in_json(name: str, command: click.Command) -> None:
    flags = [flag for parameter in command.params for flag in parameter.opts]
    assert isinstance(command, click.Group) or "--json" in flags
    assert command.help, "a command says what it does"


def test_the_page_of_exit_codes_is_that_of_the_errors() -> None:
    codes = {
        error.exit_code
        for error in vars(errors).values()
        if isinstance(error, type) and issubclass(error, errors.XnerLabelError)
    }
    written = (ROOT / "docs" / "exit-codes.md").read_text(encoding="utf-8")
    assert set(map(int, re.findall(r"^\| (\d+) \|", written, re.M))) == codes | {0, 130, 141}
