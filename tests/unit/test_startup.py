"""``xner-label --help`` and the import of the package stay light (bench/startup.py shows the time)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import LIMIT
from xner_label.cli.main import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {
    "alembic",
    "ctranslate2",
    "fastapi",
    "label_studio_sdk",
    "numpy",
    "pycrfsuite",
    "rapidfuzz",
    "scipy",
    "seqeval",
    "simalign",
    "sqlalchemy",
    "torch",
    "transformers",
    "uvicorn",
}
CODE = """
import json, sys
from click.testing import CliRunner
from xner_label.cli.main import cli
done = CliRunner().invoke(cli, json.loads(sys.argv[1]))
print(json.dumps([done.exit_code, done.output, sorted({name.split(".")[0] for name in sys.modules})]))
"""


def _loaded(*arguments: str) -> tuple[int, str, set[str]]:
    command = [sys.executable, "-c", CODE, json.dumps(arguments)]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=LIMIT)
    code, output, modules = json.loads(shown.stdout)
    return code, output, set(modules)


def test_help_lists_the_commands_and_imports_nothing_heavy() -> None:
    code, output, modules = _loaded("--help")
    assert code == 0
    assert [command for command in COMMANDS if command not in output] == []
    assert modules & HEAVY == set()


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_imports_nothing_heavy(command: str) -> None:
    code, output, modules = _loaded(command, "--help")
    assert code == 0
    assert output.startswith("Usage:")
    assert modules & HEAVY == set()


@pytest.mark.parametrize(
    "arguments", [["--help"], ["project", "--help"], ["models", "list"], ["status", "--help"]]
)
def test_a_reader_that_goes_away_is_code_141(arguments: list[str], tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    program = [sys.executable, "-m", "xner_label", *arguments]
    with os.fdopen(writer, "wb") as gone:
        done = subprocess.run(program, stdout=gone, stderr=subprocess.PIPE, cwd=tmp_path, check=False)
    assert (done.returncode, done.stderr) == (141, b"")
