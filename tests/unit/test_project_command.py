"""``xner-label project`` as its users meet it: a process, pipes, files and exit codes."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import LIMIT

ROOT = Path(__file__).parents[2]
GOOD = {
    "id": "a",
    "text": "Anna anaishi Nairobi .",
    "tokens": ["Anna", "anaishi", "Nairobi", "."],
    "source": "Anna lives in Nairobi .",
    "source_tokens": ["Anna", "lives", "in", "Nairobi", "."],
    "source_entities": [
        {"start": 0, "end": 4, "label": "PER"},
        {"start": 14, "end": 21, "label": "LOC", "score": 0.9},
    ],
    "alignment": "0-0 1-1 2-2:0.5 3-2 4-3",
}


def run(*arguments, lines=(), **options):
    text = "\n".join(line if isinstance(line, str) else json.dumps(line, ensure_ascii=False) for line in lines)
    return subprocess.run(
        [sys.executable, "-m", "xner_label", "project", *map(str, arguments)],
        input=text.encode(),
        capture_output=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        timeout=LIMIT,
        **options,
    )


def rows(done):
    return [json.loads(line) for line in done.stdout.splitlines()]


def changed(**fields):
    return {key: value for key, value in (GOOD | fields).items() if value is not ...}


def test_entities_offsets_and_fields():
    done = run("--projector", "link-dice", lines=[changed(id=7, extra=[1, {"x": "ü"}])])
    assert (done.returncode, done.stderr) == (0, b"")
    (row,) = rows(done)
    assert list(row) == ["id", "text", "entities", "confidence", "pipeline"]
    assert row["id"] == 7
    person, place = row["entities"]
    assert list(person) == ["start", "end", "label", "text", "score", "confidence", "source"]
    assert (person["start"], person["end"], person["text"]) == (0, 4, "Anna")
    assert person["source"] == {"start": 0, "end": 4, "label": "PER", "text": "Anna"}
    assert (place["label"], place["text"]) == ("LOC", "Nairobi")
    assert all(0 <= entity["confidence"] <= 1 for entity in row["entities"])


def test_doubt_about_what_was_left_out_counts_for_the_task():
    low, high = (
        rows(run("--projector", "default", "--min-confidence", cut, lines=[GOOD]))[0] for cut in ("0", "1")
    )
    confidences = [entity["confidence"] for entity in low["entities"]]
    assert high["entities"] == []
    assert low["confidence"] == pytest.approx(math.prod(confidences))
    assert high["confidence"] == pytest.approx(math.prod(1 - confidence for confidence in confidences))


def test_options_filter_and_keep():
    lines = [changed(split="dev", n=1.50), changed(id="b")]
    done = run("--projector", "string", "--labels", "LOC, ORG", "--keep", "split,n", lines=lines)
    first, second = rows(done)
    assert [entity["label"] for entity in first["entities"]] == ["LOC"]
    assert (first["split"], first["n"]) == ("dev", 1.5)
    assert "split" not in second
    assert b'"n": 1.50' not in done.stdout
    assert run("--keep", "entities", lines=lines).returncode == 2
    high = run("--projector", "link-dice", "--min-confidence", "1", lines=[GOOD])
    assert all(entity["confidence"] == 1 for entity in rows(high)[0]["entities"])
    assert "min-confidence=1" in rows(high)[0]["pipeline"]


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ("{", "json"),
        ('"text"', "json"),
        ('{"id": 1, "text": "\\ud800"}', "json"),
        (changed(id=True), "id"),
        (changed(id=1.5), "id"),
        (changed(text=...), "text"),
        (changed(tokens=["Anna", "Nairobi"]), "tokens"),
        (changed(tokens=[1]), "tokens[0]"),
        (changed(tokens=["", "Anna"]), "tokens"),
        (changed(source_tokens=["lives"]), "source_tokens"),
        (changed(alignment="0-9"), "alignment"),
        (changed(alignment="0-0:2"), "alignment"),
        (changed(alignment="x"), "alignment"),
        (changed(alignment=...), "alignment"),
        (changed(source=...), "source"),
        (changed(source_entities=...), "source_entities"),
        (changed(source_entities=[{"start": 0, "end": 99, "label": "PER"}]), "source_entities[0]"),
        (changed(source_entities=[{"start": -1, "end": 2, "label": "PER"}]), "source_entities[0]"),
        (changed(source_entities=[{"start": 2, "end": 2, "label": "PER"}]), "source_entities[0]"),
        (changed(back_translations=[["Anna"]]), "back_translations"),
    ],
)
def test_a_bad_line_is_named_and_left_out(line, field):
    done = run("--projector", "link-dice", lines=["", GOOD, line, "   ", changed(id="c")])
    assert done.returncode == 5
    assert [row["id"] for row in rows(done)] == ["a", "c"]
    (message,) = done.stderr.decode().splitlines()
    assert message.startswith(f"line 3: {field}: ")


def test_strict_stops_and_leaves_no_file(tmp_path):
    output = tmp_path / "out.jsonl"
    done = run("--projector", "link-dice", "--strict", "-o", output, lines=[GOOD, "{", GOOD])
    assert done.returncode == 5
    assert done.stderr.startswith(b"line 2: json: ")
    assert list(tmp_path.iterdir()) == []
    run("--projector", "link-dice", "-o", output, lines=[GOOD, "{", GOOD])
    assert len(output.read_text().splitlines()) == 2


def test_a_border_inside_a_token_widens_with_a_note():
    line = changed(source_entities=[{"start": 14, "end": 18, "label": "LOC"}])
    (row,) = rows(run("--projector", "link-dice", lines=[line]))
    assert row["entities"][0]["text"] == "Nairobi"
    assert "source_entities[0]" in row["note"]
    assert row["entities"][0]["source"]["text"] == "Nair"
    refused = run("--projector", "link-dice", "--strict", lines=[line])
    assert refused.returncode == 5
    assert refused.stderr.startswith(b"line 1: source_entities[0]: ")


@pytest.mark.parametrize(
    "line",
    [
        {"id": 1, "text": ""},
        {"id": 1, "text": "", "source": "", "source_entities": [], "tokens": [], "alignment": ""},
        changed(source_entities=[]),
        changed(alignment=""),
        {"id": 1, "text": "Anna", "source_entities": []},
    ],
)
def test_nothing_to_project_is_no_error(line):
    done = run("--projector", "link-dice", lines=[line])
    assert (done.returncode, done.stderr) == (0, b"")
    assert rows(done)[0]["entities"] == []


def test_overlapping_and_identical_source_entities():
    twice = [{"start": 14, "end": 21, "label": label} for label in ("LOC", "LOC", "ORG")]
    (row,) = rows(run("--projector", "link-dice", lines=[changed(source_entities=twice)]))
    assert [entity["label"] for entity in row["entities"]] == ["LOC"]


def test_a_file_that_is_not_there(tmp_path):
    done = run(tmp_path / "none.jsonl")
    assert done.returncode == 2
    assert b"none.jsonl" in done.stderr


def test_answers_stream_before_the_input_ends():
    command = [sys.executable, "-m", "xner_label", "project", "--projector", "link-dice"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(GOOD).encode() + b"\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["id"] == "a"
        process.stdin.close()
        assert process.wait() == 0


def test_long_lines_and_control_characters():
    long = changed(text="Anna " * 20_000, tokens=..., alignment="0-0")
    odd = changed(id="odd", text="Anna\u0000\u200f Nairobi\r\n", tokens=["Anna", "Nairobi"], alignment="0-0 3-1")
    marked = odd | {"id": "marked", "tokens": ["Anna", "\u0000\u200f", "Nairobi"], "alignment": "3-2"}
    done = run("--projector", "link-dice", lines=[long, odd, marked])
    assert [row["id"] for row in rows(done)] == ["a", "odd", "marked"]
    assert [row["entities"][-1]["text"] for row in rows(done)[1:]] == ["Nairobi", "Nairobi"]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        (
            {"tokens": ["Anna", "anaishi"], "alignment": "0-0"},
            "tokens: they end at 12 of 22, before 'Nairobi .'; give the tokens of the whole text",
        ),
        (
            {
                "source": "\U0001f600 Anna",
                "source_tokens": ...,
                "source_entities": [{"start": 3, "end": 6, "label": "PER", "text": "Anna"}],
                "alignment": "1-0",
            },
            "source_entities[0].text: 'Anna' isn't what stands at 3..6, that is 'nna'; count code points",
        ),
        (
            {"source_entities": [{"start": 0, "end": 4, "label": "PER", "score": 1.7}]},
            "source_entities[0].score: 1.7 is no probability; give a number in 0..1",
        ),
        (
            {"source_entities": [{"start": 0, "end": 4, "label": "PER", "score": -0.1}]},
            "source_entities[0].score: -0.1 is no probability",
        ),
    ],
)
def test_lines_that_contradict_themselves_are_named(fields, problem):
    done = run("--projector", "link-dice", lines=[changed(**fields), GOOD])
    assert done.returncode == 5
    assert [row["id"] for row in rows(done)] == ["a"]
    assert done.stderr.decode().startswith(f"line 1: {problem}")
    assert done.stderr.count(b"\n") == 1


def test_a_json_array_on_one_line_is_refused_with_the_way_out():
    done = run("--projector", "link-dice", lines=[json.dumps([GOOD, GOOD])])
    assert (done.returncode, rows(done)) == (5, [])
    assert (
        done.stderr
        == b"line 1: json: the line is an array; write one object per line, for instance with `jq -c '.[]'`\n"
    )


def test_filters_leave_incomplete_tasks_out_without_calling_them_bad():
    done = run("--projector", "link-dice", "--filter", "aligned", lines=[GOOD, changed(id="b", alignment="0-0")])
    assert done.returncode == 0
    assert [row["id"] for row in rows(done)] == ["a"]
    assert b"1 task left out by --filter aligned" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "hint"),
    [
        (["--back-translate"], 2, "--translator"),
        (["--projector", "nmt"], 3, "--translator-model"),
        (["--projector", "none"], 2, "link-dice"),
        (["--projector", "align@most"], 2, "@greedy"),
        (["--projector", "heuristic@="], 2, "leave @= out"),
        (["--min-confidence", "2"], 2, "range"),
    ],
)
def test_what_a_choice_needs_is_named(arguments, code, hint):
    done = run(*arguments, lines=[GOOD])
    assert (done.returncode, done.stdout) == (code, b"")
    assert hint in done.stderr.decode()


def test_a_byte_order_mark_is_no_part_of_the_first_line_and_bad_utf8_is_a_bad_line(tmp_path):
    source = tmp_path / "tasks.jsonl"
    good = json.dumps(changed(source_entities=[])).encode()
    source.write_bytes(b"\xef\xbb\xbf" + good + b"\n" + good[:-1] + b', "x": "\xff"}\r\n' + good + b"\r\n")
    done = run(source, "--keep", "x")
    assert done.returncode == 5
    assert len(rows(done)) == 2
    assert done.stderr.startswith(b"line 2: json: ")


def settings(folder, text):
    (folder / "xner-label.toml").write_text(text)
    return folder


def test_the_settings_choose_the_projector(tmp_path):
    folder = settings(tmp_path, '[pipeline]\nprojector = "string"\n')
    assert "projector=string" in rows(run(lines=[GOOD], cwd=folder))[0]["pipeline"]
    assert "projector=link-dice" in rows(run("--projector", "link-dice", lines=[GOOD], cwd=folder))[0]["pipeline"]


@pytest.mark.parametrize(("matching", "texts"), [("<=", ["Nairobi"]), (">=", ["anaishi", "Nairobi"])])
def test_the_matching_stands_behind_the_projector(matching, texts):
    line = changed(source_entities=GOOD["source_entities"][1:], alignment="1-1:0.9 3-1:0.4 3-2")
    (row,) = rows(run("--projector", f"align@{matching}", lines=[line]))
    assert [entity["text"] for entity in row["entities"]] == texts


def test_the_settings_choose_the_weights_and_another_projector_leaves_them(tmp_path):
    weights = tmp_path / "own.json"
    document = json.loads((ROOT / "xner_label/projection/loglinear/weights/default.json").read_text())
    document["cut"] = 0.123
    weights.write_text(json.dumps(document))
    folder = settings(tmp_path, f'[pipeline]\nprojector_weights = "{weights}"\n')
    assert "min-confidence=0.123" in rows(run(lines=[GOOD], cwd=folder))[0]["pipeline"]
    assert "projector=string" in rows(run("--projector", "string", lines=[GOOD], cwd=folder))[0]["pipeline"]
    assert b"has no weights" in run("--projector", "string", "--weights", weights, lines=[GOOD]).stderr


def test_the_settings_name_the_labels_that_are_kept(tmp_path):
    folder = settings(tmp_path, 'labels = ["LOC"]\n')
    assert {entity["label"] for entity in rows(run(lines=[GOOD], cwd=folder))[0]["entities"]} == {"LOC"}
    assert {entity["label"] for entity in rows(run(lines=[GOOD], cwd=tmp_path.parent))[0]["entities"]} == {
        "PER",
        "LOC",
    }


def test_the_aligner_of_the_settings_makes_only_the_links_that_are_missing(tmp_path):
    folder = settings(tmp_path, '[pipeline]\naligner = "eflomal"\n')
    odd = changed(id="odd", alignment="0-3", source_entities=GOOD["source_entities"][:1])
    others = [changed(id=f"t{number}", alignment=...) for number in range(30)]
    done = rows(run("--projector", "link-dice", "--min-confidence", "0", lines=[odd, *others], cwd=folder))
    assert [entity["text"] for entity in done[0]["entities"]] == ["."], "the link that was given counts"
    assert all(row["entities"] for row in done[1:])
    assert " aligner=given/eflomal" in done[0]["pipeline"]
    anew = rows(run("--projector", "link-dice", "--aligner", "eflomal", lines=[odd, *others], cwd=folder))
    assert " aligner=eflomal" in anew[0]["pipeline"]


def test_a_preset_makes_no_line_wait_for_an_aligner(tmp_path):
    folder = settings(tmp_path, 'preset = "offline"\n')
    assert " aligner=given " in rows(run(lines=[GOOD], cwd=folder))[0]["pipeline"]


def test_json_needs_a_file_for_the_lines(tmp_path):
    assert run("--json", lines=[GOOD]).returncode == 2
    done = run("--json", "-o", tmp_path / "out.jsonl", lines=[GOOD, "{"])
    assert done.returncode == 5
    assert json.loads(done.stdout) == {
        "output": str(tmp_path / "out.jsonl"),
        "written": 1,
        "bad": 1,
        "incomplete": 0,
    }


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("arguments", [[], ["-o", "/dev/full"]])
def test_a_full_disk_is_said_in_a_sentence(arguments):
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "xner_label", "project", *arguments],
            input=json.dumps(GOOD).encode(),
            stdout=full,
            stderr=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            timeout=LIMIT,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.startswith(b"xner-label: can't write: No space left on device (")
    assert done.stderr.count(b"\n") == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("arguments", [["--version"], ["evaluate", "GOLD", "GOLD"], ["models", "list", "--json"]])
def test_a_full_disk_is_said_by_all_that_write(tmp_path, arguments):
    gold = tmp_path / "gold.jsonl"
    gold.write_text(json.dumps({"id": 1, "text": "x", "entities": []}) + "\n")
    command = [str(gold) if argument == "GOLD" else argument for argument in arguments]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "xner_label", *command],
            stdout=full,
            stderr=subprocess.PIPE,
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            timeout=LIMIT,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.count(b"\n") == 1, done.stderr.decode()
