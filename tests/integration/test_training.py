"""Training, promotion and serving on the sample corpus: real store, real projection, real CRF."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import update

from tests.checkpoints import save_xlm_roberta
from tests.processes import begin
from tests.sample_store import PROJECT, prepare_sample_store
from xner_label import sample
from xner_label.checkpoints.devices import ANYWHERE, PlacementRequest
from xner_label.entities import Entity, Task
from xner_label.errors import CheckFailedError, ConfigurationError, PartialError, UsageError
from xner_label.predicting.service import Asked, PredictionService
from xner_label.predicting.with_model import load_run, predict_with_model
from xner_label.settings.table import Settings
from xner_label.store import gold, projects, runs, tables, tasks
from xner_label.store.database import open_store
from xner_label.store.labelled import labelled_tasks
from xner_label.training import data, promotion
from xner_label.training import runs as training_runs
from xner_label.training.data import DataOptions, collect, collect_dev
from xner_label.training.promotion import promote
from xner_label.training.recipes.choice import train_crf
from xner_label.training.registry import list_runs, show_run
from xner_label.training.run_files import run_folder
from xner_label.training.runs import TrainOptions, load_model, preview, train

REVIEWED = 60


def load_promoted(store, project, folder, where=ANYWHERE):
    """The promoted model as the backend opens it; None before the first promotion."""
    with store.read() as session:
        run = runs.promoted_run(session, projects.get_project(session, project).id)
    return None if run is None else load_run(run, folder, where)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A store with the sample imported and predicted, all gold of dev and test, and 60 reviewed pool tasks."""
    file = tmp_path_factory.mktemp("training") / "store.db"
    prepare_sample_store(file, REVIEWED)
    return file


@pytest.fixture
def store(prepared, tmp_path):
    copy = tmp_path / "store.db"
    shutil.copy(prepared, copy)
    with open_store(f"sqlite:///{copy}") as store:
        yield store


def run_cli(*arguments, cwd, **options):
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    command = [sys.executable, "-m", "xner_label", *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, **options)


def pool_ids(session, project):
    return [task.id for task in tasks.iterate_tasks(session, project.id, tables.Task.split == "pool")]


def annotate(session, task_id, number, entities=(), **fields):
    session.add(
        tables.Annotation(
            task_id=task_id,
            origin="studio",
            studio_annotation=number,
            regions=[],
            entities=msgspec.to_builtins(list(entities)),
            **fields,
        )
    )


def test_gold_wins_and_held_out_gold_is_never_learned(store):
    with store.read() as session:
        data = collect(session, PROJECT)
        splits = {task.id: task.split for task in tasks.iterate_tasks(session, 1)}
    learned = {item.sentence.task_id for item in data.gold}
    silver = {sentence.task_id for sentence in data.silver}
    assert len(learned) == REVIEWED
    assert not learned & silver
    assert {splits[task_id] for task_id in learned | silver} == {"pool"}
    assert {splits[item.sentence.task_id] for item in data.dev} == {"dev"}
    assert {splits[item.sentence.task_id] for item in data.test} == {"test"}
    assert data.report.gold + data.report.silver == sum(split == "pool" for split in splits.values())


def test_skipped_tasks_are_left_out_and_conflicts_named(store):
    with store.write() as session:
        project = projects.get_project(session, PROJECT)
        skipped, empty, disputed = pool_ids(session, project)[-3:]
        annotate(session, skipped, 1, [Entity(0, 1, "PER")], skipped=True)
        annotate(session, empty, 2)
        annotate(session, disputed, 3, [Entity(0, 1, "PER")])
        annotate(session, disputed, 4)
        before = collect(session, PROJECT)
    used = {item.sentence.task_id: item.entities for item in before.gold}
    assert skipped not in used
    assert skipped not in {sentence.task_id for sentence in before.silver}
    assert used[empty] == ()
    assert disputed not in used
    assert disputed not in {sentence.task_id for sentence in before.silver}
    assert before.report.skipped == 1
    exported = {item.task.id for item in labelled_tasks(store, PROJECT, gold=True, silver=True)}
    assert empty in exported
    assert not {skipped, disputed} & exported
    assert len(before.report.conflicts) == 1


def test_tokens_are_cut_where_people_saw_a_name_begin(store):
    with store.write() as session:
        project = projects.get_project(session, PROJECT)
        task_id = pool_ids(session, project)[-1]
        tokens = collect(session, PROJECT, DataOptions(pipeline=None)).silver[-1].tokens
        start, end = next(span for span in zip(tokens.starts, tokens.ends, strict=True) if span[1] - span[0] > 3)
        annotate(session, task_id, 1, [Entity(start + 1, end, "LOC")])
        gold_items = {item.sentence.task_id: item for item in collect(session, PROJECT).gold}
    cut = gold_items[task_id].sentence.tokens
    assert cut.covering(start + 1, end)[2]
    assert len(cut) == len(tokens) + 1


def test_tasks_with_the_text_of_held_out_gold_are_left_out(store):
    with store.write() as session:
        project = projects.get_project(session, PROJECT)
        held_out = next(tasks.iterate_tasks(session, project.id, tables.Task.split == "test"))
        tasks.add_tasks(session, project.id, [(Task(id="copy", text=held_out.text), "pool")])
        assert collect(session, PROJECT).report.same_text_as_held_out == 1


def test_without_dev_gold_the_same_share_is_held_out_each_time(store):
    with store.write() as session:
        session.execute(update(tables.Task).where(tables.Task.split == "dev").values(split="pool"))
        first = collect(session, PROJECT, DataOptions(dev_share=0.3))
        annotate(session, first.silver[0].task_id, 9)
        second = collect(session, PROJECT, DataOptions(dev_share=0.3))
    assert first.report.dev_is_share
    held_out = {item.sentence.task_id for item in first.dev}
    assert held_out
    assert not held_out & {item.sentence.task_id for item in first.gold}
    assert held_out <= {item.sentence.task_id for item in second.dev}


def test_train_promote_serve(store, tmp_path):
    assert load_promoted(store, PROJECT, tmp_path / "models") is None
    report = train(store, PROJECT, tmp_path / "models")
    assert report.version.startswith("crf-")
    assert report.data.gold == REVIEWED
    assert report.test is not None
    assert report.test.model.f1 > report.test.text_only.f1 > 0.3
    assert (report.test.tasks, report.dev.tasks) == (report.data.test, report.data.dev)
    assert promote(store, PROJECT, tmp_path / "models").reason == "first promotion"
    served = load_promoted(store, PROJECT, tmp_path / "models")
    assert served.version == report.version
    assert load_promoted(store, PROJECT, tmp_path / "models") is served
    task = Task(id="x", text="Rais Amina Wakesho alifika Nairobi leo.")
    (prediction,) = served.predict([task])
    assert prediction.pipeline == report.version
    assert 0 <= prediction.confidence <= 1
    for entity in prediction.entities:
        assert task.text[entity.start : entity.end] == entity.text
        assert 0 <= entity.confidence <= 1
    assert served.predict([Task(id="e", text="")])[0].entities == ()

    done = predict_with_model(store, PROJECT, tmp_path / "models")
    assert done.predicted == sum(task.split is not None for task in sample.read_sample())
    assert predict_with_model(store, PROJECT, tmp_path / "models").known == done.predicted

    again = train(store, PROJECT, tmp_path / "models")
    assert again.version != report.version
    assert again.signature == report.signature
    verdict = promote(store, PROJECT, tmp_path / "models")
    assert verdict.comparison.difference == 0
    assert load_promoted(store, PROJECT, tmp_path / "models").version == again.version
    assert not promote(store, PROJECT, tmp_path / "models").promoted


def test_gate_refuses_a_worse_run_until_forced(store, tmp_path):
    good = train(store, PROJECT, tmp_path / "models")
    promote(store, PROJECT, tmp_path / "models")
    wrong = {"PER": "LOC", "LOC": "PER", "ORG": "DATE", "DATE": "ORG"}
    settled = {str(task.id): task.entities for task in sample.read_sample()}
    with store.write() as session:  # people mix the labels up
        project = projects.get_project(session, PROJECT)
        for task in list(tasks.iterate_tasks(session, project.id, tables.Task.split == "pool")):
            mixed_up = [Entity(item.start, item.end, wrong[item.label]) for item in settled[task.external_id]]
            session.execute(tables.Annotation.__table__.delete().where(tables.Annotation.task_id == task.id))
            gold.add_imported_gold(session, {task.id: mixed_up})
    bad = train(store, PROJECT, tmp_path / "models")
    with pytest.raises(CheckFailedError, match="is worse"):
        promote(store, PROJECT, tmp_path / "models")
    assert load_promoted(store, PROJECT, tmp_path / "models").version == good.version
    assert promote(store, PROJECT, tmp_path / "models", force_reason="a test").reason == "forced: a test"
    assert load_promoted(store, PROJECT, tmp_path / "models").version == bad.version
    assert promote(store, PROJECT, tmp_path / "models", good.version).promoted
    with pytest.raises(UsageError, match=r"no model run 'v9'"):
        promote(store, PROJECT, tmp_path / "models", "v9")


def test_a_gate_without_gold_says_so(store, tmp_path):
    train(store, PROJECT, tmp_path / "models")
    promote(store, PROJECT, tmp_path / "models")
    train(store, PROJECT, tmp_path / "models")
    with store.write() as session:
        session.execute(update(tables.Task).where(tables.Task.split == "dev").values(split="pool"))
    with pytest.raises(CheckFailedError, match="no held-out gold"):
        promote(store, PROJECT, tmp_path / "models", data=DataOptions(dev_share=0))


def test_lost_or_damaged_files_are_explained(store, tmp_path):
    report = train(store, PROJECT, tmp_path / "models")
    with store.read() as session:
        run = runs.find_run(session, 1, report.version)
    assert run.metrics["test"]["model"]["f1"] == report.test.model.f1
    (Path(report.path) / "crf.json").write_text("{}")
    with pytest.raises(ConfigurationError, match="holds no CRF model"):
        load_model(run, tmp_path / "models")
    shutil.rmtree(report.path)
    with pytest.raises(ConfigurationError, match="put the folder back"):
        load_model(run, tmp_path / "models")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="can't write models"):
        train(store, PROJECT, tmp_path / "file")


def test_a_run_that_cannot_be_opened_is_never_promoted(store, tmp_path):
    good = train(store, PROJECT, tmp_path / "models")
    promote(store, PROJECT, tmp_path / "models")
    lost = train(store, PROJECT, tmp_path / "models")
    shutil.rmtree(lost.path)
    with pytest.raises(ConfigurationError, match=f"the files of {lost.version} are not in"):
        promote(store, PROJECT, tmp_path / "models", force_reason="in a hurry")
    assert load_promoted(store, PROJECT, tmp_path / "models").version == good.version


def test_runs_survive_a_move_of_their_folder(store, tmp_path):
    report = train(store, PROJECT, tmp_path / "models")
    (tmp_path / "models").rename(tmp_path / "elsewhere")
    with pytest.raises(ConfigurationError, match="to where it is"):
        promote(store, PROJECT, tmp_path / "models")
    assert promote(store, PROJECT, tmp_path / "elsewhere").promoted
    assert load_promoted(store, PROJECT, tmp_path / "elsewhere").version == report.version
    assert predict_with_model(store, PROJECT, tmp_path / "elsewhere").predicted
    with store.write() as session:  # as earlier versions recorded it
        runs.find_run(session, 1, report.version).path = str(tmp_path / "models" / report.version)
    with store.read() as session:
        run = runs.find_run(session, 1, report.version)
    assert run_folder(run, tmp_path / "elsewhere") == tmp_path / "elsewhere" / report.version
    (tmp_path / "elsewhere").rename(tmp_path / "models")
    assert run_folder(run, tmp_path / "elsewhere") == tmp_path / "models" / report.version


def test_a_promotion_during_a_comparison_is_not_overrun(store, tmp_path, monkeypatch):
    models = tmp_path / "models"
    first, second, third = (train(store, PROJECT, models) for _ in range(3))
    promote(store, PROJECT, models, first.version)
    compare = promotion.compare_runs

    def compare_and_lose(*arguments):
        monkeypatch.setattr(promotion, "compare_runs", compare)
        promote(store, PROJECT, models, second.version)
        return compare(*arguments)

    monkeypatch.setattr(promotion, "compare_runs", compare_and_lose)
    with pytest.raises(PartialError, match=f"{second.version} was promoted meanwhile"):
        promote(store, PROJECT, models, third.version)
    assert load_promoted(store, PROJECT, models).version == second.version
    report = promote(store, PROJECT, models, third.version)
    assert (report.previous, report.promoted) == (second.version, True)


def test_what_training_says_is_not_taken_for_an_unwritable_folder(store, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("the tokenizer can't be read")

    monkeypatch.setattr(training_runs, "train_crf", fail)
    with pytest.raises(OSError, match="the tokenizer can't be read"):
        train(store, PROJECT, tmp_path / "models")
    assert list((tmp_path / "models").iterdir()) == []


def test_a_promotion_reads_no_silver(store, tmp_path, monkeypatch):
    models = tmp_path / "models"
    first, second = (train(store, PROJECT, models) for _ in range(2))
    promote(store, PROJECT, models, first.version)
    with store.read() as session:
        everything = collect(session, PROJECT)
        tokenised = []
        to_sentence = data.to_sentence
        monkeypatch.setattr(data, "to_sentence", lambda *args: tokenised.append(1) or to_sentence(*args))
        dev = collect_dev(session, PROJECT)
    assert [(item.sentence.task_id, item.sentence.silver, item.entities) for item in dev] == [
        (item.sentence.task_id, item.sentence.silver, item.entities) for item in everything.dev
    ]
    assert len(tokenised) == len(everything.dev)
    assert promote(store, PROJECT, models, second.version).promoted


def test_without_gold_a_projection_stands_as_it_is(store, tmp_path):
    with store.write() as session:
        data = collect(session, PROJECT)
    model = train_crf(msgspec.structs.replace(data, gold=[]))
    projected = next(sentence for sentence in data.silver if sentence.silver)
    (answer,) = model.predict([projected])
    assert [(item.start, item.end, item.label) for item in answer.entities] == [
        (item.start, item.end, item.label) for item in projected.silver
    ]
    (unprojected,) = model.predict([msgspec.structs.replace(projected, silver=None)])
    assert 0 < unprojected.confidence < 1


@pytest.mark.models
def test_a_fine_tuned_checkpoint_is_registered_and_served_like_a_crf(store, tmp_path):
    checkpoint = save_xlm_roberta(tmp_path / "checkpoint", layers=1)
    url = store.engine.url.render_as_string()
    few = ["--epochs", "1", "--silver-epochs", "1", "--learning-rate", "1e-3", "--batch-size", "32", "--seed", "3"]
    done = run_cli("train", "--database-url", url, "--model", str(checkpoint), *few, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["version"].startswith("transformers-")
    promote(store, PROJECT, tmp_path / "models")
    served = load_promoted(store, PROJECT, tmp_path / "models")
    assert served.version == report["version"]
    (prediction,) = served.predict([Task(id=1, text="Rais alifika Nairobi.")])
    assert prediction.pipeline == report["version"]
    assert load_promoted(store, PROJECT, tmp_path / "models", PlacementRequest("cpu")).version == served.version
    # the device of the settings reaches training, the comparison and the model that is served
    again = run_cli(
        *("train", "--database-url", url, "--model", str(checkpoint), "--device", "cpu", *few), cwd=tmp_path
    )
    assert again.returncode == 0, again.stderr
    first, second = (
        show_run(store, PROJECT, tmp_path / "models", run.version) for run in list_runs(store, PROJECT)
    )
    assert (first.metrics, first.artefact) == (second.metrics, second.artefact)
    for command in (["train", "--model", str(checkpoint)], ["promote"], ["predict", "--with-model"]):
        settings = tmp_path / "elsewhere.toml"
        settings.write_text('[models]\ndevice = "cuda:77"\n')
        done = run_cli(*command, "--database-url", url, "--config", str(settings), cwd=tmp_path)
        assert (done.returncode, "'cuda:77' can't be used here" in done.stderr) == (3, True), done.stderr
    settings = Settings(project=PROJECT, device="cuda:77", training_folder=str(tmp_path / "models"))
    with pytest.raises(ConfigurationError, match="'cuda:77' can't be used here"):
        PredictionService(store, settings).predict([Asked("Rais alifika Mombasa.")])


def test_nothing_to_learn_from_is_explained(store):
    with store.write() as session:
        projects.ensure_project(session, "empty", ["PER"])
    with pytest.raises(UsageError, match="nothing to learn from"):
        train(store, "empty", Path("never-made"))
    with pytest.raises(UsageError, match="no model run"):
        promote(store, "empty", Path("never-made"))
    assert preview(store, "empty", TrainOptions()).gold == 0
    assert not Path("never-made").exists()


def test_silver_alone_trains_a_model_too(store, tmp_path):
    with store.write() as session:
        session.execute(tables.Annotation.__table__.delete())
    report = train(store, PROJECT, tmp_path / "models")
    assert (report.data.gold, report.dev, report.test) == (0, None, None)
    promote(store, PROJECT, tmp_path / "models")
    assert load_promoted(store, PROJECT, tmp_path / "models") is not None


def test_killed_training_registers_nothing(store, tmp_path):
    url = store.engine.url.render_as_string()
    root = Path(__file__).parents[2]
    process = begin(
        [sys.executable, "-m", "xner_label", "train", "--database-url", url, "--training-folder", "m"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root)},
        stderr=subprocess.PIPE,
    )
    assert b"training on" in process.stderr.readline()
    time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stderr.close()
    with store.read() as session:
        for run in runs.model_runs(session, 1):  # killed too late: then it must be whole
            load_model(run, tmp_path / "m")


def test_commands(store, tmp_path):
    url = store.engine.url.render_as_string()
    common = ["--database-url", url]
    dry = run_cli("train", *common, "--dry-run", "--json", cwd=tmp_path)
    assert json.loads(dry.stdout)["gold"] == REVIEWED
    assert "judged by" in run_cli("train", *common, "--dry-run", cwd=tmp_path).stdout
    assert not (tmp_path / "models").exists()
    trained = run_cli("train", *common, "--json", cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    report = json.loads(trained.stdout)
    assert Path(report["path"]).parent == tmp_path / "models"
    table = run_cli("train", *common, cwd=tmp_path)
    assert "silver alone" in table.stdout
    promoted = run_cli("promote", *common, "--run", report["version"], "--json", cwd=tmp_path)
    assert json.loads(promoted.stdout)["promoted"] is True
    predicted = run_cli("predict", *common, "--with-model", "--json", cwd=tmp_path)
    assert json.loads(predicted.stdout)["version"] == report["version"]
    assert run_cli("promote", *common, "--force", cwd=tmp_path).returncode == 2
    assert run_cli("train", *common, "--epochs", "3", cwd=tmp_path).returncode == 2
    assert run_cli("promote", *common, cwd=tmp_path).returncode == 0
