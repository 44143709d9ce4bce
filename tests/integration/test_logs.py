"""The ids that lead from a command to the backend to a job; and that no log ever holds a text or a secret."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from demo.studio_server import ROOT, StudioServer
from tests.backend_process import PASSWORD, SECRET, Served, asked, waiting
from tests.backend_process import predicted as predicted
from tests.backend_process import served as served
from tests.integration.test_studio_faults import shell
from tests.processes import LIMIT, until
from tests.warm_process import warm_commands
from xner_label.entities import Task
from xner_label.settings.table import Settings
from xner_label.store import tables
from xner_label.store.database import Store
from xner_label.studio.attaching import SECRET_HEADER

# In every text, every source and every name of an entity.
TEXT, SOURCE, ENTITY = "mkulimawetu", "ourfarmer", "Wanjikumarked"
RUN = "night-run-7"
WORDS = (
    "mvua ilinyesha usiku kucha",
    "bei ya mahindi imepanda sana",
    "watoto wanacheza nje",
    "barabara mpya ilifunguliwa leo",
    "samaki wengi walivuliwa ziwani",
    "gari la zamani liliuzwa jana",
)


def records(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def make_due(store: Store) -> None:
    """Let nothing be put off."""
    with store.write() as session:
        for job in session.scalars(select(tables.Job).where(tables.Job.state == "waiting")):
            job.due_at = job.created_at


def test_ids_lead_from_a_command_to_the_backend_to_a_job(
    served: Callable[..., Any], predicted: list[Task], store: Store, command_line: Sequence[str], tmp_path: Path
) -> None:
    with served("--log-format", "json") as backend:
        answer = backend.client.get("/health", headers={"X-Request-ID": "from-outside.1"})
        assert answer.headers["x-request-id"] == "from-outside.1"
        strange = backend.client.get("/health", headers={"X-Request-ID": "two words"})
        assert strange.headers["x-request-id"] != "two words"
        hook = {SECRET_HEADER: SECRET, "X-Request-ID": "hook-1"}
        backend.client.post("/webhook", json={"action": "ANNOTATION_CREATED"}, headers=hook)
        until(lambda: waiting(store) == ["sync"])
        doctor = subprocess.run(
            [*command_line, "doctor", "--backend-url", backend.url],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env={"PATH": "/usr/bin", "XNER_LABEL_RUN_ID": "doctor-1", "LABEL_STUDIO_URL": "http://127.0.0.1:9"},
            timeout=LIMIT,
        )
        assert "ML backend" in doctor.stdout
        requests = [record for record in records(backend.log) if "path" in record]
        asked_by = [record["request"] for record in requests]
        assert (asked_by[0], asked_by[2]) == ("from-outside.1", "hook-1")
        assert set(asked_by[3:]) == {"doctor-1"}
        assert {record["run"] for record in requests} == {requests[0]["run"]}
        assert requests[0]["status"] == 200
        assert requests[0]["ms"] > 0
    make_due(store)
    done = subprocess.run(
        [
            *command_line,
            "--log-format",
            "json",
            "worker",
            "--once",
            "--database-url",
            f"sqlite:///{tmp_path}/store.db",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    (begins, *_) = [record for record in records(done.stderr) if record.get("kind") == "sync"]
    assert begins["asked_by_request"] == "hook-1"
    assert begins["asked_by_run"] == requests[0]["run"]
    assert begins["attempt"] == 1
    assert begins["run"] != requests[0]["run"]


@pytest.mark.studio
@pytest.mark.parametrize("form", ["json", "text"])
def test_no_text_and_no_secret_gets_into_any_log(
    form: str,
    served: Callable[..., Any],
    store: Store,
    studio_settings: Settings,
    label_studio: StudioServer,
    api: Any,
    tmp_path: Path,
) -> None:
    """Commands speak to people unless they log JSON; what runs in the background always writes a log."""
    rows = [
        {
            "id": f"m{number}",
            "text": f"{TEXT} {words} {ENTITY} aliwasili Nairobi",
            "source": f"{SOURCE} {ENTITY} reached Nairobi",
            "source_entities": [{"start": 10, "end": 10 + len(ENTITY), "label": "PER"}],
        }
        for number, words in enumerate(WORDS)
    ]
    beyond = [{"start": 0, "end": 999, "label": "PER"}]
    rows.append({"id": "bad", "text": f"{TEXT} {ENTITY}", "source": SOURCE, "source_entities": beyond})
    lines = [*map(json.dumps, rows), f'{{"id": 9, "text": "{TEXT}']
    (tmp_path / "tasks.jsonl").write_text("\n".join(lines))
    logs: list[str] = []
    studio = {"LABEL_STUDIO_API_KEY": label_studio.token, "LABEL_STUDIO_URL": label_studio.url}
    with served(user="ls", XNER_LABEL_LOG_FORMAT=form, **studio) as backend:
        environment = shell(
            studio_settings,
            XNER_LABEL_PIPELINE_ALIGNER="none",
            XNER_LABEL_PIPELINE_PROJECTOR="string",
            XNER_LABEL_LOG_FORMAT=form,
            XNER_LABEL_RUN_ID=RUN,
            XNER_LABEL_WEBHOOK_SECRET=SECRET,
            XNER_LABEL_BACKEND_PASSWORD=PASSWORD,
            XNER_LABEL_BACKEND_USER="ls",
            XNER_LABEL_BACKEND_URL=backend.url,
        )
        with warm_commands(environment, tmp_path) as commands:

            def run(*arguments: str, codes: Sequence[int] = (0,)) -> None:
                code, said = commands.run(arguments)
                assert code in codes, said
                if form == "json":
                    assert all(record["run"] == RUN for record in records(said))
                if form == "json" or arguments[0] == "worker":
                    logs.append(said)
                if arguments[0] == "worker":
                    logs.append(commands.answer)

            run("import", "tasks.jsonl", codes=(5,))
            run("predict")
            run("connect")
            run("push", "--limit", "10")
            with store.read() as session:
                project = session.scalars(select(tables.Project.studio_project)).one()
            listed = list(api.tasks.list(project=project, fields="all"))
            wrong = {"start": 0, "end": 4, "text": ENTITY, "labels": ["PER"]}
            region = {"id": "w", "from_name": "label", "to_name": "text", "type": "labels", "value": wrong}
            api.annotations.create(listed[0].id, result=[region])
            for row in listed[1:]:
                api.annotations.create(row.id, result=row.predictions[0].result)
            ask_everything(backend, str(listed[0].data["text"]))
            until(lambda: "sync" in waiting(store))
            make_due(store)
            run("worker", "--once", "--kind", "sync")
            run("sync", codes=(8,))
            run("status")
            run("doctor")
            run("train")
            for row in listed[1:]:
                api.tasks.delete(str(row.id))
            run("push", "--limit", "10")
            run("sync", codes=(8,))
        logs.append(backend.log)
        assert "/predict" in backend.log
    everything = "\n".join(logs)
    for word in (TEXT, SOURCE, ENTITY, SECRET, PASSWORD, label_studio.token):
        assert word not in everything, [line for line in everything.splitlines() if word in line][:3]


def ask_everything(backend: Served, text: str) -> None:
    """Requests that are answered, left out, refused."""
    backend.predict(asked(1, text), asked(2, f"{TEXT} {ENTITY} mpya", source_text=f"{SOURCE} {ENTITY} new"))
    backend.predict(asked(3, None), asked(4, f"{TEXT} bila chanzo"))
    backend.predict(asked(1, text), config=f"<View><Text name='t' value='${TEXT}'/></View>")
    backend.predict(
        asked(1, text),
        config="<View><Text name='text' value='$text'/><Labels name='label' toName='text'>"
        "<Label value='XYZ'/></Labels></View>",
    )
    backend.predict(
        asked(1, text),
        context={"result": [{"id": "s", "value": {"start": 0, "end": 3, "text": ENTITY, "labels": ["PER"]}}]},
    )
    for body in (f'{{"tasks": "{TEXT}"', f'{{"tasks": ["{TEXT}"]}}', f'{{"tasks": [{{"data": "{ENTITY}"}}]}}'):
        backend.client.post("/predict", content=body, headers={"Content-Type": "application/json"})
    backend.client.get(f"/{ENTITY}")
    httpx.get(f"{backend.url}/versions", auth=("ls", f"{PASSWORD}wrong"))
    hook = {SECRET_HEADER: SECRET}
    backend.client.post("/webhook", json={"action": "ANNOTATION_CREATED", "text": TEXT}, headers=hook)
    backend.client.post("/webhook", content=TEXT, headers=hook)


@pytest.mark.parametrize(
    ("arguments", "named", "problem"),
    [
        (["--log-format", "json", "nosuchcommand"], "", "No such command '...'."),
        (["--log-format=json", "--nosuchflag"], "", "No such option"),
        (["--nosuchflag", "--log-format", "json", "status"], "", "No such option"),
        (["--log-format", "json"], "", "command"),
        (["--log-format", "json", "status", "a text"], "status", "unexpected extra argument (...)"),
        (["--log-format", "json", "project", "--aligner", "a text"], "project", "Invalid value for '...': '...'"),
    ],
)
def test_wrong_usage_is_json_too(
    arguments: list[str], named: str, problem: str, command_line: Sequence[str], tmp_path: Path
) -> None:
    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        variables = os.environ | {"PYTHONPATH": str(ROOT)} | environment
        line = [*command_line, *arguments]
        return subprocess.run(line, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=LIMIT)

    without = [word for word in arguments if word not in ("--log-format", "json", "--log-format=json")]
    for done in (run(*arguments), run(*without, XNER_LABEL_LOG_FORMAT="json")):
        assert (done.returncode, done.stdout) == (2, "")
        said, end = records(done.stderr)
        assert said["level"] == "ERROR"
        assert said["message"].startswith("wrong usage of the command line: ")
        assert problem in said["message"]
        assert "a text" not in done.stderr
        assert (end["command"], end["exit_code"]) == (named, 2)
