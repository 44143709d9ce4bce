"""`xner-label serve` as a process: what Label Studio 1.23 asks, how it is answered, and how it ends."""

from __future__ import annotations

import contextlib
import http.client
import os
import resource
import signal
import socket
import subprocess
import threading
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select

from demo.studio_server import ROOT
from tests.backend_process import CONFIG, PASSWORD, SECRET, TOKEN, asked, settings, waiting
from tests.backend_process import predicted as predicted
from tests.processes import LIMIT, until
from tests.store_fixtures import task_of_text
from xner_label import sample
from xner_label.entities import Entity, Task
from xner_label.predicting.predictor import Predictor
from xner_label.settings.table import Settings
from xner_label.store import migrating, predictions, projects, reviews, runs, tables, tasks
from xner_label.store.database import Store, open_store
from xner_label.studio.attaching import SECRET_HEADER
from xner_label.studio.labelling import SOURCE
from xner_label.training.promotion import promote
from xner_label.training.runs import train

EVENTS = ("ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_DELETED", "TASKS_CREATED", "PROJECT_UPDATED")


def current_pipeline(store: Store) -> str:
    with store.read() as session:
        serving = runs.serving(session, "default")
    assert serving is not None
    assert serving.version is not None
    return serving.version


def test_every_endpoint_answers_before_there_is_a_project(served, store):
    with served() as backend:
        assert backend.client.get("/health").json()["status"] == "UP"
        body = {"project": "7.179", "schema": CONFIG, "hostname": "http://x", "access_token": TOKEN}
        version = backend.client.post("/setup", json={**body, "extra_params": '{"a": 1}'}).json()["model_version"]
        assert version
        assert backend.client.get("/versions").json() == {"versions": [version]}
        (result,) = backend.predict(asked(1, "Amina alifika Nairobi."))
        assert (result["result"], result["score"]) == ([], 0.0)
        assert "task 1: the store has no such project yet" in backend.log
    with served(XNER_LABEL_BACKEND_STORE_ASKED="always") as backend:
        backend.predict(asked(1, "Amina alifika Nairobi."))
        assert "task 1: source: missing" in backend.log


def test_stored_predictions_come_from_the_store(served, store, predicted):
    version = current_pipeline(store)
    with served() as backend:
        results = backend.predict(*(asked(number, task.text) for number, task in enumerate(predicted, 1)))
        assert {result["model_version"] for result in results} == {version}
        assert backend.client.post("/setup", json={"project": "7.179"}).json() == {"model_version": version}
        assert backend.client.get("/versions").json()["versions"][0] == version
        assert any(result["result"] for result in results)
        for task, result in zip(predicted, results, strict=True):
            assert 0 <= result["score"] <= 1
            for region in result["result"]:
                value = region["value"]
                assert task.text[value["start"] : value["end"]] == value["text"]
                assert (region["from_name"], region["to_name"], region["type"]) == ("label", "text", "labels")
    with store.read() as session:
        assert sum(predictions.count_predictions(session, 1).values()) == len(predicted)


def test_a_new_task_is_predicted_and_stored(served, store, predicted):
    mentions = (Entity(10, 24, "PER"), Entity(36, 43, "LOC"))
    with store.write() as session:
        tasks.add_source_sentences(
            session,
            1,
            [("s", "President Amina Wakesho travelled to Nairobi.", [Entity(10, 23, "PER"), mentions[1]])],
        )
    text = "Rais Amina Wakesho alisafiri kwenda Nairobi."
    source = "President Amina Wakesho travelled to Nairobi."
    with served(XNER_LABEL_PIPELINE_TAGGER="crf", XNER_LABEL_BACKEND_STORE_ASKED="always") as backend:
        (first,) = backend.predict(asked(501, text, **{SOURCE: source}))
        (again,) = backend.predict(asked(501, text, **{SOURCE: source}))
    assert first == again
    with store.read() as session:
        stored = task_of_text(session, text)
        assert stored is not None
        assert stored.source == source
        # which task that number is in Label Studio is for a sync to say
        assert stored.studio_task is None
        assert stored.external_id == tasks.text_name(text)
        assert sum(predictions.count_predictions(session, 1).values()) == len(predicted) + 1


def test_what_cannot_be_predicted_gets_an_empty_result_and_a_logged_reason(served, store, predicted):
    with served() as backend:
        good = predicted[0].text
        results = backend.predict(
            asked(1, good),
            asked(2, "hakuna chanzo hapa"),
            asked(3, ""),
            asked(4, None),
            asked(5, "NUL \0 ndani"),
            asked(6, good),
            asked(7, "a" * 100_000),
        )
        for result in results[1:5]:
            assert (result["result"], result["score"]) == ([], 0.0)
        assert results[0] == results[5]
        assert len({result["model_version"] for result in results}) == 1
        for number, reason in ((2, "source: missing"), (3, "no text"), (4, "no text"), (5, "NUL")):
            assert f"task {number}: " in backend.log
            assert reason in backend.log
        assert "Traceback" not in backend.log


def test_regions_follow_the_label_config_of_the_request(served, store, predicted):
    other = (
        '<View><Text name="body" value="$content"/><Labels name="ner" toName="body">'
        '<Label value="LOC"/><Label value="EVENT"/></Labels></View>'
    )
    with served() as backend:
        tasks_sent = [asked(n, None, content=task.text) for n, task in enumerate(predicted)]
        regions = [region for result in backend.predict(*tasks_sent, config=other) for region in result["result"]]
        assert regions
        for region in regions:
            assert (region["from_name"], region["to_name"]) == ("ner", "body")
            assert region["value"]["labels"] == ["LOC"]
        assert "label '...' isn't one of LOC, EVENT" in backend.log  # no log holds what others wrote
        for config in ("<View", '<View><Text name="t" value="$text"/></View>'):
            (result,) = backend.predict(asked(1, predicted[0].text), config=config)
            assert result["result"] == []


def test_the_control_slice_stays_blind(served, store, predicted):
    with store.write() as session:
        reviews.add_batch(session, 1, "control", [(1, None)])
    with served() as backend:
        first, second = backend.predict(*(asked(number, predicted[number].text) for number in (0, 1)))
        assert (first["result"], first["score"]) == ([], 0.0)
        assert second["score"] > 0
        assert "control slice" in backend.log


def everything(store: Store) -> list:
    """All rows that a stranger could add to or change."""
    with store.read() as session:
        return [
            (table.name, sorted(map(repr, session.execute(select(table)).all())))
            for table in tables.Base.metadata.sorted_tables
            if table.name not in ("source_sentences", "cache_entries")
        ]


def test_what_strangers_ask_is_answered_and_stays_out_of_the_store(served, store, predicted):
    before = everything(store)
    source = {SOURCE: "Amina Wakesho came to Nairobi."}
    with store.write() as session:
        entity = Entity(0, 13, "PER")
        tasks.add_source_sentences(session, 1, [("s", source[SOURCE], [entity])])
    with served(XNER_LABEL_PIPELINE_TAGGER="crf") as backend:
        texts = ["Amina Wakesho alifika Nairobi.", "Amina Wakesho alienda Nairobi."]
        results = backend.predict(*(asked(number, text, **source) for number, text in enumerate(texts, 900)))
        again = backend.predict(*(asked(number, text, **source) for number, text in enumerate(texts, 900)))
        assert results == again
        for text, result in zip(texts, results, strict=True):
            words = [text[r["value"]["start"] : r["value"]["end"]] for r in result["result"]]
            assert "Amina Wakesho" in words
        assert len({r["id"] for result in results for r in result["result"]}) == sum(
            len(result["result"]) for result in results
        )
        shown = backend.client.get("/metrics").text
        assert 'xner_label_predictions_total{origin="computed"} 4.0' in shown
    assert everything(store) == before


def test_numbers_that_no_store_holds_are_refused(served, store, predicted):
    with served() as backend:
        for number in (2**63, -(2**63) - 1, 2**200):
            body = {"tasks": [asked(number, "x", xner_id=number)], "project": "2.1"}
            assert backend.client.post("/predict", json=body).status_code == 422
        (result,) = backend.predict(asked(2**63 - 1, predicted[0].text, xner_id=2**200))
        assert result["score"] > 0
        assert "Traceback" not in backend.log


def test_a_changed_text_is_another_task(served, store, predicted):
    with store.write() as session:
        reviews.mark_pushed(session, {1: 11})
        project = projects.get_project(session, "default")
        project.studio_project = 7
    with served(XNER_LABEL_BACKEND_STORE_ASKED="always") as backend:
        backend.predict(asked(11, predicted[0].text + " Zaidi.", xner_id=predicted[0].id, **{SOURCE: "More."}))
    with store.read() as session:
        added = task_of_text(session, predicted[0].text + " Zaidi.")
        assert added is not None
        assert added.studio_task is None
        assert added.external_id not in {str(task.id) for task in predicted}


def test_a_selection_is_answered_with_the_same_name_elsewhere(served, store):
    text = "Nairobi 👩🏽‍🌾 na Nairobian: Nairobi, (Nairobi)."
    selection = {"id": "k", "value": {"start": 0, "end": 7, "labels": ["LOC"]}}
    with served() as backend:
        (result,) = backend.predict(asked(1, text), context={"result": [selection]})
        places = [(region["value"]["start"], region["value"]["end"]) for region in result["result"]]
        assert [text[start:end] for start, end in places] == ["Nairobi", "Nairobi"]
        assert (0, 7) not in places
        broken = {"id": "k", "value": {"start": 0, "end": 700, "labels": ["LOC"]}}
        assert backend.predict(asked(1, text), context={"result": [broken]})[0]["result"] == []
        assert backend.predict(asked(1, text), context={})[0]["result"] == []
    with store.read() as session:
        assert runs.serving(session, "default") is None, "a selection stores nothing"


def test_it_warns_of_changed_settings_and_of_nothing_else(served, store, predicted, database_url):
    text, source = "Rais Amina alisafiri kwenda Lamu.", "President Amina travelled to Lamu."
    Predictor(store, Settings(database_url=database_url, aligner="none")).predict_project()
    assert current_pipeline(store).startswith("corpus-")
    for projector, warned in (("default", False), ("string", True)):
        new = f"{text} {projector}"
        with served(XNER_LABEL_PIPELINE_PROJECTOR=projector) as backend:
            with store.write() as session:
                entities = (Entity(10, 15, "PER"),)
                tasks.add_tasks(
                    session, 1, [(Task(id=projector, text=new, source=source, source_entities=entities), "pool")]
                )
            backend.predict(asked(7, new))
            assert ("settings or source data changed" in backend.log) is warned


def test_it_does_not_start_with_other_labels_than_the_project(command_line, predicted, database_url, tmp_path):
    (tmp_path / "xner-label.toml").write_text('labels = ["PER"]\n')
    code, shown = run_serve(command_line, tmp_path, "--database-url", database_url)
    assert (code, "xner-label labels --apply" in shown) == (3, True)


def test_a_promoted_run_is_served_without_a_restart(served, store, predicted, tmp_path):
    with served() as backend:
        before = backend.predict(asked(1, predicted[0].text))[0]["model_version"]
        run = train(store, "default", tmp_path / "models")
        assert backend.predict(asked(1, predicted[0].text))[0]["model_version"] == before
        promote(store, "default", tmp_path / "models")
        until(lambda: backend.client.post("/setup", json={}).json() == {"model_version": run.version})
        stored, new = backend.predict(asked(1, predicted[0].text), asked(2, "Amina alifika bila chanzo."))
        assert (stored["model_version"], new["model_version"]) == (run.version, run.version)
        assert backend.client.get("/versions").json()["versions"] == [run.version, before]
        assert "no prediction" not in backend.log
    with store.read() as session:
        assert predictions.find_prediction(session, 1, run.version).model_run_id is not None


def test_malformed_requests_are_refused(served, store):
    bodies = (b"", b"{", b"[]", b'"text"', b'{"tasks": 3}', b'{"tasks": [{"id": 1}]}', b"\xff\xfe", b"[" * 100_000)
    with served() as backend:
        for path in ("/predict", "/setup", "/webhook"):
            for body in bodies:
                headers = {"Content-Type": "application/json", SECRET_HEADER: SECRET}
                status = backend.client.post(path, content=body, headers=headers).status_code
                # set-up needs nothing of its body
                assert 400 <= status < 500 or (path == "/setup" and body.startswith(b'{"tasks"'))
        assert backend.client.post("/predict", content=b"{}").status_code == 422
        assert backend.client.get("/predict").status_code == 405
        assert backend.client.get("/validate").status_code == 404
        assert "Traceback" not in backend.log


def test_webhooks_need_the_secret_and_are_answered_at_once(served, store):
    with store.write() as session:
        projects.ensure_project(session, "default", sample.LABELS)
    with served(user="studio") as backend:
        hook = httpx.Client(base_url=backend.url, timeout=LIMIT)
        with hook:
            for action in EVENTS:
                body = {"action": action, "project": {"id": 7, "token": TOKEN}}
                assert hook.post("/webhook", json=body).status_code == 401
                assert hook.post("/webhook", json=body, headers={SECRET_HEADER: "hook-8d1e"}).status_code == 401
                assert hook.post("/webhook", json=body, headers={SECRET_HEADER: "ü".encode()}).status_code == 401
                assert hook.post("/webhook", json=body, headers={SECRET_HEADER: SECRET}).status_code == 202
            training = {"action": "START_TRAINING", "project": {"id": 7}}
            assert hook.post("/webhook", json=training).status_code == 401
            # Label Studio's ML page knows the user, but nothing of our header
            assert hook.post("/webhook", json=training, auth=("studio", PASSWORD)).status_code == 202
            assert hook.post("/webhook", json=body, auth=("studio", PASSWORD)).status_code == 401
            until(lambda: waiting(store) == ["sync", "train"])


def test_basic_auth_guards_the_rest(served, store):
    with served(user="studio") as backend, httpx.Client(base_url=backend.url, timeout=LIMIT) as stranger:
        assert stranger.get("/health").json() == {"status": "UP"}
        assert stranger.get("/ready").json() == {"status": "READY"}
        assert stranger.get("/health", auth=("studio", "wrong")).status_code == 401
        for method, path in (("GET", "/metrics"), ("POST", "/setup"), ("POST", "/predict"), ("GET", "/versions")):
            for auth in (None, ("studio", "wrong"), ("other", PASSWORD), ("studio", "")):
                answer = stranger.request(method, path, auth=auth, content=b"{")
                assert answer.status_code == 401
                assert answer.headers["www-authenticate"].startswith("Basic")
            for header in ("Basic", "Basic %%%", "Bearer abc", "basic " + "=" * 3):
                assert stranger.request(method, path, headers={"Authorization": header}).status_code == 401
        assert backend.client.get("/health").status_code == 200


def test_no_secret_reaches_the_log(served, store, predicted):
    with served(user="studio") as backend:
        backend.client.post("/setup", json={"access_token": TOKEN, "project": "7.1"})
        backend.client.post("/setup", json=[{"access_token": TOKEN}])
        backend.client.post("/setup", content=f'{{"access_token": "{TOKEN}"'.encode())
        backend.client.post("/predict", json={"access_token": TOKEN, "tasks": [{"data": TOKEN}]})
        backend.client.post("/webhook", json={"action": 3, "token": TOKEN}, headers={SECRET_HEADER: SECRET})
        backend.client.get("/health", auth=("studio", "wrong-" + PASSWORD))
        backend.predict(asked(1, predicted[0].text))
    for secret in (TOKEN, SECRET, PASSWORD):
        assert secret not in backend.log
    for file in backend.folder.iterdir():
        if file.name.startswith("store.db"):
            assert TOKEN.encode() not in file.read_bytes()


def test_too_large_a_request_is_refused_before_it_is_read(served, store):
    with served() as backend:
        address = backend.url.removeprefix("http://")
        with contextlib.closing(http.client.HTTPConnection(address, timeout=LIMIT)) as connection:
            connection.putrequest("POST", "/predict")
            connection.putheader("Content-Length", str(10**12))
            connection.endheaders()
            assert connection.getresponse().status == 413
        mebibyte = b"x" * 2**20
        assert backend.client.post("/predict", content=(mebibyte for _ in range(65))).status_code == 413


def test_many_clients_ask_for_new_tasks_at_once(served, store, predicted):
    results: list[list] = [[] for _ in range(16)]

    def ask(number: int) -> None:
        # every text twice, so that two requests are about the same new task
        text = f"Amina{number // 2} alifika Nairobi."
        results[number] = backend.predict(asked(number, text, **{SOURCE: f"Amina{number // 2} reached Nairobi."}))

    with served(XNER_LABEL_BACKEND_STORE_ASKED="always") as backend:
        threads = [threading.Thread(target=ask, args=(number,)) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert all(len(answer) == 1 for answer in results)
    with store.read() as session:
        added = [task for task in tasks.iterate_tasks(session, 1) if task.text.startswith("Amina")]
    assert len({task.text for task in added}) == len(added) == 8


def test_it_ends_in_the_middle_of_a_long_request(served, store, predicted):
    new = [asked(1000 + n, f"Amina{n} alifika.", source_text=f"Amina{n} came.") for n in range(2000)]
    statuses = []

    def ask() -> None:
        body = {"tasks": new, "project": "7.179", "label_config": CONFIG, "params": {"context": None}}
        statuses.append(backend.client.post("/predict", json=body).status_code)

    with served(XNER_LABEL_BACKEND_STORE_ASKED="always") as backend:
        thread = threading.Thread(target=ask)
        with store.write() as session:  # nothing else can be stored: the request isn't done before it is ended
            session.add(tables.CacheEntry(namespace="n", key="k", value=b""))
            session.flush()
            thread.start()
            until(lambda: "xner_label_waiting_tasks 0.0" not in backend.client.get("/metrics").text)
            backend.process.terminate()
            thread.join()
        assert backend.process.wait(LIMIT) == 0
        assert statuses == [503]
        assert "Traceback" not in backend.log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_it_in_order(served, store, number):
    with served() as backend:
        backend.client.get("/health")
        backend.process.send_signal(number)
        assert backend.process.wait(LIMIT) == 0
        assert "Traceback" not in backend.log


def run_serve(command_line: list[str], folder: Path, *flags: str, **environment: str) -> tuple[int, str]:
    done = subprocess.run(
        [*command_line, "serve", *flags],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    return done.returncode, done.stderr


def test_it_does_not_start_on_a_schema_that_is_not_at_head(command_line, tmp_path):
    code, shown = run_serve(command_line, tmp_path)
    assert code == 7
    assert "xner-label db upgrade" in shown


def test_it_does_not_start_on_bad_settings(command_line, store, database_url, tmp_path):
    flags = ("--database-url", database_url)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, shown = run_serve(command_line, tmp_path, *flags, "--backend-port", port)
        assert (code, "can't listen" in shown) == (3, True)
    assert run_serve(command_line, tmp_path, *flags, "--backend-port", "70000")[0] == 2
    assert run_serve(command_line, tmp_path, *flags, "--backend-host", "no.such.host.invalid")[0] == 3
    code, shown = run_serve(command_line, tmp_path, *flags, "--backend-user", "studio")
    assert (code, "XNER_LABEL_BACKEND_PASSWORD" in shown) == (3, True)


def test_a_full_database_is_a_503_and_leaves_no_empty_answers(served, store, predicted):
    """The process may not write files longer than the database is now: what a full disk looks like from inside."""
    new = [asked(1000 + n, f"Amina{n} alifika." + " tena" * 500, source_text=f"Amina{n} came.") for n in range(40)]
    body = {"tasks": new, "project": "7.179", "label_config": CONFIG, "params": {"context": None}}
    with store.write() as session:
        tasks.add_source_sentences(session, 1, [("s", "Amina came.", [Entity(0, 5, "PER")])])
    with served(XNER_LABEL_BACKEND_STORE_ASKED="always", XNER_LABEL_PIPELINE_TAGGER="crf") as backend:
        assert backend.client.get("/health").status_code == 200
        file = backend.folder / "store.db"
        longest = max(file.stat().st_size, file.with_name("store.db-wal").stat().st_size)
        resource.prlimit(backend.process.pid, resource.RLIMIT_FSIZE, (longest, resource.RLIM_INFINITY))
        answer = backend.client.post("/predict", json=body)
        assert answer.status_code == 503, answer.text
        assert "database can't be used" in answer.json()["detail"]
        assert answer.headers["retry-after"]
        resource.prlimit(backend.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        assert all(result["score"] > 0 for result in backend.predict(*new))
    assert "no prediction for" not in backend.log


def test_another_writer_does_not_stop_stored_predictions(served, store, predicted, database_url):
    with open_store(database_url) as other, served() as backend, other.write() as session:
        session.add(tables.CacheEntry(namespace="n", key="k", value=b""))
        session.flush()
        assert backend.predict(asked(1, predicted[0].text))[0]["score"] > 0


def test_metrics_and_readiness(served, store, predicted):
    with served() as backend:
        backend.predict(asked(1, predicted[0].text), asked(2, "hakuna chanzo"))
        backend.predict(asked(3, "Amina alifika.", source_text="Amina came.", xner_id="new"))
        backend.client.post("/webhook", json={"action": "ANNOTATION_CREATED"}, headers={SECRET_HEADER: SECRET})
        backend.client.get("/no/such/page")
        assert backend.client.get("/ready").json() == {"status": "READY", "model_version": current_pipeline(store)}
        shown = backend.client.get("/metrics").text
        for line in (
            'xner_label_requests_total{path="/predict",status="200"} 2.0',
            'xner_label_requests_total{path="other",status="404"} 1.0',
            'xner_label_predictions_total{origin="store"} 1.0',
            'xner_label_predictions_total{origin="none"} 2.0',
            "xner_label_webhooks_total 1.0",
            "xner_label_waiting_tasks 0.0",
        ):
            assert line in shown
        migrating.downgrade(store, "base")
        assert backend.client.get("/ready").status_code == 503
        assert backend.client.post("/predict", json={"tasks": [asked(1, "x")]}).status_code == 503
        assert "Traceback" not in backend.log


@pytest.mark.postgres
def test_on_postgresql(served, postgres_url, tmp_path):
    dev = sample.read_sample(split="dev")[:5]
    with open_store(postgres_url, check=False) as store:
        migrating.upgrade(store)
        with store.write() as session:
            project = projects.ensure_project(session, "default", sample.LABELS)
            tasks.add_tasks(session, project.id, [(task, "pool") for task in dev])
        Predictor(store, settings(postgres_url)).predict_project()
    with served(XNER_LABEL_DATABASE_URL=postgres_url) as backend:
        results = backend.predict(*(asked(n, task.text) for n, task in enumerate(dev)), asked(9, "Mpya.\n"))
        assert [bool(result["score"]) for result in results] == [True] * 5 + [False]


def test_hundreds_of_new_tasks_in_one_request(served, store, predicted):
    new = [
        asked(1000 + n, f"Amina{n} Wanjiku alifika.", source_text=f"Amina{n} Wanjiku came.") for n in range(300)
    ]
    with served(XNER_LABEL_PIPELINE_TAGGER="crf", XNER_LABEL_BACKEND_STORE_ASKED="always") as backend:
        results = backend.predict(*new, *(asked(n, task.text) for n, task in enumerate(predicted)))
        assert [bool(result["score"]) for result in results[300:]] == [True] * len(predicted)
    with store.read() as session:
        assert sum(tasks.count_tasks(session, 1).values()) == 300 + len(predicted)
