"""Which projector `predict` asks: corpus mode where it can, else task by task."""

from __future__ import annotations

import msgspec
import pytest

from xner_label import sample
from xner_label.predicting.predictor import Predictor
from xner_label.projection.loglinear.weights_file import Weights
from xner_label.settings.table import Settings
from xner_label.store import migrating, projects, tasks
from xner_label.store.database import open_store


@pytest.fixture
def store(tmp_path):
    with open_store(f"sqlite:///{tmp_path / 'store.db'}", check=False) as store:
        migrating.upgrade(store)
        with store.write() as session:
            project = projects.ensure_project(session, "default", sample.LABELS)
            tasks.add_tasks(session, project.id, [(task, "pool") for task in sample.read_sample(split="dev")])
        yield store


def projector_of(store, **options):
    """The projector in the signature that the stored predictions have."""
    report = Predictor(store, Settings(aligner="none", **options)).predict_project()
    assert report.predicted == len(sample.read_sample(split="dev"))
    (part,) = [part for part in report.pipeline.split() if part.startswith("projector=")]
    return part.removeprefix("projector=").split(":")[0]


def test_the_tasks_of_a_project_inform_each_other(store):
    assert projector_of(store) == "log-linear-corpus"


def test_too_many_tasks_are_predicted_one_by_one(store):
    assert projector_of(store, corpus_limit=10) == "log-linear"


def test_weights_without_corpus_mode_serve_task_by_task(store, tmp_path):
    file = tmp_path / "weights.json"
    file.write_bytes(msgspec.structs.replace(Weights.load(), rounds=()).dump())
    assert projector_of(store, projector_weights=str(file)) == "log-linear"
