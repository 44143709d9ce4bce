"""A corpus that is too large to be learned from whole: some tasks teach, all are counted, any order, any time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from sqlalchemy import delete, select

from tests.integration.test_learning import add, predicted, records, settle_tasks, unseen
from tests.misnamed_corpus import misnamed_corpus
from xner_label import entities
from xner_label.predicting import evidence_table
from xner_label.predicting.corpus_state import learn_corpus
from xner_label.predicting.evidence_table import draw_sample, with_all_counted
from xner_label.predicting.learned_projector import LearnedProjector
from xner_label.predicting.predictor import Predictor
from xner_label.projection.corpus import tally
from xner_label.projection.corpus.evidence import Observations, sums_elsewhere
from xner_label.projection.corpus.lookup import TallyLookup
from xner_label.projection.corpus.rounds import first_opinion
from xner_label.projection.loglinear.model import Model
from xner_label.projection.loglinear.weights_file import Weights
from xner_label.projection.problem import build_instance
from xner_label.settings.table import Settings
from xner_label.store import migrating
from xner_label.store.database import Store, open_store
from xner_label.store.tables import Prediction

SETTINGS = Settings(labels=("PER", "LOC"), aligner="given", tagger="given", corpus_limit=150)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(f"sqlite:///{tmp_path / 'store.db'}", check=False) as store:
        migrating.upgrade(store)
        yield store


def batches(tasks: list[entities.Task], size: int) -> list[list[tuple[int, entities.Task]]]:
    numbered = list(enumerate(tasks))
    return [numbered[start : start + size] for start in range(0, len(tasks), size)]


def test_a_counted_sentence_does_not_speak_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally, "_LEAST", 0.0)  # nothing is left out
    monkeypatch.setattr(evidence_table, "_LEAST", 0.0)
    tasks = [msgspec.structs.replace(task, entities=None) for task in records(80)]
    weights = Weights.load()
    sample = draw_sample(batches(tasks, 30), {"t003", "t004"}, 40)
    assert len(sample.ids) == 40
    assert {"t003", "t004"} <= set(sample.ids)
    state = learn_corpus(weights, sample.ids, sample.instances, {})
    state = with_all_counted(state, weights, sample.instances, batches(tasks, 7))
    instances, _ = misnamed_corpus(80)
    whole = Observations(instances, [Model(weights)], [0] * 80)
    expected = sums_elsewhere(whole, first_opinion(whole))
    looked_up = TallyLookup(state.tally).sums(whole, first_opinion(whole))
    for name, values in expected._asdict().items():
        rows = slice(None)
        if name == "occurrences":
            rows = expected.entities > 0.01  # of other texts it only matters whether they occur
        assert getattr(looked_up, name)[rows] == pytest.approx(values[rows], abs=0.02), name


def test_the_table_does_not_depend_on_order_or_on_shards() -> None:
    tasks = [msgspec.structs.replace(task, entities=None) for task in records(300)]
    weights = Weights.load()
    answers = []
    shuffled = [tasks[number] for number in np.random.default_rng(3).permutation(len(tasks))]
    for order, size in ((tasks, 50), (shuffled, 17), (shuffled, 300)):
        sample = draw_sample(batches(order, size), (), 120)
        by_id = dict(zip(sample.ids, sample.instances, strict=True))
        ids = sorted(by_id)
        state = learn_corpus(weights, ids, [by_id[key] for key in ids], {})
        state = with_all_counted(state, weights, sample.instances, batches(order, size))
        projector = LearnedProjector(weights, state)
        instances = [build_instance(task)[0] for task in tasks]
        answers.append((projector.signature, projector.project(instances)))
    assert answers[0] == answers[1] == answers[2]
    # one by one or many together: an answer depends on its task and on the table
    alone = [projector.project([instance])[0] for instance in instances[:40]]
    assert alone == answers[0][1][:40]


class Stages:
    """A Progress that remembers how much each stage had to do."""

    def __init__(self) -> None:
        self.totals: dict[str, int | None] = {}

    def begin(self, stage: str, total: int | None = None) -> None:
        self.totals[stage] = total

    def advance(self, count: int = 1) -> None:
        pass


@pytest.mark.parametrize("limit", [0, 150, 1_000])
def test_a_run_goes_on_with_what_is_missing(store: Store, limit: int) -> None:
    add(store, records(300))
    settings = replace(SETTINGS, corpus_limit=limit)
    whole = Predictor(store, settings).predict_project()
    with store.write() as session:  # as if it had been killed before the last batches
        newest = session.scalars(select(Prediction.id).order_by(Prediction.id.desc()).limit(70)).all()
        session.execute(delete(Prediction).where(Prediction.id.in_(newest)))
    progress = Stages()
    rest = Predictor(store, settings).predict_project(progress)
    assert (rest.predicted, rest.known, rest.version) == (70, 230, whole.version)
    assert progress.totals["projecting"] == 70


def test_a_project_beyond_the_limit_is_predicted_through_the_table(store: Store) -> None:
    sentences = records(400)
    add(store, sentences)
    report = Predictor(store, SETTINGS).predict_project()
    assert (report.predicted, report.left_out) == (400, {})
    again = Predictor(store, SETTINGS).predict_project()
    assert (again.predicted, again.known, again.version) == (0, 400, report.version)
    later = [msgspec.structs.replace(unseen(task), id=f"new-{task.id}") for task in sentences[:20]]
    add(store, later)
    progress = Stages()
    more = Predictor(store, SETTINGS).predict_project(progress)
    assert (more.predicted, more.known, more.version) == (20, 400, report.version)
    assert progress.totals["projecting"] == 20  # one task's work each: the others aren't even read
    assert "learning" not in progress.totals
    settle_tasks(store, sentences[:60])
    learned = Predictor(store, SETTINGS).predict_project()
    assert learned.version != report.version
    answers = predicted(store, learned.version)
    right = [
        {(entity.start, entity.end, entity.label) for entity in answers[str(task.id)].entities}
        == {(entity.start, entity.end, entity.label) for entity in task.entities or ()}
        for task in sentences[60:]
    ]
    assert np.mean(right) > 0.98  # what people said of sixty tasks reaches those that only were counted
