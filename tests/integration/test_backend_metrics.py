"""What monitoring sees: the state of the project, and a dashboard that knows every metric by name."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.backend_process import predicted as predicted
from xner_label.store import jobs, projects

DASHBOARD = Path(__file__).parents[2] / "deploy" / "grafana" / "dashboard.json"


def test_the_state_of_the_project(served, store, predicted):
    with store.write() as session:
        jobs.enqueue(session, projects.get_project(session, "default").id, "train")
    with served(user="studio") as backend:
        text = backend.client.get("/metrics").text
    bands = dict(re.findall(r'^xner_label_entities\{confidence="([^"]+)"\} (\S+)$', text, re.MULTILINE))
    assert list(bands) == ["0.5", "0.7", "0.8", "0.9", "0.95", "1"]
    assert sum(map(float, bands.values())) > 0
    assert 'xner_label_jobs{kind="train",state="waiting"} 1.0' in text
    assert "xner_label_review_waiting_tasks 0.0" in text
    assert "xner_label_sync_age_seconds NaN" in text
    assert re.search(r'^xner_label_model_info\{version="string-\w+"\} 1\.0$', text, re.MULTILINE)
    assert predicted[0].text not in text


def test_the_dashboard_draws_every_metric_and_no_other(served, store, predicted):
    with served(user="studio") as backend:
        text = backend.client.get("/metrics").text
    exposed = set(re.findall(r"^# TYPE (xner_label_\w+?)(?:_total|_created)? ", text, re.MULTILINE))
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    expressions = " ".join(target["expr"] for panel in panels for target in panel["targets"])
    drawn = {re.sub(r"_(total|bucket)$", "", name) for name in re.findall(r"xner_label_\w+", expressions)}
    assert drawn == exposed


def test_without_a_project_there_is_nothing_to_tell(served, store):
    with served(user="studio") as backend:
        answer = backend.client.get("/metrics")
    assert answer.status_code == 200
    assert "xner_label_requests" in answer.text


def test_what_was_counted_is_told_when_the_store_answers_nothing(served, store, predicted):
    with served(user="studio") as backend:
        with store.engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE projects RENAME TO gone")
        answer = backend.client.get("/metrics")
        assert answer.status_code == 200
        assert "xner_label_requests" in answer.text
        assert "the metrics of the store are old" in backend.log
