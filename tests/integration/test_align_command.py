"""``xner-label align`` as its users meet it: a process, pipes, files and exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.checkpoints import save_nllb, save_xlm_roberta
from tests.processes import LIMIT

pytestmark = pytest.mark.models
ROOT = Path(__file__).parents[2]
TASK = {"id": 1, "text": "Amina anaishi Nairobi.", "source": "Amina lives in Nairobi.", "extra": {"kept": [1]}}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return save_xlm_roberta(tmp_path_factory.mktemp("xlmr"), initializer_range=0.3)


def run(command, *arguments, lines=()):
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    return subprocess.run(
        [sys.executable, "-m", "xner_label", command, *map(str, arguments)],
        input=text.encode(),
        capture_output=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        timeout=LIMIT,
    )


def rows(done):
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_tokens_and_links_are_added_and_the_rest_is_passed_through(encoder):
    pretokenised = TASK | {
        "id": 2,
        "tokens": ["Amina", "anaishi Nairobi", "."],
        "alignment": "9-9",
        "source_entities": [],
    }
    done = run(
        "align", "--aligner", "simalign", "--model", encoder, "--method", "mwmf", lines=[TASK, pretokenised]
    )
    assert (done.returncode, done.stderr) == (0, b"")
    first, second = rows(done)
    assert first["extra"] == {"kept": [1]}
    assert first["tokens"] == ["Amina", "anaishi", "Nairobi", "."]
    assert first["source_tokens"] == ["Amina", "lives", "in", "Nairobi", "."]
    assert second["tokens"] == pretokenised["tokens"]
    for link in (first["alignment"] + " " + second["alignment"]).split():
        assert 0 < float(link.partition(":")[2] or 1) <= 1
    projected = run("project", "--projector", "link-dice", lines=[second])
    assert projected.returncode == 0


def test_bad_lines_are_left_out_and_named(encoder):
    bad = [{"id": 1, "text": "a"}, "{", TASK | {"tokens": ["Amina", "lives"]}]
    arguments = ("--aligner", "simalign", "--model", encoder)
    done = run("align", *arguments, lines=[*bad, TASK])
    assert done.returncode == 5
    assert len(rows(done)) == 1
    problems = done.stderr.decode().splitlines()
    assert [line.split(": ")[:2] for line in problems] == [
        ["line 1", "source"],
        ["line 2", "json"],
        ["line 3", "tokens"],
    ]
    strict = run("align", *arguments, "--strict", lines=[TASK, *bad])
    assert strict.returncode == 5
    assert strict.stderr.decode().startswith("line 2: source: missing")


def test_strict_leaves_no_output_file(encoder, tmp_path):
    done = run(
        "align", "--aligner", "simalign", "--model", encoder, "--strict", "-o", tmp_path / "out", lines=["{"]
    )
    assert done.returncode == 5
    assert list(tmp_path.iterdir()) == []


def test_an_ensemble_with_a_translation_encoder(encoder, tmp_path):
    checkpoint = save_nllb(tmp_path, init_std=0.3)
    done = run(
        "align", "--aligner", "mt-encoder+simalign", "--combine", "union", "--model", checkpoint, lines=[TASK]
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert rows(done)[0]["alignment"]


def test_the_package_itself(encoder):
    pytest.importorskip("simalign")
    arguments = ("--aligner", "simalign-package", "--model", encoder, "--layer", 2, "--method", "inter")
    done = run("align", *arguments, lines=[TASK, TASK | {"text": ""}])
    assert (done.returncode, done.stderr) == (0, b"")
    package, empty = rows(done)
    assert empty["alignment"] == ""
    ours = rows(run("align", "--aligner", "simalign", *arguments[2:], lines=[TASK]))[0]
    assert package["alignment"].split() == [link.partition(":")[0] for link in ours["alignment"].split()]
    long = run("align", *arguments, lines=[TASK | {"text": "Amina " * 100}])
    assert long.returncode == 3
    assert b"use the aligner simalign" in long.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "problem"),
    [
        (["--aligner", "simalign", "--model", "some/never-fetched"], 3, "xner-label models pull"),
        (["--aligner", "simalign"], 3, "no checkpoint is named"),
        (["--aligner", "given"], 3, "no aligner is chosen"),
        (["--aligner", "best"], 2, "'best' is unknown"),
        (["--aligner", "simalign", "--method", "best"], 2, "Invalid value"),
        (["--aligner", "simalign", "--model", "ENCODER", "--layer", "99"], 3, "choose a layer from 0 to 3"),
        (["--aligner", "mt-encoder", "--model", "ENCODER"], 3, "can't be read as a checkpoint"),
    ],
)
def test_settings_that_do_not_fit(encoder, arguments, code, problem):
    done = run("align", *[encoder if argument == "ENCODER" else argument for argument in arguments], lines=[TASK])
    assert done.returncode == code
    assert problem in done.stderr.decode()
    assert done.stdout == b""
