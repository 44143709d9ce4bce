"""The backend's batcher, debouncer and credentials by themselves."""

from __future__ import annotations

import base64
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.processes import LIMIT
from xner_label.errors import StudioError
from xner_label_backend.batching import MicroBatcher
from xner_label_backend.guard import Credentials
from xner_label_backend.protocol import PredictRequest


class Gate:
    """Work that waits to be let through, and remembers what it got together."""

    def __init__(self):
        self.batches = []
        self.open = threading.Event()
        self.entered = threading.Event()

    def __call__(self, items):
        self.batches.append(list(items))
        self.entered.set()
        assert self.open.wait(LIMIT)
        return [item * 10 for item in items]


def test_what_arrives_meanwhile_goes_together_and_every_request_in_turn():
    gate = Gate()
    batcher = MicroBatcher(gate, limit=4)
    first = batcher.submit([1])
    assert gate.entered.wait(LIMIT)
    large, small = batcher.submit([2, 3, 4, 5, 6]), batcher.submit([7])
    assert batcher.waiting() == 6
    gate.open.set()
    assert [future.result(LIMIT) for future in (*first, *large, *small)] == [10, 20, 30, 40, 50, 60, 70]
    assert gate.batches == [[1], [2, 7, 3, 4], [5, 6]]
    batcher.close(10)


def test_too_few_results_are_an_error_and_the_thread_goes_on():
    batcher = MicroBatcher(lambda items: [item for item in items if item], limit=1)
    lost, kept = batcher.submit([0, 1])
    with pytest.raises(ValueError, match="1 items were given 0 results"):
        lost.result(LIMIT)
    assert kept.result(LIMIT) == 1
    batcher.close(10)


def test_an_error_reaches_its_batch_only():
    def work(items):
        if 0 in items:
            raise StudioError("zero")
        return items

    batcher = MicroBatcher(work, limit=1)
    good, bad, late = batcher.submit([1, 0, 2])
    assert (good.result(LIMIT), late.result(LIMIT)) == (1, 2)
    with pytest.raises(StudioError):
        bad.result(LIMIT)
    assert batcher.submit([]) == []
    batcher.close(10)


def test_closing_drops_what_waits():
    gate = Gate()
    batcher = MicroBatcher(gate, limit=1)
    running, waiting = batcher.submit([1, 2])
    assert gate.entered.wait(LIMIT)
    batcher.close(0)
    gate.open.set()
    assert running.result(LIMIT) == 10
    assert waiting.cancelled()


@given(st.text(min_size=1).filter(lambda user: ":" not in user), st.text(min_size=1), st.text())
def test_only_the_right_user_and_password_pass(user, password, other):
    credentials = Credentials(user, password, "s")

    def header(secret):
        return "Basic " + base64.b64encode(f"{user}:{secret}".encode()).decode()

    assert credentials.allows(header(password))
    assert credentials.allows(header(other)) == (other == password)
    assert not credentials.allows(None)
    assert Credentials("", "", "").allows(None)


def test_a_token_passes_in_place_of_user_and_password():
    credentials = Credentials("user", "password", "s", "töken")
    sent = "töken".encode().decode("latin-1")  # as the server hands bytes on
    assert credentials.allows(f"Bearer {sent}")
    assert credentials.allows(f"bearer  {sent}")
    assert credentials.allows("Basic " + base64.b64encode(b"user:password").decode())
    for wrong in ("Bearer", "Bearer ", "Bearer tok", "Basic " + sent, sent, None):
        assert not credentials.allows(wrong)
    assert not Credentials("user", "password", "s").allows("Bearer ")


@pytest.mark.parametrize(("secret", "header", "allowed"), [("s", "s", True), ("s", "t", False), ("", "", False)])
def test_webhooks_without_a_configured_secret_are_refused(secret, header, allowed):
    assert Credentials("", "", secret).webhook_allows(header) is allowed
    assert not Credentials("", "", secret).webhook_allows(None)


@pytest.mark.parametrize(
    ("sent", "number"), [("2.1795363227", 2), ("7", 7), ("", None), ("x.1", None), (None, None), ("²", None)]
)
def test_the_project_of_a_request(sent, number):
    assert PredictRequest(tasks=[], project=sent).studio_project == number


def test_work_that_returns_too_little_is_an_error_and_the_next_request_is_answered():
    results = [[1], [1, 2]]
    batcher = MicroBatcher(lambda items: results.pop(0), limit=10)
    try:
        for future in batcher.submit(["a", "b"]):
            with pytest.raises(ValueError, match="2 items were given 1 results"):
                future.result(5)
        assert [future.result(5) for future in batcher.submit(["a", "b"])] == [1, 2]
    finally:
        batcher.close(1)
