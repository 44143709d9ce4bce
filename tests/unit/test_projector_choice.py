"""Choosing a projector on a little gold, and writing the choice down."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from xner_label.benchmark.choosing import ADAPTED, choose_projector
from xner_label.cli.main import cli
from xner_label.errors import UsageError
from xner_label.settings.loading import load_settings

NAMES = ("Asha", "Baraka", "Chausiku", "Daudi", "Eshe", "Furaha", "Goma", "Halima", "Imani", "Juma")


def write_gold(path, *, shift=0, count=40, **changes):
    """Names that are copied; with ``shift`` the word before them belongs to the gold."""
    rows = []
    for number in range(count):
        name = NAMES[number % len(NAMES)]
        source, text = f"Mr {name} came .", f"bwana {name} alikuja ."
        start = 0 if shift else 6
        row = {
            "id": number,
            "text": text,
            "source": source,
            "source_entities": [{"start": 3, "end": 3 + len(name), "label": "PER"}],
            "alignment": "0-0 1-1 2-2 3-3",
            "entities": [{"start": start, "end": 6 + len(name), "label": "PER"}],
        }
        rows.append(json.dumps({key: value for key, value in (row | changes).items() if value is not None}))
    path.write_text("\n".join(rows) + "\n")
    return path


def test_the_default_stays_unless_another_is_better(tmp_path):
    choice = choose_projector(write_gold(tmp_path / "gold.jsonl"))
    assert choice.chosen == "default"
    by_name = {contender.name: contender for contender in choice.contenders}
    assert by_name["default"].f1 == 1.0
    assert by_name["default"].over_default_ci95 == (0.0, 0.0)
    assert {"corpus", "link-dice", "heuristic", ADAPTED} <= set(by_name)
    assert choice.left_out["nmt"] == "needs a translation model"
    assert choice.left_out["ner"] == "needs target_tags"
    assert [contender.f1 for contender in choice.contenders] == sorted(
        (contender.f1 for contender in choice.contenders), reverse=True
    )


def test_adapted_weights_are_chosen_where_they_learn_something(tmp_path):
    gold = write_gold(tmp_path / "gold.jsonl", shift=1, count=120)
    settings = tmp_path / "xner-label.toml"
    settings.write_text('# ours\nlabels = ["PER"]\n[pipeline]\naligner = "eflomal" # fast\n')
    weights = tmp_path / "weights.json"
    arguments = [
        "choose-projector",
        str(gold),
        "--config",
        str(settings),
        "--weights-output",
        str(weights),
        "--json",
    ]
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["chosen"] == ADAPTED
    loaded = load_settings(settings, {})
    assert (loaded.projector, loaded.projector_weights) == ("default", str(weights))
    assert (loaded.aligner, loaded.labels) == ("eflomal", ("PER",))
    assert "# ours" in settings.read_text()
    assert "# fast" in settings.read_text()


def test_projectors_without_their_fields_are_left_out(tmp_path):
    choice = choose_projector(write_gold(tmp_path / "gold.jsonl", alignment=None, count=12))
    assert choice.left_out["link-dice"] == "needs alignment"
    assert ADAPTED in choice.left_out


def test_gold_is_needed(tmp_path):
    with pytest.raises(UsageError, match="no gold"):
        choose_projector(write_gold(tmp_path / "gold.jsonl", entities=[]))


def test_a_dry_run_writes_nothing(tmp_path):
    gold = write_gold(tmp_path / "gold.jsonl", count=12)
    settings = tmp_path / "xner-label.toml"
    done = CliRunner().invoke(cli, ["choose-projector", str(gold), "--config", str(settings), "--dry-run"])
    assert done.exit_code == 0, done.output
    assert "chosen on 12 tasks with 12 entities: default" in done.stdout
    assert not settings.exists()


def test_gold_that_no_projector_can_be_judged_by_is_refused(tmp_path):
    """Among eleven zeros there is nothing to choose, and the settings stay as they are."""
    without = {"source": None, "source_entities": None, "alignment": None}
    gold = write_gold(tmp_path / "gold.jsonl", **without)
    settings = tmp_path / "xner-label.toml"
    settings.write_text("")
    done = CliRunner().invoke(cli, ["choose-projector", str(gold), "--config", str(settings)])
    assert isinstance(done.exception, UsageError)
    assert "of 40 tasks 0 have source" in str(done.exception)
    assert settings.read_text() == ""
    with pytest.raises(UsageError, match="0 source entities"):
        choose_projector(write_gold(tmp_path / "empty.jsonl", source_entities=[]))
    with pytest.raises(UsageError, match="0 settled ones"):
        choose_projector(write_gold(tmp_path / "unsettled.jsonl", entities=[]))
    with pytest.raises(UsageError, match="no projector gets a single one"):
        choose_projector(write_gold(tmp_path / "other.jsonl", entities=[{"start": 0, "end": 5, "label": "LOC"}]))


def test_tasks_that_judge_nothing_are_left_out(tmp_path):
    gold = write_gold(tmp_path / "gold.jsonl")
    more = write_gold(tmp_path / "more.jsonl", count=7, source=None, source_entities=None, alignment=None)
    gold.write_text(gold.read_text() + more.read_text())
    choice = choose_projector(gold)
    assert (choice.tasks, choice.entities, choice.unjudged) == (40, 40, 7)
    assert {contender.name: contender.f1 for contender in choice.contenders}["default"] == 1.0


def test_it_says_what_the_benchmark_says(tmp_path):
    """Both judge by one code: the same scores, intervals and differences for the projectors that both compare."""
    gold = write_gold(tmp_path / "gold.jsonl", count=30)
    done = CliRunner().invoke(cli, ["benchmark", str(gold), "--cache", str(tmp_path / "kept"), "--json"])
    rows = {row["method"]: row for row in json.loads(done.stdout)["rows"] if not row["published"]}
    compared = [contender for contender in choose_projector(gold).contenders if contender.name in rows]
    assert len(compared) == len(rows)
    for contender in compared:
        row = rows[contender.name]
        for key in ("f1", "precision", "recall"):
            assert getattr(contender, key) == row[key]
        assert list(contender.ci95) == row["ci95"]
