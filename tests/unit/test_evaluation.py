"""Scores against scikit-learn and seqeval, and the contract of the comparison."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.processes import LIMIT
from xner_label.entities import Tokens
from xner_label.errors import ContractError
from xner_label.evaluation import metrics
from xner_label.evaluation.spans import JudgedTask, evaluate
from xner_label.evaluation.strict_scores import counted_scores, strict_scores

SPANS = st.sets(st.tuples(st.integers(0, 8), st.integers(1, 4), st.sampled_from(["PER", "-", "B-x_"])), max_size=6)


def task(identity, text, *entities):
    return msgspec.convert(
        {
            "id": identity,
            "text": text,
            "entities": [
                dict(zip(("start", "end", "label", "confidence"), entity, strict=False)) for entity in entities
            ],
        },
        JudgedTask,
    )


@pytest.mark.parametrize("levels", [3, 1000])
def test_metrics_agree_with_scikit_learn(levels):
    from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

    generator = np.random.default_rng(5)
    confidence = generator.integers(0, levels, 400) / levels
    right = generator.random(400) < confidence
    assert metrics.auroc(confidence, right) == pytest.approx(roc_auc_score(right, confidence))
    expected = average_precision_score(~right, 1 - confidence)
    assert metrics.average_precision_of_errors(confidence, right) == pytest.approx(expected)
    assert metrics.brier(confidence, right) == pytest.approx(brier_score_loss(right, confidence))


def test_calibration_error_and_coverage():
    assert metrics.expected_calibration_error([0.8] * 10, [True] * 8 + [False] * 2) == pytest.approx(0.0)
    assert metrics.expected_calibration_error([1.0, 0.0], [False, True]) == pytest.approx(1.0)
    # The tie group at .9 must be taken whole: 1 of 2 right.
    assert metrics.coverage_at([0.9, 0.9, 0.95], [True, False, True]) == (pytest.approx(1 / 3), 1)
    assert metrics.coverage_at([0.9], [False]) == (0.0, 0)
    assert metrics.coverage_at([], []) is None
    assert metrics.auroc([0.3], [True]) is None


def test_ids_that_are_missing_unknown_or_repeated():
    gold = [task(1, "Anna", (0, 4, "PER")), task("a", "Oslo", (0, 4, "LOC")), task("a", "Rome", (0, 4, "LOC"))]
    predicted = [task("a", "Oslo", (0, 4, "LOC", 0.5)), task("a", "Rome", (0, 4, "ORG")), task("b", "x")]
    result = evaluate(gold, predicted)
    assert (result.n, result.precision, result.recall) == (3, 0.5, pytest.approx(1 / 3))
    assert result.unknown_ids == ["b"]
    assert result.per_label["LOC"].n == 2
    assert evaluate(gold, predicted, labels=["LOC"]).precision == 1.0


def test_ids_are_text():
    gold = [task(1, "Anna", (0, 4, "PER")), task("2", "Oslo", (0, 4, "LOC"))]
    predicted = [task(2, "Oslo", (0, 4, "LOC")), task("1", "Anna", (0, 4, "PER"))]
    result = evaluate(gold, predicted)
    assert (result.f1, result.unknown_ids) == (1.0, [])


def test_nested_entities_count_one_by_one_and_identical_ones_once():
    gold = [task(1, "Bank of Oslo", (0, 12, "ORG"), (8, 12, "LOC"))]
    predicted = [task(1, "Bank of Oslo", (0, 12, "ORG"), (8, 12, "LOC"), (8, 12, "LOC"))]
    assert evaluate(gold, predicted).f1 == 1.0


def test_an_entity_of_white_space_alone_is_an_entity():
    gold = [task(1, "a  b", (1, 3, "PER"), (0, 2, "LOC"))]
    assert evaluate(gold, gold).f1 == 1.0
    assert evaluate(gold, [task(1, "a  b", (0, 2, "LOC"))]).recall == 0.5


def test_different_texts_break_the_contract():
    with pytest.raises(ContractError, match="differ"):
        evaluate([task(1, "a")], [task(1, "b")])


def test_nothing_at_all():
    result = evaluate([], [])
    assert (result.f1, result.n, result.auroc) == (0.0, 0, None)


@pytest.mark.parametrize(
    "name", ["europarl/de.voted", "europarl/es.weak", "lowres/lug/projection", "lowres/tsn/projection"]
)
def test_seqeval_agrees_on_real_data(bench_data, name):
    from seqeval.metrics import classification_report
    from seqeval.scheme import IOB2

    rng = random.Random(3)
    gold, predicted, gold_tags, predicted_tags = [], [], [], []
    with open(bench_data / f"{name}.jsonl", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            tokens = Tokens.locate(row["text"], row["tokens"])
            truth, guess = ["O"] * len(tokens), ["O"] * len(tokens)
            entities = []
            for entity in row["entities"]:
                first, last, exact = tokens.covering(entity["start"], entity["end"])
                if not exact:
                    break
                tag(truth, first, last, entity["label"])
                if rng.random() < 0.8:
                    last = min(last + (rng.random() < 0.1), len(tokens))
                    label = rng.choice(["PER", "ORG", "LOC"]) if rng.random() < 0.1 else entity["label"]
                    if all(mark == "O" for mark in guess[first:last]):
                        tag(guess, first, last, label)
                        entities.append((tokens.starts[first], tokens.ends[last - 1], label))
            else:
                gold.append(
                    task(row["id"], row["text"], *[(e["start"], e["end"], e["label"]) for e in row["entities"]])
                )
                predicted.append(task(row["id"], row["text"], *entities))
                gold_tags.append(truth)
                predicted_tags.append(guess)
    report = classification_report(gold_tags, predicted_tags, mode="strict", scheme=IOB2, output_dict=True)
    result = evaluate(gold, predicted)
    assert 0.5 < result.f1 < 1.0
    assert result.f1 == pytest.approx(report["micro avg"]["f1-score"])
    for label, scores in result.per_label.items():
        assert (scores.precision, scores.recall, scores.f1, scores.n) == pytest.approx(
            tuple(report[label][key] for key in ("precision", "recall", "f1-score", "support"))
        )


def tag(tags, first, last, label):
    tags[first:last] = [f"B-{label}"] + [f"I-{label}"] * (last - first - 1)


def evaluate_command(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "xner_label", "evaluate", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        timeout=LIMIT,
    )


@pytest.fixture
def files(tmp_path):
    def write(name, *rows):
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    return write


def row(text="Oslo", confidence=None, **fields):
    entity = {"start": 0, "end": 4, "label": "LOC"} | ({} if confidence is None else {"confidence": confidence})
    return {"id": 1, "text": text, "entities": [entity]} | fields


def test_the_command_writes_one_document_or_a_table(files):
    gold, predicted = files("gold", row()), files("pred", row(confidence=0.8), row(id="x"))
    done = evaluate_command(gold, predicted, "--json")
    assert done.returncode == 0
    result = json.loads(done.stdout)
    keys = "precision recall f1 ci95 per_label n auroc ap_errors brier ece coverage_at_95 signature unknown_ids"
    assert list(result) == keys.split()
    assert re.fullmatch(r"xner-label/\S+ data=[0-9a-f]{12} labels=all resamples=1000 seed=13", result["signature"])
    assert (result["f1"], result["n"], result["coverage_at_95"], result["unknown_ids"]) == (1.0, 1, 1.0, ["x"])
    assert "'x'" in done.stderr
    assert "LOC" in evaluate_command(gold, predicted).stdout


@pytest.mark.parametrize(
    ("predicted", "code", "message"),
    [
        (row(text="Rome"), 8, "differ"),
        (row(text="Oslo") | {"entities": [{"start": 0, "end": 9, "label": "LOC"}]}, 8, "doesn't fit"),
        (row(confidence=1.5), 5, "confidence"),
        ({"id": 1}, 5, "text"),
    ],
)
def test_the_command_refuses_what_it_cannot_compare(files, predicted, code, message):
    done = evaluate_command(files("gold", row()), files("pred", predicted))
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr


def test_the_command_needs_its_files(files, tmp_path):
    done = evaluate_command(files("gold", row()), tmp_path / "none")
    assert done.returncode == 2


@given(st.lists(st.tuples(SPANS, SPANS), max_size=4))
def test_seqeval_counts_spans_that_overlap_as_sets_do(texts):
    sides = [
        tuple({(start, start + length, label) for start, length, label in side} for side in text) for text in texts
    ]
    overall, per_label = strict_scores(sides)
    correct = sum(len(truth & guesses) for truth, guesses in sides)
    predicted = sum(len(guesses) for _, guesses in sides)
    gold = sum(len(truth) for truth, _ in sides)
    assert overall.precision == pytest.approx(correct / predicted if predicted else 0.0)
    assert overall.recall == pytest.approx(correct / gold if gold else 0.0)
    assert overall.f1 == pytest.approx(2 * correct / (predicted + gold) if predicted + gold else 0.0)
    assert overall.n == gold == sum(scores.n for scores in per_label.values())
    assert set(per_label) == {label for text in sides for side in text for _, _, label in side}
    assert counted_scores(sides) == (overall, per_label)


def test_the_signature_changes_with_the_data_and_the_labels():
    gold, predicted = [task(1, "Oslo", (0, 4, "LOC"))], [task(1, "Oslo", (0, 4, "LOC", 0.5))]
    first = evaluate(gold, predicted).signature
    assert evaluate(gold, predicted).signature == first
    assert evaluate(gold, [task(1, "Oslo", (0, 4, "LOC", 0.6))]).signature != first
    assert evaluate(gold, []).signature != first
    assert "labels=LOC" in evaluate(gold, predicted, ["LOC"]).signature


def test_ids_of_predictions_alone_are_counted_and_some_named(files):
    strangers = [row(id=f"x{number}") for number in range(1000)]
    done = evaluate_command(files("gold", row()), files("pred", *strangers))
    (line,) = done.stderr.splitlines()
    assert line.startswith("1000 predictions not counted")
    assert line.endswith("'x0', 'x1', 'x2', ...")
