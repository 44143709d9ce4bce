"""Texts that come without a source: answered from the text alone once held-out gold says that this is better."""

import dataclasses
import logging

import numpy as np
import pytest
from click.testing import CliRunner
from sqlalchemy import update

from tests.sample_store import PROJECT, prepare_sample_store
from xner_label import sample
from xner_label.cli.main import cli
from xner_label.entities import Task
from xner_label.evaluation.text_alone import MIN_TASKS, judge_text_alone
from xner_label.predicting.annotating import Annotator
from xner_label.predicting.service import Asked, PredictionService
from xner_label.predicting.with_model import load_run, predict_with_model
from xner_label.settings.table import Settings
from xner_label.store import predictions, projects, runs, tables, tasks
from xner_label.store.database import open_store
from xner_label.store.stages import ensure_stage
from xner_label.training.promotion import promote
from xner_label.training.runs import train

WRONG = {"PER": "LOC", "LOC": "PER", "ORG": "DATE", "DATE": "ORG"}
TEXT = "Rais Amina Wakesho alifika Nairobi leo."


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A store in which a translator made the sources of half of the dev tasks, whose projections are wrong, with a
    promoted run."""
    folder = tmp_path_factory.mktemp("alone")
    prepare_sample_store(folder / "store.db", 15)  # too few for a student
    with open_store(f"sqlite:///{folder / 'store.db'}") as store:
        with store.write() as session:
            project = projects.get_project(session, PROJECT)
            translator = ensure_stage(session, "translator", "a translator")
            dev = tasks.task_ids(session, project.id, tables.Task.split == "dev")[::2]
            session.execute(update(tables.Task).where(tables.Task.id.in_(dev)).values(translator_id=translator))
            for prediction in predictions.of_tasks(session, dev, project.pipeline.name).values():
                for entity in prediction.entities:
                    entity.label, entity.confidence = WRONG[entity.label], 0.99
        train(store, PROJECT, folder / "models")
        promote(store, PROJECT, folder / "models")
    return folder


@pytest.fixture
def settings(folder):
    """A translator is configured that can't be opened: whoever asks for it is found out."""
    return Settings(
        database_url=f"sqlite:///{folder / 'store.db'}",
        labels=sample.LABELS,
        training_folder=str(folder / "models"),
        aligner="none",
        projector="string",
        translator="transformers",
        translator_model=str(folder / "missing"),
    )


@pytest.fixture
def store(settings):
    with open_store(settings.database_url) as store:
        yield store


def counts(alone, beside, tasks):
    """(S, 6) counts where so many of four entities are right in each task."""
    return np.tile([alone, 4, 4, beside, 4, 4], (tasks, 1)).astype(float)


@pytest.mark.parametrize(
    ("alone", "beside", "chosen"), [(3, 2, True), (2, 3, False), (3, 3, False)], ids=["better", "worse", "same"]
)
def test_the_text_alone_has_to_be_better(alone, beside, chosen):
    judged = judge_text_alone(counts(alone, beside, MIN_TASKS), "given")
    assert judged.chosen is chosen
    assert (judged.f1, judged.with_projection_f1) == (alone / 4, beside / 4)


def test_few_tasks_say_nothing():
    assert judge_text_alone(counts(4, 0, MIN_TASKS - 1), "translated") is None
    assert judge_text_alone(np.zeros((0, 6)), "given") is None


def test_the_choice_is_recorded_and_shown(folder, store):
    with store.read() as session:
        run = runs.promoted_run(session, 1)
    measured = run.metrics["text_alone"]
    assert (measured["sources"], measured["chosen"]) == ("translated", True)
    assert measured["f1"] > measured["with_projection_f1"]
    url = ["--database-url", store.engine.url.render_as_string()]
    for command in (["status"], ["runs", "show", run.version, "--training-folder", str(folder / "models")]):
        assert "from the text alone: F1" in CliRunner().invoke(cli, [*command, *url]).stdout


@pytest.mark.parametrize(("choice", "translates"), [("auto", False), ("text", False), ("projection", True)])
def test_nothing_is_translated_that_is_better_answered_alone(store, settings, choice, translates, caplog):
    settings = dataclasses.replace(settings, without_source=choice)
    (answer,) = Annotator(store, settings).annotate([Task(id=1, text=TEXT)])
    assert answer.entities
    assert bool(answer.note and "not projected" in answer.note) is translates
    with caplog.at_level(logging.WARNING):
        (unstored,) = PredictionService(store, settings).predict([Asked(f"{choice}: {TEXT}")])
        stored = PredictionService(store, dataclasses.replace(settings, backend_store_asked="always"))
        (kept,) = stored.predict([Asked(f"Kisha {choice}: {TEXT}")])
    assert all(each.prediction.entities for each in (unstored, kept))
    warned = [record for record in caplog.records if "no projection for the model" in record.getMessage()]
    assert len(warned) == (2 if translates else 0)


def test_stored_tasks_follow_the_choice(folder, store):
    with store.read() as session:
        run = runs.promoted_run(session, 1)
        translated = tasks.task_ids(session, 1, tables.Task.translator_id.is_not(None))
        rows = tasks.by_ids(session, translated)
    asked = [Task(id=row.external_id, text=row.text) for row in rows]
    alone = load_run(run, folder / "models").predict(asked)

    def labels(choice):
        predict_with_model(store, PROJECT, folder / "models", without_source=choice)
        with store.write() as session:
            made = predictions.of_tasks(session, translated, run.version)
            said = [[(item.start, item.end, item.label) for item in made[row.id].entities] for row in rows]
            for prediction in made.values():
                session.delete(prediction)
        return said

    by_text = [[(item.start, item.end, item.label) for item in each.entities] for each in alone]
    assert labels("auto") == by_text
    assert labels("text") == by_text
    assert labels("projection") != by_text
