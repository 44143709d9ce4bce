"""Scores against scikit-learn and seqeval, and the contract of the comparison."""

from __future__ import annotations

import json
import random

import msgspec
import numpy as np
import pytest

from xner_label.confidence import metrics
from xner_label.confidence.evaluation import JudgedTask, evaluate
from xner_label.entities import Tokens
from xner_label.errors import ContractError


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


def test_nested_entities_count_one_by_one_and_identical_ones_once():
    gold = [task(1, "Bank of Oslo", (0, 12, "ORG"), (8, 12, "LOC"))]
    predicted = [task(1, "Bank of Oslo", (0, 12, "ORG"), (8, 12, "LOC"), (8, 12, "LOC"))]
    assert evaluate(gold, predicted).f1 == 1.0


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
