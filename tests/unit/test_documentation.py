"""The documentation says what the program does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tools.settings_page import PAGE, page
from xner_label.cli.main import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_page_of_settings_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run `make docs`"


def test_the_readme_lists_every_command_once_in_the_order_of_help() -> None:
    assert re.findall(r"^\| `xner-label ([a-z-]+)", README, re.MULTILINE) == list(COMMANDS)


def test_the_first_install_line_names_the_extras_of_the_offline_preset() -> None:
    first = next(line for line in README.splitlines() if "pip install" in line)
    assert "xner-label[studio,backend,eflomal]" in first


def test_the_readme_leads_to_every_page() -> None:
    assert [page.name for page in PAGES[1:] if f"](docs/{page.name})" not in README] == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8"))
    local = [target for target in targets if "://" not in target]
    assert [target for target in local if not (path.parent / target).exists()] == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_no_page_names_a_machine(path: Path) -> None:
    paths = re.findall(r"(?<![\w.])/(?:work|tmp|root|opt|home)/", path.read_text(encoding="utf-8"))
    assert paths == []
