"""The promoted run as the target tagger of fused projection."""

from dataclasses import replace

import pytest

from tests.sample_store import PROJECT, prepare_sample_store
from xner_label.errors import UsageError
from xner_label.predicting.predictor import Predictor
from xner_label.settings.table import Settings
from xner_label.store import predictions, projects, tasks
from xner_label.store.database import open_store
from xner_label.training.promotion import promote
from xner_label.training.runs import train


def test_a_run_gives_the_ner_scores_of_a_project(tmp_path):
    file = tmp_path / "store.db"
    prepare_sample_store(file, 60)
    settings = Settings(
        database_url=f"sqlite:///{file}",
        training_folder=str(tmp_path / "models"),
        aligner="none",
        projector="ner-spans",
        target_tagger="run",
    )
    with open_store(f"sqlite:///{file}") as store:
        with pytest.raises(UsageError, match="none is promoted"):
            Predictor(store, settings).predict_project()
        version = train(store, PROJECT, tmp_path / "models").version
        promote(store, PROJECT, tmp_path / "models")
        report = Predictor(store, settings).predict_project()
        assert report.predicted > 300
        assert not report.left_out
        with store.read() as session:
            project = projects.get_project(session, PROJECT)
            ids = tasks.task_ids(session, project.id)
            predicted = predictions.of_tasks(session, ids, report.version)
            assert sum(len(item.entities) for item in predicted.values()) > 100
            assert f"target-tagger=run:{version}" in project.pipeline.signature
        crf = next((tmp_path / "models").glob("crf-*/mixed.crf"))
        again = Predictor(store, replace(settings, target_tagger=str(crf))).predict_project()
        assert again.version != report.version
