"""The file-facing commands, run as a user runs them."""

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import begin, until

ROOT = Path(__file__).parents[2]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run ``xner-label`` in an empty folder with a database at head."""
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{ROOT / 'backend'}")

    def call(*arguments, code=0):
        done = subprocess.run(
            [sys.executable, "-m", "xner_label", *map(str, arguments)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stderr
        return done

    call("init", "--target-language", "sw", "--labels", "PER,LOC")
    call("db", "upgrade")
    return call


def entity(start, end, label):
    return {"start": start, "end": end, "label": label}


def lines(path, *rows):
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def test_import_is_idempotent_and_reports_bad_lines(run, tmp_path):
    file = lines(
        tmp_path / "tasks.jsonl",
        {"id": "a", "text": "Rais wa Kenya", "source": "x Kenya", "source_entities": [entity(2, 7, "LOC")]},
        "{broken",
        {"id": "b"},
        {"id": "c", "text": "  "},
        {"id": "d", "text": "x", "source": "y", "source_entities": [entity(0, 9, "LOC")]},
        {"id": "e", "text": "x", "source": "y", "source_entities": [entity(0, 1, "DATE")]},
        {"id": "a", "text": "another"},
        {"id": "f", "text": "nul \u0000 here"},
        {"id": "g", "text": "Ng'ombe 👩‍🌾\r\n \u202eabc"},
        "",
        {"id": 7, "text": "x" * 100_000, "split": "test"},
    )
    done = run("import", file, "--json", code=5)
    report = json.loads(done.stdout)
    assert {name: report[name] for name in ("added", "known", "gold", "bad")} == {
        "added": 3,
        "known": 0,
        "gold": 0,
        "bad": 7,
    }
    assert len(report["errors"]) == 7
    fields = ["json", "text", "text", "source_entities[0]", "source_entities[0].label", "id", "text"]
    for number, field in enumerate(fields, start=2):
        assert f"line {number}: {field}: " in done.stderr
    assert json.loads(run("import", file, "--json", code=5).stdout)["known"] == 3
    assert json.loads(run("status", "--json").stdout)["tasks"] == {"pool": 2, "test": 1}


def test_plain_text_and_csv(run, tmp_path):
    (tmp_path / "news.txt").write_bytes("\ufeffMoja  mbili \r\n\nTatu\n".encode())
    assert "2 tasks added" in run("import", "news.txt").stdout
    assert "0 tasks added, 2 already there" in run("import", "news.txt").stdout.replace(",  ", ", ")
    (tmp_path / "news.csv").write_text('id,text,source\n1,"Nne, ""tano""",Four\n')
    run("import", "news.csv")
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n")
    assert "no column 'text'" in run("import", "bad.csv", code=2).stderr
    assert "can't read" in run("import", "absent.txt", code=2).stderr


def test_gold_and_export(run, tmp_path):
    gold = [{"start": 8, "end": 13, "label": "LOC"}]
    file = lines(tmp_path / "gold.jsonl", {"id": 1, "text": "Rais wa Kenya.", "entities": gold, "split": "test"})
    run("import", file, "--gold")
    exported = json.loads(run("export", "--gold").stdout)
    assert exported == {"id": "1", "text": "Rais wa Kenya.", "entities": gold, "split": "test", "origin": "gold"}
    assert run("export", "--gold", "--format", "conll").stdout == "Rais\tO\nwa\tO\nKenya\tB-LOC\n.\tO\n\n"
    assert "give --gold, --silver or both" in run("export", code=2).stderr
    file = lines(
        tmp_path / "bad.jsonl", {"id": 2, "text": "x", "entities": [{"start": 0, "end": 2, "label": "LOC"}]}
    )
    assert "entities[0]: offsets 0..2" in run("import", file, "--gold", code=5).stderr


def test_without_a_schema_commands_stop_with_7(run, tmp_path):
    (tmp_path / "xner-label.db").unlink()
    for name in ("status", "export"):
        assert "xner-label db upgrade" in run(name, *(["--gold"] if name == "export" else []), code=7).stderr
    run("db", "current", code=7)
    run("db", "upgrade")
    assert run("db", "current").stdout.strip()
    assert "no project" in run("status", code=2).stderr


def test_init_never_overwrites(run, tmp_path):
    before = (tmp_path / "xner-label.toml").read_text()
    assert 'labels = ["PER", "LOC"]' in before
    run("init", "--labels", "ORG")
    assert (tmp_path / "xner-label.toml").read_text() == before


def test_predict_is_idempotent_and_says_what_it_left_out(run, tmp_path):
    nairobi = {"text": "Rais yuko Nairobi.", "source": "The president is in Nairobi."}
    file = lines(
        tmp_path / "tasks.jsonl",
        {"id": 1, **nairobi, "source_entities": [entity(20, 27, "LOC")]},
        {"id": 2, "text": "Bila chanzo"},
    )
    run("import", file)
    first = json.loads(run("predict", "--aligner", "none", "--json", code=5).stdout)
    assert (first["predicted"], first["entities"], first["left_out"]) == (1, 1, {"no source text": 1})
    again = json.loads(run("predict", "--aligner", "none", "--json", code=5).stdout)
    assert (again["predicted"], again["known"], again["pipeline"]) == (0, 1, first["pipeline"])
    silver = json.loads(run("export", "--silver").stdout)
    assert [(entity["start"], entity["end"], entity["label"]) for entity in silver["entities"]] == [
        (10, 17, "LOC")
    ]
    assert 0 <= silver["entities"][0]["confidence"] <= 1


def test_raw_text_without_a_translator_names_the_presets(run, tmp_path):
    (tmp_path / "raw.txt").write_text("Habari\n")
    run("import", "raw.txt")
    assert "fast, paper" in run("predict", "--aligner", "none", code=3).stderr


def test_a_source_tagger_learns_from_labelled_source_data(run, tmp_path):
    labelled = [
        {"id": n, "text": f"{name} went to {place}.", "entities": [entity(0, len(name), "PER")]}
        for n, (name, place) in enumerate([("Amina", "Kisumu"), ("Juma", "Lamu"), ("Baraka", "Nakuru")] * 5)
    ]
    run("import", lines(tmp_path / "source.jsonl", *labelled), "--source-labelled")
    run(
        "import",
        lines(tmp_path / "tasks.jsonl", {"id": 1, "text": "Juma alienda Lamu.", "source": "Juma went to Lamu."}),
    )
    report = json.loads(run("predict", "--aligner", "none", "--json").stdout)
    assert (report["predicted"], report["entities"]) == (1, 1)
    assert "tagger=crf" in report["pipeline"]


CASES = Path(__file__).parents[1] / "cases"


@pytest.mark.parametrize("name", ["tokens.txt", "hf-strings.jsonl", "studio-export.json", "doccano.jsonl"])
def test_gold_of_other_tools_is_read(run, name):
    run("import", CASES / name, "--gold")
    tasks = [json.loads(line) for line in run("export", "--gold").stdout.splitlines()]
    entities = [(task["text"][e["start"] : e["end"]], e["label"]) for task in tasks for e in task["entities"]]
    assert (
        entities
        == {
            "tokens.txt": [("Amina Juma", "PER"), ("Kisumu", "LOC"), ("Baraka", "PER"), ("Lamu", "LOC")],
            "hf-strings.jsonl": [("Juma", "PER"), ("Lamu", "LOC")],
            "studio-export.json": [("Amina", "PER")],
            "doccano.jsonl": [("Amina", "PER"), ("Kisumu", "LOC")],
        }[name]
    )
    assert "0 tasks added" in run("import", CASES / name, "--gold").stdout


@pytest.mark.parametrize(
    ("name", "content"), [("a.txt", "[PER Amina] yuko Lamu\n"), ("a.csv", "id,text\n1,Amina\n")]
)
def test_gold_of_a_format_without_entities_is_refused_in_one_sentence(run, tmp_path, name, content):
    (tmp_path / name).write_text(content)
    done = run("import", name, "--gold", code=2)
    assert "holds no entities" in done.stderr
    assert "--format jsonl|conll|hf" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "no project" in run("status", code=2).stderr


def test_what_an_import_leaves_is_mentioned(run, tmp_path):
    assert "`label` ignored: give --gold" in run("import", CASES / "doccano.jsonl").stderr
    assert "`ner_tags` ignored: give --gold" in run("import", CASES / "hf-strings.jsonl").stderr
    assert "`tags` ignored: give --gold" in run("import", CASES / "tokens.txt").stderr
    file = lines(tmp_path / "a.jsonl", {"id": "a", "text": "Amina", "label": "positive"})
    assert "field `label` isn't read" in run("import", file).stderr


def test_records_that_cannot_be_stored_are_named_and_the_others_stored(run, tmp_path):
    done = run("import", CASES / "score.jsonl", code=5)
    assert "line 10: source_entities[0].score: " in done.stderr
    assert "9 tasks added" in done.stdout
    predicted = json.loads(run("predict", "--aligner", "none", "--tagger", "given", "--json").stdout)
    assert predicted["predicted"] == 9
    assert "line 2: csv: 4 cells for 3 columns" in run("import", CASES / "more-cells.csv", code=5).stderr
    rows = [{"id": name, "text": "Lamu"} for name in "abcdef"]
    rows[0]["split"] = "te\0st"
    rows[1] |= {"tokens": ["Lamu"], "source": "x", "source_tokens": ["x\0"]}
    rows[2]["tokens"] = ["Lamu\0"]
    rows[3] |= {"entities": [entity(0, 4, "PER\0")]}
    rows[4]["id"] = "a\0"
    done = run("import", lines(tmp_path / "nul.jsonl", *rows), "--drop-unknown-labels", code=5)
    for number, field in enumerate(["split", "source_tokens[0]", "tokens[0]", "entities[0].label", "id"], start=1):
        assert f"line {number}: {field}: holds a NUL" in done.stderr


def test_an_encoding_is_named_or_taken_from_the_mark(run, tmp_path):
    done = run("import", CASES / "utf16.txt", code=2)
    assert "UTF-16" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "2 tasks added" in run("import", CASES / "utf16.txt", "--encoding", "utf-16-le").stdout
    assert "1 task added, 2 already" in run("import", CASES / "cr-only.txt").stdout
    (tmp_path / "mark.txt").write_bytes("Amina\nLamu\n".encode("utf-16"))
    assert "2 tasks added" in run("import", "mark.txt").stdout


def test_a_file_of_another_kind_says_so_briefly(run, tmp_path):
    file = tmp_path / "many.jsonl"
    file.write_text("{broken\n" * 5_000)
    done = run("import", file, "--json", code=5)
    report = json.loads(done.stdout)
    assert (report["bad"], len(report["errors"])) == (5_000, 100)
    assert "4,900 more" in done.stderr
    assert len(done.stderr.splitlines()) < 110


def test_gold_has_no_white_space_at_its_borders(run):
    done = run("import", CASES / "trailing-space.jsonl", "--gold")
    assert "1 entity lost white space" in done.stderr
    exported = json.loads(run("export", "--gold").stdout)
    assert exported["entities"] == [entity(0, 5, "PER")]
    run("project", CASES / "trailing-space.jsonl", "-o", "predicted.jsonl")
    scores = json.loads(run("evaluate", CASES / "trailing-space.jsonl", "predicted.jsonl", "--json").stdout)
    assert scores["f1"] == 1.0


def test_predictions_that_were_exported_are_not_taken_as_gold(run, tmp_path):
    file = lines(tmp_path / "a.jsonl", {"id": "a", "text": "Amina", "entities": [], "origin": "silver"})
    assert "silver or mixed, in part a machine's prediction" in run("import", file, "--gold").stderr
    assert run("export", "--gold").stdout == ""


def test_a_file_comes_from_standard_input_too(run, tmp_path, command_line):
    done = subprocess.run(
        [*command_line, "import", "-", "--gold"],
        cwd=tmp_path,
        input=(CASES / "tokens.txt").read_bytes(),
        capture_output=True,
        check=False,
    )
    assert (done.returncode, b"2 tasks added" in done.stdout) == (0, True), done.stdout


def test_labels_given_as_a_flag_are_a_list(run, tmp_path):
    file = lines(tmp_path / "t.jsonl", {"id": "a", "text": "x", "source": "y", "source_entities": []})
    run("import", file, "--project", "other", "--labels", "PER, ORG")
    assert json.loads(run("status", "--project", "other", "--json").stdout)["labels"] == ["PER", "ORG"]


def test_columns_say_what_they_cannot_hold(run, tmp_path):
    run("import", CASES / "conll.jsonl", "--gold", "--labels", "LOC,ORG,PER", "--project", "columns")
    done = run("export", "--gold", "--format", "conll", "-o", "out.conll", "--json", "--project", "columns")
    content = (tmp_path / "out.conll").read_text()
    assert all(len(line.split("\t")) == 2 for line in content.splitlines() if line)
    assert "New\tB-LOC\nYork\tI-LOC\n" in content
    report = json.loads(done.stdout)
    assert (report["tasks"], report["entities"], report["left_out"]) == (3, 3, 1)
    assert report["named"] == ["task 'nested': LOC 'Kenya' at 13..18 overlaps another entity"]
    assert "left out: task 'nested'" in done.stderr
    assert "name a file with -o" in run("export", "--gold", "--json", code=2).stderr


def test_names_that_begin_inside_a_word_keep_their_borders(run, tmp_path):
    """Arabic writes "in" on to the name: people mark the name alone."""
    row = {"id": "a", "text": "سافر بنيروبي", "entities": [{"start": 6, "end": 12, "label": "LOC"}]}
    run("import", lines(tmp_path / "a.jsonl", row), "--gold", "--labels", "LOC", "--project", "inside")
    done = run("export", "--gold", "--format", "conll", "-o", "a.conll", "--project", "inside")
    assert "1 token cut" in done.stdout + done.stderr
    assert (tmp_path / "a.conll").read_text() == "سافر\tO\nب\tO\nنيروبي\tB-LOC\n\n"
    back = json.loads(run("export", "--gold", "--project", "inside").stdout)
    assert back["entities"] == row["entities"]
    studio = json.loads(run("export", "--gold", "--format", "label-studio", "--project", "inside").stdout)
    value = studio[0]["annotations"][0]["result"][0]["value"]
    assert (value["start"], value["end"], value["text"]) == (6, 12, "نيروبي")


def test_numbers_as_ids_come_back_as_the_same_ids(run, tmp_path):
    file = CASES / "int-ids.jsonl"
    run("import", file)
    run("predict", "--aligner", "none", "--tagger", "given")
    run("export", "--silver", "-o", "silver.jsonl")
    assert json.loads(run("evaluate", file, "silver.jsonl", "--json").stdout)["f1"] == 1.0


def test_a_full_export_is_what_weights_are_fitted_on(run, tmp_path):
    names = ["Amina", "Juma", "Baraka", "Zawadi"]
    places = ["Lamu", "Kisumu", "Nakuru", "Voi", "Embu"]
    rows = [
        {
            "id": number,
            "text": f"{name} alienda {place} .",
            "source": f"{name} went to {place} .",
            "source_entities": [
                entity(0, len(name), "PER"),
                entity(len(name) + 9, len(name) + 9 + len(place), "LOC"),
            ],
            "alignment": "0-0 1-1 3-2 4-3",
            "entities": [entity(0, len(name), "PER"), entity(len(name) + 9, len(name) + 9 + len(place), "LOC")],
        }
        for number, (name, place) in enumerate((name, place) for name in names for place in places)
    ]
    run("import", lines(tmp_path / "gold.jsonl", *rows), "--gold")
    run("export", "--gold", "--full", "-o", "full.jsonl")
    exported = [json.loads(line) for line in (tmp_path / "full.jsonl").read_text().splitlines()]
    assert [{**row, "id": str(row["id"]), "split": "pool", "origin": "gold"} for row in rows] == exported
    assert "(20)" in run("fit-projector", "full.jsonl", "-o", "weights.json").stdout
    choice = json.loads(run("choose-projector", "full.jsonl", "--json").stdout)
    assert choice["contenders"][0]["f1"] == 1.0
    assert "leave out --full" in run("export", "--gold", "--full", "--format", "conll", code=2).stderr


def test_an_interrupted_import_leaves_whole_batches_and_goes_on(run, tmp_path, command_line):
    rows = [{"id": n, "text": f"neno {n}", "entities": [entity(0, 4, "LOC")]} for n in range(12_000)]
    file, half = lines(tmp_path / "many.jsonl", *rows), lines(tmp_path / "half.jsonl", *rows[:6_000])

    def stored():
        with sqlite3.connect(tmp_path / "xner-label.db") as connection:
            return [
                connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
                for table in ("tasks", "annotations")
            ]

    process = begin([*command_line, "import", "-", "--gold"], cwd=tmp_path, stdin=subprocess.PIPE)
    process.stdin.write(half.read_bytes())  # and the rest never comes: it can't be done before it is killed
    process.stdin.flush()
    until(lambda: stored()[0])
    process.kill()
    process.wait()
    interrupted = stored()
    assert 0 < interrupted[0] < len(rows)
    assert interrupted[0] % 2_000 == 0
    assert interrupted[0] == interrupted[1]
    report = json.loads(run("import", file, "--gold", "--json").stdout)
    assert (report["added"], report["known"]) == (len(rows) - interrupted[0], interrupted[0])
    assert stored() == [len(rows), len(rows)]


def test_two_imports_of_one_file_at_once_add_it_once(run, tmp_path, command_line):
    rows = [{"id": n, "text": f"neno {n}", "entities": [entity(0, 4, "LOC")]} for n in range(8_000)]
    file = lines(tmp_path / "many.jsonl", *rows)
    both = [
        begin([*command_line, "import", str(file), "--gold", "--json"], cwd=tmp_path, stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    reports = [json.loads(process.communicate()[0]) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert [sum(report[name] for report in reports) for name in ("added", "known", "gold", "bad")] == [
        8_000,
        8_000,
        8_000,
        0,
    ]
    with sqlite3.connect(tmp_path / "xner-label.db") as connection:
        assert connection.execute("SELECT count(*) FROM annotations").fetchone() == (8_000,)


MEASURED = """
import resource, sys
from xner_label.cli.main import cli
try:
    cli.main(sys.argv[1:], standalone_mode=False)
finally:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, file=sys.stderr)
"""


@pytest.mark.soak
def test_memory_is_bounded_at_any_size(run, tmp_path):
    def megabytes(*arguments):
        done = subprocess.run(
            [sys.executable, "-c", MEASURED, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        return int(done.stderr.splitlines()[-1])

    rows = [{"id": n, "text": f"Juma yuko Lamu {n}", "entities": [entity(0, 4, "PER")]} for n in range(100_000)]
    small, large = lines(tmp_path / "small.jsonl", *rows[:4_000]), lines(tmp_path / "large.jsonl", *rows)
    (tmp_path / "large.json").write_text(json.dumps(rows))
    of_small = megabytes("import", small, "--gold")
    out_small = megabytes("export", "--gold", "-o", "small.out")
    assert megabytes("import", large, "--gold") < of_small + 40
    assert megabytes("import", tmp_path / "large.json", "--gold") < of_small + 40
    assert megabytes("export", "--gold", "-o", "large.out") < out_small + 40
    assert len((tmp_path / "large.out").read_bytes().splitlines()) == len(rows)


def test_a_slow_reader_keeps_no_transaction_open(run, tmp_path, command_line):
    rows = [{"id": n, "text": f"neno {n} " + "x" * 500, "entities": []} for n in range(5_000)]
    run("import", lines(tmp_path / "many.jsonl", *rows), "--gold")
    with subprocess.Popen(
        [*command_line, "export", "--gold"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout.readline().startswith(b'{"id":"0"')
        with sqlite3.connect(tmp_path / "xner-label.db") as connection:
            connection.execute("UPDATE tasks SET split = 'test' WHERE id = 5000")
            connection.commit()
            checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)"
            # it goes on until the pipe is full, and then nobody holds an older state
            until(lambda: connection.execute(checkpoint).fetchone() == (0, 0, 0))
        assert process.poll() is None
        rest = process.stdout.read()
    assert process.returncode == 0
    assert rest.count(b"\n") == len(rows) - 1
    assert b'"id":"4999"' in rest.splitlines()[-1]
    assert b'"split":"test"' in rest.splitlines()[-1]


def test_predict_checks_its_files_before_any_stage_works(run, tmp_path, monkeypatch):
    file = lines(tmp_path / "t.jsonl", {"id": "a", "text": "x", "source": "y", "source_entities": []})
    run("import", file)
    monkeypatch.setenv("XNER_LABEL_PIPELINE_PROJECTOR_WEIGHTS", "absent.json")
    refused = run("predict", "--aligner", "none", code=3)
    assert "absent.json" in refused.stderr
    assert "translating" not in refused.stderr


def test_the_label_set_changes_in_one_place_alone(run, tmp_path):
    gold = {"id": "a", "text": "Anna", "source": "Anna", "source_entities": [], "entities": [entity(0, 4, "PER")]}
    file = lines(tmp_path / "t.jsonl", gold)
    run("import", file, "--gold")
    assert run("labels").stdout == "PER,LOC\n"
    for command in (["import", file], ["connect"]):
        assert "has the labels PER,LOC, not PER (" in run(*command, "--labels", "PER", code=3).stderr
    assert run("labels").stdout == "PER,LOC\n"
    assert "1 PER" in run("labels", "--apply", "--labels", "LOC", code=6).stderr
    done = run("labels", "--apply", "--labels", "LOC,DATE", "--force", "--json")
    assert json.loads(done.stdout)["in_use"] == {"PER": 1}
    assert json.loads(run("status", "--json").stdout)["labels"] == ["LOC", "DATE"]
    assert run("import", file, code=3).stderr.count("--apply") == 1, "the settings say PER,LOC still"
    (tmp_path / "xner-label.toml").write_text("")
    more = lines(tmp_path / "u.jsonl", {"id": "b", "text": "x", "source_entities": [], "source": "2020"})
    assert "1 task added" in run("import", more).stdout, "where the settings name none, the project's count"
