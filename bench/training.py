"""What gold buys on top of silver, by recipe: `python bench/training.py --languages lug tsn --json training.json`.

The pool is the train split. After N reviewed sentences, random ones or the product's own order, the others carry
what the product projects then (bench/training_states.py). Everything is judged on the test split, strict span F1
with bootstrap intervals over sentences: each recipe and the default from the text alone, the default with the
projection of the test sentences, and that projection by itself. Each state is written as soon as it is judged; a
bench that was stopped goes on after the last one.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
from training_states import Corpus, Span, State, corpus_of, shown

import xner_label
from xner_label.entities import Entity
from xner_label.evaluation.metrics import f1_score, resampled_sums
from xner_label.training.crf import CrfModel
from xner_label.training.recipes import gold_only, silver_only, staged, weighted_mix
from xner_label.training.recipes.choice import train_crf
from xner_label.training.recipes.material import CrfOptions, Material, Recipe
from xner_label.training.rules import MergeRules
from xner_label.training.sentences import Sentence

RULES = MergeRules()
OPTIONS = CrfOptions()
RECIPES: dict[str, Recipe] = {
    "silver only": silver_only,
    "gold only": gold_only,
    "weighted mix": weighted_mix,
    "staged": staged,
}
_RESAMPLES = 2_000


class Score(msgspec.Struct, frozen=True):
    """Strict span F1 on the test split and its 95 % interval."""

    f1: float
    ci95: tuple[float, float]


class Row(msgspec.Struct, frozen=True):
    """A state. ``text`` are the recipes and the default from the text alone, ``projection`` the projections of the
    test sentences, ``with_projection`` the default beside them. ``ahead``: F1 of the default from the text alone
    less that of a recipe, with the paired interval. ``stages`` are the default's."""

    language: str
    order: str
    seed: int
    reviewed: int
    text: dict[str, Score]
    projection: Score
    with_projection: Score
    ahead: dict[str, Score]
    stages: tuple[str, ...]
    seconds: float


class Document(msgspec.Struct, frozen=True):
    """The file that is written."""

    version: str
    python: str
    rows: list[Row]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--languages", nargs="+", default=["lug", "tsn"])
    parser.add_argument("--orders", nargs="+", default=["default", "random"])
    parser.add_argument("--budgets", nargs="+", type=int, default=[0, 50, 100, 200, 500, 1000])
    parser.add_argument("--seeds", type=int, default=5, help="random draws of the reviewed sentences")
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES), choices=list(RECIPES))
    parser.add_argument("--states", type=Path, help="folder that keeps weights and labels between runs")
    parser.add_argument("--json", type=Path, default=Path("training.json"))
    options = parser.parse_args()
    rows = rows_of(options.json)
    known = {(row.language, row.order, row.seed, row.reviewed) for row in rows}
    with tempfile.TemporaryDirectory() as folder:
        for language in options.languages:
            corpus = corpus_of(language, options.budgets, options.states or Path(folder))
            for order, seed, state in states_of(corpus, options):
                if (language, order, seed, len(state.reviewed)) in known:
                    continue
                rows.append(row_of(corpus, order, seed, state, options.recipes))
                print(line(rows[-1]), flush=True)
                document = Document(xner_label.__version__, sys.version.split()[0], rows)
                options.json.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n")


def rows_of(file: Path) -> list[Row]:
    """What an earlier run has written."""
    return msgspec.json.decode(file.read_bytes(), type=Document).rows if file.exists() else []


def states_of(corpus: Corpus, options: argparse.Namespace) -> Iterator[tuple[str, int, State]]:
    """Order, seed and state of everything that was asked for."""
    for budget in sorted(options.budgets):
        if "default" in options.orders:
            yield "default", 0, corpus.states[budget]
        if "random" in options.orders and budget:
            for seed in range(options.seeds):
                yield "random", seed, corpus.drawn(budget, seed)


def row_of(corpus: Corpus, order: str, seed: int, state: State, recipes: Sequence[str]) -> Row:
    """Train and judge."""
    began = time.process_time()
    data = corpus.data(state, projected_gold=True)
    material = Material(data, RULES, OPTIONS)
    models = {
        name: CrfModel({recipe.stage: recipe.fit(material), "teacher": silver_only.fit(material)})
        for name, recipe in RECIPES.items()
        if name in recipes and (data.gold or recipe is silver_only)
    }
    models["default"] = train_crf(data, RULES, OPTIONS)
    test = list(corpus.test)
    bare = [corpus.sentence(place, None) for place in test]
    beside = [corpus.sentence(place, shown(state)) for place in test]
    counts = {name: counted(corpus, answers_of(model, bare)) for name, model in models.items()}
    projected = [{span[:3] for span in shown(state).spans[place]} for place in test]
    return Row(
        language=corpus.language,
        order=order,
        seed=seed,
        reviewed=len(state.reviewed),
        text={name: scored(each) for name, each in counts.items()},
        projection=scored(counted(corpus, projected)),
        with_projection=scored(counted(corpus, answers_of(models["default"], beside))),
        ahead={name: difference(counts["default"], each) for name, each in counts.items() if name != "default"},
        stages=models["default"].stages,
        seconds=round(time.process_time() - began, 1),
    )


def answers_of(model: CrfModel, sentences: Sequence[Sentence]) -> list[set[Span]]:
    """The spans that a model finds, in tokens."""
    return [
        {token_span(item, entity) for entity in tagged.entities}
        for item, tagged in zip(sentences, model.predict(sentences), strict=True)
    ]


def token_span(sentence: Sentence, entity: Entity) -> Span:
    first, last, _ = sentence.tokens.covering(entity.start, entity.end)
    return first, last, entity.label


def counted(corpus: Corpus, answers: Sequence[set[Span]]) -> np.ndarray:
    """(S, 3) correct, predicted and gold spans of each test sentence."""
    truth = [set(map(tuple, corpus.gold[place])) for place in corpus.test]
    return np.array(
        [(len(said & true), len(said), len(true)) for said, true in zip(answers, truth, strict=True)], np.float64
    )


def scored(counts: np.ndarray) -> Score:
    resampled = f1_score(*resampled_sums(counts, _RESAMPLES, 0).T)
    return Score(round(float(f1_score(*counts.sum(axis=0))), 4), interval(resampled))


def difference(counts: np.ndarray, other_counts: np.ndarray) -> Score:
    sums = resampled_sums(np.hstack([counts, other_counts]), _RESAMPLES, 0)
    ahead = float(f1_score(*counts.sum(axis=0)) - f1_score(*other_counts.sum(axis=0)))
    return Score(round(ahead, 4), interval(f1_score(*sums[:, :3].T) - f1_score(*sums[:, 3:].T)))


def interval(values: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(values, [0.025, 0.975])
    return round(float(low), 4), round(float(high), 4)


def line(row: Row) -> str:
    texts = "  ".join(f"{name} {score.f1:.3f}" for name, score in row.text.items())
    head = f"{row.language} {row.order} {row.reviewed:>4} seed {row.seed}"
    both = f"projection {row.projection.f1:.3f}  with it {row.with_projection.f1:.3f}"
    return f"{head}  {texts}  {both}  {','.join(row.stages)}  {row.seconds:.0f} s"


if __name__ == "__main__":
    main()
