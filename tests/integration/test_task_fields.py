"""What a task shows beside its text: the queue in order, doubts and hints, for new and for existing projects."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.integration.test_studio_loop import listed
from xner_label.entities import Entity, Prediction, ProjectedEntity, SourceMention, Task
from xner_label.reporting.status import status
from xner_label.review.doubts import HintCounts
from xner_label.store import eligible_tasks, predictions, projects, reviews, showing, tasks
from xner_label.store.pipelines import ensure_pipeline
from xner_label.studio.connect import ConnectOptions, connect
from xner_label.studio.labelling import LOOK_HTML, MIN_CONFIDENCE, QUEUE, RANK, SOURCE_HTML
from xner_label.studio.push import PushOptions, push
from xner_label.studio.sync import sync
from xner_label.studio.views import CONTROL_TITLE, REVIEW_TITLE

# As an earlier version made it.
EARLIER = """<View><Style>.xner-source { background: #eee }</Style>
<View className="xner-source"><Header value="Source (en)"/><Text name="source" value="$source_text"/></View>
<Labels name="label" toName="text"><Label value="PER"/><Label value="ORG"/><Label value="LOC"/>
<Label value="DATE"/></Labels><Text name="text" value="$text"/></View>"""
SOURCE = "Amina went to Nairobi."
MENTIONS = (Entity(0, 5, "PER", 0.9), Entity(14, 21, "LOC", 0.8))


def add(store, count, pipeline="p-1", confidence=0.4):
    """Tasks whose prediction has the person, and not the place, of the source."""
    with store.write() as session:
        project = projects.ensure_project(session, "default", ("PER", "ORG", "LOC", "DATE"))
        keys = [f"t{number:02}" for number in range(count)]
        texts = [f"Amina alienda Nairobi {number}." for number in range(count)]
        records = [
            Task(id=key, text=text, source=SOURCE, source_entities=MENTIONS)
            for key, text in zip(keys, texts, strict=True)
        ]
        tasks.add_tasks(session, project.id, [(record, "pool") for record in records])
        ids = tasks.ids_by_external(session, project.id, keys)
        entity = ProjectedEntity(0, 5, "PER", "Amina", 1.0, confidence, SourceMention(0, 5, "PER", "Amina"))
        rows = [
            (ids[key], Prediction(key, text, (entity,), confidence + number / 100, pipeline))
            for number, (key, text) in enumerate(zip(keys, texts, strict=True))
        ]
        predictions.add_predictions(session, rows)
        project.pipeline = ensure_pipeline(session, pipeline)
        return project.id


def test_ranks_spread_blind_tasks_and_keep_their_places(store):
    project = add(store, 12)
    with store.write() as session:
        ids = tasks.ids_by_external(session, project, [f"t{number:02}" for number in range(12)])
        names = {task: key for key, task in ids.items()}
        predicted = {
            task: prediction
            for task, prediction, _ in eligible_tasks.least_confident(session, project, "p-1", "pool")
        }
        # as a push chooses: what is drawn blind stands first
        blind, shown = [ids["t00"], ids["t05"]], [ids[f"t{number:02}"] for number in (1, 2, 3, 4, 6, 7)]
        reviews.add_batch(
            session, project, "x", [*((b, None) for b in blind), *((t, predicted[t]) for t in shown)]
        )
    with store.write() as session:
        assert showing.queue_ranks(session, 99) == {}
        first = showing.queue_ranks(session, project)
        items = {item.id: names[item.task] for item in reviews.unpushed_items(session, project)}
        order = [items[item] for item in sorted(first, key=first.get)]
        assert order == ["t01", "t02", "t00", "t03", "t04", "t06", "t05", "t07"]
        reviews.add_batch(session, project, "x", [(ids["t08"], predicted[ids["t08"]])])
        later = showing.queue_ranks(session, project)
    assert later.items() >= first.items()
    assert sorted(later.values()) == list(range(1, 10))


@pytest.mark.studio
def test_an_existing_project_is_upgraded_and_its_waiting_tasks_follow(store, studio_settings, api):
    made = api.projects.create(title="made earlier", label_config=EARLIER)
    add(store, 3)
    connection = connect(store, studio_settings, ConnectOptions(studio_project=made.id, backend=False))
    assert "xner-look" in api.projects.get(made.id).label_config
    push(store, studio_settings, PushOptions(limit=2))
    first, second = listed(api, made.id)
    assert (first.data[RANK], second.data[RANK]) == (1, 2)
    assert "doubtful (0.40)" in first.data[LOOK_HTML]
    assert "Nairobi</bdi></mark> LOC stands in the source" in first.data[LOOK_HTML]
    assert first.data[SOURCE_HTML].count("<mark") == 2
    # a task that people make there needs none of our fields
    api.projects.import_tasks(made.id, request=[{"data": {"text": "Juma", "source_text": "Juma"}}])
    # what people add to a task's data stays, and what others changed of ours is put right
    api.tasks.update(str(first.id), data={**first.data, "note": "kept"})
    add(store, 3, "p-2", confidence=0.95)
    report = push(store, studio_settings, PushOptions(limit=0))
    assert report.refreshed == 2
    first = api.tasks.get(str(first.id))
    assert first.data["note"] == "kept"
    assert first.data[MIN_CONFIDENCE] == 0.95
    assert "doubtful" not in first.data[LOOK_HTML]
    before = api.tasks.get(str(first.id)).updated_at
    push(store, studio_settings, PushOptions(limit=0))
    connect(store, studio_settings, ConnectOptions(backend=False))
    assert api.tasks.get(str(first.id)).updated_at == before, "what is right isn't sent again"
    titles = [view.data["title"] for view in api.views.list(project=made.id)]
    assert titles[:2] == [REVIEW_TITLE, CONTROL_TITLE]
    assert connection.studio_project == made.id


@pytest.mark.studio
def test_the_stream_serves_the_queue_in_order_with_blind_tasks_among_the_others(store, studio_settings, api):
    add(store, 12)
    connection = connect(store, studio_settings, ConnectOptions(backend=False))
    push(store, studio_settings, PushOptions(limit=12, blind_share=0.25))
    rows = {row.id: row for row in listed(api, connection.studio_project)}
    blind = [row for row in rows.values() if row.data[QUEUE] == "control"]
    assert len(blind) == 3
    assert all(not {LOOK_HTML, SOURCE_HTML, MIN_CONFIDENCE} & row.data.keys() for row in blind)
    view = next(view for view in api.views.list(project=connection.studio_project) if view.id == connection.view)
    order = []
    http = api._client_wrapper.httpx_client.httpx_client
    for _ in range(12):
        # what the button "Label All Tasks" asks for
        answer = http.post(
            f"{studio_settings.studio_url}/api/dm/actions",
            params={"id": "next_task", "project": connection.studio_project, "tabID": view.id},
            headers={"Authorization": f"Token {studio_settings.studio_api_key}"},
            json={key: view.data[key] for key in ("ordering", "filters")} | {"selectedItems": {"all": True}},
        )
        row = rows[answer.json()["id"]]
        order.append(row.data[RANK])
        api.annotations.create(row.id, result=[])
    assert order == list(range(1, 13))
    ranks = sorted(row.data[RANK] for row in blind)
    assert ranks[0] < 6 < ranks[-1], "people meet blind tasks all along"


@pytest.mark.studio
def test_hints_that_people_follow_are_counted(store, studio_settings, api):
    settings = replace(studio_settings, project="default")
    add(store, 3)
    connection = connect(store, settings, ConnectOptions(backend=False))
    push(store, settings, PushOptions(limit=3))
    assert status(store, "default").hints == HintCounts(0, 0)
    first, second, _ = listed(api, connection.studio_project)
    kept = first.predictions[0].result
    added = {**kept[0], "id": "new", "value": {"start": 14, "end": 21, "text": "Nairobi", "labels": ["LOC"]}}
    api.annotations.create(first.id, result=[*kept, added])
    api.annotations.create(second.id, result=second.predictions[0].result)
    sync(store, settings)
    assert status(store, "default").hints == HintCounts(2, 1)
