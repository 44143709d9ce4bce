"""The simulated loop: what it reports is what its states are."""

from __future__ import annotations

import json
import subprocess
import sys

import msgspec
import pytest

from tests.misnamed_corpus import misnamed_corpus as sentences
from xner_label.cli.simulate import _line
from xner_label.errors import UsageError
from xner_label.projection.loglinear.weights_file import Weights
from xner_label.review.name_answers import Kind, Verdict
from xner_label.simulation.curves import curve
from xner_label.simulation.files import SplitTask
from xner_label.simulation.loop import Simulation
from xner_label.simulation.reviewer import SimulatedReviewer


def rows(count=160):
    instances, gold = sentences(count)
    for number, (instance, spans) in enumerate(zip(instances, gold, strict=True)):
        yield {
            "id": number,
            "text": instance.target.text,
            "source": instance.source.text,
            "source_entities": [
                {"start": m.entity.start, "end": m.entity.end, "label": m.entity.label, "score": m.entity.score}
                for m in instance.mentions
            ],
            "alignment": " ".join(f"{source}-{target}" for source, target, _ in instance.links),
            "entities": [
                {"start": instance.target.starts[first], "end": instance.target.ends[last - 1], "label": label}
                for first, last, label in spans
            ],
            "split": "test" if number % 5 == 4 else "train",
        }


@pytest.fixture(scope="module")
def simulation():
    tasks = [msgspec.convert(row, SplitTask) for row in rows()]
    parts = [[task for task in tasks if task.split == split] for split in ("train", "test")]
    return Simulation(*parts, Weights.load())


def test_more_answers_leave_fewer_errors(simulation):
    runs = list(simulation.run("least-confident", [0, 40], names=[30]))
    assert [(run.budget, run.names) for run in runs] == [(0, 0), (0, 30), (40, 0), (40, 30)]
    start, asked, reviewed, _ = runs
    assert start.tokens == start.minutes == 0
    assert 0.5 < asked.minutes <= 3.0
    assert start.pool_f1 < asked.pool_f1
    assert start.rest_f1 < reviewed.rest_f1
    assert start.test_f1 < reviewed.test_f1
    assert reviewed.rest_f1 > reviewed.replaced_rest_f1
    assert reviewed.text_f1 is not None


def test_nothing_is_said_of_a_rest_that_nobody_left(simulation):
    (run,) = simulation.run("random", [len(simulation.pool)], text=False)
    assert run.budget == len(simulation.pool)
    assert run.pool_f1 == 1.0
    about_rest = ("rest_f1", "replaced_rest_f1", "rest_f1_ci95", "rest_gain_ci95", "auroc", "auroc_at_cut", "ece")
    assert [name for name in about_rest if getattr(run, name) is not None] == []
    assert _line(run).split()[6:8] == ["1.0000", "-"]
    assert curve([run], "random", "rest_f1") == []


def test_one_queue_of_sentences_and_names_keeps_to_its_time(simulation):
    runs = list(simulation.run_queue([0, 2, 6], text=False))
    assert [run.strategy for run in runs] == ["one-queue"] * 3
    start, early, late = runs
    assert (start.budget, start.names, start.minutes) == (0, 0, 0)
    assert early.names > 0
    assert start.pool_f1 < early.pool_f1 <= late.pool_f1
    assert early.minutes <= 3


def test_the_same_seed_gives_the_same_loop(simulation):
    first, second = (list(simulation.run("random", [20], seed=4, error=0.1, text=False)) for _ in range(2))
    assert first == second
    assert first != list(simulation.run("random", [20], seed=5, error=0.1, text=False))


def test_reviewers_err_as_often_as_they_should():
    gold = [[(0, 1, "PER"), (3, 5, "LOC")]] * 2000
    reviewer = SimulatedReviewer(gold, [8] * 2000, ["LOC", "PER"], 0.1, 0)
    answers = [reviewer.review(number) for number in range(2000)]
    kept = sum(span in answer for answer, spans in zip(answers, gold, strict=True) for span in spans)
    assert 0.88 < kept / 4000 < 0.92
    honest = SimulatedReviewer(gold, [8] * 2000, ["LOC", "PER"], 0.0, 0)
    assert honest.review(0) == gold[0]
    assert honest.name("LOC", [(0, 0, 1), (1, 0, 1), (2, 0, 2)], {}) == Verdict(Kind.LABEL, "PER")
    assert honest.name("PER", [(0, 0, 2)], {}) == Verdict(Kind.NO_NAME)
    shorter = {"juma": [(0, 1)], "juma b c": [None]}
    assert honest.name("PER", [(0, 0, 2)], shorter) == Verdict(Kind.SPAN, "juma")
    assert honest.name("ORG", [(0, 0, 2)], shorter) == Verdict(Kind.NO_NAME)
    wrong = [reviewer.name("PER", [(0, 0, 2)], shorter) for _ in range(2000)]
    assert 0.07 < 1 - wrong.count(Verdict(Kind.SPAN, "juma")) / 2000 < 0.13


def test_tasks_without_gold_are_refused():
    task = SplitTask(id=1, text="Asha .", source="Asha .")
    with pytest.raises(UsageError, match="no `entities`"):
        Simulation([task], [task], Weights.load())
    with pytest.raises(UsageError, match="in its pool"):
        Simulation([], [task], Weights.load())


def test_the_command_writes_the_document_of_its_contract(tmp_path):
    file = tmp_path / "tasks.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows(120)))
    command = [sys.executable, "-m", "xner_label", "simulate", str(file), str(file)]
    options = ["--strategy", "leverage", "--strategy", "random", "--budgets", "0,10", "--seeds", "2", "--json"]
    plot = tmp_path / "curves.svg"
    options += ["--plot", str(plot)]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=True)
    document = json.loads(done.stdout)
    assert document["signature"].startswith("xner-label/")
    assert [(run["strategy"], run["seed"], run["budget"]) for run in document["runs"]] == [
        (strategy, seed, budget) for strategy in ("leverage", "random") for seed in (0, 1) for budget in (0, 10)
    ]
    for run in document["runs"]:
        for name in ("pool", "rest", "test"):
            low, high = run[f"{name}_f1_ci95"]
            assert low <= run[f"{name}_f1"] <= high
            low, high = run[f"{name}_gain_ci95"]
            assert low <= run[f"{name}_f1"] - run[f"replaced_{name}_f1"] <= high
        assert run["full_silver_text_f1"] == document["runs"][0]["text_f1"]
        assert (run["gold_only_text_f1"] is None) == (run["budget"] == 0)
    drawn = plot.read_text()
    assert all(word in drawn for word in ("leverage", "random", "own sentence alone", "the silver alone"))
    keys = {"tokens", "names", "minutes", "pool_f1", "rest_f1", "test_f1", "text_f1", "gold_only_text_f1"}
    assert keys | {"auroc", "auroc_at_cut", "ece"} <= set(document["runs"][0])
    refused = subprocess.run([*command, "--budgets", "ten"], capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "whole numbers" in refused.stderr
