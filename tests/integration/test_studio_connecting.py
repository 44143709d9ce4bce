"""Connecting, moving, leaving; joined projects; what is set aside; and what commands say next."""

from __future__ import annotations

import json
import subprocess
import threading
from contextlib import ExitStack
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from sqlalchemy import select

from tests.integration.test_studio_faults import shell
from tests.integration.test_studio_loop import listed, region
from xner_label.entities import Task
from xner_label.errors import ConfigurationError, ContractError, StudioError, UsageError
from xner_label.store import gold, projects, reviews, runs, set_aside, tables, tasks
from xner_label.studio.attaching import SECRET_HEADER
from xner_label.studio.connect import ConnectOptions, connect, disconnect
from xner_label.studio.push import PushOptions, push
from xner_label.studio.sync import acknowledge, sync

pytestmark = pytest.mark.studio


@pytest.fixture
def backends():
    """Starts as many servers that answer for an ML backend as a test wants; gives the address of each."""
    with ExitStack() as stack:

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                body = b'{"status": "UP", "model_version": "pipeline-1"}'
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET

            def log_message(self, *_):
                pass

        def start():
            server = stack.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
            thread = threading.Thread(target=server.serve_forever, args=(0.05,))
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            return f"http://127.0.0.1:{server.server_port}"

        yield start


def attached(api, project):
    """Addresses of the project's backends and webhooks, and the secrets that the latter carry."""
    hooks = [hook for hook in api.webhooks.list() if hook.project == project]
    return (
        [row.url for row in api.ml.list(project=project)],
        [(hook.url, hook.headers.get(SECRET_HEADER)) for hook in hooks],
    )


def test_moving_the_backend_leaves_one_and_the_secret_is_rotated(store, studio_settings, api, backends):
    first, second = backends(), backends()
    settings = replace(studio_settings, backend_url=first, webhook_secret="secret-one")
    project = connect(store, settings, ConnectOptions()).studio_project
    connect(store, replace(settings, backend_url=second), ConnectOptions())
    assert attached(api, project) == ([second], [(f"{second}/webhook", "secret-one")])
    with pytest.raises(StudioError, match="health check failed"):
        connect(store, replace(settings, backend_url="http://127.0.0.1:9"), ConnectOptions())
    assert attached(api, project) == ([second], [(f"{second}/webhook", "secret-one")])
    connect(store, replace(settings, backend_url=second, webhook_secret="secret-two"), ConnectOptions())
    assert attached(api, project) == ([second], [(f"{second}/webhook", "secret-two")])
    # what somebody else attached is theirs
    other = api.ml.create(url=first, project=project, title="another backend")
    removed = disconnect(store, settings)
    assert sorted(removed) == sorted([second, f"{second}/webhook"])
    backends_left, _ = attached(api, project)
    assert backends_left == [first]
    api.ml.delete(other.id)
    with pytest.raises(ConfigurationError, match="isn't connected"):
        sync(store, settings)


def test_a_refused_connect_stores_nothing(store, studio_settings, api, examples):
    examples(store, range(2))
    connect(store, studio_settings, ConnectOptions())
    more = replace(studio_settings, labels=(*studio_settings.labels, "MISC"))
    with pytest.raises(ConfigurationError, match="lacks the label MISC"):
        connect(store, more, ConnectOptions())
    assert push(store, studio_settings, PushOptions(limit=2)).pushed == 2
    assert sync(store, studio_settings).rejected == []
    with store.read() as session:
        assert "MISC" not in projects.get_project(session, "default").labels
    connect(store, more, ConnectOptions(replace_config=True))
    with store.read() as session:
        assert "MISC" in projects.get_project(session, "default").labels


def test_a_renamed_label_is_named_and_nothing_is_taken_over(store, studio_settings, api):
    project = connect(store, studio_settings, ConnectOptions()).studio_project
    config = api.projects.get(project).label_config.replace("LOC", "PLACE")
    api.projects.update(project, label_config=config)
    with pytest.raises(ContractError, match="lacks the label LOC and offers PLACE") as caught:
        sync(store, studio_settings)
    assert caught.value.exit_code == 8


def test_a_joined_project_with_fields_of_its_own(store, studio_settings, api, examples):
    labels = "".join(f'<Label value="{label}"/>' for label in studio_settings.labels)
    config = (
        '<View><Text name="src" value="$en"/><Labels name="ner" toName="doc">'
        f'{labels}</Labels><Text name="doc" value="$body"/></View>'
    )
    project = api.projects.create(title="fields of its own", label_config=config).id
    api.projects.import_tasks(project, request=[{"data": {"en": "The Tana river", "body": "Mto Tana"}}])
    with pytest.raises(ConfigurationError, match=r"shows \$en.*--source-field en"):
        connect(store, studio_settings, ConnectOptions(studio_project=project))
    with pytest.raises(ConfigurationError, match="shows the field 'texte'"):
        connect(store, studio_settings, ConnectOptions(studio_project=project, text_field="texte"))
    connect(store, studio_settings, ConnectOptions(studio_project=project, source_field="en"))
    # what is said once holds
    connect(store, studio_settings, ConnectOptions())
    examples(store, range(2))
    assert push(store, studio_settings, PushOptions(limit=2)).pushed == 2
    rows = listed(api, project)
    assert rows[1].data["en"] == "Amina0 Wanjik\u0169 went to Nairobi."
    assert rows[1].predictions[0].result[0]["from_name"] == "ner"
    assert sync(store, studio_settings).new_tasks == 1
    with store.read() as session:
        (made,) = tasks.iterate_tasks(session, 1, tables.Task.text == "Mto Tana")
        assert made.source == "The Tana river"


def test_leaving_and_joining_again_sends_nothing_twice(store, studio_settings, api, examples):
    examples(store, range(5))
    first = connect(store, studio_settings, ConnectOptions()).studio_project
    push(store, studio_settings, PushOptions(limit=5))
    annotated = listed(api, first)[0]
    api.annotations.create(annotated.id, result=[])
    sync(store, studio_settings)
    notes = connect(store, studio_settings, ConnectOptions(new=True)).notes
    assert f"project {first} at" in " ".join(notes)
    assert "4 tasks waited there" in " ".join(notes)
    disconnect(store, studio_settings)
    connect(store, studio_settings, ConnectOptions(studio_project=first))
    assert push(store, studio_settings, PushOptions(limit=4)).pushed == 0
    assert len(listed(api, first)) == 5
    report = sync(store, studio_settings)
    assert (report.added, report.deleted, report.new_tasks) == (0, 0, 0)


def test_a_task_that_has_somebody_elses_number_does_not_stop_a_push(store, studio_settings, api, examples):
    examples(store, range(3))
    project = connect(store, studio_settings, ConnectOptions()).studio_project
    probe = api.tasks.create(project=project, data={"text": "x", "source_text": ""}).id
    with store.write() as session:
        # as earlier versions let anybody write
        tasks.add_tasks(session, 1, [(Task(id=f"studio-{probe + 1}", text="Bogus Lagos"), "pool")])
        bogus = tasks.ids_by_external(session, 1, [f"studio-{probe + 1}"])[f"studio-{probe + 1}"]
        session.get(tables.Task, bogus).studio_task = probe + 1
    assert push(store, studio_settings, PushOptions(limit=3)).pushed == 3
    with store.read() as session:
        assert session.get(tables.Task, bogus).studio_task is None
    # and its name doesn't catch the task that people make under that number
    made = api.tasks.create(project=project, data={"text": "Mto Tana", "source_text": ""}).id
    with store.write() as session:
        tasks.add_tasks(session, 1, [(Task(id=f"studio-{made}", text="Bogus Lagos"), "pool")])
    api.annotations.create(made, result=[region(4, 8, "LOC", "Mto Tana")])
    report = sync(store, studio_settings)
    assert (report.added, report.rejected) == (1, [])
    with store.read() as session:
        (settled,) = gold.gold_of(session, 1)
    assert settled.task.text == "Mto Tana"


def test_numbers_that_a_restored_label_studio_hands_out_again(store, studio_settings, api, examples):
    examples(store, range(4))
    project = connect(store, studio_settings, ConnectOptions()).studio_project
    push(store, studio_settings, PushOptions(limit=2))
    first, second = listed(api, project)
    with store.write() as session:
        # the backup knew neither task; their numbers come again, the other way round
        ours = {task.external_id: task for task in tasks.iterate_tasks(session, 1)}
        ours["t0000"].studio_task = None
        session.flush()
        ours["t0001"].studio_task = first.id
        session.flush()
        ours["t0000"].studio_task = second.id
    api.annotations.create(first.id, result=first.predictions[0].result)
    report = sync(store, studio_settings)
    assert (report.added, report.rejected, report.deleted) == (1, [], 0)
    with store.read() as session:
        (settled,) = gold.gold_of(session, 1)
        assert settled.task.external_id == "t0000"
        assert {task.external_id: task.studio_task for task in tasks.iterate_tasks(session, 1)} == {
            "t0000": first.id,
            "t0001": second.id,
            "t0002": None,
            "t0003": None,
        }


def test_what_cannot_be_used_is_set_aside(store, studio_settings, api, examples, command_line, tmp_path):
    examples(store, range(2))
    project = connect(store, studio_settings, ConnectOptions()).studio_project
    push(store, studio_settings, PushOptions(limit=2))
    bad, fine = listed(api, project)
    shifted = region(0, 6, "PER", bad.data["text"])
    shifted["value"]["text"] = "Nairobi"
    annotation = api.annotations.create(bad.id, result=[shifted])
    api.annotations.create(fine.id, result=[])
    assert len(sync(store, studio_settings).rejected) == 1
    with pytest.raises(UsageError, match="doesn't refuse annotation 1234567"):
        acknowledge(store, studio_settings, [1234567], "?")
    command = [*command_line, "acknowledge", str(annotation.id), "--reason", "the annotator has left"]
    subprocess.run(command, env=shell(studio_settings), cwd=tmp_path, check=True, capture_output=True)
    report = sync(store, studio_settings, full=True)
    assert (report.rejected, report.acknowledged) == ([], 1)
    api.annotations.update(annotation.id, result=[region(0, 6, "PER", bad.data["text"])])
    assert sync(store, studio_settings).added == 1
    with store.read() as session:
        assert set_aside.count_acknowledged(session, 1) == 1


def test_excluded_tasks_are_left_alone(store, studio_settings, api, examples, command_line, tmp_path):
    from xner_label.predicting.predictor import Predictor

    examples(store, range(3))
    with store.write() as session:
        tasks.add_tasks(session, 1, [(Task(id="bare", text="Hakuna chanzo."), "pool")])
    exclude = [*command_line, "exclude"]

    def run(*arguments):
        done = subprocess.run(
            [*exclude, *arguments], env=shell(studio_settings), cwd=tmp_path, capture_output=True, text=True
        )
        return done.returncode, done.stdout + done.stderr

    assert run("bare")[0] == 2
    assert "no task 'other'" in run("other", "--reason", "x")[1]
    assert run("bare", "t0000", "--reason", "no source")[0] == 0
    assert run()[1].splitlines() == ["bare\tno source", "t0000\tno source"]
    project = connect(store, studio_settings, ConnectOptions()).studio_project
    offline = replace(studio_settings, aligner="none", projector="string", tagger="given")
    assert "no source text" not in Predictor(store, offline).predict_project().left_out
    with store.write() as session:
        projects.get_project(session, "default").pipeline = session.get(tables.PipelineVersion, 1)
    assert push(store, studio_settings, PushOptions(limit=10)).pushed == 2
    assert sorted(row.data["xner_id"] for row in listed(api, project)) == ["t0001", "t0002"]
    assert run("t0000", "--undo")[0] == 0
    assert push(store, studio_settings, PushOptions(limit=10)).pushed == 1


def test_push_says_where_the_tasks_are_and_what_the_model_lacks(
    store, studio_settings, examples, command_line, tmp_path
):
    examples(store, range(4))
    with store.write() as session:
        for task in tasks.iterate_tasks(session, 1):
            task.split = "train"
    connect(store, studio_settings, ConnectOptions())
    push_command = [*command_line, "push", "--limit", "3"]
    done = subprocess.run(
        push_command, env=shell(studio_settings), cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "no predicted task to choose in split pool; 4 in train: --split train" in done.stderr
    done = subprocess.run(
        [*push_command, "--split", "train"],
        env=shell(studio_settings),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "3 pushed" in done.stdout
    with store.write() as session:
        run = tables.ModelRun(
            project_id=1,
            version="run-1",
            kind="crf",
            path="m",
            gold_tasks=1,
            silver_tasks=1,
            config={},
            metrics={},
        )
        session.add(run)
        session.flush()
        runs.promote(session, run, "better", "lead")
    done = subprocess.run(
        [*push_command, "--split", "train"],
        env=shell(studio_settings),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "hasn't predicted 4 tasks" in done.stderr
    assert "xner-label predict --with-model" in done.stderr
    with store.read() as session:
        assert reviews.count_open(session, 1) == 3


def test_doctor_and_status_say_what_is_wrong_with_the_connection(
    store, studio_settings, api, backends, examples, command_line, tmp_path
):
    examples(store, range(3))
    backend = backends()
    settings = replace(studio_settings, backend_url=backend, webhook_secret="a-secret")
    project = connect(store, settings, ConnectOptions()).studio_project
    push(store, settings, PushOptions(limit=3))
    sync(store, settings)

    def checks(**environment):
        done = subprocess.run(
            [*command_line, "doctor", "--json"],
            env=shell(settings, **{"XNER_LABEL_BACKEND_URL": backend, **environment}),
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        return {check["name"]: check["verdict"] for check in json.loads(done.stdout)["checks"]}

    names = ("ML backend", "webhooks", "connected project", "predictions shown", "last sync")
    fine = checks(XNER_LABEL_WEBHOOK_SECRET="a-secret")
    assert [fine[name] for name in names] == ["ok"] * 5
    with store.write() as session:
        for item in session.scalars(select(tables.ReviewItem)):
            item.shown_version = None
    api.projects.delete(project)
    wrong = checks(XNER_LABEL_BACKEND_URL="http://127.0.0.1:9")
    assert [wrong[name] for name in names] == ["no", "no", "no", "no", "ok"]
    done = subprocess.run(
        [*command_line, "status"], env=shell(settings), cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert f"{settings.studio_url}/projects/{project}/data" in done.stdout
    assert "3 chosen, 3 in Label Studio, 3 wait" in done.stdout
    assert "3 waiting tasks may lack their prediction" in done.stderr
