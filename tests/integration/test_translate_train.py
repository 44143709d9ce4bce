"""Labelled source texts translated with their labels, through real checkpoints, into files and into the store."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.processes import begin, until
from xner_label.cli.main import cli

pytestmark = pytest.mark.models

ROOT = Path(__file__).parents[2]
LABELLED = [
    ("Amina works in Kampala .", (("Amina", "PER"), ("Kampala", "LOC"))),
    ("Okello saw the Bank of Uganda and Mbale .", (("the Bank of Uganda", "ORG"), ("Mbale", "LOC"))),
    ("Naledi came from Jinja .", (("Naledi", "PER"), ("Jinja", "LOC"))),
    ("Naledi came from Jinja .", (("Naledi", "PER"), ("Jinja", "LOC"), ("from Jinja", "DATE"))),  # nested
    ("Amina works in Kampala .", ()),
]


def line(text: str, entities: tuple[tuple[str, str], ...], **fields: object) -> dict:
    spans = [
        {"start": text.index(name), "end": text.index(name) + len(name), "label": label}
        for name, label in entities
    ]
    return {"text": text, "entities": spans, **fields}


def write(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "x.toml").write_text(f'[models]\ncache = "{tmp_path / "cache"}"\ndevice = "cpu"\n')
    write(tmp_path / "labelled.jsonl", [line(*row, id=number) for number, row in enumerate(LABELLED)])
    return tmp_path


def arguments(folder: Path, model: str, *more: object) -> list[str]:
    common = ("--config", folder / "x.toml", "--target-language", "lg", "--model", model)
    return ["translate-train", str(folder / "labelled.jsonl"), *map(str, (*common, *more))]


def invoke(*call: object, code: int = 0):
    done = CliRunner().invoke(cli, [str(argument) for argument in call])
    assert (getattr(done.exception, "exit_code", None) or done.exit_code) == code, done.output
    return done


def rows(text: str) -> list[dict]:
    return [json.loads(row) for row in text.splitlines()]


def shown(row: dict) -> list[tuple[str, str]]:
    assert all(row["text"][entity["start"] : entity["end"]] == entity["text"] for entity in row["entities"])
    return [(entity["text"], entity["label"]) for entity in row["entities"]]


def by_the_book(model: str, text: str, names: list[tuple[str, str]]) -> tuple[str, list[tuple[str, str]]]:
    """Tags around names that stand apart, translated by transformers itself, taken out by a regular expression."""
    import torch
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model, src_lang="eng_Latn")
    marked = text
    for letter, (name, _) in zip("ab", names, strict=False):
        marked = marked.replace(name, f"<{letter}>{name}</{letter}>")
    with torch.inference_mode():
        generated = AutoModelForSeq2SeqLM.from_pretrained(model).generate(
            **tokenizer([marked], return_tensors="pt"),
            forced_bos_token_id=tokenizer.convert_tokens_to_ids("lug_Latn"),
            num_beams=4,
            max_new_tokens=60,
        )
    translated = tokenizer.batch_decode(generated, skip_special_tokens=True)[0].strip()
    entities = [
        (match[2], names["ab".index(match[1])][1]) for match in re.finditer(r"<([ab])>(.*?)</\1>", translated)
    ]
    return re.sub(r"</?[ab]>", "", translated), entities


@pytest.mark.parametrize("method", ["markers", "xml"])
def test_entities_come_along_or_the_text_is_left_out(folder: Path, taught_nllb: str, method: str) -> None:
    done = invoke(*arguments(folder, taught_nllb, "--method", method))
    silver = rows(done.stdout)
    assert [row["id"] for row in silver] == [0, 1, 2, 4]
    assert shown(silver[0]) == [("Amina", "PER"), ("Kampala", "LOC")]
    assert shown(silver[1]) == [("Bbanka", "ORG"), ("Mbale", "LOC")]
    assert silver[3]["entities"] == []
    assert silver[0]["source"] == LABELLED[0][0]
    assert [entity["label"] for entity in silver[0]["source_entities"]] == ["PER", "LOC"]
    assert silver[0]["entities"][0]["source"]["text"] == "Amina"
    assert all(0.0 < row["confidence"] <= 1.0 for row in silver)
    assert f"projector=translate-train:{method} translator=transformers:" in silver[0]["pipeline"]
    assert "1 left out (counts 1)" in done.stderr
    assert re.search(r"\d+ of 9 markers came back", done.stderr)
    if method == "xml":
        for row, (text, names) in zip(silver[:3], LABELLED, strict=False):
            assert (row["text"], shown(row)) == by_the_book(taught_nllb, text, list(names))
    everything = rows(invoke(*arguments(folder, taught_nllb, "--method", method, "--filter", "none")).stdout)
    assert len(everything) == len(LABELLED)


def test_projection_filters_by_links(folder: Path, taught_nllb: str) -> None:
    call = arguments(folder, taught_nllb, "--method", "projection", "--projector", "string")
    everything = rows(invoke(*call, "--filter", "none").stdout)
    assert shown(everything[0]) == [("Amina", "PER"), ("Kampala", "LOC")]
    assert everything[0]["source"] == LABELLED[0][0]
    assert "projected-by=(xner-label/" in everything[0]["pipeline"]
    done = invoke(
        *call, "-o", folder / "out.jsonl", "--aligner", "eflomal", "--json"
    )  # which reads all of it first
    report = json.loads(done.stdout)
    assert report["written"] + report["incomplete"] == len(LABELLED)
    assert sum(report["dropped"].values()) >= report["incomplete"] > 0


def test_bad_lines_and_choices_are_named(folder: Path, taught_nllb: str) -> None:
    bad = [line(*LABELLED[0]), {"text": "x"}, {"text": " ", "entities": []}]
    bad += [{"text": "ab", "entities": [{"start": 0, "end": 9, "label": "PER"}]}]
    write(folder / "labelled.jsonl", bad)
    done = invoke(*arguments(folder, taught_nllb, "--labels", "LOC"), code=5)
    (row,) = rows(done.stdout)
    assert row["id"].startswith("text-")
    assert shown(row) == [("Kampala", "LOC")]
    for number, field in ((2, "entities"), (3, "text"), (4, "entities[0]")):
        assert f"line {number}: {field}: " in done.stderr
    invoke(*arguments(folder, taught_nllb, "--strict", "-o", folder / "out.jsonl"), code=5)
    assert not (folder / "out.jsonl").exists()
    done = invoke(*arguments(folder, taught_nllb, "--filter", "aligned"), code=2)
    assert "makes none" in str(done.exception)
    call = ["translate-train", folder / "labelled.jsonl", "--config", folder / "x.toml", "--target-language", "lg"]
    for method in ("markers", "projection"):
        assert "--model" in str(invoke(*call, "--method", method, code=3).exception)
    write(folder / "labelled.jsonl", [])
    assert invoke(*arguments(folder, taught_nllb)).stdout == ""


def test_killed_and_called_again_it_goes_on_where_it_was(folder: Path, taught_nllb: str) -> None:
    texts = [f"Amina works in Kampala {number} ." for number in range(150)]
    write(folder / "labelled.jsonl", [line(text, (("Amina", "PER"),)) for text in texts])
    call = arguments(folder, taught_nllb, "--filter", "none", "-o", folder / "silver.jsonl")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    process = begin([sys.executable, "-m", "xner_label", *call], env=environment, stderr=subprocess.DEVNULL)

    def kept() -> dict[Path, int]:
        """When each translation that is whole was written; one that is being written is hidden."""
        files = [file for file in (folder / "cache" / "translations").rglob("[!.]*") if file.is_file()]
        return {file: file.stat().st_mtime_ns for file in files}

    until(lambda: kept() or process.poll() is not None, pause=0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = kept()
    assert before
    assert not (folder / "silver.jsonl").exists()
    invoke(*call)
    after = kept()
    assert {file: after[file] for file in before} == before  # none was translated again
    assert len(rows((folder / "silver.jsonl").read_text())) == len(texts)


def test_silver_is_learned_from_and_never_asked_about(folder: Path, taught_nllb: str) -> None:
    from sqlalchemy import select

    from xner_label.settings.loading import load_settings
    from xner_label.store.database import open_store
    from xner_label.store.pruning import prune
    from xner_label.store.tables import Prediction
    from xner_label.store.tasks import count_tasks
    from xner_label.training.data import DataOptions, collect

    url = f"sqlite:///{folder / 'x.db'}"
    (folder / "x.toml").write_text((folder / "x.toml").read_text() + f'\n[database]\nurl = "{url}"\n')
    config = ("--config", folder / "x.toml")
    silver = folder / "silver.jsonl"
    invoke(*arguments(folder, taught_nllb, "--method", "xml", "-o", silver))
    records = [
        {"id": 0, "text": "Amina akolera mu Kampala", "source": "Amina works in Kampala", "source_entities": []}
    ]
    invoke("db", "upgrade", *config)
    invoke("import", write(folder / "own.jsonl", records), *config)
    report = json.loads(invoke("import", "--silver", silver, *config, "--json").stdout)
    assert (report["added"], report["known"], report["bad"]) == (4, 0, 0)
    report = json.loads(invoke("import", "--silver", silver, *config, "--json").stdout)
    assert (report["added"], report["known"], report["bad"]) == (0, 4, 0)
    predicted = json.loads(invoke("predict", *config, "--aligner", "none", "--json").stdout)
    assert predicted["predicted"] == 1  # the text of the target language alone
    settings = load_settings(folder / "x.toml", {})
    with open_store(settings.database_url) as store:
        assert sum(prune(store, dry_run=True).predictions.values()) == 0
        with store.read() as session:
            assert count_tasks(session, 1) == {"pool": 1, "translated": 4}
            data = collect(session, "default", DataOptions(dev_share=0.0))
    assert (data.report.silver, data.report.translated) == (5, 4)
    learned = {sentence.id: sentence for sentence in data.silver}
    first = learned["silver:0"]
    assert [(entity.text, entity.label) for entity in first.silver or ()] == [("Amina", "PER"), ("Kampala", "LOC")]
    trained = json.loads(
        invoke("train", *config, "--training-folder", folder / "models", "--dry-run", "--json").stdout
    )
    assert trained["translated"] == 4
    models = ("--training-folder", folder / "models")
    invoke("train", *config, *models, "--json")
    promoted = invoke("promote", *config, *models, "--force", "--reason", "no gold yet")
    assert "1 task predicted" in promoted.output  # by the run, too, the target language alone
    with open_store(settings.database_url) as store, store.read() as session:
        versions = Counter(session.scalars(select(Prediction.task_id)))
        assert sorted(versions.values()) == [1, 1, 1, 1, 2]


def test_lines_that_are_no_silver_are_named(folder: Path) -> None:
    good = {
        "id": 1, "text": "Amina", "confidence": 0.5, "pipeline": "x projector=y",
        "entities": [{"start": 0, "end": 5, "label": "PER", "text": "Amina", "score": 1.0, "confidence": 0.5}],
    }  # fmt: skip
    entity = good["entities"][0]  # type: ignore[index]
    bad = [
        {**good, "id": 2, "pipeline": " "},
        {**good, "id": 3, "confidence": 2.0},
        {**good, "id": 4, "entities": [{**entity, "text": "Okello"}]},
        {**good, "id": 5, "entities": [{**entity, "label": "SHIP"}]},
        {**good, "id": 6, "text": "Amina x"} | {"entities": [{**entity, "end": 6, "text": "Amina "}]},
        {**good, "id": 1, "text": "Okello", "entities": []},
        {"id": 7, "text": "Amina", "entities": []},
    ]
    file = write(folder / "silver.jsonl", [good, *bad])
    url = f"sqlite:///{folder / 'x.db'}"
    invoke("db", "upgrade", "--database-url", url)
    call = ("import", "--silver", file, "--database-url", url, "--config", folder / "x.toml")
    done = invoke(*call, code=5)
    fields = ["pipeline", "confidence", "entities[0].text", "entities[0].label", "entities", "id", "confidence"]
    for number, field in enumerate(fields, 2):
        assert f"line {number}: {field}" in done.stderr
    assert "1 silver text added" in done.stdout
    for flag in ("--gold", "--source-labelled", "--format=csv", "--split=pool"):
        assert "--silver takes" in str(invoke(*call, flag, code=2).exception)
