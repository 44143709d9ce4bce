"""That waiting tasks show the prediction we think they show, whatever Label Studio loses and whoever is killed."""

from __future__ import annotations

import json
import threading
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import httpx
import pytest
from sqlalchemy import select, update

from tests.faulty_proxy import FaultyProxy
from xner_label.errors import StudioError
from xner_label.store import reviews, tables
from xner_label.store.pipelines import readable_name
from xner_label.studio import delivery, showing
from xner_label.studio.connect import ConnectOptions, connect
from xner_label.studio.push import PushOptions, push
from xner_label.studio.sync import sync

pytestmark = pytest.mark.studio

SIGNATURE = "xner-label/0.1.0 aligner=eflomal projector=default@1a2b cut=0.4 labels=DATE,LOC,ORG,PER"


def listed(api, project):
    return list(api.tasks.list(project=project, fields="all", page_size=500))


def versions(api, project):
    """How many tasks hold exactly these predictions."""
    rows = listed(api, project)
    return Counter(",".join(sorted(prediction.model_version for prediction in row.predictions)) for row in rows)


def unshown(store):
    with store.read() as session:
        return reviews.unshown_items(session, 1)


def without_predictions(request):
    """Label Studio stores the tasks of an import and loses what came with them."""
    method, path, body = request
    if method == "POST" and "/import?" in path:
        return json.dumps([{"data": row["data"]} for row in json.loads(body)]).encode()
    return body


@pytest.fixture
def proxy(label_studio):
    return FaultyProxy(label_studio.url)


@pytest.fixture
def through(store, studio_settings, examples, proxy):
    """Settings through the proxy and a connected project for 20 tasks."""
    examples(store, range(20))
    with proxy.open() as url:
        settings = replace(studio_settings, studio_url=url)
        yield settings, connect(store, settings, ConnectOptions()).studio_project


def test_predictions_that_an_import_lost_are_sent_again(store, api, through, proxy):
    settings, project = through
    proxy.change = without_predictions
    report = push(store, settings, PushOptions(limit=20, blind_share=0.1))
    assert (report.pushed, report.repaired, report.waiting) == (20, 20, 20)
    assert versions(api, project) == {"pipeline-1": 20}
    assert unshown(store) == 0
    assert push(store, settings, PushOptions(limit=20)).repaired == 0
    assert versions(api, project) == {"pipeline-1": 20}
    row = next(row for row in listed(api, project) if row.predictions[0].result)
    api.annotations.create(row.id, result=row.predictions[0].result)
    assert sync(store, settings).corrections == {"kept": 2}


def test_predictions_of_an_import_whose_answer_was_lost_too(store, api, through, proxy, monkeypatch):
    settings, project = through
    for module in (delivery, showing):
        monkeypatch.setattr(module, "SETTLE", timedelta(seconds=2))
    proxy.change = without_predictions
    proxy.alter = lambda request, body: None if "/import?" in request[1] else body
    with pytest.raises(StudioError, match="0 of 20 tasks pushed"):
        push(store, settings, PushOptions(limit=20))
    proxy.alter = lambda request, body: body
    report = push(store, settings, PushOptions(limit=20))
    assert (report.resumed, report.repaired, report.waiting) == (20, 20, 20)
    assert versions(api, project) == {"pipeline-1": 20}


def test_predictions_whose_own_answer_is_lost_are_not_sent_twice(store, api, through, proxy):
    settings, project = through
    proxy.change = without_predictions
    proxy.alter = lambda request, body: None if "/import/predictions" in request[1] else body
    with pytest.raises(StudioError, match="connection"):
        push(store, settings, PushOptions(limit=20))
    assert unshown(store) == 20
    proxy.alter = lambda request, body: body
    push(store, settings, PushOptions(limit=20))
    assert unshown(store) == 0
    assert versions(api, project) == {"pipeline-1": 20}


def test_a_label_studio_that_loses_everything_is_an_error_and_not_forgotten(store, api, through, proxy):
    settings, project = through
    proxy.change = lambda request: b"[]" if "/import/predictions" in request[1] else without_predictions(request)
    with pytest.raises(StudioError, match="lost predictions"):
        push(store, settings, PushOptions(limit=20))
    assert unshown(store) == 20
    proxy.change = lambda request: request[2]
    assert push(store, settings, PushOptions(limit=20)).repaired == 20
    assert versions(api, project) == {"pipeline-1": 20}


def test_people_who_submit_during_pushes_lose_nothing_and_nobody(
    store, studio_settings, label_studio, api, examples
):
    """Beside writes of others Label Studio 1.23 drops the predictions of an import; which one is chance."""
    examples(store, range(440))
    project = connect(store, studio_settings, ConnectOptions()).studio_project
    push(store, studio_settings, PushOptions(limit=40))
    rows = listed(api, project)
    stop = threading.Event()

    def submit(part):
        headers = {"Authorization": f"Token {label_studio.token}"}
        with httpx.Client(base_url=label_studio.url, headers=headers, timeout=60) as browser:
            for row in part:
                body = {"result": row.predictions[0].result}
                browser.post(f"/api/tasks/{row.id}/annotations/", json=body).raise_for_status()
                if stop.wait(0.2):
                    return

    people = [threading.Thread(target=submit, args=(rows[number::2],)) for number in range(2)]
    for person in people:
        person.start()
    repaired = sum(push(store, studio_settings, PushOptions(limit=40 + 40 * n)).repaired for n in range(1, 11))
    stop.set()
    for person in people:
        person.join()
    print(f"{repaired} predictions repaired")
    assert versions(api, project) == {"pipeline-1": 440}
    assert unshown(store) == 0
    report = sync(store, studio_settings)
    assert report.added == sum(row.total_annotations for row in listed(api, project))


def test_a_refresh_that_was_killed_before_it_was_noted(store, studio_settings, api, examples):
    examples(store, range(6), pipeline=SIGNATURE + "0")
    project = connect(store, studio_settings, ConnectOptions()).studio_project
    push(store, studio_settings, PushOptions(limit=6))
    assert versions(api, project) == {readable_name(SIGNATURE + "0"): 6}
    examples(store, range(6), pipeline=SIGNATURE + "1")
    newer = readable_name(SIGNATURE + "1")
    for _ in range(3):
        assert push(store, studio_settings, PushOptions(limit=0)).refreshed in (0, 6)
        assert versions(api, project) == {",".join(sorted([readable_name(SIGNATURE + "0"), newer])): 6}
        assert api.projects.get(project).model_version == newer
        with store.write() as session:
            first = select(tables.Prediction.id).where(
                tables.Prediction.task_id == tables.ReviewItem.task_id,
                tables.Prediction.pipeline.has(signature=SIGNATURE + "0"),
            )
            session.execute(
                update(tables.ReviewItem).values(prediction_id=first.scalar_subquery(), shown_version=None)
            )


def test_a_store_from_before_readable_names_gets_them_shown(store, studio_settings, api, examples):
    examples(store, range(3), pipeline=SIGNATURE)
    project = connect(store, studio_settings, ConnectOptions()).studio_project
    push(store, studio_settings, PushOptions(limit=3))
    with store.write() as session:
        # an earlier version sent, and a migration keeps, the signature as the name
        session.execute(update(tables.PipelineVersion).values(name=SIGNATURE))
        session.execute(update(tables.ReviewItem).values(shown_version=None))
    for row in listed(api, project):
        shown = row.predictions[0]
        api.predictions.update(shown.id, model_version=SIGNATURE, result=shown.result, task=row.id)
    report = push(store, studio_settings, PushOptions(limit=0))
    assert report.repaired == 3
    assert versions(api, project) == {f"{readable_name(SIGNATURE)},{SIGNATURE}": 3}


def test_a_waiting_task_that_was_deleted_does_not_stop_a_refresh(store, studio_settings, api, examples, proxy):
    examples(store, range(6))
    project = connect(store, studio_settings, ConnectOptions()).studio_project
    push(store, studio_settings, PushOptions(limit=6))
    gone, *rest = listed(api, project)
    api.tasks.delete(str(gone.id))
    examples(store, range(6), pipeline="pipeline-2")
    assert push(store, studio_settings, PushOptions(limit=0)).version == "pipeline-2"
    assert versions(api, project) == {"pipeline-1,pipeline-2": len(rest)}
    assert sync(store, studio_settings).deleted_tasks == 1
    assert push(store, studio_settings, PushOptions(limit=0)).refreshed == 0


def test_a_task_that_is_deleted_while_predictions_are_on_their_way(store, api, through, proxy):
    settings, project = through
    push(store, settings, PushOptions(limit=6))
    (gone, *_) = listed(api, project)
    with store.write() as session:
        session.execute(update(tables.ReviewItem).values(shown_version="older"))
    for row in listed(api, project):
        api.predictions.delete(row.predictions[0].id)

    def delete(request):
        if "/import/predictions" in request[1] and delete.armed:
            delete.armed = False
            api.tasks.delete(str(gone.id))

    delete.armed = True
    proxy.before = delete
    push(store, settings, PushOptions(limit=0))
    assert versions(api, project) == {"pipeline-1": 5}


def test_the_control_slice_is_served_among_the_others(store, studio_settings, label_studio, api, examples):
    examples(store, range(20))
    project = connect(store, studio_settings, ConnectOptions()).studio_project
    push(store, studio_settings, PushOptions(limit=20, blind_share=0.4))
    with store.read() as session:
        blind = {item.task_id for item in session.scalars(select(tables.ReviewItem)) if item.prediction_id is None}
        numbers = {session.get(tables.Task, task).studio_task for task in blind}
    served = []
    headers = {"Authorization": f"Token {label_studio.token}"}
    with httpx.Client(base_url=label_studio.url, headers=headers, timeout=60) as browser:
        for _ in range(12):
            task = browser.get(f"/api/projects/{project}/next").json()
            served.append(task["id"])
            assert bool(task["predictions"][0]["result"]) != (task["id"] in numbers)
            api.annotations.create(task["id"], result=[])
    assert 0 < len(numbers & set(served)) < 8
    report = sync(store, studio_settings)
    assert report.corrections == {"removed": 2 * len(set(served) - numbers)}
    # a newer pipeline doesn't uncover what waits
    examples(store, range(20), pipeline="pipeline-2")
    push(store, studio_settings, PushOptions(limit=0))
    for row in listed(api, project):
        if row.id in numbers - set(served):
            assert [(prediction.model_version, prediction.result) for prediction in row.predictions] == [
                ("pipeline-1", []),
                ("pipeline-2", []),
            ]
