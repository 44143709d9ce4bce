"""The review report over HTTP."""

from __future__ import annotations

import httpx

from tests.backend_process import predicted as predicted


def test_the_report_is_shown_if_the_operator_says_so(served, store, predicted):
    with served(user="studio") as backend:
        assert backend.client.get("/report").status_code == 404
    with served(user="studio", XNER_LABEL_BACKEND_REPORT="on") as backend, httpx.Client() as stranger:
        assert stranger.get(f"{backend.url}/report").status_code == 401
        answer = backend.client.get("/report", timeout=60)
        assert answer.status_code == 200
        assert answer.text.startswith("<!doctype html>")
        assert "script" not in answer.text
