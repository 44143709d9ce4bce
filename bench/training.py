"""What gold buys on top of silver, by training strategy: `python bench/training.py --languages lug tsn`.

The pool is the train split: N random tasks of it are reviewed (their gold is given), the projection of the others
is silver. Everything is judged on the test split: strict span F1, mean and standard deviation over the draws. The
rows differ in what is done with gold and silver, and in whether a test text comes with its projection.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
from lowres import LABELS, CorpusTask, left_out_weights, read_corpus

import xner_label
from xner_label.entities import Prediction, Tokens
from xner_label.iob2 import tags_of
from xner_label.pipeline.pipeline import Pipeline
from xner_label.projection.projectors import make_projector
from xner_label.stages.tagging.crf import CrfTagger
from xner_label.training.crf import CrfModel, train_crf
from xner_label.training.data import DataOptions, DataReport, GoldSentence, Sentence, TrainingData, silver_tags
from xner_label.training.evaluation import entities_by, score

MIXED, GOLD, STAGED, SERVED = "mixed, text", "gold only, text", "staged, text", "staged, projection"
ROWS = (MIXED, GOLD, STAGED, SERVED)


def sentences(tasks: Sequence[CorpusTask], projector: str, weights: str = "") -> tuple[list[GoldSentence], str]:
    """Every task with its gold and its projection, and the pipeline's signature."""
    pipeline = Pipeline(make_projector(projector, weights=weights), labels=LABELS)
    sentences = []
    for index, (task, prediction) in enumerate(zip(tasks, pipeline.predict(tasks), strict=True)):
        assert isinstance(prediction, Prediction)
        assert task.tokens is not None
        assert task.entities is not None
        tokens = Tokens.locate(task.text, task.tokens)
        sentences.append(GoldSentence(Sentence(index, str(task.id), tokens, prediction.entities), task.entities))
    return sentences, pipeline.signature


def without_projection(items: Sequence[GoldSentence]) -> list[GoldSentence]:
    """The same sentences, unprojected."""
    return [GoldSentence(msgspec.structs.replace(item.sentence, silver=None), item.entities) for item in items]


def training_data(gold: Sequence[GoldSentence], silver: Sequence[Sentence]) -> TrainingData:
    return TrainingData(LABELS, gold, silver, (), (), DataReport())


def mixed_model(gold: Sequence[GoldSentence], silver: Sequence[Sentence], cut: float) -> CrfModel:
    """The baseline: gold and silver sentences side by side."""
    words = [item.sentence.tokens.words() for item in gold] + [item.tokens.words() for item in silver]
    tags: list[Sequence[str | None]] = [tags_of(item.sentence.tokens, item.entities) for item in gold]
    tags += [silver_tags(item, LABELS, cut) for item in silver]
    return CrfModel({"teacher": CrfTagger.train(words, tags)})


def f1_by_row(
    gold: list[GoldSentence], rest: list[Sentence], test: list[GoldSentence], cut: float
) -> dict[str, float]:
    """F1 of each strategy on the test sentences."""
    bare = without_projection(test)
    staged = train_crf(training_data(gold, rest), cut)
    results = {
        STAGED: score(bare, entities_by(staged, bare)).f1,
        SERVED: score(test, entities_by(staged, test)).f1,
    }
    results[MIXED] = score(bare, entities_by(mixed_model(gold, rest, cut), bare)).f1
    if gold:
        only = train_crf(training_data(without_projection(gold), ()), cut)
        results[GOLD] = score(bare, entities_by(only, bare)).f1
    return results


def bench_language(language: str, arguments: argparse.Namespace) -> dict[str, object]:
    tasks = read_corpus(language)
    with tempfile.TemporaryDirectory() as folder:
        weights = left_out_weights(language, Path(folder)) if arguments.projector == "default" else ""
        items, signature = sentences(tasks, arguments.projector, weights)
    pool = [item for item, task in zip(items, tasks, strict=True) if task.split == "train"]
    test = [item for item, task in zip(items, tasks, strict=True) if task.split == "test"]
    projected = score(test, [item.sentence.silver or () for item in test])
    silver = score(pool, [item.sentence.silver or () for item in pool])
    print(f"\n{language}: pool {len(pool)}, test {len(test)}; {signature}")
    print(
        f"projection alone: F1 {silver.f1:.3f} on the pool, {projected.f1:.3f} on test {_interval(projected.ci95)}"
    )
    print(f"{'reviewed':<24}" + "".join(f"{budget:>15}" for budget in arguments.budgets), flush=True)
    f1: dict[str, dict[int, list[float]]] = {row: {} for row in ROWS}
    began = time.process_time()
    for budget in arguments.budgets:
        for seed in range(arguments.seeds if budget else 1):
            order = pool[:]
            random.Random(seed).shuffle(order)
            rest = [item.sentence for item in order[budget:]]
            for row, value in f1_by_row(order[:budget], rest, test, arguments.min_silver_confidence).items():
                f1[row].setdefault(budget, []).append(value)
    for row in ROWS:
        print(f"{row:<24}" + "".join(f"{_cell(f1[row].get(budget)):>15}" for budget in arguments.budgets))
    return {
        "pipeline": signature,
        "pool": len(pool),
        "test": len(test),
        "silver_f1": silver.f1,
        "projection_f1": projected.f1,
        "projection_ci95": projected.ci95,
        "f1": f1,
        "cpu_seconds": time.process_time() - began,
    }


def _cell(values: list[float] | None) -> str:
    if not values:
        return "-"
    spread = f" ±{statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{spread}"


def _interval(bounds: tuple[float, float]) -> str:
    return f"[{bounds[0]:.3f}, {bounds[1]:.3f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--languages", nargs="+", default=["lug", "tsn"])
    parser.add_argument("--budgets", nargs="+", type=int, default=[0, 50, 100, 200, 500])
    parser.add_argument("--seeds", type=int, default=5, help="random draws of the reviewed tasks")
    parser.add_argument("--projector", default="default", help="the default one is fitted without the language")
    parser.add_argument("--min-silver-confidence", type=float, default=DataOptions().min_silver_confidence)
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    arguments = parser.parse_args()
    results = {language: bench_language(language, arguments) for language in arguments.languages}
    if arguments.json:
        document = {
            "version": xner_label.__version__,
            "python": sys.version.split()[0],
            "seeds": arguments.seeds,
            "min_silver_confidence": arguments.min_silver_confidence,
            "languages": results,
        }
        arguments.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
