"""The ML backend as the real Label Studio uses it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import func, select

from tests.backend_process import SECRET
from tests.processes import until
from tests.store_fixtures import task_of_text
from xner_label.entities import Task
from xner_label.store import projects, runs, tables, tasks
from xner_label.studio.connect import ConnectOptions, connect
from xner_label.studio.labelling import SOURCE
from xner_label.studio.push import PushOptions, push
from xner_label.training.promotion import promote
from xner_label.training.runs import train

pytestmark = pytest.mark.studio


@pytest.fixture
def connected(served, store, studio_settings, label_studio, examples):
    """A backend with Basic auth, the settings to connect with it, and a project of 6 predictions."""
    examples(store, range(6))
    environment = {"LABEL_STUDIO_URL": label_studio.url, "LABEL_STUDIO_API_KEY": label_studio.token}
    with served(user="studio", XNER_LABEL_BACKEND_SYNC_AFTER="0.5", **environment) as backend:
        settings = replace(
            studio_settings,
            backend_url=backend.url,
            backend_user=backend.auth[0],
            backend_password=backend.auth[1],
            webhook_secret=SECRET,
        )
        connection = connect(store, settings, ConnectOptions())
        yield backend, settings, connection


def open_task(api, number):
    """What happens when a person opens a task: Label Studio asks the backend for what is missing."""
    api.tasks.get(number)
    return api.tasks.get(number).predictions


def test_a_task_made_in_label_studio_gets_a_prediction(connected, store, api):
    backend, _, connection = connected
    with store.write() as session:
        words = "The farmers met Amina Wanjiku."
        entity = {"start": 16, "end": 29, "label": "PER"}
        known = Task(id="with-entities", text="👩🏽‍🌾 Wakulima walikutana na Amina Wanjiku.", source=words)
        tasks.add_tasks(session, 1, [(known, "pool")])
        session.get(tables.Task, 7).source_entities = [entity]
    task = api.tasks.create(project=connection.studio_project, data={"text": known.text, SOURCE: words})
    (prediction,) = open_task(api, task.id)
    (region,) = prediction.result
    value = region["value"]
    assert known.text[value["start"] : value["end"]] == value["text"] == "Amina Wanjiku"
    with store.read() as session:
        stored = session.scalars(select(tables.Prediction).where(tables.Prediction.task_id == 7)).one()
        assert region["id"] == stored.entities[0].region
    # the settings differ from those that made the stored predictions: said once, and shown all the same
    assert prediction.model_version == "pipeline-1" != stored.pipeline.name
    assert "settings or source data changed" in backend.log


def test_a_task_that_cannot_be_predicted_opens_empty(connected, store, api):
    backend, _, connection = connected
    task = api.tasks.create(project=connection.studio_project, data={"text": "Hakuna chanzo.", SOURCE: ""})
    (prediction,) = open_task(api, task.id)
    assert (prediction.result, prediction.score) == ([], 0.0)
    assert f"task {task.id}: source: missing" in backend.log
    with store.read() as session:
        assert task_of_text(session, "Hakuna chanzo.").studio_task is None


def test_a_pushed_task_keeps_its_one_prediction(connected, store, api):
    _, settings, connection = connected
    push(store, settings, PushOptions(limit=3))
    for task in list(api.tasks.list(project=connection.studio_project, fields="all")):
        (prediction,) = open_task(api, task.id)
        assert (
            prediction.model_version == "pipeline-1" == api.projects.get(connection.studio_project).model_version
        )


def test_an_annotation_is_taken_over_without_a_sync_by_hand(connected, store, api):
    backend, settings, connection = connected
    push(store, settings, PushOptions(limit=1))
    (task,) = api.tasks.list(project=connection.studio_project, fields="all")
    api.annotations.create(task.id, result=task.predictions[0].result)
    until(lambda: "POST /webhook 202" in backend.log)

    def annotations() -> int:
        with store.read() as session:
            return session.scalar(select(func.count()).select_from(tables.Annotation))

    until(annotations)
    assert annotations() == 1


def test_start_training_answers_and_a_promoted_run_is_shown(connected, store, api, tmp_path):
    backend, _, connection = connected
    api.ml.train(connection.backend)
    until(lambda: "training waits for `xner-label worker`" in backend.log)
    run = train(store, "default", tmp_path / "models")
    promote(store, "default", tmp_path / "models")
    with store.read() as session:
        text = session.get(tables.Task, 1).text
        assert runs.serving(session, "default").version == run.version
        assert projects.get_project(session, "default").pipeline.name == "pipeline-1"
    task = api.tasks.create(project=connection.studio_project, data={"text": text, SOURCE: ""})
    (prediction,) = open_task(api, task.id)
    assert prediction.model_version == run.version
    # the backend answers /setup from memory, which follows the store within a second
    until(lambda: api.ml.get(connection.backend).model_version == run.version)
    assert api.ml.list_model_versions(connection.backend).versions[0] == run.version
