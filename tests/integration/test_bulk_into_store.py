"""Bulk prediction into a store: the same rows whatever stops it, and however many processes make them."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import func, select

from tests.integration.test_bulk import actors_of, lines, predicted, run, task
from tests.processes import LIMIT, begin
from tests.soak import rounds
from xner_label.bulk.options import BulkOptions
from xner_label.bulk.prediction import StoredBulkReport, predict_files_into_store
from xner_label.cli.main import cli
from xner_label.entities import Prediction
from xner_label.errors import PartialError, UsageError
from xner_label.predicting.predictor import Predictor
from xner_label.settings.table import Settings
from xner_label.store import migrating, predictions, projects, tables
from xner_label.store.checking import check_store
from xner_label.store.database import open_store

LABELS = ("PER", "LOC")
SETTINGS = Settings(tagger="given", aligner="none", labels=LABELS, corpus_limit=0)


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    path = tmp_path / "tasks.jsonl"
    path.write_bytes(lines([task(number) for number in range(300)]))
    return path


@pytest.fixture
def url(each_url: str) -> str:
    with open_store(each_url, check=False) as store:
        migrating.upgrade(store)
    return each_url


def into(url: str, files: Sequence[Path], size: int = 40, **more: Any) -> StoredBulkReport:
    return predict_files_into_store(
        replace(SETTINGS, database_url=url), files, BulkOptions(part_size=size), **more
    )


def stored(url: str) -> dict[str, Prediction]:
    """Everything that was predicted, by external id."""
    with open_store(url) as store, store.read() as session:
        names = session.scalars(select(tables.PipelineVersion.name)).all()
        pairs = [pair for name in names for pair in predictions.predictions_of(session, 1, name)]
        count = session.scalar(select(func.count()).select_from(tables.Prediction))
        assert count == len({task.id for task, _ in pairs}) == len(pairs)
        return {task.external_id: predictions.to_record(task, prediction) for task, prediction in pairs}


def test_it_stores_what_import_and_predict_store(url: str, tasks: Path, tmp_path: Path) -> None:
    report = into(url, [tasks])
    assert (report.predicted, report.rejected, report.made) == (300, 0, report.batches)
    run([tasks], tmp_path / "parts")
    rows = stored(url)
    for row in predicted(tmp_path / "parts"):
        assert [(entity["start"], entity["end"], entity["confidence"]) for entity in row["entities"]] == [
            (entity.start, entity.end, entity.confidence) for entity in rows[row["id"]].entities
        ]
    again = into(url, [tasks], size=70)  # cut in another way
    assert (again.predicted, again.made, again.version) == (300, 0, report.version)
    with open_store(url) as store:
        with store.read() as session:
            assert projects.get_project(session, "default").pipeline.name == report.version
        whole = Predictor(store, SETTINGS).predict_project()
        assert (whole.known, whole.predicted) == (300, 0), "task by task it is the same pipeline"
        assert check_store(store).problems == {}


def test_what_is_stored_stays_and_what_contradicts_it_is_refused(url: str, tasks: Path, tmp_path: Path) -> None:
    into(url, [tasks])
    more, side = tmp_path / "more.jsonl", tmp_path / "rejected.jsonl"
    other = {**task(7), "text": "Another text."}
    more.write_bytes(lines([task(number) for number in range(290, 310)] + [other, {"id": "x", "text": "Juma."}]))
    report = into(url, [more], rejected=side)
    assert (report.predicted, report.rejected) == (20, 2)
    assert [line.split(b'"field":"')[1].split(b'"')[0] for line in side.read_bytes().splitlines()] == [
        b"id",
        b"source",
    ]
    assert len(stored(url)) == 310
    arguments = ["predict", str(more), "--into-store", "--database-url", url, "--tagger", "given", "--aligner"]
    outcome = CliRunner().invoke(cli, [*arguments, "none"])
    assert isinstance(outcome.exception, PartialError), outcome.output
    outcome = CliRunner().invoke(cli, ["predict", "--into-store"])
    assert isinstance(outcome.exception, UsageError)


def test_it_refuses_what_an_import_refuses_and_keeps_the_split(url: str, tmp_path: Path) -> None:
    path, side = tmp_path / "tasks.jsonl", tmp_path / "rejected.jsonl"
    white = {"start": 4, "end": 6, "label": "PER"}
    bad = {
        "text": [{"id": "nul", "text": "Ju\0ma."}, {"id": "blank", "text": " "}],
        "id": [{"id": " "}, {"id": "".join(chr(0x4E00 + 37 * number % 20_000) for number in range(3_000))}],
        "source_entities[0]": [{"id": "white", "source": "Juma  x", "source_entities": [white]}],
    }
    rows = [
        {**task(number), **fields} for number, fields in enumerate(row for rows in bad.values() for row in rows)
    ]
    held_out = {**task(50), "split": "test"}
    path.write_bytes(lines([*rows, held_out, task(51)]))
    for _ in range(2):
        report = into(url, [path], rejected=side)
        assert (report.predicted, report.rejected) == (2, 5)
        fields = [json.loads(line)["field"] for line in side.read_bytes().splitlines()]
        assert fields == [field for field, rows in bad.items() for _ in rows]
    with open_store(url) as store, store.read() as session:
        splits = session.execute(select(tables.Task.external_id, tables.Task.split)).all()
    assert dict(map(tuple, splits)) == {held_out["id"]: "test", task(51)["id"]: "pool"}


@pytest.mark.soak
def test_a_killed_run_leaves_what_an_undisturbed_one_makes(
    url: str, tasks: Path, tmp_path: Path, command_line: list[str]
) -> None:
    tasks.write_bytes(lines([task(number) for number in range(3000)]))
    arguments = ["predict", str(tasks), "--into-store", "--part-size", "50", "--tagger", "given"]
    environment = os.environ | {"XNER_LABEL_DATABASE_URL": url, "XNER_LABEL_LABELS": ",".join(LABELS)}

    def made() -> int:
        with open_store(url) as store, store.read() as session:
            return session.scalar(select(func.count()).select_from(tables.Prediction)) or 0

    before = 0
    for _ in range(rounds(2)):
        process = begin(
            [*command_line, *arguments, "--aligner", "none"], env=environment, stderr=subprocess.DEVNULL
        )
        while process.poll() is None and made() <= before:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert made() >= before  # nothing of before is lost
        before = made()
    assert into(url, [tasks], size=50).predicted == 3000
    undisturbed = f"sqlite:///{tmp_path}/undisturbed.db"
    with open_store(undisturbed, check=False) as store:
        migrating.upgrade(store)
    into(undisturbed, [tasks], size=50)
    assert stored(url) == stored(undisturbed)


@pytest.mark.postgres
@pytest.mark.soak
def test_ray_fills_the_same_store_whatever_is_killed(
    postgres_url: str, tasks: Path, tmp_path: Path, command_line: list[str]
) -> None:
    """Actors are killed at random moments, and every fifth time the whole run; it is started again."""
    pytest.importorskip("ray")
    with open_store(postgres_url, check=False) as store:
        migrating.upgrade(store)
    kills = rounds(2)
    tasks.write_bytes(lines([task(number) for number in range(2000 * kills)]))
    arguments = ["predict", str(tasks), "--into-store", "--part-size", "20", "--tagger", "given", "--aligner"]
    command = [*command_line, *arguments, "none", "--engine", "ray", "--actors", "2"]
    environment = os.environ | {"XNER_LABEL_DATABASE_URL": postgres_url, "XNER_LABEL_LABELS": ",".join(LABELS)}
    drawn, killed = random.Random(7), set[int]()
    said, code, done = "", -1, 0
    while code != 0:
        process = begin(command, env=environment, stderr=subprocess.PIPE, text=True)
        while process.poll() is None and done < kills:
            living = [actor for actor in actors_of(process.pid) if actor not in killed]
            if not living:
                time.sleep(0.02)
                continue
            time.sleep(drawn.uniform(0.0, 0.5))
            victim = process.pid if done % 5 == 4 else drawn.choice(living)
            with suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
            killed.add(victim)
            done += 1
        said = process.communicate(timeout=LIMIT)[1]
        code = process.returncode
        # what was killed whole says nothing, and a batch that was in six killed actors ends a run
        assert code in (0, -signal.SIGKILL) or "died" in said, said
    assert done == kills, "the records were to last until all was killed"
    embedded = f"sqlite:///{tmp_path}/embedded.db"
    with open_store(embedded, check=False) as store:
        migrating.upgrade(store)
    into(embedded, [tasks], size=20)
    assert stored(postgres_url) == stored(embedded)
