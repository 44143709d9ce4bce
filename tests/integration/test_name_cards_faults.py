"""Name cards where processes are killed or run at once: every card goes out once, every answer is read once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from sqlalchemy import func, select

from tests.integration.test_name_cards import SENTENCES, add_occurrences, cards, say
from tests.processes import LIMIT, begin
from tests.soak import rounds
from xner_label.entities import Entity, Task
from xner_label.predicting.predictor import Predictor
from xner_label.store import names, predictions, projects, tables, tasks
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

    def command(*arguments):
        line = [sys.executable, "-m", "xner_label", *arguments, "--database-url", database_url]
        return begin(line, env=os.environ | environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    return command


def kill_during(process, number):
    time.sleep(0.6 + 2.0 * (0.618 * number % 1))
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_killed_pushes_and_syncs_lose_nothing_and_double_nothing(start, store, studio_settings, api):
    for number in range(rounds(3)):
        kill_during(start("push", "--names", str(CARDS)), number)
    deadline = time.monotonic() + LIMIT
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
    outcomes = [(*process.communicate(timeout=LIMIT), process.returncode) for process in both]
    assert all(code == 0 for *_, code in outcomes), outcomes
    with store.read() as session:
        assert session.scalar(select(func.count()).select_from(tables.NameAnswer)) == CARDS


NAMES = ("Arusha", "Bukoba", "Dodoma", "Iringa", "Mbeya", "Tanga")


@pytest.fixture
def commands(store, studio_settings, label_studio, database_url, tmp_path):
    """Starts commands beside the test in a connected project of six names, all people with some doubt."""
    settings = replace(studio_settings, tagger="given", aligner="none")
    rows = [
        Task(
            id=f"{name}-{number}",
            text=pattern.format(name),
            source=f"{name} came {number}.",
            source_entities=(Entity(0, len(name), "PER", 0.5),),
        )
        for name in NAMES
        for number, pattern in enumerate(SENTENCES)
    ]
    with store.write() as session:
        project = projects.ensure_project(session, settings.project, settings.labels)
        tasks.add_tasks(session, project.id, [(task, "pool") for task in rows])
    connect(store, settings, ConnectOptions(backend=False))
    Predictor(store, settings).predict_project()
    (tmp_path / "xner-label.toml").write_text(
        f"labels = {list(settings.labels)}\n[pipeline]\ntagger = 'given'\naligner = 'none'\n"
    )
    environment = {
        "LABEL_STUDIO_URL": label_studio.url,
        "LABEL_STUDIO_API_KEY": label_studio.token,
        "XNER_LABEL_DATABASE_URL": database_url,
    }

    def command(*arguments):
        return begin(
            [sys.executable, "-m", "xner_label", *arguments],
            env=os.environ | environment,
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return command


def test_cards_answers_and_predictions_stay_whole_through_kills(commands, store, api):
    steps = (("push", "--names", str(CARDS)), ("sync",), ("predict",))

    def finish(step):
        process = commands(*step)
        output, errors = process.communicate(timeout=LIMIT)
        assert process.returncode == 0, (step, output, errors)

    begun = time.monotonic()
    finish(steps[1])
    usual = time.monotonic() - begun
    answered = {}
    for number in range(rounds(6)):
        process = commands(*steps[number % 3])
        time.sleep(usual * (0.4 + 0.8 * (0.618 * number % 1)))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        with store.read() as session:
            project = session.get_one(tables.Project, 1)
            current = predictions.predicted_task_ids(session, 1, project.pipeline.name)
            place = names.name_project(session, 1)
        assert len(current) == len(NAMES) * len(SENTENCES)  # what is current is complete
        if place is not None and number % 2:
            there = list(api.tasks.list(project=place.studio_project, fields="all"))
            card = next((card for card in there if card.id not in answered), None)
            if card is not None:
                answered[card.id] = card.data["name"].partition(" ")[0]
                say(api, card, "label:LOC")
    deadline = time.monotonic() + LIMIT
    while True:
        finish(steps[0])
        with store.read() as session:
            if not names.unsent_questions(session, 1):
                break
        assert time.monotonic() < deadline
        time.sleep(2)
    _, there = cards(api, store)
    shown = [card.data["name"].partition(" ")[0] for card in there]
    assert len(shown) == len(set(shown))
    for card in there:
        if card.id not in answered:
            answered[card.id] = card.data["name"].partition(" ")[0]
            say(api, card, "label:LOC")
    finish(steps[1])
    finish(steps[2])
    with store.read() as session:
        states = names.answer_states(session, 1)
        assert len(states) == session.scalar(select(func.count()).select_from(tables.NameAnswer)) == len(answered)
        assert not any(state.withdrawn for state in states)
        project = session.get_one(tables.Project, 1)
        settled = predictions.predictions_of(session, 1, project.pipeline.name)
    assert len(settled) == len(NAMES) * len(SENTENCES)
    for task, prediction in settled:
        name = task.external_id.partition("-")[0]
        if name in answered.values():
            assert [(entity.label, entity.text) for entity in prediction.entities] == [("LOC", name)]
