"""Fixtures of the tests in a browser: those of Label Studio, and a signed-in page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from demo.studio_server import StudioServer
from tests.studio_fixtures import annotator as annotator
from tests.studio_fixtures import api as api
from tests.studio_fixtures import database_url as database_url
from tests.studio_fixtures import store as store
from tests.studio_fixtures import studio_settings as studio_settings

ROOT = Path(__file__).resolve().parents[2]
_FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-background-networking --disable-component-update "
    "--disable-sync --no-first-run --disable-quic"
)


@pytest.fixture
def artifacts() -> Path:
    """The folder where screenshots are kept."""
    folder = ROOT / "test-artifacts"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture
def browser(chromium: str) -> Iterator[Any]:
    """Headless Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=_FLAGS.split())
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any, label_studio: StudioServer) -> Any:
    """A page of headless Chromium, signed in to Label Studio; nothing but loopback can be reached from it."""
    page = browser.new_page(viewport={"width": 1300, "height": 640})
    page.route(re.compile(r"^https?://(?!127\.0\.0\.1)"), lambda route: route.abort())
    page.goto(f"{label_studio.url}/user/login", wait_until="domcontentloaded")
    page.fill("input[name=email]", label_studio.user)
    page.fill("input[name=password]", label_studio.password)
    page.click("button[type=submit]")
    page.wait_for_url(re.compile(r"/$|/projects"), wait_until="commit")
    return page
