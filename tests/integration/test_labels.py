"""A project's label set changes by `labels --apply` and nothing else."""

import json

import pytest
from click.testing import CliRunner

from xner_label import sample
from xner_label.cli.main import cli
from xner_label.errors import ConfigurationError
from xner_label.exchange.importing import ImportOptions, import_file
from xner_label.predicting.predictor import Predictor
from xner_label.settings.table import Settings
from xner_label.store import projects, tasks
from xner_label.studio.connect import ConnectOptions, connect


@pytest.fixture
def store(each_store):
    with each_store.write() as session:
        project = projects.ensure_project(session, "default", ["PER", "LOC"])
        tasks.add_tasks(session, project.id, [(task, "pool") for task in sample.read_sample(split="dev")])
    return each_store


def labels_of(store):
    with store.read() as session:
        return projects.get_project(session, "default").labels


@pytest.mark.parametrize("labels", [("PER",), ("PER", "LOC", "MISC"), ("ORG", "DATE")])
def test_other_labels_stop_every_command_and_change_nothing(store, tmp_path, labels):
    file = tmp_path / "tasks.jsonl"
    file.write_text(json.dumps({"id": "new", "text": "x"}) + "\n")
    settings = Settings(labels=labels, aligner="none", projector="string")
    hint = "has the labels PER, LOC, the settings say .*labels --apply"
    with pytest.raises(ConfigurationError, match=hint):
        import_file(store, "default", labels, file, ImportOptions())
    with pytest.raises(ConfigurationError, match=hint):
        connect(store, settings, ConnectOptions())
    with pytest.raises(ConfigurationError, match=hint):
        Predictor(store, settings)
    assert labels_of(store) == ["PER", "LOC"]
    with store.read() as session:
        assert "new" not in tasks.ids_by_external(session, 1, ["new"])


def test_the_order_of_labels_says_nothing(store):
    Predictor(store, Settings(labels=("LOC", "PER"), aligner="none", projector="string"))
    assert labels_of(store) == ["PER", "LOC"]


def test_the_command_shows_applies_and_says_what_is_affected(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = "Amina anaishi Lamu"
    gold = [{"start": 0, "end": 5, "label": "PER"}, {"start": 14, "end": 18, "label": "LOC"}]
    (tmp_path / "gold.jsonl").write_text(json.dumps({"id": "a", "text": text, "entities": gold}) + "\n")

    def run(*arguments, code=0):
        done = CliRunner().invoke(cli, arguments)
        shown = "" if done.exception is None else str(done.exception)
        assert (done.exit_code == 0) == (code == 0), shown + done.output
        return done

    run("init", "--labels", "PER,LOC")
    run("db", "upgrade")
    run("import", "gold.jsonl", "--gold")
    settings = tmp_path / "xner-label.toml"
    settings.write_text(settings.read_text().replace('labels = ["PER", "LOC"]', 'labels = ["PER", "ORG"]'))
    run("import", "gold.jsonl", code=3)
    shown = json.loads(run("labels", "--json").stdout)
    assert (shown["labels"], shown["added"], shown["removed"], shown["gold"]) == (
        ["PER", "LOC"],
        ["ORG"],
        ["LOC"],
        1,
    )
    assert not shown["applied"]
    assert "in the gold of 1 tasks" in run("labels", "--apply").stderr
    assert run("labels").stdout == "PER, ORG\n"
    settings.write_text(settings.read_text().replace('labels = ["PER", "ORG"]', 'labels = ["LOC", "PER"]'))
    run("labels", "--apply")
    assert run("import", "gold.jsonl", "--gold").exit_code == 0
