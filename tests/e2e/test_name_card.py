"""A person answers a name card with one key, and takes the answer back."""

from __future__ import annotations

import pytest

from tests.integration.test_name_cards import add_occurrences, cards, settled
from xner_label.studio.asking_names import ask_names
from xner_label.studio.connect import ConnectOptions, connect
from xner_label.studio.name_cards import OPTIONS
from xner_label.studio.sync import sync

pytestmark = [pytest.mark.studio, pytest.mark.browser]


def test_one_key_settles_three_other_tasks_and_deleting_it_takes_them_back(
    page, store, studio_settings, label_studio, api, artifacts
):
    task_ids = add_occurrences(store, studio_settings)
    connect(store, studio_settings, ConnectOptions(backend=False))
    ask_names(store, studio_settings, 1)
    project, (card,) = cards(api, store)
    page.goto(f"{label_studio.url}/projects/{project}/data?task={card.id}", wait_until="domcontentloaded")
    page.wait_for_selector("mark >> text=Benki ya Dunia", timeout=120_000)
    assert page.locator(".xner-card mark").count() == 8
    hotkey = next(option["hotkey"] for option in card.data[OPTIONS] if option["alias"] == "label:ORG")
    page.screenshot(path=artifacts / "name-card.png")
    page.wait_for_selector("text=it depends on the sentence")
    page.click(".xner-card")
    page.keyboard.press(hotkey)
    page.wait_for_function("() => document.querySelector('input[type=radio]:checked') !== null", timeout=120_000)
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("button:has-text('Update')", timeout=120_000)

    report = sync(store, studio_settings).names
    assert (report.answered, report.problems) == (1, ())
    assert settled(store, task_ids) == [[("ORG", "Benki ya Dunia")]] * 4

    (annotation,) = api.annotations.list(card.id)
    api.annotations.delete(annotation.id)
    assert sync(store, studio_settings).names.withdrawn == 1
    assert settled(store, task_ids) == [[("LOC", "Benki ya Dunia")]] * 4
