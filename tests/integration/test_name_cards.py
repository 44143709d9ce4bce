"""Name cards against the real Label Studio: asked once, answered, changed, deleted, and what that does."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import msgspec
import pytest
from sqlalchemy import select

from tests.processes import LIMIT, begin
from tests.store_fixtures import count_rows
from xner_label.entities import Entity, Prediction, ProjectedEntity, SourceMention, Task
from xner_label.errors import ConfigurationError
from xner_label.review import selection
from xner_label.review.costs import Costs
from xner_label.review.plan_outcomes import compare_plan
from xner_label.review.plans import make_plan
from xner_label.review.settled_names import name_answers
from xner_label.store import gold, names, predictions, projects, queue_positions, tables, tasks
from xner_label.store.labels import change_labels
from xner_label.studio.asking_names import ask_names
from xner_label.studio.connect import ConnectOptions, connect
from xner_label.studio.name_cards import CARD, OPTIONS
from xner_label.studio.push import PushOptions
from xner_label.studio.pushing_queue import push_queue
from xner_label.studio.sync import sync

pytestmark = pytest.mark.studio

SENTENCES = ("{} alifika leo.", "Jana {} aliondoka.", "Wageni wa {} walikuja.", "Tulimwona {} mjini.")


def add_occurrences(store, settings, words="Benki ya Dunia", label="LOC", source="World Bank", first=0):
    """Four unreviewed tasks with one and the same name, projected with this label."""
    with store.write() as session:
        project = projects.ensure_project(session, settings.project, settings.labels)
        rows = []
        for number, pattern in enumerate(SENTENCES, start=first):
            text = pattern.format(words)
            start = text.index(words)
            task = Task(id=f"n{number}", text=text, source=f"{source} came.")
            entity = ProjectedEntity(
                start, start + len(words), label, words, 1.0, 0.6, SourceMention(0, len(source), label, source)
            )
            tasks.add_tasks(session, project.id, [(task, "pool")])
            identity = tasks.ids_by_external(session, project.id, [task.id])[task.id]
            rows.append((identity, Prediction(task.id, text, (entity,), 0.6, "pipeline-1")))
        predictions.add_predictions(session, rows)
        project.pipeline = predictions.by_id(session, [1])[0][1].pipeline
        return [identity for identity, _ in rows]


@pytest.fixture
def asked(store, studio_settings):
    """A connected project whose World Bank is asked about; the ids of its tasks."""
    task_ids = add_occurrences(store, studio_settings)
    connect(store, studio_settings, ConnectOptions(backend=False))
    report = ask_names(store, studio_settings, 5)
    assert (report.chosen, report.sent, report.waiting, report.occurrences) == (1, 1, 1, 4)
    return task_ids


def cards(api, store):
    with store.read() as session:
        place = names.name_project(session, 1)
    return place.studio_project, list(api.tasks.list(project=place.studio_project, fields="all"))


def say(api, card, alias):
    result = [{"from_name": "answer", "to_name": "card", "type": "choices", "value": {"choices": [alias]}}]
    return api.annotations.create(card.id, result=result, lead_time=5.9)


def settled(store, task_ids):
    """(label, text) of the entities of each task once the answers in force have had their say."""
    with store.read() as session:
        answers = name_answers(session, 1)
        rows = predictions.of_tasks(session, task_ids, "pipeline-1")
        shown = []
        for task_id in task_ids:
            record = predictions.to_record(session.get_one(tables.Task, task_id), rows[task_id])
            shown.append([(entity.label, entity.text) for entity in answers.amend(record).entities])
        return shown


def test_an_answer_moves_every_occurrence_and_goes_with_it_when_it_is_deleted(asked, store, studio_settings, api):
    _, (card,) = cards(api, store)
    assert "World Bank" in card.data[CARD]
    aliases = [option["alias"] for option in card.data[OPTIONS]]
    assert aliases[:2] == ["label:LOC", "label:PER"]
    assert aliases[-2:] == ["no-name", "depends"]
    annotation = say(api, card, "label:ORG")
    report = sync(store, studio_settings).names
    assert (report.answered, report.changed, report.withdrawn) == (1, 0, 0)
    assert settled(store, asked) == [[("ORG", "Benki ya Dunia")]] * 4
    assert sync(store, studio_settings).names.answered == 0

    result = [{"from_name": "answer", "to_name": "card", "type": "choices", "value": {"choices": ["no-name"]}}]
    api.annotations.update(annotation.id, result=result)
    assert sync(store, studio_settings).names.changed == 1
    assert settled(store, asked) == [[]] * 4

    api.annotations.delete(annotation.id)
    assert sync(store, studio_settings).names.withdrawn == 1
    assert settled(store, asked) == [[("LOC", "Benki ya Dunia")]] * 4
    with store.read() as session:
        (state,) = names.answer_states(session, 1)
        assert state.withdrawn
        assert state.annotator == api.users.whoami().email
        assert session.scalars(select(tables.NameAnswer.lead_time)).first() == 5.9


def test_nothing_is_asked_twice_and_gold_is_left_alone(asked, store, studio_settings, api):
    assert ask_names(store, studio_settings, 5).chosen == 0
    _, (card,) = cards(api, store)
    say(api, card, "depends")
    sync(store, studio_settings)
    again = ask_names(store, studio_settings, 5)
    assert (again.chosen, again.sent, again.waiting) == (0, 0, 0)
    add_occurrences(store, studio_settings, "Nairobi", "PER", "Nairobi", first=10)
    with store.write() as session:
        ids = tasks.ids_by_external(session, 1, [f"n{number}" for number in range(10, 13)])
        gold.add_imported_gold(session, {identity: [Entity(0, 1, "LOC")] for identity in ids.values()})
    # three of its four sentences are reviewed: a question for one place isn't worth a card
    assert ask_names(store, studio_settings, 5).chosen == 0


def test_waiting_cards_follow_the_labels_of_the_project(asked, store, studio_settings, api):
    _, (card,) = cards(api, store)
    assert {"label:LOC", "label:PER", "label:ORG"} < {option["alias"] for option in card.data[OPTIONS]}
    change_labels(store, studio_settings.project, ["LOC", "PER", "LAW"])
    settings = replace(studio_settings, labels=("LOC", "PER", "LAW"))
    connect(store, settings, ConnectOptions(backend=False, replace_config=True))
    sync(store, settings)
    _, (changed,) = cards(api, store)
    offered = [option["alias"] for option in changed.data[OPTIONS] if option["alias"].startswith("label:")]
    assert offered == ["label:LOC", "label:PER", "label:LAW"]
    assert {**changed.data, OPTIONS: None} == {**card.data, OPTIONS: None}
    say(api, card, "label:ORG")  # in a page that was open all the time
    sync(store, settings)
    assert settled(store, asked) == [[("LOC", "Benki ya Dunia")]] * 4
    change_labels(store, studio_settings.project, studio_settings.labels)
    assert settled(store, asked) == [[("ORG", "Benki ya Dunia")]] * 4


def review(store, external_ids):
    """Settle tasks as a reader of their sentences would."""
    with store.write() as session:
        ids = tasks.ids_by_external(session, 1, external_ids)
        gold.add_imported_gold(session, {identity: [Entity(0, 1, "LOC")] for identity in ids.values()})


def test_cards_that_other_answers_have_settled_leave_and_may_come_back(asked, store, studio_settings, api):
    add_occurrences(store, studio_settings, "Nairobi", "PER", "Nairobi", first=10)
    add_occurrences(store, studio_settings, "Mombasa", "PER", "Mombasa", first=20)
    assert ask_names(store, studio_settings, 5).sent == 2
    by_name = {card.data["name"].split(" (")[0]: card for card in cards(api, store)[1]}
    review(store, ["n0", "n1"])
    assert sync(store, studio_settings).names.settled == 0  # two places are left: worth a card
    review(store, ["n2", "n10", "n11", "n12", "n20", "n21", "n22"])
    # somebody has begun to answer one of them
    draft = [{"from_name": "answer", "to_name": "card", "type": "choices", "value": {"choices": ["no-name"]}}]
    drafts = f"api/tasks/{by_name['Mombasa'].id}/drafts"
    assert api.tasks._raw_client._client_wrapper.httpx_client.request(
        drafts, method="POST", json={"result": draft, "lead_time": 1.0}
    ).is_success
    say(api, by_name["Nairobi"], "label:LOC")
    heard = sync(store, studio_settings).names
    assert (heard.answered, heard.settled) == (1, 1)
    assert {card.id for card in cards(api, store)[1]} == {by_name["Nairobi"].id, by_name["Mombasa"].id}
    assert ask_names(store, studio_settings, 5).waiting == 1
    # the name becomes doubtful again: it can be asked about anew
    add_occurrences(store, studio_settings, first=30)
    assert ask_names(store, studio_settings, 5).sent == 1
    assert len(cards(api, store)[1]) == 3


def test_a_card_that_was_deleted_before_a_kill_is_forgotten_next_time(asked, store, studio_settings, api):
    _, (card,) = cards(api, store)
    with store.write() as session:
        names.mark_leaving(session, [1])
    api.tasks.delete(str(card.id))
    report = ask_names(store, studio_settings, 5)
    # forgotten, and asked about anew: its places are as doubtful as before
    assert (report.settled, report.chosen, report.sent) == (1, 1, 1)
    assert len(cards(api, store)[1]) == 1


def test_minutes_alone_send_sentences_and_cards_together(store, studio_settings, api, monkeypatch):
    # sentences of three words are soon read: cards must be sooner answered to come first
    monkeypatch.setattr(selection, "measured_costs", lambda *_: Costs(name=1.0))
    add_occurrences(store, studio_settings)
    add_occurrences(store, studio_settings, "Nairobi", "PER", "Nairobi", first=10)
    connect(store, studio_settings, ConnectOptions(backend=False))
    looked = push_queue(store, studio_settings, 0.05, PushOptions(limit=0, dry_run=True))
    assert (looked.tasks.chosen, looked.names.chosen, looked.names.sent) == (0, 2, 0)
    foreseen = make_plan(store, studio_settings.project, 0.2)
    sent = push_queue(store, studio_settings, 0.2, PushOptions(limit=0))
    assert (sent.names.chosen, sent.names.sent) == (2, 2)
    assert len(foreseen.names) == 2
    assert foreseen.name_changes.high > 0
    with store.read() as session:
        waiting = [item.task for item in queue_positions.waiting_items(session, 1)]
    assert foreseen.task_ids == waiting  # the plan is what push sends
    assert not any(row.waiting for row in (*foreseen.planned_tasks, *foreseen.names))
    after = make_plan(store, studio_settings.project, 0.2, keep=False)
    assert after.task_ids == waiting
    assert {row.target for row in after.names} == {row.target for row in foreseen.names}
    assert all(row.waiting for row in (*after.planned_tasks, *after.names))
    assert 0 < sent.tasks.chosen == sent.tasks.pushed < 8
    assert sent.minutes <= 0.2
    again = push_queue(store, studio_settings, 0.2, PushOptions(limit=0))
    assert (again.tasks.chosen, again.names.chosen) == (0, 0)
    assert again.waiting_minutes >= 0.1
    for card in cards(api, store)[1]:
        say(api, card, "no-name")
    sync(store, studio_settings)
    outcome = compare_plan(store, studio_settings.project)
    assert outcome is not None
    assert (outcome.answered, outcome.answered_names, outcome.planned_names) == (0, 2, 2)
    assert outcome.name_changes == sum(row.occurrences for row in foreseen.names) == 8
    more = push_queue(store, studio_settings, 5, PushOptions(limit=0))
    assert more.names.chosen == 0
    assert more.tasks.waiting == 8


def test_a_dry_run_writes_nothing(store, studio_settings):
    add_occurrences(store, studio_settings)
    with pytest.raises(ConfigurationError, match="connect"):
        ask_names(store, studio_settings, 5)
    connect(store, studio_settings, ConnectOptions(backend=False))
    with store.read() as session:
        before = count_rows(session)
    report = ask_names(store, studio_settings, 5, dry_run=True)
    assert (report.chosen, report.sent, report.url) == (1, 0, None)
    with store.read() as session:
        assert count_rows(session) == before


def test_a_push_that_was_killed_after_sending_sends_no_card_twice(asked, store, studio_settings, api):
    place, _ = cards(api, store)
    with store.write() as session:
        question = session.get_one(tables.NameQuestion, 1)
        question.studio_task = None
    report = ask_names(store, studio_settings, 5)
    assert (report.sent, report.waiting) == (0, 1)
    assert len(cards(api, store)[1]) == 1
    assert cards(api, store)[0] == place


def test_cards_of_a_project_that_is_gone_go_out_again_and_answers_stay(asked, store, studio_settings, api):
    place, (card,) = cards(api, store)
    say(api, card, "label:ORG")
    sync(store, studio_settings)
    api.projects.delete(place)
    heard = sync(store, studio_settings).names
    assert (heard.withdrawn, "push --names" in heard.problems[0]) == (0, True)
    report = ask_names(store, studio_settings, 5)
    assert report.sent == 1
    assert settled(store, asked) == [[("ORG", "Benki ya Dunia")]] * 4


def test_two_pushes_at_once_send_each_card_once(store, studio_settings, api, label_studio, database_url):
    for number in range(6):
        add_occurrences(
            store, studio_settings, f"Mji wa Kwanza{number}", "PER", f"Town{number}", first=10 * number
        )
    connect(store, studio_settings, ConnectOptions(backend=False))
    command = [sys.executable, "-m", "xner_label", "push", "--names", "6", "--database-url", database_url]
    environment = {"LABEL_STUDIO_URL": label_studio.url, "LABEL_STUDIO_API_KEY": label_studio.token}
    running = [
        begin(command, env=os.environ | environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    outcomes = [(*process.communicate(timeout=LIMIT), process.returncode) for process in running]
    assert all(code in (0, 5) for *_, code in outcomes), outcomes
    ask_names(store, studio_settings, 6)
    with store.read() as session:
        sent = [question.studio_task for question in names.questions(session, 1).values()]
    _, there = cards(api, store)
    assert len(there) == 6
    assert sorted(card.id for card in there) == sorted(sent)


def test_predict_applies_an_answer_everywhere_says_so_and_takes_it_back(tmp_path):
    """The same by commands, without Label Studio: the answer is put into the store as a sync would."""
    from dataclasses import replace

    from xner_label.predicting.predictor import Predictor
    from xner_label.settings.table import Settings
    from xner_label.store import migrating
    from xner_label.store.database import open_store
    from xner_label.store.names import AnswerState

    settings = replace(Settings(labels=("PER", "ORG", "LOC")), tagger="given", aligner="none", projector="string")
    with open_store(f"sqlite:///{tmp_path}/store.db", check=False) as store:
        migrating.upgrade(store)
        with store.write() as session:
            project = projects.ensure_project(session, "default", settings.labels)
            stored = [
                Task(
                    id=str(number),
                    text=f"Jana {number} Nairobi ilikuwa na mvua.",
                    source=f"Yesterday {number} Nairobi had rain.",
                    source_entities=(Entity(12, 19, "PER"),),
                )
                for number in range(1, 6)
            ]
            tasks.add_tasks(session, project.id, [(task, "pool") for task in stored])
            first = tasks.ids_by_external(session, project.id, ["1"])["1"]
        before = Predictor(store, settings).predict_project()
        with store.write() as session:
            gold.add_imported_gold(session, {first: [Entity(7, 14, "PER")]})
            row = {
                "source_name": "nairobi",
                "target_text": "nairobi",
                "label": "PER",
                "occurrences": 5,
                "card": {},
            }
            names.add_questions(session, project.id, [row | {"created_at": tables.utc_now()}])
            state = AnswerState(1, 7, tables.utc_now(), "ann@example.org", "label", "LOC", withdrawn=False)
            names.add_answers(session, [state], {})
        after = Predictor(store, settings).predict_project()
        assert after.version != before.version
        assert after.learned is not None
        assert (after.learned.names, after.learned.entities, after.learned.tasks) == (1, 4, 4)
        with store.read() as session:
            rows = predictions.predictions_of(session, project.id, after.version)
            labels = [[entity.label for entity in prediction.entities] for _, prediction in rows]
            assert labels == [["PER"], *[["LOC"]] * 4]  # the first is reviewed
            answered = predictions.to_record(*rows[1]).entities[0].provenance
            assert answered.answer.startswith("ann@example.org, ")
        with store.write() as session:
            names.add_answers(session, [msgspec.structs.replace(state, withdrawn=True)], {})
        back = Predictor(store, settings).predict_project()
        assert (back.version, back.predicted) == (before.version, 0)
