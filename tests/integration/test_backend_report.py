"""The review report over HTTP."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx

from tests.backend_process import predicted as predicted
from xner_label.store import projects


def test_the_report_is_shown_if_the_operator_says_so(served, store, predicted):
    with served(user="studio") as backend:
        assert backend.client.get("/report").status_code == 404
    with served(user="studio", XNER_LABEL_BACKEND_REPORT="on") as backend, httpx.Client() as stranger:
        assert stranger.get(f"{backend.url}/report").status_code == 401
        answer = backend.client.get("/report", timeout=60)
        assert answer.status_code == 200
        assert answer.text.startswith("<!doctype html>")
        assert "script" not in answer.text


def test_many_ask_at_once_and_a_project_that_is_not_there_is_no_page(served, store):
    with served(user="studio", XNER_LABEL_BACKEND_REPORT="on") as backend:
        assert backend.client.get("/report").status_code == 503
        with store.write() as session:
            projects.ensure_project(session, "default", ["PER"])
        with ThreadPoolExecutor(8) as pool:
            pages = list(pool.map(lambda _: backend.client.get("/report", timeout=60).text, range(8)))
    assert len(set(pages)) == 1  # made once: the moment stands on it
    assert "review report" in pages[0]
