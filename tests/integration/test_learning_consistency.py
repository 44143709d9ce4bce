"""What a project has concluded of a text in its other tasks: stored, told to new ones, and named as a reason."""

from __future__ import annotations

from msgspec.structs import replace

from tests.integration.test_learning import (
    SETTINGS,
    add,
    command,
    predict,
    predicted,
    records,
    settle_tasks,
    unseen,
)
from tests.integration.test_learning import store as store
from xner_label.entities import Provenance
from xner_label.predicting.corpus_state import CorpusState
from xner_label.projection.loglinear.weights_file import Weights
from xner_label.store import corpus_states, projects


def stored_state(store) -> CorpusState:
    with store.read() as session:
        row = corpus_states.newest_state(session, projects.get_project(session, SETTINGS.project).id)
        return CorpusState.load(row.content)


def test_new_tasks_are_told_what_the_corpus_has_concluded(store):
    tasks = records()
    add(store, tasks)
    predict(store)
    unanswered = stored_state(store).adapted
    assert unanswered.spoken is not None
    assert unanswered.round == Weights.load().rounds[-1]
    settle_tasks(store, tasks[:70])
    after = predict(store)
    adapted = stored_state(store).adapted
    assert adapted.spoken is not None
    assert adapted.round.consistency.tagged not in (None, unanswered.round.consistency.tagged)

    new = replace(unseen(tasks[100]), id="new")
    add(store, [new])
    again = predict(store)
    assert again.version == after.version
    answers = predicted(store, again.version)
    for task_id in ("t100", "new"):
        for entity in answers[task_id].entities:
            assert isinstance(entity.provenance, Provenance)
            assert entity.provenance.alike > 10
            assert entity.provenance.rivals < 1
    assert [entity.text for entity in answers["new"].entities] == [
        entity.text for entity in answers["t100"].entities
    ]
    assert "entities of this text elsewhere have this label" in command(store, "why", "t100").stdout
