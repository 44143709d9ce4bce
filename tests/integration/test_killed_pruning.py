"""`db prune --archive` killed at any moment: what has left the store is in a file that can be read."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import time
from pathlib import Path

from sqlalchemy import select

from tests.large_store import fill
from tests.soak import rounds
from xner_label.store import tables
from xner_label.store.database import Store

TASKS = 12_000


def left(store: Store) -> set[tuple[str, str]]:
    """The task and the version of each prediction in the store."""
    query = (
        select(tables.Task.external_id, tables.PipelineVersion.name)
        .join(tables.Prediction, tables.Prediction.task_id == tables.Task.id)
        .join(tables.PipelineVersion, tables.PipelineVersion.id == tables.Prediction.pipeline_id)
    )
    with store.read() as session:
        return {(task, version) for task, version in session.execute(query)}


def archived(folder: Path) -> set[tuple[str, str]]:
    """The same of every archive; one that can't be read to its end is an error."""
    records = [
        json.loads(line)
        for path in sorted(folder.glob("*.gz"))
        for line in gzip.decompress(path.read_bytes()).splitlines()
    ]
    return {(record["id"], record["version"]) for record in records}


def test_what_has_left_the_store_is_in_an_archive(
    each_store: Store, each_url: str, command_line: list[str], tmp_path: Path
) -> None:
    fill(each_store, TASKS)
    before = left(each_store)
    assert len(before) == 2 * TASKS
    environment = os.environ | {"XNER_LABEL_DATABASE_URL": each_url}

    def prune(number: int) -> tuple[subprocess.Popen[bytes], Path]:
        path = tmp_path / f"{number}.gz"
        command = [*command_line, "db", "prune", "--delete", "--archive", str(path)]
        return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL), path

    for number in range(rounds(4)):
        process, path = prune(number)
        while number % 2 and process.poll() is None and not path.exists():
            time.sleep(0.01)
        time.sleep((0.1 if number % 2 else 1.5) * (0.618 * (number + 1) % 1))
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert before - left(each_store) <= archived(tmp_path)
    process, _ = prune(-1)
    assert process.wait() == 0
    assert len(left(each_store)) == TASKS
    assert before - left(each_store) == archived(tmp_path)
