"""The registry: which annotations made a model, what may be served, and what a kill leaves behind."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import delete, select

from tests.processes import begin
from tests.sample_store import PROJECT, prepare_sample_store
from tests.soak import rounds
from xner_label import sample
from xner_label.entities import Entity
from xner_label.errors import CheckFailedError, StoreUnavailableError, UsageError
from xner_label.store import gold, predictions, projects, runs, tables, tasks
from xner_label.store.database import open_store
from xner_label.training.data import DataOptions, collect_dev
from xner_label.training.promotion import promote
from xner_label.training.registry import diff_runs, list_runs, rollback, show_run
from xner_label.training.run_files import RunFiles, hash_of_files
from xner_label.training.runs import TRAINING, TrainOptions, load_model, new_gold, train

REVIEWED = 60
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    file = tmp_path_factory.mktemp("registry") / "store.db"
    prepare_sample_store(file, REVIEWED)
    return file


@pytest.fixture
def store(prepared, tmp_path):
    (tmp_path / "store.db").write_bytes(prepared.read_bytes())
    with open_store(f"sqlite:///{tmp_path / 'store.db'}") as store:
        yield store


@pytest.fixture
def models(tmp_path):
    return tmp_path / "models"


def answer(session, task_id, number, entities, annotator, day):
    moment = datetime(2026, 3, day, tzinfo=UTC)
    session.add(
        tables.Annotation(
            task_id=task_id,
            origin="studio",
            studio_annotation=number,
            studio_updated_at=moment,
            annotator=annotator,
            regions=[],
            entities=msgspec.to_builtins(list(entities)),
        )
    )


def unreviewed_pool(session):
    project = projects.get_project(session, PROJECT)
    settled = {item.task.id for item in gold.gold_of(session, project.id)}
    every = tasks.iterate_tasks(session, project.id, tables.Task.split == "pool")
    return [task for task in every if task.id not in settled]


def review(store, annotator, how, count=40, day=1):
    """Answers of one person to unreviewed tasks; ``how`` makes them of the gold."""
    truth = {str(task.id): task.entities for task in sample.read_sample()}
    with store.write() as session:
        for number, task in enumerate(unreviewed_pool(session)[:count], day * 1000):
            answer(session, task.id, number, how(truth[task.external_id]), annotator, day)


def flipped(entities):
    wrong = {"PER": "LOC", "LOC": "PER", "ORG": "DATE", "DATE": "ORG"}
    return [Entity(item.start, item.end, wrong[item.label]) for item in entities]


def served(store):
    return next(run.version for run in list_runs(store, PROJECT) if run.served)


def test_a_run_knows_which_annotations_made_it(store, models):
    assert list_runs(store, PROJECT) == []
    first = train(store, PROJECT, models).version
    review(store, "amina", tuple, 3, day=1)
    review(store, "juma", tuple, 2, day=2)
    second = train(store, PROJECT, models).version
    details = show_run(store, PROJECT, models, second)
    said = {(item.annotator, item.date): item.annotations for item in details.learned_from}
    assert (said["amina", "2026-03-01"], said["juma", "2026-03-02"]) == (3, 2)
    assert sum(count for (who, _), count in said.items() if who == "import") == REVIEWED
    assert details.config["data_hash"]
    assert details.files == "whole"
    difference = diff_runs(store, PROJECT, first, second)
    assert {item.annotator for item in difference.annotations_added} == {"amina", "juma"}
    assert difference.annotations_gone == []
    assert difference.changed["data.gold"] == (REVIEWED, REVIEWED + 5)
    assert set(difference.f1) >= {"dev model", "test text_only"}
    next((models / second).glob("*.crf")).write_bytes(b"something else")
    assert show_run(store, PROJECT, models, second).files == "changed"
    with pytest.raises(UsageError, match="no model run 'v9'"):
        show_run(store, PROJECT, models, "v9")


def test_the_same_data_make_the_same_files(store, models):
    first, second = (train(store, PROJECT, models) for _ in range(2))
    hashes = {run.artefact for run in (show_run(store, PROJECT, models, r.version) for r in (first, second))}
    assert len(hashes) == 1
    assert first.signature == second.signature
    assert hash_of_files(Path(first.path)) in hashes
    changed = diff_runs(store, PROJECT, first.version, second.version).changed
    assert changed == {}
    # in a process of its own, where sets have another order
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "1"}
    url = store.engine.url.render_as_string()
    command = [sys.executable, "-m", "xner_label", "train", "--database-url", url]
    subprocess.run(command, cwd=models.parent, env=environment, check=True, capture_output=True)
    third = list_runs(store, PROJECT)[-1].version
    assert show_run(store, PROJECT, models, third).artefact in hashes


def test_promotions_and_rollbacks_say_who_and_why(store, models):
    first, second, third = (train(store, PROJECT, models).version for _ in range(3))
    with pytest.raises(UsageError, match="no run was served before"):
        rollback(store, PROJECT, models, "nothing there")
    for version in (first, second, third):
        promote(store, PROJECT, models, version, by="amina")
    assert rollback(store, PROJECT, models, "odd towns", "juma") == (third, second)
    assert rollback(store, PROJECT, models, "odder towns", "juma") == (second, first)
    assert served(store) == first
    with pytest.raises(UsageError, match="no run was served before"):
        rollback(store, PROJECT, models, "further", "juma")
    promote(store, PROJECT, models, third, by="amina")
    assert rollback(store, PROJECT, models, "again", "juma") == (third, first)
    records = show_run(store, PROJECT, models, first).promotions
    assert [(record.by, record.reason) for record in records][1:] == [
        ("juma", f"rollback from {second}: odder towns"),
        ("juma", f"rollback from {third}: again"),
    ]
    assert records[0].by == "amina"


def test_a_poisoned_annotator_cannot_lower_the_served_model(store, models):
    good = train(store, PROJECT, models).version
    promote(store, PROJECT, models)
    review(store, "mallory", flipped, 400)
    bad = train(store, PROJECT, models).version
    with pytest.raises(CheckFailedError):
        promote(store, PROJECT, models)
    assert served(store) == good
    blamed = {item.annotator for item in diff_runs(store, PROJECT, good, bad).annotations_added}
    assert blamed == {"mallory"}


def test_whoever_answers_what_judges_wrongly_too_cannot_lower_the_served_model(store, models):
    """Without a dev split a share of the reviewed tasks judges; most of it is then of the annotator who lies."""
    share = DataOptions(dev_share=0.4)
    with store.write() as session:
        session.execute(delete(tables.Task).where(tables.Task.split == "dev"))
    review(store, "amina", tuple, 60, day=1)
    good = train(store, PROJECT, models, TrainOptions(share)).version
    promote(store, PROJECT, models, data=share)
    review(store, "mallory", flipped, 400, day=2)
    bad = train(store, PROJECT, models, TrainOptions(share)).version
    with store.read() as session:
        dev = collect_dev(session, PROJECT, share)
    assert sum(item.people == ("mallory",) for item in dev) > len(dev) / 2
    with pytest.raises(CheckFailedError, match=r"worse by more than 0\.02 on the answers by amina .*, import "):
        promote(store, PROJECT, models, data=share)
    assert served(store) == good
    assert {item.annotator for item in diff_runs(store, PROJECT, good, bad).annotations_added} == {"mallory"}


def test_poisoned_silver_cannot_lower_the_served_model(store, models):
    good = train(store, PROJECT, models).version
    promote(store, PROJECT, models)
    with store.write() as session:
        wrong = {"PER": "LOC", "LOC": "PER", "ORG": "DATE", "DATE": "ORG"}
        ids = [task.id for task in unreviewed_pool(session)]
        project = projects.get_project(session, PROJECT)
        for prediction in predictions.of_tasks(session, ids, project.pipeline.name).values():
            for entity in prediction.entities:
                entity.label, entity.confidence = wrong[entity.label], 0.99
    train(store, PROJECT, models)
    with suppress(CheckFailedError):  # a model that learned what to make of such silver may be served
        promote(store, PROJECT, models)
    scores = [show_run(store, PROJECT, models, version).metrics["test"] for version in (good, served(store))]
    for system in ("model", "text_only"):
        assert scores[1][system]["f1"] >= scores[0][system]["f1"] - 0.02


def test_no_type_is_given_up_for_the_others(store, models):
    train(store, PROJECT, models)
    good = served_after_promotion(store, models)
    review(store, "forgetful", lambda entities: [item for item in entities if item.label != "PER"], 400)
    train(store, PROJECT, models)
    with pytest.raises(CheckFailedError, match=r"PER|is worse: "):
        promote(store, PROJECT, models)
    assert served(store) == good


def served_after_promotion(store, models):
    return promote(store, PROJECT, models).version


def test_trainings_may_wait_for_new_gold(store, models):
    assert new_gold(store, PROJECT) == REVIEWED
    train(store, PROJECT, models)
    assert new_gold(store, PROJECT) == 0
    review(store, "amina", tuple, 3)
    assert new_gold(store, PROJECT) == 3
    with store.write() as session:  # somebody changes an answer
        row = session.scalars(select(tables.Annotation).where(tables.Annotation.annotator == "amina")).first()
        answer(session, row.task_id, row.studio_annotation, [], "amina", 9)
    assert new_gold(store, PROJECT) == 3
    train(store, PROJECT, models)
    assert new_gold(store, PROJECT) == 0


def test_two_trainings_of_a_project_never_collide(store, models):
    with store.exclusively(f"{TRAINING} {PROJECT!r}"):
        with pytest.raises(StoreUnavailableError, match="another process is training"):
            train(store, PROJECT, models)
        with store.exclusively(f"{TRAINING} 'another'"):
            pass
    assert train(store, PROJECT, models).version


@pytest.mark.postgres
def test_postgresql_keeps_two_trainings_apart_too(postgres_url):
    with open_store(postgres_url, check=False) as first, open_store(postgres_url, check=False) as second:
        with first.exclusively("training"), pytest.raises(StoreUnavailableError), second.exclusively("training"):
            pass
        with second.exclusively("training"):
            pass


def test_what_a_killed_training_left_is_removed_and_others_stay(store, models):
    files = RunFiles(models, store.url, PROJECT)
    others = RunFiles(models, store.url, "another")
    for owner in (files, others):
        with owner.workspace() as workspace:
            left = models / workspace.name.replace("unfinished-", "unfinished-", 1)
            leftover = models / f"{workspace.name}x"
            leftover.mkdir()
            assert left.is_dir()
    (models / "crf-half").mkdir()
    (models / "crf-half" / "unrecorded").write_text(files._owner)
    (models / "crf-theirs").mkdir()
    (models / "crf-theirs" / "unrecorded").write_text(others._owner)
    report = train(store, PROJECT, models)
    (models / report.version / "unrecorded").write_text(files._owner)  # killed just after it was recorded
    again = train(store, PROJECT, models)
    names = {path.name for path in models.iterdir()}
    assert {report.version, again.version, "crf-theirs"} <= names
    assert len(names) == 4
    assert not (models / report.version / "unrecorded").exists()


def run_of(store, version):
    with store.read() as session:
        return runs.find_run(session, 1, version)


@pytest.mark.soak
def test_kills_leave_no_half_run(store, models, tmp_path):
    """Kills at random moments of a training: twice in CI, 50 times in the long form."""
    arguments = ["-m", "xner_label", "train", "--database-url", store.engine.url.render_as_string()]
    command = [sys.executable, *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    begun = time.monotonic()
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
    whole = time.monotonic() - begun
    good = promote(store, PROJECT, models).version
    kills, killed = rounds(2), 0
    for number in range(kills):
        process = begin(
            command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(whole * (0.3 + 0.75 * (number + random.random()) / kills))
        killed += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        for run in list_runs(store, PROJECT):
            details = show_run(store, PROJECT, models, run.version)
            assert details.files == "whole"
            assert details.run.served == (run.version == good)
            load_model(run_of(store, run.version), models)
    print(f"{killed} of {kills} trainings were killed, {len(list_runs(store, PROJECT)) - 1} runs recorded")
    report = train(store, PROJECT, models)
    listed = {run.version for run in list_runs(store, PROJECT)}
    assert report.version in listed
    assert {path.name for path in models.iterdir()} == listed
    with store.read() as session:
        learned = session.scalars(select(tables.LearnedAnnotation.model_run_id).distinct())
        assert set(learned) == {run.id for run in runs.model_runs(session, 1)}


def test_commands(store, models, tmp_path):
    url = store.engine.url.render_as_string()
    versions = [train(store, PROJECT, models).version for _ in range(2)]
    promote(store, PROJECT, models, versions[0])
    promote(store, PROJECT, models, versions[1])

    def run(*arguments):
        command = [sys.executable, "-m", "xner_label", *arguments, "--database-url", url]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)

    assert "  served" in run("runs", "list").stdout.splitlines()[1]
    shown = run("runs", "show", versions[1]).stdout
    assert f"{REVIEWED:>6} by import on " in shown
    assert "no difference" not in run("runs", "diff", *versions).stdout
    done = run("rollback", "--reason", "a test", "--by", "amina", "--json").stdout
    assert json.loads(done) == {"before": versions[1], "after": versions[0]}
