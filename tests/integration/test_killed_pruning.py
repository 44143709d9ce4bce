"""`db prune --archive` killed at any moment: what has left the store is in a file that can be read."""

from __future__ import annotations

import fcntl
import gzip
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import select

from tests.large_store import fill
from tests.soak import rounds
from xner_label.store import migrating, tables
from xner_label.store.database import Store, open_store

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
    assert hidden(tmp_path) == set()


def hidden(folder: Path) -> set[Path]:
    """Files that aren't whole yet, or never will be."""
    return set(folder.glob(".xner-label-*"))


@pytest.mark.parametrize("command", ["prune --delete --archive", "backup"])
def test_what_a_killed_one_left_goes_and_what_a_living_one_writes_stays(
    sqlite_url: str, command_line: list[str], tmp_path: Path, command: str
) -> None:
    with open_store(sqlite_url, check=False) as store:
        migrating.upgrade(store)
        fill(store, TASKS)
    folder = tmp_path / "files"
    folder.mkdir()
    others = [folder / ".xner-label-notes", folder / ".old.gz.x.part"]
    for path in others:
        path.touch()
    environment = os.environ | {"XNER_LABEL_DATABASE_URL": sqlite_url}

    writing = [*command_line, "db", *command.split()]
    with ExitStack() as processes:

        def begin(name: str) -> tuple[subprocess.Popen[bytes], Path]:
            """A process that was stopped while it was writing, and its hidden file."""
            before = hidden(folder)
            while True:
                process = subprocess.Popen(
                    [*writing, str(folder / name)], env=environment, stdout=subprocess.DEVNULL
                )
                processes.callback(end, process)
                while process.poll() is None:
                    if new := {path for path in hidden(folder) - before if locked(path)}:
                        process.send_signal(signal.SIGSTOP)
                        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
                        if all(path.exists() for path in new):
                            return process, new.pop()
                        end(process)
                (folder / name).unlink()  # it was done before it was stopped

        killed, left_behind = begin("killed")
        killed.kill()
        killed.wait()
        assert left_behind.exists()
        living, written = begin("living")
        assert not left_behind.exists()
        assert hidden(folder) >= {written}
        subprocess.run([*writing, str(folder / "whole")], env=environment, check=True)
        assert written.exists()
        living.send_signal(signal.SIGCONT)
        assert living.wait() == 0
    assert hidden(folder) == {others[0]}
    assert {path.name for path in folder.iterdir()} == {"living", "whole", *(path.name for path in others)}


def end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def locked(path: Path) -> bool:
    """Whether a process is writing the hidden file; between its making and its lock it may still be taken away."""
    try:
        with path.open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


_MANY = """
import sys
from pathlib import Path
from xner_label.new_file import new_file
for number in range(int(sys.argv[3])):
    with new_file(Path(sys.argv[1]) / f"{sys.argv[2]}-{number}", "a file") as stream:
        stream.write(b"whole")
"""


def test_processes_that_write_into_one_folder_leave_each_others_files(tmp_path: Path) -> None:
    count = rounds(100)
    processes = [
        subprocess.Popen([sys.executable, "-c", _MANY, str(tmp_path), str(number), str(count)])
        for number in range(3)
    ]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert len(list(tmp_path.iterdir())) == 3 * count
    assert {path.read_bytes() for path in tmp_path.iterdir()} == {b"whole"}
