"""Transfer and the ensemble through real taggers: lines, stored tasks, files and the benchmark."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.checkpoints import save_xlm_roberta
from xner_label.cli.main import cli
from xner_label.entities import Tokens
from xner_label.stages.tagging.crf import CrfTagger

TEXTS = ["Amina agenze Kampala", "Okello yalaba Mbale", "Naledi agenze Jinja"]
TASKS = [
    {
        "id": number,
        "text": text,
        "source": text.replace("agenze", "visited").replace("yalaba", "saw"),
        "source_entities": [{"start": 0, "end": len(text.split()[0]), "label": "PER"}],
        "entities": [
            {"start": 0, "end": len(text.split()[0]), "label": "PER"},
            {"start": text.rindex(" ") + 1, "end": len(text), "label": "LOC"},
        ],
    }
    for number, text in enumerate(TEXTS)
]


def write(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    crf = CrfTagger.train([text.split() for text in TEXTS] * 3, [["B-PER", "O", "B-LOC"]] * 9)
    (tmp_path / "target.crf").write_bytes(crf.to_bytes())
    (tmp_path / "x.toml").write_text(
        f'labels = ["PER", "LOC"]\n[database]\nurl = "sqlite:///{tmp_path / "x.db"}"\n'
        f'[pipeline]\nprojector = "transfer"\ntarget_tagger = "{tmp_path / "target.crf"}"\n'
    )
    write(tmp_path / "tasks.jsonl", TASKS)
    write(tmp_path / "texts.jsonl", [{"id": task["id"], "text": task["text"]} for task in TASKS])
    return tmp_path


def invoke(*call: object, code: int = 0):
    done = CliRunner().invoke(cli, [str(argument) for argument in call])
    assert (getattr(done.exception, "exit_code", None) or done.exit_code) == code, done.output
    return done


def entities(text: str) -> list[list[tuple[str, str]]]:
    rows = [json.loads(line) for line in text.splitlines()]
    return [[(entity["text"], entity["label"]) for entity in row["entities"]] for row in rows]


EVERYTHING = [[(text.split()[0], "PER"), (text.split()[-1], "LOC")] for text in TEXTS]


def test_a_text_alone_is_enough_for_transfer(folder: Path) -> None:
    config = ("--config", folder / "x.toml")
    done = invoke("project", folder / "texts.jsonl", *config)
    assert entities(done.stdout) == EVERYTHING
    first = json.loads(done.stdout.splitlines()[0])
    assert first["entities"][0]["source"] is None
    assert "target-tagger=crf" in first["pipeline"]
    assert entities(invoke("project", folder / "texts.jsonl", *config, "--labels", "LOC").stdout)[0] == [
        ("Kampala", "LOC")
    ]
    (folder / "none.toml").write_text("")
    bare = ("--config", folder / "none.toml", "--projector", "transfer")
    assert "target_tags: missing" in invoke("project", folder / "texts.jsonl", *bare, code=5).stderr
    done = invoke("project", folder / "texts.jsonl", *config, "--projector", "ensemble", code=5)
    assert "source: missing" in done.stderr
    given = [{"id": 1, "text": "a", "target_tags": [{"B-PER": 1.0}]}, {"id": 2, "text": "", "target_tags": []}]
    given += [{"id": 3, "text": "a", "source_entities": [], "source": "", "target_tags": [{"O": 1.0}]}]
    write(folder / "given.jsonl", given)
    assert entities(invoke("project", folder / "given.jsonl", *bare).stdout) == [[("a", "PER")], [], []]


def test_the_ensemble_adds_what_the_projection_lacks(folder: Path) -> None:
    config = ("--config", folder / "x.toml", "--projector", "ensemble")
    done = invoke("project", folder / "tasks.jsonl", *config)
    assert entities(done.stdout) == EVERYTHING
    person, place = json.loads(done.stdout.splitlines()[0])["entities"]
    assert (person["source"]["text"], place["source"]) == ("Amina", None)
    assert person["confidence"] > place["confidence"]  # two say so, one does
    assert "projector=ensemble(log-linear" in json.loads(done.stdout.splitlines()[0])["pipeline"]


def test_stored_tasks_and_files_without_a_source_are_predicted(folder: Path) -> None:
    config = ("--config", folder / "x.toml")
    invoke("db", "upgrade", *config)
    invoke("import", folder / "texts.jsonl", *config)
    report = json.loads(invoke("predict", *config, "--json").stdout)
    assert (report["predicted"], report["entities"], report["left_out"]) == (3, 6, {})
    assert "projector=transfer" in report["pipeline"]
    invoke("predict", folder / "texts.jsonl", "-o", folder / "parts", *config)
    parts = sorted((folder / "parts").glob("*.jsonl"))
    assert entities("".join(part.read_text() for part in parts if not part.name.startswith("_"))) == EVERYTHING


def test_the_benchmark_has_both(folder: Path) -> None:
    call = ("benchmark", folder / "tasks.jsonl", "--config", folder / "x.toml", "--cache", folder / "c", "--json")
    call += (
        "--methods",
        "transfer,ensemble,default",
        "--target-taggers",
        folder / "target.crf",
        "--aligners",
        "none",
    )
    rows = {row["method"]: row for row in json.loads(invoke(*call).stdout)["rows"] if not row["published"]}
    assert rows["transfer"]["f1"] == rows["ensemble"]["f1"] == 1.0
    assert rows["default"]["recall"] == 0.5


@pytest.mark.models
def test_transfer_by_a_checkpoint_is_what_its_tagger_says(folder: Path) -> None:
    from xner_label.checkpoints.devices import Placement
    from xner_label.stages.tagging.transformers_tagger import TransformersTagger

    labels = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
    names = {"id2label": dict(enumerate(labels)), "label2id": {name: place for place, name in enumerate(labels)}}
    model = save_xlm_roberta(folder / "xlmr", head="XLMRobertaForTokenClassification", **names)
    tagger = TransformersTagger(str(model), ("PER", "LOC"), placement=Placement("cpu", "float32"))
    expected = tagger.tag([Tokens.tokenize(text) for text in TEXTS])
    call = ("project", folder / "texts.jsonl", "--config", folder / "x.toml", "--target-tagger", model)
    rows = [json.loads(line) for line in invoke(*call, "--device", "cpu").stdout.splitlines()]
    for row, of_text in zip(rows, expected, strict=True):
        answered = [(e["start"], e["end"], e["label"]) for e in row["entities"]]
        assert answered == [(e.start, e.end, e.label) for e in of_text]
        confidences = [e["confidence"] for e in row["entities"]]
        assert confidences == pytest.approx([e.score for e in of_text])
    assert any(expected)
