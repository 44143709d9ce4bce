"""What an annotator sees and can do with the mouse: both themes, both directions of writing, borders, white
space."""

from __future__ import annotations

import pytest

from tests.e2e.test_review import open_task, shown_entities
from xner_label.entities import Prediction, ProjectedEntity, SourceMention, Task
from xner_label.store import gold, predictions, projects, tasks
from xner_label.store.pipelines import ensure_pipeline
from xner_label.studio.connect import ConnectOptions, connect
from xner_label.studio.push import PushOptions, push
from xner_label.studio.sync import sync

pytestmark = [pytest.mark.studio, pytest.mark.browser]

TEXTS = {
    "latin": ("Kampuni ya Stallion Group ilifungua  ofisi\tmjini Lagos.", "Stallion Group", "ORG"),
    "arabic": (
        "\u0642\u0627\u0644 \u0645\u062d\u0645\u062f \u0639\u0644\u064a \u0625\u0646 "
        "\u0627\u0644\u0642\u0627\u0647\u0631\u0629 \u0643\u0628\u064a\u0631\u0629.",
        "\u0645\u062d\u0645\u062f \u0639\u0644\u064a",
        "PER",
    ),
}

SOURCE = "<script>alert('x')</script> & Stallion Group, <b>Lagos</b>"


@pytest.fixture
def rows(store, studio_settings, api):
    with store.write() as session:
        project = projects.ensure_project(session, "default", studio_settings.labels)
        for key, (text, words, label) in TEXTS.items():
            start = text.index(words)
            source = SourceMention(30, 44, label, SOURCE[30:44])
            entity = ProjectedEntity(start, start + len(words), label, words, 1.0, 0.48, source)
            tasks.add_tasks(session, project.id, [(Task(id=key, text=text, source=SOURCE), "pool")])
            ids = tasks.ids_by_external(session, project.id, [key])
            predictions.add_predictions(session, [(ids[key], Prediction(key, text, (entity,), 0.48, "p-1"))])
        project.pipeline = ensure_pipeline(session, "p-1")
    connect(store, studio_settings, ConnectOptions())
    push(store, studio_settings, PushOptions(limit=2))
    with store.read() as session:
        number = projects.get_project(session, "default").studio_project
    return {row.data["xner_id"]: row for row in api.tasks.list(project=number, fields="all")}


def place(page, words):
    """Where a stretch of the text stands on the page: left, right, middle (CSS pixels)."""
    return page.evaluate(
        """words => {
            const lines = document.querySelector('.xner-text .lsf-htx-richtext');
            const walker = document.createTreeWalker(lines, NodeFilter.SHOW_TEXT);
            for (let node; (node = walker.nextNode());) {
                const start = node.data.indexOf(words);
                if (start < 0) continue;
                const range = document.createRange();
                range.setStart(node, start);
                range.setEnd(node, start + words.length);
                const box = range.getBoundingClientRect();
                return [box.left, box.right, (box.top + box.bottom) / 2];
            }
            return null;
        }""",
        words,
    )


def contrast(page, selector):
    """The contrast (WCAG) of an element's text with what lies behind it."""
    return page.evaluate(
        """selector => {
            const rgba = text => { const n = text.match(/[\\d.]+/g).map(Number); return [...n, 1].slice(0, 4); };
            const over = (top, under) => [0, 1, 2].map(i => top[i] * top[3] + under[i] * (1 - top[3]));
            let element = document.querySelector(selector), layers = [];
            const colour = rgba(getComputedStyle(element).color);
            for (let at = element; at; at = at.parentElement)
                layers.push(rgba(getComputedStyle(at).backgroundColor));
            let behind = [255, 255, 255];
            for (const layer of layers.reverse()) behind = over(layer, behind);
            const light = c => c.map(v => v / 255).map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
                .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
            const [a, b] = [light(over(colour, behind)), light(behind)].sort((x, y) => y - x);
            return (a + .05) / (b + .05);
        }""",
        selector,
    )


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_source_can_be_read_in_both_themes(page, rows, label_studio, artifacts, theme):
    row = rows["latin"]
    page.add_init_script(f"localStorage.setItem('preferred-color-scheme', '{theme.title()}')")
    open_task(page, label_studio.url, row.project, row.id)
    page.evaluate(f"() => document.documentElement.setAttribute('data-color-scheme', '{theme}')")
    assert page.inner_text(".xner-source .lsf-htx-richtext").strip() == SOURCE
    page.wait_for_timeout(500)
    page.screenshot(path=artifacts / f"view-{theme}.png")
    assert contrast(page, ".xner-source .lsf-htx-richtext") > 4.5
    assert contrast(page, ".xner-text .lsf-htx-richtext") > 4.5
    assert contrast(page, ".xner-source mark") > 4.5
    assert contrast(page, ".xner-look mark") > 4.5
    assert "doubtful (0.48)" in page.inner_text(".xner-look")
    assert not page.locator(".xner-plain").is_visible(), "the source is shown once"
    assert page.locator(".xner-source mark").inner_text() == "Stallion Group"
    assert page.locator(".xner-source script").count() == 0


def test_a_task_that_people_made_shows_its_source_and_no_empty_box(page, rows, label_studio, api):
    project = rows["latin"].project
    data = {"text": "Juma yuko Lagos.", "source_text": "Juma is in Lagos."}
    answer = api.projects.import_tasks(project, request=[{"data": data}], return_task_ids=True)
    page.goto(f"{label_studio.url}/projects/{project}/data?task={answer.task_ids[0]}")
    page.wait_for_selector(".xner-text >> text=Juma yuko", timeout=120_000)
    assert page.locator(".xner-plain >> text=Juma is in Lagos.").is_visible()
    assert "undefined" not in page.inner_text(".lsf-main-view__annotation")


def test_text_runs_from_right_to_left_where_its_script_does(
    page, rows, label_studio, artifacts, store, studio_settings
):
    row = rows["arabic"]
    open_task(page, label_studio.url, row.project, row.id)
    page.screenshot(path=artifacts / "view-rtl.png")
    text, words, _ = TEXTS["arabic"]
    first, name, last = (place(page, part) for part in (text[:3], words, text[-6:-1]))
    assert last[1] < name[0] < name[1] <= first[0], "words run from right to left"
    box = page.locator(".xner-text").bounding_box()
    assert box["x"] + box["width"] - first[1] < 40, "and the text begins at the right"
    ((start, shown, label, _),) = shown_entities(page)
    assert (start, shown, label) == (text.index(words), words, "PER")
    page.click("button:has-text('Submit')")
    page.wait_for_selector("button:has-text('Update')", timeout=120_000)
    assert sync(store, studio_settings).corrections == {"kept": 1}


def test_a_border_is_dragged(page, rows, label_studio, artifacts, store, studio_settings):
    row = rows["latin"]
    open_task(page, label_studio.url, row.project, row.id)
    page.click(".xner-text .htx-highlight")
    _, right, middle = place(page, "Stallion Group")
    page.mouse.move(right - 1, middle)
    page.mouse.down()
    page.mouse.move(right - 15, middle, steps=5)
    page.mouse.move(place(page, "Stallion")[1], middle, steps=10)
    page.mouse.up()
    page.wait_for_timeout(300)
    page.screenshot(path=artifacts / "view-border.png")
    assert [words for _, words, *_ in shown_entities(page)] == ["Stallion"]
    page.click("button:has-text('Submit')")
    page.wait_for_selector("button:has-text('Update')", timeout=120_000)
    assert sync(store, studio_settings).corrections == {"moved": 1}


def test_a_selection_over_spaces_and_a_tab_is_taken_over(page, rows, label_studio, store, studio_settings):
    row = rows["latin"]
    open_task(page, label_studio.url, row.project, row.id)
    page.keyboard.press("3")
    begin, end = place(page, "ilifungua"), place(page, "mjini")
    page.mouse.move(begin[0] + 1, begin[2])
    page.mouse.down()
    page.mouse.move(end[1] - 1, end[2], steps=10)
    page.mouse.up()
    page.wait_for_function("() => document.querySelectorAll('.xner-text .htx-highlight').length > 1")
    page.click("button:has-text('Submit')")
    page.wait_for_selector("button:has-text('Update')", timeout=120_000)
    report = sync(store, studio_settings)
    assert (report.rejected, report.added) == ([], 1)
    with store.read() as session:
        (settled,) = gold.gold_of(session, 1)
    assert [settled.task.text[e.start : e.end] for e in settled.entities] == [
        "Stallion Group",
        "ilifungua  ofisi\tmjini",
    ]
