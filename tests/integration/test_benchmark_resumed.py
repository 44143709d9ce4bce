"""A benchmark that is killed goes on where it was, and ends with the table of one that wasn't."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.processes import LIMIT, begin
from tests.soak import rounds
from xner_label import sample

ROOT = Path(__file__).parents[2]
ARGUMENTS = ("--methods", "string,default,corpus", "--taggers", "given,crf", "--labelled", "source.jsonl")
ARGUMENTS += ("--aligners", "none", "--json")
# What differs between two runs that compute the same.
COSTS = {"seconds", "mib", "stages"}


def start(folder: Path, cache: str) -> subprocess.Popen[bytes]:
    return begin(
        [sys.executable, "-m", "xner_label", "benchmark", "sw=tasks.jsonl", *ARGUMENTS, "--cache", cache],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def table(output: bytes) -> list[dict[str, object]]:
    rows = json.loads(output)["rows"]
    return [{key: value for key, value in row.items() if key not in COSTS} for row in rows]


@pytest.mark.soak
def test_killed_anywhere_and_resumed_it_gives_the_same_table(tmp_path: Path) -> None:
    rows = [json.loads(line) for line in sample.PAIRS.read_text(encoding="utf-8").splitlines()]
    (tmp_path / "tasks.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = [{"text": row["source"], "entities": row["source_entities"]} for row in rows[:60]]
    (tmp_path / "source.jsonl").write_text("".join(json.dumps(row) + "\n" for row in source))
    begun = time.monotonic()
    expected, _ = start(tmp_path, "undisturbed").communicate(timeout=LIMIT)
    whole = time.monotonic() - begun
    generator = random.Random(3)
    for _ in range(rounds(2)):
        process = start(tmp_path, "killed")
        try:
            process.wait(generator.uniform(0.2, 1.0) * whole)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        process.communicate()
    processes = [start(tmp_path, "killed") for _ in range(2)]  # which may share what they keep
    for process in processes:
        output, _ = process.communicate(timeout=LIMIT)
        assert table(output) == table(expected)
    assert not [file for file in (tmp_path / "killed").rglob("*.json") if not json.loads(file.read_bytes())]
