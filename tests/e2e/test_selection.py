"""What a person selects with the mouse comes back with exact offsets, whatever stands before it."""

from __future__ import annotations

import pytest

from tests.e2e.test_view import place
from xner_label.entities import Prediction, Task
from xner_label.store import gold, predictions, projects, tasks
from xner_label.store.pipelines import ensure_pipeline
from xner_label.studio.connect import ConnectOptions, connect
from xner_label.studio.push import PushOptions, push
from xner_label.studio.sync import sync

pytestmark = [pytest.mark.studio, pytest.mark.browser]

# What stands before the words that are marked, and the words.
TEXTS = {
    "emoji": ("\U0001f469\U0001f3fd\u200d\U0001f33e \U0001f389 ", "Nairobi"),
    "combining": ("Cafe\u0301 o\u0323\u0301 ", "E\u0323ko\u0323\u0301"),
    "lines": ("moja\r\nmbili\n\ttatu\t\t", "Nairobi"),
    "arabic": ("قال محمد علي إن ", "القاهرة"),
    "hebrew": ("שלום \u200f", "תל אביב"),
    "astral": ("\U0001e900\U0001e901 ", "\U0001e905\U0001e906\U0001e907"),
}


@pytest.fixture
def rows(store, studio_settings, api):
    with store.write() as session:
        project = projects.ensure_project(session, "default", studio_settings.labels)
        for key, (before, words) in TEXTS.items():
            text = f"{before}{words} ."
            tasks.add_tasks(session, project.id, [(Task(id=key, text=text), "pool")])
            ids = tasks.ids_by_external(session, project.id, [key])
            predictions.add_predictions(session, [(ids[key], Prediction(key, text, (), 0.5, "p-1"))])
        project.pipeline = ensure_pipeline(session, "p-1")
    number = connect(store, studio_settings, ConnectOptions(backend=False)).studio_project
    push(store, studio_settings, PushOptions(limit=len(TEXTS)))
    return {row.data["xner_id"]: row for row in api.tasks.list(project=number, fields="all")}


def select(page, words, right_to_left=False):
    """Drag over words that stand on one line."""
    left, right, middle = place(page, words)
    first, last = (right - 1, left + 1) if right_to_left else (left + 1, right - 1)
    page.mouse.move(first, middle)
    page.mouse.down()
    page.mouse.move(last, middle, steps=12)
    page.mouse.up()


def open_text(page, url, row):
    page.goto(f"{url}/projects/{row.project}/data?task={row.id}", wait_until="domcontentloaded")
    page.wait_for_selector(".xner-text .lsf-htx-richtext", timeout=120_000)
    page.wait_for_timeout(500)


def test_what_is_marked_in_the_browser_comes_back_exactly(page, rows, label_studio, store, studio_settings):
    for key, (_, words) in TEXTS.items():
        open_text(page, label_studio.url, rows[key])
        page.keyboard.press("3")
        select(page, words, right_to_left=key in ("arabic", "hebrew"))
        page.wait_for_selector(".xner-text .htx-highlight", timeout=120_000)
        page.keyboard.press("Escape")
        page.click("button:has-text('Submit')")
        page.wait_for_selector("button:has-text('Update')", timeout=120_000)
    report = sync(store, studio_settings)
    assert (report.added, report.rejected) == (len(TEXTS), [])
    with store.read() as session:
        settled = {item.task.external_id: item for item in gold.gold_of(session, 1)}
    for key, item in settled.items():
        before, words = TEXTS[key]
        (entity,) = item.entities
        assert (entity.start, entity.end) == (len(before), len(before) + len(words)), key
