"""Name cards where processes are killed or run at once: every card goes out once, every answer is read once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from sqlalchemy import func, select

from tests.integration.test_name_cards import add_occurrences, cards, say
from tests.soak import rounds
from xner_label.store import names, tables
from xner_label.studio.asking_names import ask_names
from xner_label.studio.connect import ConnectOptions, connect
from xner_label.studio.sync import sync

pytestmark = pytest.mark.studio
CARDS = 6


@pytest.fixture
def start(store, studio_settings, label_studio, database_url):
    """Starts a command beside the test; the project is connected and has something to ask."""
    for number in range(CARDS):
        add_occurrences(
            store, studio_settings, f"Mji wa Kwanza{number}", "PER", f"Town{number}", first=10 * number
        )
    connect(store, studio_settings, ConnectOptions(backend=False))
    environment = {"LABEL_STUDIO_URL": label_studio.url, "LABEL_STUDIO_API_KEY": label_studio.token}

    def begin(*arguments):
        command = [sys.executable, "-m", "xner_label", *arguments, "--database-url", database_url]
        return subprocess.Popen(
            command, env=os.environ | environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    return begin


def kill_during(process, number):
    time.sleep(0.6 + 2.0 * (0.618 * number % 1))
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_killed_pushes_and_syncs_lose_nothing_and_double_nothing(start, store, studio_settings, api):
    for number in range(rounds(3)):
        kill_during(start("push", "--names", str(CARDS)), number)
    deadline = time.monotonic() + 90
    while True:
        ask_names(store, studio_settings, CARDS)
        with store.read() as session:
            if not names.unsent_questions(session, 1):
                break
        assert time.monotonic() < deadline
        time.sleep(2)
    _, there = cards(api, store)
    assert len(there) == CARDS
    for card in there:
        say(api, card, "label:ORG")
    for number in range(rounds(3)):
        kill_during(start("sync"), number)
    sync(store, studio_settings)
    with store.read() as session:
        assert session.scalar(select(func.count()).select_from(tables.NameAnswer)) == CARDS
        assert not any(state.withdrawn for state in names.answer_states(session, 1))


def test_two_syncs_at_once_read_every_answer_once(start, store, studio_settings, api):
    ask_names(store, studio_settings, CARDS)
    for card in cards(api, store)[1]:
        say(api, card, "no-name")
    both = [start("sync") for _ in range(2)]
    outcomes = [(*process.communicate(timeout=120), process.returncode) for process in both]
    assert all(code == 0 for *_, code in outcomes), outcomes
    with store.read() as session:
        assert session.scalar(select(func.count()).select_from(tables.NameAnswer)) == CARDS
