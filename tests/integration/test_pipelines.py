"""Names of pipeline versions, and what `db prune` may delete."""

import threading

import pytest

from tests.store_fixtures import fill
from xner_label.entities import Prediction
from xner_label.store import pipelines, predictions
from xner_label.store.database import open_store

SIGNATURE = "xner-label/1 aligner=given projector=log-linear-corpus:64866d14db(60 tasks) labels=LOC,PER"


@pytest.fixture
def store(each_store):
    return each_store


def test_a_name_is_short_says_the_projector_and_stays(store):
    with store.write() as session:
        made = pipelines.ensure_pipeline(session, SIGNATURE)
        assert made.name.startswith("corpus-")
        assert len(made.name) == len("corpus-3f2a")
        assert pipelines.ensure_pipeline(session, SIGNATURE).id == made.id
        assert (
            pipelines.ensure_pipeline(session, "crf-20260101T000000-abcdef").name == "crf-20260101T000000-abcdef"
        )


def test_a_name_that_is_taken_gets_more_digits(store, monkeypatch):
    monkeypatch.setattr(pipelines, "_DIGITS", (1, 4))
    signatures = [f"{SIGNATURE} seed={number}" for number in range(40)]
    with store.write() as session:
        ids = pipelines.ensure_pipelines(session, signatures)
        names = pipelines.signatures_by_name(session, [])
        assert names == {}
        assert len(ids) == len(set(ids.values())) == 40
        assert {len(pipelines.find_name(session, signature)) for signature in signatures} == {8, 11}


def test_two_writers_of_a_new_version_agree(store, each_url):
    with store.write() as session:
        _, ids = fill(session)
    barrier, errors = threading.Barrier(2), []

    def write(task):
        try:
            with open_store(each_url) as other:
                barrier.wait()
                with other.write() as session:
                    predictions.add_predictions(session, [(task, Prediction("a", "x", (), 0.5, SIGNATURE))])
        except Exception as error:  # noqa: BLE001 - shown below
            errors.append(error)

    threads = [threading.Thread(target=write, args=[task]) for task in ids.values()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    with store.read() as session:
        assert predictions.count_predictions(session, 1)[pipelines.find_name(session, SIGNATURE)] == 2
