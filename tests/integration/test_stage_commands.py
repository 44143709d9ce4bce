"""``translate`` and ``tag`` as their users meet them, and all four stages in a pipe."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.checkpoints import save_nllb, save_xlm_roberta
from tests.processes import LIMIT, begin

ROOT = Path(__file__).parents[2]
TASKS = (
    {"id": "a", "text": "Amina anaishi Nairobi.", "extra": {"kept": [1, 2.5, "é"]}},
    {"id": 2, "text": "Juma alienda Mwanza.", "source": "Juma went to Mwanza.", "source_entities": None},
    {"id": 3, "text": "Juma", "source": "Juma", "source_entities": [{"start": 0, "end": 4, "label": "PER"}]},
)
LABELLED = [
    {
        "text": f"{name} lives in {town}.",
        "entities": [[0, len(name), "PER"], [len(name) + 10, len(name + town) + 10, "LOC"]],
    }
    for name in ("Amina", "Juma", "Neema", "Baraka")
    for town in ("Nairobi", "Mwanza", "Arusha", "Tanga")
]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def run(*arguments: object, lines: Any = ()) -> subprocess.CompletedProcess[bytes]:
    text = "\n".join(line if isinstance(line, str) else json.dumps(line, ensure_ascii=False) for line in lines)
    return subprocess.run(
        [sys.executable, "-m", "xner_label", *map(str, arguments)],
        input=text.encode(),
        capture_output=True,
        env=environment(),
        timeout=LIMIT,
    )


def rows(done: subprocess.CompletedProcess[bytes]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    path = tmp_path / "labelled.jsonl"
    records = [
        row
        | {"entities": [dict(zip(("start", "end", "label"), entity, strict=True)) for entity in row["entities"]]}
        for row in LABELLED
    ]
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def test_tag_learns_from_labelled_sources_and_keeps_what_is_there(labelled: Path) -> None:
    done = run("tag", "--labelled", labelled, lines=TASKS[1:])
    assert (done.returncode, done.stderr) == (0, b"")
    first, second = rows(done)
    assert [(e["start"], e["end"], e["label"]) for e in first["source_entities"]] == [
        (0, 4, "PER"),
        (13, 19, "LOC"),
    ]
    assert all(0 < entity["score"] <= 1 for entity in first["source_entities"])
    assert second == TASKS[2]
    again = rows(run("tag", "--labelled", labelled, "--again", "--labels", "LOC", lines=TASKS[1:]))
    assert [[e["label"] for e in row["source_entities"]] for row in again] == [["LOC"], []]


def test_labels_of_labelled_sources_are_translated_or_refused(tmp_path: Path) -> None:
    rows_ = [
        {
            "text": f"{name} saw {town}.",
            "entities": [
                {"start": 0, "end": len(name), "label": "PERSON"},
                {"start": len(name) + 5, "end": len(name + town) + 5, "label": "GPE"},
            ],
        }
        for name in ("Amina", "Juma")
        for town in ("Lamu", "Kisumu")
    ]
    labelled = tmp_path / "labelled.jsonl"
    labelled.write_text("".join(json.dumps(row) + "\n" for row in rows_), encoding="utf-8-sig")
    task = {"id": 1, "text": "x", "source": "Amina saw Lamu."}
    [row] = rows(run("tag", "--tagger", "crf", "--labelled", labelled, lines=[task]))
    assert [(e["start"], e["end"], e["label"]) for e in row["source_entities"]] == [
        (0, 5, "PER"),
        (10, 14, "LOC"),
    ]
    done = run("tag", "--labelled", labelled, "--labels", "DATE,SHIP", lines=[task])
    assert (done.returncode, done.stdout) == (3, b"")
    assert b"its labels (GPE, PERSON) don't fit the project's (DATE, SHIP)" in done.stderr


def test_a_line_without_a_source_is_named_and_the_rest_goes_on(labelled: Path) -> None:
    done = run("tag", "--labelled", labelled, lines=[TASKS[0], "", "{", TASKS[1]])
    assert done.returncode == 5
    assert [row["id"] for row in rows(done)] == [2]
    problems = done.stderr.decode().splitlines()
    assert problems[0].startswith("line 1: source: missing; give the source text, or run `xner-label translate`")
    assert problems[1].startswith("line 3: json: ")
    assert len(problems) == 2


def test_no_stage_chosen_and_bad_labelled_data(tmp_path: Path, labelled: Path) -> None:
    done = run("tag", lines=TASKS)
    assert done.returncode == 3
    assert b"--labelled FILE" in done.stderr
    assert run("translate", lines=TASKS).returncode == 3
    labelled.write_text('{"text": "a", "entities": [{"start": 0, "end": 9, "label": "PER"}]}\n')
    done = run("tag", "--labelled", labelled, lines=TASKS)
    assert done.returncode == 5
    assert b"line 1: entities[0]: offsets 0..9" in done.stderr
    assert run("tag", "--labelled", tmp_path / "absent", lines=TASKS).returncode == 2


@pytest.mark.models
def test_translate_adds_source_and_score_and_passes_the_rest_through(tmp_path: Path) -> None:
    model = save_nllb(tmp_path / "nllb")
    done = run("translate", "--model", model, "--target-language", "sw", lines=TASKS)
    assert (done.returncode, done.stderr) == (0, b"")
    first, *others = rows(done)
    assert first["extra"] == TASKS[0]["extra"]
    assert first["source"]
    assert first["source_score"] < 0
    assert others == list(TASKS[1:])
    [again] = rows(run("translate", "--model", model, "--target-language", "sw", "--again", lines=TASKS[2:]))
    assert again["source_entities"] is None
    assert again["source_score"] < 0
    for language, message in (("tlh", b"doesn't know the language tlh"), ("", b"isn't named")):
        done = run("translate", "--model", model, "--target-language", language, lines=TASKS)
        assert (done.returncode, done.stdout) == (3, b"")
        assert message in done.stderr


@pytest.mark.models
def test_a_checkpoint_that_is_not_here_is_an_error_and_never_a_hang() -> None:
    done = run("translate", "--model", "facebook/nllb-200-3.3B", "--target-language", "sw", lines=TASKS)
    assert done.returncode == 3
    assert b"xner-label models pull facebook/nllb-200-3.3B" in done.stderr


@pytest.mark.models
def test_the_whole_pipeline_in_a_pipe(tmp_path: Path) -> None:
    nllb = save_nllb(tmp_path / "nllb")
    names = {0: "O", 1: "B-PER", 2: "I-PER", 3: "B-LOC", 4: "I-LOC"}
    tagger = save_xlm_roberta(
        tmp_path / "tagger", head="XLMRobertaForTokenClassification", id2label=names, initializer_range=0.5
    )
    tasks = tmp_path / "tasks.jsonl"
    tasks.write_text("".join(json.dumps(task) + "\n" for task in TASKS), encoding="utf-8")
    stages = [
        ["translate", str(tasks), "--model", str(nllb), "--target-language", "sw"],
        ["tag", "-", "--model", str(tagger)],
        ["align", "-", "--aligner", "mt-encoder", "--model", str(nllb)],
        ["project", "-", "--keep", "source_score"],
    ]
    pipe = None
    running = []
    for stage in stages:
        process = begin(
            [sys.executable, "-m", "xner_label", *stage],
            stdin=pipe,
            stdout=subprocess.PIPE,
            env=environment() | {"XNER_LABEL_TARGET_LANGUAGE": "sw"},
        )
        if pipe is not None:
            pipe.close()
        pipe = process.stdout
        running.append(process)
    output, _ = running[-1].communicate(timeout=LIMIT)
    assert [process.wait(LIMIT) for process in running] == [0, 0, 0, 0]
    predictions = [json.loads(line) for line in output.splitlines()]
    assert [row["id"] for row in predictions] == ["a", 2, 3]
    assert [row["text"] for row in predictions] == [task["text"] for task in TASKS]
    assert predictions[0]["source_score"] < 0
    for row in predictions:
        for entity in row["entities"]:
            assert row["text"][entity["start"] : entity["end"]] == entity["text"]
