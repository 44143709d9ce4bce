"""The report in a real browser: light and dark, wide and narrow, and for people who can't see it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests import report_store
from tests.store_fixtures import sqlite_url as sqlite_url
from xner_label.reporting.report import report
from xner_label.reporting.report_page import render
from xner_label.store import migrating
from xner_label.store.database import open_store

pytestmark = pytest.mark.browser


@pytest.fixture
def address(tmp_path: Path, sqlite_url: str) -> str:
    """Where the page of a small project lies."""
    file = tmp_path / "report.html"
    with open_store(sqlite_url, check=False) as store:
        migrating.upgrade(store)
        report_store.fill(store)
        file.write_text(render(report(store, "default")), encoding="utf-8")
    return file.as_uri()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 390])
def test_everybody_can_read_it(browser: Any, address: str, artifacts: Path, scheme: str, width: int) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900}).new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.goto(address)
    page.screenshot(path=artifacts / f"report-{scheme}-{width}.png", full_page=True)
    assert complaints == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width  # tables scroll, the page doesn't
    # The page forbids scripts; axe comes in by the browser's own door.
    violations = Axe().run(page).response["violations"]
    assert [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in violations] == []


def test_it_prints_on_a4(browser: Any, address: str) -> None:
    page = browser.new_page()
    page.goto(address)
    document = page.pdf(prefer_css_page_size=True)
    # A4 in points, as Chromium writes it.
    assert re.search(rb"/MediaBox \[0 0 59[45]\.?\d* 84[12]\.?\d*\]", document)
