"""A table of evidence made anew: only tasks that look up what has moved are predicted again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, func, select

from tests.integration.test_corpus_of_any_size import batches
from tests.integration.test_learning import add, predicted, records, unseen
from xner_label import entities
from xner_label.predicting.corpus_state import CorpusState, learn_corpus
from xner_label.predicting.evidence_table import draw_sample, with_all_counted, with_table_refreshed
from xner_label.predicting.learned_projector import LearnedProjector
from xner_label.predicting.predictor import Predictor
from xner_label.projection.corpus.refresh import Lookups, refresh
from xner_label.projection.corpus.tally import Tally
from xner_label.projection.corpus.text_hashes import Hashes, halves, hash_pairs, hash_texts
from xner_label.projection.loglinear.weights_file import Weights
from xner_label.projection.problem import build_instance
from xner_label.settings.table import Settings
from xner_label.store import migrating, predictions, projects, tasks
from xner_label.store.database import Store, open_store
from xner_label.store.pipelines import ensure_pipelines
from xner_label.store.tables import CorpusState as StoredState
from xner_label.store.tables import Prediction, ProjectedEntity

SETTINGS = Settings(labels=("PER", "LOC"), aligner="given", tagger="given", corpus_limit=120)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_url")
    with open_store(url, check=False) as store:
        migrating.upgrade(store)
        yield store


def bare(sentences: list[entities.Task]) -> list[entities.Task]:
    return [msgspec.structs.replace(task, entities=None) for task in sentences]


def later(sentences: list[entities.Task]) -> list[entities.Task]:
    return [msgspec.structs.replace(unseen(task), id=f"new-{task.id}") for task in sentences]


def states(first: list[entities.Task], more: list[entities.Task]) -> tuple[CorpusState, CorpusState]:
    weights = Weights.load()
    sample = draw_sample(batches(first, 50), (), 120)
    state = learn_corpus(weights, sample.ids, sample.instances, {})
    before = with_all_counted(state, weights, sample.instances, batches(first, 50))
    return before, with_table_refreshed(before, weights, batches([*first, *more], 40))


def test_answers_that_are_kept_are_those_of_the_new_table() -> None:
    first = bare(records(400))
    before, after = states(first, later(first)[::4])
    weights = Weights.load()
    old, new = LearnedProjector(weights, before), LearnedProjector(weights, after)
    assert new.signature_before == old.signature != new.signature
    kept = [task for task in first if new.answers_as_before(task)]
    assert len(first) * 0.2 < len(kept) < len(first)  # something is kept, and something moves
    assert set(before.spans) == set(after.spans)
    instances = [build_instance(task)[0] for task in kept]
    assert old.project(instances) == new.project(instances)
    assert not any(new.answers_as_before(task) for task in later(first)[::4])  # the table didn't know them
    again = CorpusState.load(after.dump())
    assert LearnedProjector(weights, again).project(instances[:20]) == new.project(instances[:20])


def test_without_new_tasks_the_table_stays() -> None:
    first = bare(records(300))
    before, after = states(first, [])
    assert after.tally == before.tally
    assert after.refreshed is not None
    assert (after.refreshed.names, after.refreshed.texts, after.refreshed.added) == (b"", b"", b"")


TEXTS = ["a", "b", "a b", "c c c"]
COUNTS = st.dictionaries(st.sampled_from(TEXTS), st.floats(0, 30), max_size=4)


@st.composite
def tallies(draw: st.DrawFn) -> Tally:
    names = {name: [count, count / 2, count / 4, count / 4] for name, count in draw(COUNTS).items()}
    votes = {
        (name, text): min(value, row[0]) for name, row in names.items() for text, value in draw(COUNTS).items()
    }
    tally = Tally.empty(["PER"])
    tally.names.add(hash_texts(list(names)), np.array(list(names.values())).reshape(-1, 4))
    tally.votes.add(pairs([*votes]), np.array(list(votes.values())))
    for counts in (tally.entities, tally.occurrences):
        drawn = draw(COUNTS)
        counts.add(hash_texts(list(drawn)), np.array(list(drawn.values())))
    return tally


def pairs(named: list[tuple[str, str]]) -> Hashes:
    return hash_pairs(hash_texts([name for name, _ in named]), hash_texts([text for _, text in named]))


@given(tallies(), tallies(), tallies())
@settings(max_examples=60, deadline=None)
def test_an_entry_is_the_old_one_or_the_true_one(old: Tally, new: Tally, newest: Tally) -> None:
    table = refresh(old, new)
    for text in TEXTS:
        key = hash_texts([text])
        source = new if halves(key) in table.names else old
        assert np.array_equal(table.tally.names.of(key), source.names.of(key))
        for other in TEXTS:
            pair = pairs([(text, other)])
            assert table.tally.votes.of(pair) == source.votes.of(pair)
        source = new if key in table.texts else old
        assert table.tally.entities.of(key) == source.entities.of(key)
        if key in old.entities.keys or key in new.entities.keys:
            assert table.tally.occurrences.of(key) == source.occurrences.of(key)
    assert refresh(table.tally, new).tally == table.tally  # what stayed is near enough
    same = refresh(new, new)
    assert (same.tally, len(same.names), len(same.texts)) == (new, 0, 0)
    after = refresh(table.tally, newest)
    assert not len(refresh(after.tally, newest).names)


def test_entries_are_met_as_runs_of_words() -> None:
    moved = Lookups(halves(hash_texts(["joe blue"])), hash_texts(["kampala"]))
    assert moved.touch(["so", "joe", "blue"], [])
    assert moved.touch([], ["kampala", "city"])
    assert not moved.touch(["joe", "so", "blue", "kampala"], ["joe", "blue"])
    assert moved.touch(["joe blue"], [])
    nothing = hash_texts([])
    assert not Lookups(nothing, nothing).touch(["joe"], ["joe"])
    assert not moved.touch([], [])


def test_only_tasks_whose_evidence_moved_are_predicted_again(store: Store) -> None:
    sentences = records(400)
    add(store, sentences)
    first = Predictor(store, SETTINGS).predict_project()
    assert (first.predicted, first.unchanged, first.evidence) == (400, 0, "")
    add(store, later(sentences)[::3])
    second = Predictor(store, SETTINGS).predict_project()
    assert second.evidence == "counted"
    assert second.version != first.version
    assert second.predicted + second.unchanged == 534
    assert 80 < second.unchanged < 400  # something moved
    answers = predicted(store, second.version)
    assert len(answers) == 534
    with store.read() as session:
        rows = session.execute(
            select(ProjectedEntity.region, ProjectedEntity.prediction_id, ProjectedEntity.position)
        ).all()
    assert all(region == f"p{prediction}-{position}" for region, prediction, position in rows)

    with store.write() as session:  # what a run makes that predicts all of them
        session.execute(delete(Prediction))
    whole = Predictor(store, SETTINGS).predict_project()
    assert (whole.predicted, whole.unchanged, whole.version) == (534, 0, second.version)
    assert predicted(store, whole.version) == answers

    add(store, [msgspec.structs.replace(task, id=f"third-{task.id}") for task in later(sentences)])
    third = Predictor(store, SETTINGS).predict_project()
    assert third.evidence == "learned"  # more than twice what the taggers learned from
    assert (third.predicted, third.unchanged) == (934, 0)


def test_a_run_that_was_killed_goes_on_keeping_what_stays(store: Store) -> None:
    sentences = records(400)
    add(store, sentences)
    first = Predictor(store, SETTINGS).predict_project()
    add(store, later(sentences)[::3])
    second = Predictor(store, SETTINGS).predict_project()
    answers = predicted(store, second.version)
    with store.write() as session:
        newest = session.scalars(select(Prediction.id).order_by(Prediction.id.desc()).limit(500)).all()
        session.execute(delete(Prediction).where(Prediction.id.in_(newest)))
    rest = Predictor(store, SETTINGS).predict_project()
    assert rest.version == second.version
    assert rest.predicted + rest.unchanged == 500
    assert rest.unchanged > 0
    assert predicted(store, rest.version) == answers
    with store.read() as session:
        assert session.scalar(select(func.count()).select_from(StoredState)) == 2
        assert predictions.count_by(session, 1, first.version) == 400


def test_a_copy_keeps_what_is_there_already(store: Store) -> None:
    sentences = records(3)
    add(store, sentences)
    with store.write() as session:
        ids = list(tasks.task_ids(session, projects.get_project(session, SETTINGS.project).id))
        entity = entities.ProjectedEntity(start=0, end=2, label="PER", text="Bi", score=1.0, confidence=0.5)
        made = [
            entities.Prediction(task.id, task.text, (entity,) * (number == 0), 0.5, "old pipeline", None)
            for number, task in enumerate(sentences)
        ]
        predictions.add_predictions(session, list(zip(ids, made, strict=True)))
        ensure_pipelines(session, ["new pipeline"])
    for _ in range(2):
        with store.write() as session:
            assert predictions.copy_predictions(session, ids[:2], "old pipeline", "new pipeline") == set(ids[:2])
            assert predictions.copy_predictions(session, ids, "unknown pipeline", "new pipeline") == set()
    with store.read() as session:
        assert session.scalar(select(func.count()).select_from(Prediction)) == 5
        assert session.scalar(select(func.count()).select_from(ProjectedEntity)) == 2


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_a_limit_that_grew_lets_all_be_learned_anew(store: Store) -> None:
    sentences = records(400)
    add(store, sentences)
    Predictor(store, SETTINGS).predict_project()
    add(store, later(sentences)[::3])
    report = Predictor(store, replace(SETTINGS, corpus_limit=300)).predict_project()
    assert (report.evidence, report.unchanged) == ("learned", 0)
