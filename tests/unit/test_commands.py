"""What all commands have in common: help that is whole, --json, exit codes."""

from __future__ import annotations

import json
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


def _refused(*arguments: str) -> str:
    """What a command says that ends with wrong usage."""
    outcome = CliRunner().invoke(cli, arguments)
    error = outcome.exception
    assert isinstance(error, errors.UsageError) or outcome.exit_code == 2, outcome.output
    return f"{error} {outcome.output}"


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
@pytest.mark.parametrize(
    "line", ["plan --minutes", "push --minutes", "stop --min-gain", "project --min-confidence"]
)
def test_numbers_are_finite(line: str, value: str) -> None:
    assert "Invalid value" in _refused(*line.split(), value)


@pytest.mark.parametrize("command", ["project", "align", "tag", "translate", "fit-projector"])
def test_no_file_is_written_over_the_one_that_is_read(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    row = {"id": 1, "text": "Juma", "source": "Juma", "source_entities": [], "entities": []}
    file, link = tmp_path / "tasks.jsonl", tmp_path / "link.jsonl"
    file.write_text(json.dumps(row) + "\n")
    link.symlink_to(file)
    labelled = tmp_path / "labelled.jsonl"
    labelled.write_text('{"text": "Juma", "entities": [{"start": 0, "end": 4, "label": "PER"}]}\n')
    more = {"tag": ["--labelled", str(labelled)], "align": ["--aligner", "eflomal"]}.get(command, [])
    if command != "translate":  # which has no translator here
        assert "would be overwritten" in _refused(command, str(file), "-o", str(link), *more)
    assert json.loads(file.read_text()) == row


def test_what_can_not_be_predicted_does_not_replace_what_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "tasks.jsonl"
    file.write_text('{"id": 1, "text": "Juma", "source": "Juma", "source_entities": []}\n')
    before = file.read_bytes()
    arguments = [str(file), "--into-store", "-o", str(file), "--tagger", "given", "--aligner", "none"]
    assert "would be overwritten" in _refused("predict", *arguments)
    assert file.read_bytes() == before
    assert "no such file" in _refused(
        "predict", "none.jsonl", "-o", "out", "--tagger", "given", "--aligner", "none"
    )
    assert not (tmp_path / "out").exists()


def test_a_command_in_a_wrong_folder_leaves_no_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = CliRunner().invoke(cli, ["status"])
    assert isinstance(outcome.exception, errors.SchemaError)
    assert list(tmp_path.iterdir()) == []


def test_a_simulation_that_can_not_begin_writes_no_table(tmp_path: Path) -> None:
    file = tmp_path / "empty.jsonl"
    file.write_text("")
    outcome = CliRunner().invoke(cli, ["simulate", str(file), str(file)])
    assert isinstance(outcome.exception, errors.UsageError)
    assert outcome.stdout == ""
    row = {"id": 1, "text": "Juma", "source": "Juma", "source_entities": [], "entities": [], "split": "train"}
    file.write_text(json.dumps(row) + "\n")
    assert "1 have the split 'train' and 0 'test'" in _refused("simulate", str(file), str(file))


def test_nobody_is_asked_about_a_backup_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "there is no file nowhere.db" in _refused("db", "restore", "nowhere.db")
