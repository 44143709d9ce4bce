"""Names of pipeline versions, and what `db prune` may delete."""

import gzip
import threading
from datetime import timedelta

import msgspec
import pytest
from sqlalchemy import delete, func, select, update

from tests.store_fixtures import count_rows, fill
from xner_label.entities import Prediction, ProjectedEntity, Task
from xner_label.errors import UsageError
from xner_label.store import pipelines, predictions, projects, pruning, reviews, runs, tables, tasks
from xner_label.store.archiving import ArchivedPrediction
from xner_label.store.database import open_store
from xner_label.store.pruning import prune
from xner_label.store.stages import add_stage_results

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


@pytest.fixture
def pruned(store):
    """Predictions by two old pipelines and the current one; one old one was pushed, one was corrected."""
    old = "xner-label/1 tagger=crf:1 aligner=eflomal:1 projector=log-linear labels=LOC"
    current = "xner-label/1 tagger=crf:2 aligner=eflomal:1 projector=log-linear labels=LOC"
    with store.write() as session:
        project = projects.ensure_project(session, "default", ["LOC"])
        tasks.add_tasks(session, project.id, [(Task(id=str(n), text="Kenya"), "pool") for n in range(5)])
        for role, signature in (("tagger", "crf:1"), ("tagger", "crf:2"), ("aligner", "eflomal:1")):
            add_stage_results(session, role, signature, [(n, "f", {"x": role}) for n in range(1, 6)])
        entity = ProjectedEntity(0, 5, "LOC", "Kenya", 1.0, 0.5)
        for signature in ("first", old, current):
            made = [(n, Prediction(str(n), "Kenya", (entity,), 0.5, signature)) for n in range(1, 6)]
            predictions.add_predictions(session, made)
        project.pipeline = pipelines.ensure_pipeline(session, current)
        by_task = predictions.of_tasks(session, [1, 2, 3], pipelines.find_name(session, old))
        reviews.add_batch(session, project.id, "confidence", [(1, by_task[1].id)])
        annotation = tables.Annotation(
            task_id=2,
            origin="studio",
            studio_annotation=1,
            studio_updated_at=tables.utc_now(),
            regions=[],
            entities=[],
            corrections=[tables.Correction(projected_entity_id=by_task[2].entities[0].id, kind="removed")],
        )
        session.add(annotation)
    return store


def test_pruning_says_first_and_then_deletes_what_nobody_needs(pruned):
    with pruned.read() as session:
        before = count_rows(session)
        names = {row.signature: row.name for row in session.scalars(select(tables.PipelineVersion))}
    (old,) = (name for signature, name in names.items() if "crf:1" in signature)
    plan = prune(pruned, dry_run=True)
    assert plan.predictions == {"first": 5, old: 3}
    assert (plan.kept, plan.deleted, plan.stage_results) == (2, False, {})
    with pruned.read() as session:
        assert count_rows(session) == before
    done = prune(pruned, dry_run=False)
    assert (done.predictions, done.kept, done.deleted) == (plan.predictions, 2, True)
    with pruned.read() as session:
        after = count_rows(session)
        assert "first" not in session.scalars(select(tables.PipelineVersion.name)).all()
    assert after == before | {
        "predictions": before["predictions"] - 8,
        "projected_entities": before["projected_entities"] - 8,
        "pipelines": before["pipelines"] - 1,
    }
    assert prune(pruned, dry_run=False).predictions == {}


def test_old_predictions_are_in_a_file_before_they_go(pruned, tmp_path):
    path = tmp_path / "old.jsonl.gz"
    with pruned.read() as session:
        everything = {
            (made.pipeline.signature, made.task_id): predictions.to_record(
                session.get(tables.Task, made.task_id), made
            )
            for made in session.scalars(select(tables.Prediction))
        }
    assert prune(pruned, dry_run=True, archive_path=path).archive is None
    yesterday = tables.utc_now() - timedelta(days=1)
    assert prune(pruned, dry_run=False, before=yesterday, archive_path=path).predictions == {}
    assert gzip.decompress(path.read_bytes()) == b""
    with pytest.raises(UsageError, match="is there already"):
        prune(pruned, dry_run=False, archive_path=path)
    path.unlink()
    with pytest.raises(UsageError, match="can't write"):
        prune(pruned, dry_run=False, archive_path=tmp_path / "none" / "old.jsonl.gz")
    with pruned.read() as session:
        assert session.scalar(select(func.count()).select_from(tables.Prediction)) == 15
    report = prune(pruned, dry_run=False, archive_path=path)
    assert report.archive == str(path)
    lines = gzip.decompress(path.read_bytes()).splitlines()
    assert len(lines) == sum(report.predictions.values()) == 8
    for line in lines:
        record = msgspec.json.decode(line, type=ArchivedPrediction)
        assert (record.project, record.version in report.predictions) == ("default", True)
        known = msgspec.json.decode(line, type=Prediction)
        assert known == everything.pop((known.pipeline, int(known.id) + 1))
    with pruned.read() as session:
        assert session.scalar(select(func.count()).select_from(tables.Prediction)) == len(everything) == 7
    assert [each.name for each in tmp_path.iterdir() if each.suffix == ".part"] == []


def test_what_was_deleted_before_a_kill_is_in_the_file(pruned, tmp_path, monkeypatch):
    """It stops between two batches, as a kill does; the next run goes on with another file."""
    monkeypatch.setattr(pruning, "_BATCH", 3)
    real, calls = pruned.write, []

    def stopping():
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real()

    monkeypatch.setattr(pruned, "write", stopping)
    with pytest.raises(KeyboardInterrupt):
        prune(pruned, dry_run=False, archive_path=tmp_path / "1.gz")
    monkeypatch.setattr(pruned, "write", real)
    assert sum(prune(pruned, dry_run=False, archive_path=tmp_path / "2.gz").predictions.values()) == 5
    archived = [
        {(record["pipeline"], record["id"]) for record in map(msgspec.json.decode, lines.splitlines())}
        for lines in (gzip.decompress((tmp_path / name).read_bytes()) for name in ("1.gz", "2.gz"))
    ]
    assert [len(records) for records in archived] == [8, 5]
    assert archived[1] < archived[0]


def test_results_of_a_stage_go_with_the_last_pipeline_that_needs_them(pruned):
    with pruned.write() as session:
        session.execute(update(tables.ReviewItem).values(prediction_id=None))
        session.execute(delete(tables.Correction))
        past = tables.utc_now() - timedelta(days=1)
        session.execute(update(tables.StageResult).values(created_at=past))
    plan = prune(pruned, dry_run=True)
    assert plan.stage_results == {"tagger=crf:1": 5}
    assert prune(pruned, dry_run=False).stage_results == {"tagger=crf:1": 5}
    with pruned.read() as session:
        kept = session.scalars(select(tables.StageVersion.signature).join(tables.StageResult)).all()
    assert sorted(kept) == ["crf:2"] * 5 + ["eflomal:1"] * 5


def test_results_newer_than_the_current_pipeline_stay(pruned):
    with pruned.write() as session:
        add_stage_results(session, "translator", "nllb", [(1, "f", {"source": "of a run that was interrupted"})])
    assert "translator=nllb" not in prune(pruned, dry_run=True).stage_results


def test_the_promoted_runs_predictions_stay(pruned):
    with pruned.write() as session:
        counts = {"gold_tasks": 1, "silver_tasks": 1, "config": {}, "metrics": {}}
        run = tables.ModelRun(project_id=1, version="first", kind="crf", path="first", **counts)
        session.add(run)
        session.flush()
        runs.promote(session, run, "better", "lead")
    assert "first" not in prune(pruned, dry_run=True).predictions
