"""A model that leaves the house: `annotate` on any text, `export-model` for those who don't have XNER-Label."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.checkpoints import save_bert
from tests.sample_store import PROJECT, prepare_sample_store
from xner_label import sample
from xner_label.cli.main import cli
from xner_label.entities import Task
from xner_label.errors import ConfigurationError, UsageError
from xner_label.predicting.annotating import Annotator
from xner_label.settings.table import Settings
from xner_label.store.database import open_store
from xner_label.training.fine_tuning_job import FineTuningOptions
from xner_label.training.model_card import CardFacts
from xner_label.training.model_export import export_model
from xner_label.training.promotion import promote
from xner_label.training.runs import TrainOptions, train

TEXT = "Rais Amina Wakesho alifika Nairobi leo."


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A store with a promoted CRF, and a newer run that isn't promoted."""
    folder = tmp_path_factory.mktemp("away")
    prepare_sample_store(folder / "store.db", 60)
    with open_store(f"sqlite:///{folder / 'store.db'}") as store:
        train(store, PROJECT, folder / "models")
        promote(store, PROJECT, folder / "models")
        train(store, PROJECT, folder / "models")
    return folder


@pytest.fixture
def settings(folder):
    return Settings(
        database_url=f"sqlite:///{folder / 'store.db'}",
        labels=sample.LABELS,
        training_folder=str(folder / "models"),
        aligner="none",
        projector="string",
    )


@pytest.fixture
def store(settings):
    with open_store(settings.database_url) as store:
        yield store


def annotate(folder, *arguments, code=0, **options):
    place = ["--database-url", f"sqlite:///{folder / 'store.db'}", "--training-folder", str(folder / "models")]
    done = CliRunner().invoke(cli, ["annotate", *arguments, *place], **options)
    assert (getattr(done.exception, "exit_code", None) or done.exit_code) == code, done.output
    return done


def test_plain_text_and_json_lines_get_the_same_entities(folder, tmp_path):
    (tmp_path / "news.txt").write_text(f"{TEXT}\n\n{TEXT} \N{ELEPHANT}\r\n", encoding="utf-8")
    done = annotate(folder, str(tmp_path / "news.txt"))
    first, second = map(json.loads, done.stdout.splitlines())
    assert (first["id"], second["id"]) == (1, 3)
    assert first["entities"]
    assert first["pipeline"].startswith("crf-")
    for line in (first, second):
        for entity in line["entities"]:
            assert line["text"][entity["start"] : entity["end"]] == entity["text"]
            assert 0 <= entity["confidence"] <= 1
    assert [entity["text"] for entity in first["entities"]] == [entity["text"] for entity in second["entities"]]
    assert "2 of them from the text alone" in done.stderr
    again = annotate(folder, input=json.dumps({"id": 1, "text": TEXT}))
    assert json.loads(again.stdout) == first


def test_bad_lines_are_named_and_the_rest_is_answered(folder, tmp_path):
    lines = [{"id": 1, "text": TEXT, "tokens": ["elsewhere"]}, {"id": 2, "text": TEXT}, {"id": 3, "text": ""}]
    (tmp_path / "tasks.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + "{\n")
    done = annotate(folder, str(tmp_path / "tasks.jsonl"), "-o", str(tmp_path / "out.jsonl"), code=5)
    assert [json.loads(line)["id"] for line in (tmp_path / "out.jsonl").read_text().splitlines()] == [2, 3]
    assert "line 1: tokens" in done.stderr
    assert "line 4: json" in done.stderr
    (tmp_path / "latin.txt").write_bytes("Amina caf\xe9\n".encode("latin-1"))
    assert "line 1: text: not UTF-8" in annotate(folder, str(tmp_path / "latin.txt"), code=5).stderr
    annotate(folder, str(tmp_path / "latin.txt"), "-o", str(tmp_path / "none.jsonl"), "--strict", code=5)
    assert not (tmp_path / "none.jsonl").exists()
    (tmp_path / "empty.txt").write_text("")
    assert annotate(folder, str(tmp_path / "empty.txt")).stdout == ""


def test_a_task_with_a_source_is_projected_before_the_run_answers(folder, store, settings):
    with_source = next(task for task in sample.read_sample() if task.split == "test" and task.source_entities)
    asked = [Task(id=1, text=TEXT), with_source]
    annotator = Annotator(store, settings)
    alone, projected = annotator.annotate(asked)
    assert annotator.text_alone == 1
    assert {alone.pipeline, projected.pipeline} == {annotator.version}
    assert any(entity.source is not None for entity in projected.entities)
    broken = Task(id=2, text=TEXT, source="He", source_entities=with_source.source_entities)
    (answer,) = annotator.annotate([broken])
    assert answer.note.startswith("from the text alone; source_entities")
    assert annotator.annotate([]) == []


def test_who_answers_can_be_chosen(folder, store, settings):
    versions = sorted(path.name for path in (folder / "models").iterdir())
    promoted = Annotator(store, settings).version
    (other,) = set(versions) - {promoted}
    assert Annotator(store, settings, other).version == other
    by_pipeline = Annotator(store, settings, by_pipeline=True)
    assert by_pipeline.version is None
    task = next(task for task in sample.read_sample() if task.source_entities)
    assert "projector=string" in by_pipeline.annotate([task])[0].pipeline
    with pytest.raises(UsageError, match="no model run 'v9'"):
        Annotator(store, settings, "v9")
    annotate(folder, "--run", other, "--pipeline", code=2, input="")


def test_an_exported_crf_needs_crfsuite_alone(folder, store, settings, tmp_path):
    facts = CardFacts("sw", "CC-BY-4.0", "CC-BY-NC-4.0")
    report = export_model(store, PROJECT, folder / "models", tmp_path / "given" / "model", facts)
    assert {"README.md", "tagger.py", "features.py", "letter_case.py", "crf.json"} <= set(report.files)
    assert "projected.crf" not in report.files
    texts = [task.text for task in sample.read_sample() if task.split == "test" and task.text.isascii()]
    (tmp_path / "texts.txt").write_text("".join(text + "\n" for text in texts))
    # without our package in reach, nor anything else that isn't Python's or CRFsuite's
    only_crfsuite = (
        "import sys, runpy\n"
        "class Refuse:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('xner_label', 'regex', 'numpy', 'msgspec'):\n"
        "            raise ImportError(name)\n"
        "sys.meta_path.insert(0, Refuse())\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "sys.argv = ['tagger.py', sys.argv[2]]\n"
        "runpy.run_path(sys.path[0] + '/tagger.py', run_name='__main__')\n"
    )
    command = [sys.executable, "-c", only_crfsuite, report.folder, "texts.txt"]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    ours = Annotator(store, settings).annotate([Task(id=number, text=text) for number, text in enumerate(texts)])
    theirs = [json.loads(line)["entities"] for line in done.stdout.splitlines()]
    assert len(theirs) == len(ours)
    assert any(theirs)
    for mine, line in zip(ours, theirs, strict=True):
        assert [(item.start, item.end, item.label) for item in mine.entities] == [
            (item["start"], item["end"], item["label"]) for item in line
        ]
        assert [item.confidence for item in mine.entities] == pytest.approx([item["score"] for item in line])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_exported_pipeline_is_loaded_by_spacy_and_tags_the_same(folder, store, settings, tmp_path):
    pytest.importorskip("spacy")
    facts = CardFacts("sw")
    report = export_model(store, PROJECT, folder / "models", tmp_path / "package", facts, format="spacy")
    (name,) = (path.parent.name for path in (tmp_path / "package").glob("*/__init__.py"))
    assert {"README.md", "pyproject.toml", f"{name}/pipeline/config.cfg", f"{name}/tagger.py"} <= set(report.files)
    assert not [file for file in report.files if "__pycache__" in file]
    texts = [task.text for task in sample.read_sample() if task.split == "test"][:40]
    texts += ["", " ", "Amina\u00a0 Hassan\n\n alifika  Dodoma"]
    (tmp_path / "texts.json").write_text(json.dumps(texts))
    code = (
        "import json, sys\n"
        "sys.modules['xner_label'] = None\n"
        "sys.path.insert(0, sys.argv[1])\n"
        f"import spacy, {name}\n"
        f"by_name, by_path = {name}.load(), spacy.load(f'{{sys.argv[1]}}/{name}/pipeline')\n"
        "found = []\n"
        "for text in json.load(open(sys.argv[2])):\n"
        "    doc = by_name(text)\n"
        "    assert doc.text == text\n"
        "    spans = [[item.start_char, item.end_char, item.label_] for item in doc.ents]\n"
        "    assert spans == [[item.start_char, item.end_char, item.label_] for item in by_path(text).ents]\n"
        "    found.append(spans)\n"
        "print(json.dumps(found))\n"
    )
    line = [sys.executable, "-c", code, report.folder, "texts.json"]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    ours = Annotator(store, settings).annotate([Task(id=number, text=text) for number, text in enumerate(texts)])
    assert any(json.loads(done.stdout))
    assert json.loads(done.stdout) == [
        [[item.start, item.end, item.label] for item in mine.entities] for mine in ours
    ]


def test_the_card_states_data_metrics_and_limits(folder, store, tmp_path):
    facts = CardFacts("sw", "CC-BY-4.0", "CC-BY-NC-4.0")
    version = export_model(store, PROJECT, folder / "models", tmp_path / "model", facts).version
    card = (tmp_path / "model" / "README.md").read_text("utf-8")
    assert card.startswith("---\nlicense: cc-by-4.0\nlanguage: sw\n")
    for words in (version, "60 texts that people annotated", "CC-BY-NC-4.0", "| test |", " .. ", "can't do"):
        assert words in card
    export_model(store, PROJECT, folder / "models", tmp_path / "unsaid", CardFacts())
    assert "license: other" in (tmp_path / "unsaid" / "README.md").read_text("utf-8")


def test_nothing_is_overwritten_and_nothing_damaged_given_away(folder, store, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="isn't an empty folder"):
        export_model(store, PROJECT, folder / "models", tmp_path / "full", CardFacts())
    with pytest.raises(ConfigurationError, match="not in"):
        export_model(store, PROJECT, tmp_path / "elsewhere", tmp_path / "model", CardFacts())
    with pytest.raises(UsageError, match="no model run 'v9'"):
        export_model(store, PROJECT, folder / "models", tmp_path / "model", CardFacts(), "v9")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full"]


@pytest.mark.models
def test_an_exported_checkpoint_loads_in_transformers(folder, store, tmp_path):
    from transformers import pipeline

    save_bert(tmp_path / "bert")
    options = TrainOptions(
        checkpoint=str(tmp_path / "bert"), fine_tuning=FineTuningOptions(epochs=1, silver_epochs=0)
    )
    version = train(store, PROJECT, folder / "models", options).version
    report = export_model(store, PROJECT, folder / "models", tmp_path / "model", CardFacts(), version)
    with pytest.raises(UsageError, match="of CRFs alone"):
        export_model(store, PROJECT, folder / "models", tmp_path / "no", CardFacts(), version, format="spacy")
    assert "model.safetensors" in report.files
    assert "trained-on.json" not in report.files
    tagger = pipeline("token-classification", model=report.folder, aggregation_strategy="first")
    for entity in tagger(TEXT):
        assert entity["entity_group"] in (*sample.LABELS, "O")
    assert "transformers import pipeline" in (Path(report.folder) / "README.md").read_text("utf-8")
