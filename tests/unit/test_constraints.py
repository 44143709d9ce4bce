"""The pins cover what pyproject.toml asks for, and name no machine."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = ("constraints.txt", "constraints-studio.txt")
PIN = re.compile(r"[a-z0-9][a-z0-9._-]*==[0-9][0-9a-z.]*", re.IGNORECASE)


def _pins(name: str) -> dict[str, str]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    pairs = [line.split("==") for line in lines if not line.startswith("#")]
    return {_normal(project): version for project, version in pairs}


def _normal(project: str) -> str:
    return re.sub(r"[-_.]+", "-", project).lower()


@pytest.mark.parametrize("name", FILES)
def test_a_line_is_a_pin_and_nothing_else(name: str) -> None:
    # Anything more would tie the pins to the machine that resolved them.
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not line.startswith("#") and not PIN.fullmatch(line)] == []


def test_every_dependency_is_pinned() -> None:
    document = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    project = document["project"]
    extras = [name for group in project["optional-dependencies"].values() for name in group]
    wanted = [*project["dependencies"], *extras, *document["build-system"]["requires"]]
    names = {_normal(re.split(r"[\[<>=!~; ]", requirement)[0]) for requirement in wanted}
    assert names - _pins("constraints.txt").keys() == set(), "run `make constraints`"


def test_the_versions_that_the_project_is_built_around() -> None:
    pins, studio = _pins("constraints.txt"), _pins("constraints-studio.txt")
    assert pins["torch"] == "2.13.0"
    assert studio["label-studio"] == "1.23.2"
    # The SDK in both environments speaks to the same server.
    assert pins["label-studio-sdk"] == studio["label-studio-sdk"]


def test_the_tests_run_with_every_extra() -> None:
    document = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (installed,) = re.findall(r"'\.\[([a-z,-]*dev)\]'", (ROOT / "Makefile").read_text(encoding="utf-8"))
    assert set(installed.split(",")) == document["project"]["optional-dependencies"].keys()
