"""How many planted slips the review desk finds: `python bench/slips.py`.

The gold of the first sentences of a corpus plays what people settled, with one decision in twenty spoilt (dropped,
relabelled or moved by a word, drawn evenly). Predictions are those of the default projector; with `--left-out`
(minutes of CPU) by weights that never saw the language. Reported is the share of the planted slips among the first
tenth of all decisions that :func:`xner_label.review.slips.likely_slips` lists.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

from lowres import LABELS, CorpusTask, left_out_weights, read_corpus

from xner_label.entities import Entity, Prediction, Tokens
from xner_label.pipeline.pipeline import Pipeline
from xner_label.projection.projectors import make_projector
from xner_label.review.error_sources import ReviewedTask
from xner_label.review.slips import Slip, likely_slips

SPOILT = 0.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--languages", nargs="+", default=["lug", "tsn"])
    parser.add_argument("--sentences", nargs="+", type=int, default=[200, 500, 1000])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--left-out", action="store_true")
    parser.add_argument("--weights", type=Path, help="folder that keeps the fitted weights between runs")
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    arguments = parser.parse_args()
    figures: dict[str, list[float]] = {}
    for language in arguments.languages:
        tasks = [task for task in read_corpus(language) if task.split == "train"][: max(arguments.sentences)]
        with tempfile.TemporaryDirectory() as folder:
            kept = arguments.weights or Path(folder)
            kept.mkdir(parents=True, exist_ok=True)
            file = kept / f"without-{language}.json"
            weights = (
                "" if not arguments.left_out else str(file) if file.exists() else left_out_weights(language, kept)
            )
            predictions = Pipeline(make_projector("default", weights=weights)).predict(tasks)
        for count in arguments.sentences:
            shares = [
                share_found(tasks[:count], predictions[:count], random.Random(seed))
                for seed in range(arguments.seeds)
            ]
            figures[f"{language}/{count}"] = shares
            print(f"{language} {count}: {statistics.median(shares):.2f} ({min(shares):.2f} to {max(shares):.2f})")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def share_found(tasks: Sequence[CorpusTask], predictions: Sequence[Prediction], generator: random.Random) -> float:
    """The share of planted slips in the first tenth of the list."""
    planted: set[tuple[str, int, int]] = set()
    reviewed = []
    for number, (task, prediction) in enumerate(zip(tasks, predictions, strict=True)):
        tokens = Tokens.of(task.text, task.tokens)
        settled = []
        for entity in task.entities or ():
            spoilt = generator.random() < SPOILT
            left = spoil(entity, tokens, generator) if spoilt else entity
            if left is not None:
                settled.append(left)
            if spoilt:
                planted.add(
                    (str(number), *((entity.start, entity.end) if left is None else (left.start, left.end)))
                )
        reviewed.append(
            ReviewedTask(
                id=str(number), text=task.text, tokens=tokens, predicted=prediction.entities, gold=tuple(settled)
            )
        )
    slips = likely_slips(reviewed, LABELS)
    first = slips[: len(slips) // 10]
    return sum(any(_is(slip, place) for slip in first) for place in planted) / max(len(planted), 1)


def spoil(entity: Entity, tokens: Tokens, generator: random.Random) -> Entity | None:
    """The entity with another label or border; None: dropped."""
    kind = generator.choice(("dropped", "relabelled", "moved"))
    if kind == "dropped":
        return None
    if kind == "relabelled":
        label = generator.choice([label for label in LABELS if label != entity.label])
        return Entity(entity.start, entity.end, label)
    first, last, _ = tokens.covering(entity.start, entity.end)
    span = tokens.span(first + (last - first > 1), min(last + (last - first == 1), len(tokens)))
    return Entity(span.start, span.end, entity.label)


def _is(slip: Slip, place: tuple[str, int, int]) -> bool:
    """Whether a listed decision is at a planted slip."""
    task, start, end = place
    return slip.task == task and slip.start < end and start < slip.end


if __name__ == "__main__":
    main()
