"""A person reviews in the browser: what Label Studio shows, and what comes back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from xner_label.entities import Prediction, ProjectedEntity, SourceMention, Task
from xner_label.store import gold, predictions, projects, tasks
from xner_label.store.pipelines import ensure_pipeline
from xner_label.studio.connect import ConnectOptions, connect
from xner_label.studio.labelling import SOURCE
from xner_label.studio.push import PushOptions, push
from xner_label.studio.sync import sync

pytestmark = [pytest.mark.studio, pytest.mark.browser]

SOURCES = {
    "news": "Prime Minister Amina Mwakasege opened the World Bank’s new office in Dodoma on Tuesday.",
    "offsets": "👩🏽‍🌾 Café Wanjikũ opened in Nairobi 🎉 on Monday.",
}
MARKED = {
    "news": "Waziri Mkuu [PER Amina Mwakasege] alifungua ofisi mpya ya [ORG Benki ya Dunia] "
    "mjini [LOC Dodoma] siku ya [DATE Jumanne].",
    "offsets": "👩🏽‍🌾 [ORG Cafe\u0301 Wanjikũ] ilifunguliwa\r\n🎉 [LOC Nairobi] siku ya [DATE Jumatatu] ‏مرحبا‏.",
}
MENTIONS = {"PER": "Amina Mwakasege", "ORG": "World Bank", "LOC": "Dodoma", "DATE": "Tuesday"}


def read_marked(marked):
    """The text and its (start, end, label) entities."""
    text, spans = "", []
    for piece in marked.replace("]", "[").split("["):
        label, _, words = piece.partition(" ")
        if label in MENTIONS:
            spans.append((len(text), len(text) + len(words), label))
            piece = words
        text += piece
    return text, spans


@pytest.fixture
def settings(studio_settings):
    return replace(studio_settings, project="swahili-news")


@pytest.fixture
def review(store, settings, api):
    """The id of a connected Label Studio project, and its tasks by external id."""
    with store.write() as session:
        project = projects.ensure_project(session, settings.project, settings.labels)
        for number, (key, marked) in enumerate(MARKED.items()):
            text, spans = read_marked(marked)
            entities = tuple(
                ProjectedEntity(
                    start,
                    end,
                    label,
                    text[start:end],
                    1.0,
                    (0.97, 0.62, 0.91, 0.88)[position],
                    SourceMention(0, 1, label, MENTIONS[label]),
                )
                for position, (start, end, label) in enumerate(spans)
            )
            tasks.add_tasks(session, project.id, [(Task(id=key, text=text, source=SOURCES[key]), "pool")])
            ids = tasks.ids_by_external(session, project.id, [key])
            prediction = Prediction(key, text, entities, 0.62 + 0.1 * number, "projection-1")
            predictions.add_predictions(session, [(ids[key], prediction)])
        project.pipeline = ensure_pipeline(session, "projection-1")
    studio_project = connect(store, settings, ConnectOptions()).studio_project
    push(store, settings, PushOptions(limit=2))
    rows = api.tasks.list(project=studio_project, fields="all")
    return studio_project, {row.data["xner_id"]: row for row in rows}


def shown_entities(page):
    """(code points before, text, label, background) of every highlighted entity, as the browser shows them."""
    return page.evaluate(
        """() => [...document.querySelectorAll('.xner-text .htx-highlight')].map(mark => {
            const before = document.createRange();
            before.selectNodeContents(mark.closest('.lsf-htx-richtext'));
            before.setEndBefore(mark);
            return [[...before.toString()].length, mark.textContent, mark.dataset.label.split(':')[1],
                    getComputedStyle(mark).backgroundColor];
        })"""
    )


def open_task(page, url, project, task):
    page.goto(f"{url}/projects/{project}/data?task={task}", wait_until="domcontentloaded")
    page.wait_for_selector(".xner-text .htx-highlight", timeout=120_000)


def test_a_pre_annotated_task_is_seen_corrected_and_synced(page, review, label_studio, store, settings, artifacts):
    project, rows = review
    open_task(page, label_studio.url, project, rows["news"].id)
    assert page.inner_text(".xner-source .lsf-htx-richtext").strip() == SOURCES["news"]
    text, expected = read_marked(MARKED["news"])
    shown = shown_entities(page)
    assert [(start, words, label) for start, words, label, _ in shown] == [
        (start, text[start:end], label) for start, end, label in expected
    ]
    assert len({colour for *_, colour in shown}) == 4
    page.click(".xner-text .htx-highlight >> text=Benki ya Dunia")
    page.wait_for_selector("text=<- World Bank (ORG)")
    page.screenshot(path=artifacts / "labelling.png")

    page.keyboard.press("3")
    page.wait_for_function(
        "() => document.querySelectorAll('.xner-text [data-label$=\":LOC\"]').length == 2", timeout=120_000
    )
    page.keyboard.press("Escape")
    page.click("button:has-text('Submit')")
    page.wait_for_selector("button:has-text('Update')", timeout=120_000)

    report = sync(store, settings)
    assert (report.added, report.rejected) == (1, [])
    assert report.corrections == {"kept": 3, "relabelled": 1}
    with store.read() as session:
        (settled,) = gold.gold_of(session, 1)
    assert [entity.label for entity in settled.entities] == ["PER", "LOC", "LOC", "DATE"]


def test_emoji_combining_marks_and_line_breaks_keep_their_offsets(
    page, review, label_studio, artifacts, store, settings
):
    project, rows = review
    open_task(page, label_studio.url, project, rows["offsets"].id)
    text, expected = read_marked(MARKED["offsets"])
    assert rows["offsets"].data["text"] == text
    assert rows["offsets"].data[SOURCE] == SOURCES["offsets"]
    shown = [(words, label) for _, words, label, _ in shown_entities(page)]
    assert shown == [(text[start:end], label) for start, end, label in expected]
    page.screenshot(path=artifacts / "offsets.png")
    page.click("button:has-text('Submit')")
    page.wait_for_selector("button:has-text('Update')", timeout=120_000)
    assert sync(store, settings).corrections == {"kept": 3}
