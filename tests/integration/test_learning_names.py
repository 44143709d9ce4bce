"""Answers about names are learned from like sentences: they move their spans, teach others, go without a trace."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from pathlib import Path

import pytest
from msgspec import UNSET
from msgspec.structs import replace

from tests.integration.test_learning import (
    COUNT,
    SETTINGS,
    add,
    command,
    predict,
    predicted,
    records,
    right,
    settle_tasks,
    spans,
    state_of,
    unseen,
)
from tests.integration.test_learning import store as store
from tests.misnamed_corpus import TITLED, WRONG
from xner_label.entities import Entity, Task
from xner_label.exchange.exporting import export
from xner_label.predicting.predictor import Predictor
from xner_label.reporting.status import status
from xner_label.review import name_audit
from xner_label.review.name_answers import key_of
from xner_label.review.name_audit import STRATEGY, NameDecisions, drawn_removals, is_drawn, removed_places
from xner_label.store import names, predictions, projects, withdrawing
from xner_label.store.database import Store
from xner_label.store.names import AnswerState
from xner_label.store.reviews import add_batch

pytestmark = pytest.mark.usefixtures("store")
ANN, DAY = "ann@example.org", datetime(2026, 11, 30, 12, tzinfo=UTC)


def answer(opened: Store, version: str, task_id: str, kind: str, value: str) -> None:
    """As a sync would: the question about the first entity of a task, answered."""
    key = key_of(predicted(opened, version)[task_id].entities[0])
    with opened.write() as session:
        project = projects.get_project(session, SETTINGS.project)
        row = {"source_name": key.source, "target_text": key.target, "label": key.label}
        names.add_questions(session, project.id, [{**row, "occurrences": 20, "card": {}, "created_at": DAY}])
        question = max(names.questions(session, project.id))
        names.add_answers(session, [AnswerState(question, question, DAY, ANN, kind, value, withdrawn=False)], {})


def test_two_answers_about_names_put_a_corpus_right_and_are_undone(store: Store, tmp_path: Path) -> None:
    sentences = records()
    add(store, sentences)
    start = predict(store)
    titled, wrong = (next(task for task in sentences if name in task.text) for name in (TITLED, WRONG))
    answer(store, start.version, str(titled.id), "span", TITLED)
    answer(store, start.version, str(wrong.id), "label", "PER")
    assert status(store, SETTINGS.project).unlearned_names == 2

    after = predict(store)
    assert status(store, SETTINGS.project).unlearned_names == 0
    assert after.learned is not None
    assert (after.learned.answers, after.learned.names, after.learned.tasks) == (0, 2, 20)
    answers = predicted(store, after.version)
    assert all(right(task, answers[str(task.id)]) for task in sentences)
    settled = [entity for task in answers.values() for entity in task.entities if entity.provenance.answer]
    assert {entity.text for entity in settled} == {TITLED, WRONG}
    assert {entity.provenance.answer for entity in settled} == {f"{ANN}, 2026-11-30"}
    assert f"settled by name, {ANN}, 2026-11-30" in command(store, "why", str(titled.id)).stdout

    export(store, SETTINGS.project, tmp_path / "silver.jsonl", gold=False, silver=True)
    exported = (tmp_path / "silver.jsonl").read_text("utf-8")
    assert exported.count(f'"settled_by_name":"{ANN}, 2026-11-30"') == len(settled)

    # learning anew on top of what the answers moved keeps them, and so does a sentence that came later
    reviewed = [task for task in sentences if TITLED not in task.text][:20]
    settle_tasks(store, reviewed)
    add(store, [unseen(records(COUNT + 8)[COUNT + 4])])
    later = predicted(store, predict(store).version)
    assert all(right(task, later[str(task.id)]) for task in sentences)
    assert len(later) == COUNT + 1

    with store.write() as session:
        question = max(names.questions(session, 1))
        bob = AnswerState(question, 1_000, DAY, "bob@example.org", "no-name", "", withdrawn=False)
        names.add_answers(session, [bob], {})
    told = command(store, "conflicts")
    assert "nobody disagrees about a task" in told.stdout
    assert f"{ANN}: label PER; bob@example.org: no-name" in told.stderr
    assert "about names withdrawn" in command(store, "undo", "--annotator", "bob@example.org").stdout
    mistyped = command(store, "undo", "--annotator", "an@example.org")
    assert "0 answers in 0 tasks withdrawn" in mistyped.stdout
    assert f"those who do: {ANN}" in mistyped.stderr
    assert command(store, "conflicts").stdout.strip() == "nobody disagrees"

    undone = command(store, "undo", "--annotator", ANN)
    assert "0 answers in 0 tasks and 2 about names withdrawn" in undone.stdout
    assert status(store, SETTINGS.project).unlearned_names == 2
    command(store, "undo", "--since", "2020-01-01")
    back = predicted(store, predict(store).version)
    before = predicted(store, start.version)
    assert {key: spans(prediction) for key, prediction in before.items()} == {
        key: spans(back[key]) for key in before
    }


def test_an_answer_about_a_name_that_is_taken_back_leaves_the_state_of_before(store: Store) -> None:
    sentences = records()
    add(store, sentences)
    start = predict(store)
    titled, wrong = (next(str(task.id) for task in sentences if name in task.text) for name in (TITLED, WRONG))
    answer(store, start.version, titled, "span", TITLED)
    first = predict(store)
    before = state_of(store)
    assert before.asked
    answer(store, first.version, wrong, "label", "PER")
    assert predict(store).version != first.version
    asked = {key.source for places in state_of(store).asked.values() for key, *_ in places}
    assert asked == {"bi eshe", "daudi"}
    for expected, state in ((first, before), (start, None)):
        with store.write() as session:
            project = projects.get_project(session, SETTINGS.project)
            withdrawing.withdraw_name_answers(session, withdrawing.name_answers_of(session, project.id)[-1:])
        back = predict(store)
        assert (back.version, back.predicted) == (expected.version, 0)
        assert state is None or state_of(store) == state
    assert not state_of(store).asked


def test_a_share_of_what_names_moved_is_read_and_measures_them(store: Store) -> None:
    sentences = records()
    add(store, sentences)
    version = predict(store).version
    assert status(store, SETTINGS.project).name_decisions == NameDecisions(0, 0, None, None, None)
    answer(store, version, "t004", "span", TITLED)
    moved = predict(store).version
    with store.write() as session:
        project = projects.get_project(session, SETTINGS.project)
        rows = list(predictions.predictions_of(session, project.id, moved))
        items = [(task.id, row.id) for task, row in rows if TITLED in task.text]
        add_batch(session, project.id, STRATEGY, items)
        checked = [task.external_id for task, _ in rows if TITLED in task.text and is_drawn(task.id, 3)]
    assert 0 < len(checked) < len(items)
    wrong = [replace(task, entities=()) for task in sentences if task.id == checked[0]]
    settle_tasks(store, [*wrong, *(task for task in sentences if TITLED in task.text and task.id != checked[0])])
    measured = status(store, SETTINGS.project).name_decisions
    assert (measured.checked, measured.wrong) == (len(checked), 1)
    assert measured.low is not None
    assert measured.high is not None
    assert measured.low < 1 / len(checked) <= measured.high
    assert "decisions read are wrong" in command(store, "status").stdout


def test_what_not_a_name_took_away_is_read_too(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(name_audit, "SHARE", 0.3)
    sentences = records()
    add(store, sentences)
    version = predict(store).version
    key = key_of(predicted(store, version)["t004"].entities[0])
    answer(store, version, "t004", "no-name", "")
    after = predict(store).version
    assert not any(key_of(entity) == key for task in predicted(store, after).values() for entity in task.entities)
    with store.write() as session:
        project = projects.get_project(session, SETTINGS.project)
        rows = {task.id: (task, row.id) for task, row in predictions.predictions_of(session, project.id, after)}
        drawn = drawn_removals(session, project.id)
        removed = removed_places(session, project.id)
        assert 0 < len(drawn) < len(removed)
        add_batch(session, project.id, STRATEGY, [(task, rows[task][1]) for task in sorted(drawn)])
        checked = {rows[task][0].external_id for task in drawn}
    assert len(removed) == sum(TITLED in task.text for task in sentences)
    # one of them is what it was taken for, the others are no name
    wrong = min(checked)
    title = {task.id: task.text.index("Bi") for task in sentences if task.id in checked}
    settle_tasks(
        store,
        [
            replace(task, entities=(Entity(title[task.id], title[task.id] + 7, "PER"),))
            if task.id == wrong
            else replace(task, entities=())
            for task in sentences
            if task.id in checked
        ],
    )
    measured = status(store, SETTINGS.project).name_decisions
    assert (measured.checked, measured.removed) == (len(checked), len(checked))
    assert (measured.wrong, measured.wrongly_removed) == (1, 1)


@pytest.mark.parametrize("projector", ["default", "string"])
def test_a_reviewed_sentence_isnt_moved_until_its_review_is_undone(store: Store, projector: str) -> None:
    def predict_all() -> str:
        return Predictor(store, dataclasses.replace(SETTINGS, projector=projector)).predict_project().version

    sentences = records()
    add(store, sentences)
    start = predict_all()
    reviewed, other, *_ = (task for task in sentences if TITLED in task.text)
    answer(store, start, str(reviewed.id), "label", "LOC")
    alone = predict_all()

    def settled(version: str, task: Task) -> list[str]:
        """The texts of the entities that the answer settled in a sentence."""
        entities = predicted(store, version)[str(task.id)].entities
        return [entity.text for entity in entities if entity.provenance is not UNSET and entity.provenance.answer]

    name = predicted(store, start)[str(reviewed.id)].entities[0].text
    assert [settled(alone, task) for task in (reviewed, other)] == [[name], [name]]
    settle_tasks(store, [reviewed])
    assert status(store, SETTINGS.project).unlearned_names == 0
    after = predict_all()
    assert after != alone
    assert [settled(after, task) for task in (reviewed, other)] == [[], [name]]
    assert "settled by name" not in command(store, "why", str(reviewed.id)).stdout
    with store.write() as session:
        project = projects.get_project(session, SETTINGS.project)
        withdrawing.withdraw(session, withdrawing.answers_of(session, project.id))
    assert predict_all() == alone
