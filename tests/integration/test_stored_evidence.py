"""What is stored of a project's evidence: read as it was written, learned anew where another version wrote it."""

from __future__ import annotations

import zlib
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import func, select

from tests.integration.test_learning import (
    COUNT,
    SETTINGS,
    add,
    predict,
    predict_twice_at_once,
    predicted,
    records,
    unseen,
)
from tests.integration.test_learning import store as store
from xner_label.errors import ConfigurationError
from xner_label.predicting.corpus_state import CorpusState
from xner_label.predicting.predictor import Predictor
from xner_label.store import corpus_states, tasks
from xner_label.store.database import Store
from xner_label.store.tables import CorpusAddition
from xner_label.store.tables import CorpusState as StoredState


def make_old(store: Store) -> None:
    """As the states were before their counts were arrays."""
    with store.write() as session:
        for state in session.scalars(select(StoredState)):
            document = msgspec.msgpack.decode(zlib.decompress(state.content))
            document["tally"] |= {"names": {"joe": [1.0, 1.0, 0.0, 1.0, 0.0]}, "votes": {"joe\tyoe": 1.0}}
            state.content = zlib.compress(msgspec.msgpack.encode(document))
        for addition in session.scalars(select(CorpusAddition)):
            addition.content = zlib.compress(msgspec.msgpack.encode({"names": {"joe": [1.0]}}))


def test_what_another_version_stored_is_learned_anew(store: Store) -> None:
    sentences = records()
    add(store, sentences)
    before = predict(store)
    answers = predicted(store, before.version)
    make_old(store)
    with store.read() as session:
        row = next(iter(tasks.iterate_tasks(session, 1)))
    with pytest.raises(ConfigurationError, match="another version"):
        Predictor(store, SETTINGS).predict_tasks([row])
    again = predict(store)
    assert again.evidence == "learned"
    assert predicted(store, again.version) == answers
    with store.read() as session:
        state = corpus_states.newest_state(session, 1)
        assert state is not None
        assert CorpusState.load(state.content).spans
    assert predict(store).evidence == ""
    Predictor(store, SETTINGS).predict_tasks([row])


def test_so_is_what_tasks_have_added(store: Store) -> None:
    sentences = records(COUNT + 8)
    sentences[COUNT:] = map(unseen, sentences[COUNT:])
    add(store, sentences[:COUNT])
    predict(store)
    add(store, sentences[COUNT:])
    predict(store)
    with store.read() as session:
        assert session.scalar(select(func.count()).select_from(CorpusAddition)) == 8
    make_old(store)
    again = predict(store)
    assert (again.evidence, len(predicted(store, again.version))) == ("learned", COUNT + 8)
    assert predict(store).evidence == ""


def test_two_processes_that_find_it_store_it_once(store: Store, tmp_path: Path) -> None:
    sentences = records(COUNT + 8)
    sentences[COUNT:] = map(unseen, sentences[COUNT:])
    add(store, sentences[:COUNT])
    predict(store)
    add(store, sentences[COUNT:])
    answers = predicted(store, predict(store).version)
    make_old(store)
    add(store, [msgspec.structs.replace(task, id=f"new-{task.id}") for task in sentences[COUNT:]])
    reports = predict_twice_at_once(store, tmp_path)
    assert predicted(store, reports[0]["version"]).keys() > answers.keys()
    assert predict(store).evidence == ""
