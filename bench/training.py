"""What gold buys on top of silver, by recipe: `python bench/training.py --languages lug tsn --json training.json`.

The pool is the train split. After N reviewed sentences, random ones or the product's own order, the others
carry what the product projects then: with the default order corrections spread, in a random draw an answer
changes its own sentence alone. Everything is judged on the test split from the text alone, strict span F1,
beside the projection of the test sentences. Weights never saw the language. Minutes for each state.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
from economy import fitted, split_of
from lowres import LABELS, read_corpus

import xner_label
from xner_label.entities import Entity, ProjectedEntity, Tokens
from xner_label.iob2 import TokenSpan, encode
from xner_label.settings.choices import DEFAULT_STRATEGY
from xner_label.simulation.loop import Simulation
from xner_label.stages.tagging.crf import CrfTagger
from xner_label.training.crf import CrfModel, hints_of
from xner_label.training.crf_recipes import CrfOptions, train_crf
from xner_label.training.data import DataOptions, DataReport, GoldSentence, Sentence, TrainingData

OPTIONS = CrfOptions()
CUT = DataOptions().min_silver_confidence


class Row(msgspec.Struct, frozen=True):
    """A state: F1 on the test split by recipe, ``projection`` that of the test sentences with their sources."""

    language: str
    order: str
    seed: int
    reviewed: int
    f1: dict[str, float]
    stages: tuple[str, ...]
    seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--languages", nargs="+", default=["lug", "tsn"])
    parser.add_argument("--orders", nargs="+", default=["default", "random"])
    parser.add_argument("--budgets", nargs="+", type=int, default=[0, 50, 100, 200, 500, 1000])
    parser.add_argument("--seeds", type=int, default=5, help="random draws of the reviewed sentences")
    parser.add_argument("--weights", type=Path, help="folder that keeps the fitted weights between runs")
    parser.add_argument("--json", type=Path, default=Path("training.json"))
    options = parser.parse_args()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for language in options.languages:
            corpus = read_corpus(language)
            weights = fitted(language, options.weights or Path(folder))
            simulation = States(split_of(corpus, "train"), split_of(corpus, "test"), weights)
            for row in rows_of(language, simulation, options):
                rows.append(row)
                print(row, flush=True)
                document = {"version": xner_label.__version__, "python": sys.version.split()[0], "rows": rows}
                options.json.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n")


class States(Simulation):
    """The loop, giving the labels after each budget in place of judging them."""

    def _judge(self, state: Any, *_: Any) -> Any:
        return state.reviewed, self._shown(state, min(state.spread.cut, CUT)), self._shown(state)

    def drawn(self, budget: int, seed: int) -> Any:
        """The state after a random draw whose answers change their own sentences alone."""
        reviewed = np.zeros(len(self.words), bool)
        reviewed[np.random.default_rng(seed).permutation(self.pool)[:budget]] = True
        base: Any = SimpleNamespace(spread=self._base)
        return reviewed, self._shown(base, CUT), self._shown(base)


def rows_of(language: str, states: States, options: argparse.Namespace) -> Iterator[Row]:
    budgets = sorted(options.budgets)
    if "default" in options.orders:
        for state in states.run(DEFAULT_STRATEGY, budgets):
            yield row(language, "default", 0, states, state)
    if "random" in options.orders:
        for budget in budgets:
            for seed in range(options.seeds if budget else 1):
                yield row(language, "random", seed, states, states.drawn(budget, seed))


def row(language: str, order: str, seed: int, states: States, state: Any) -> Row:
    began = time.process_time()
    reviewed, labels, shown = state
    test = states.test.tolist()
    data = training_data(states, reviewed, labels)
    chosen = train_crf(data, CUT)
    models = recipes(data) | {"default": chosen}
    bare = [sentence(states, number, None) for number in test]
    f1 = {"projection": states.f1(shown, test)}
    for name, model in models.items():
        answers: list[set[TokenSpan]] = [set() for _ in states.words]
        for number, item, tagged in zip(test, bare, model.predict(bare), strict=True):
            answers[number] = set(spans(item.tokens, tagged.entities))
        f1[name] = states.f1(answers, test)
    return Row(language, order, seed, int(reviewed.sum()), f1, chosen.stages, time.process_time() - began)


def training_data(states: States, reviewed: Any, labels: Sequence[set[TokenSpan]]) -> TrainingData:
    gold, silver = [], []
    for number in states.pool.tolist():
        item = sentence(states, number, labels[number])
        if reviewed[number]:
            entities = [entity_of(item.tokens, span) for span in states.gold[number]]
            gold.append(GoldSentence(msgspec.structs.replace(item, silver=None), tuple(entities)))
        else:
            silver.append(item)
    return TrainingData(LABELS, gold, silver, (), (), DataReport())


def recipes(data: TrainingData) -> dict[str, CrfModel]:
    """A model of each recipe."""
    words = [item.tokens.words() for item in data.silver]
    tags = [tags_of_silver(item) for item in data.silver]
    teacher = CrfTagger.train(words, tags, c1=OPTIONS.c1, c2=OPTIONS.c2)
    models = {"silver only": CrfModel({"teacher": teacher})}
    if data.gold:
        gold_words = [item.sentence.tokens.words() for item in data.gold]
        gold_tags = [encoded(item.sentence.tokens, item.entities) for item in data.gold]
        penalties = {"c1": OPTIONS.c1, "c2": OPTIONS.c2}
        repeats = [OPTIONS.gold_weight] * len(gold_words) + [1] * len(words)
        mix = CrfTagger.train([*gold_words, *words], [*gold_tags, *tags], repeats=repeats, **penalties)
        hints = [hints_of(sentence_words, teacher) for sentence_words in gold_words]
        staged = CrfTagger.train(gold_words, gold_tags, extra=hints, **penalties)
        models["gold only"] = CrfModel({"gold": CrfTagger.train(gold_words, gold_tags, **penalties)})
        models["weighted mix"] = CrfModel({"mixed": mix})
        models["staged"] = CrfModel({"teacher": teacher, "text": staged})
    return models


def sentence(states: States, number: int, labels: set[TokenSpan] | None) -> Sentence:
    words = states.words[number]
    tokens = Tokens.of(" ".join(words), tuple(words))
    silver = None
    if labels is not None:
        silver = tuple(projected(entity_of(tokens, span), tokens) for span in sorted(labels))
    return Sentence(number, str(number), tokens, silver)


def entity_of(tokens: Tokens, labelled: TokenSpan) -> Entity:
    span = tokens.span(labelled[0], labelled[1])
    return Entity(span.start, span.end, labelled[2])


def projected(entity: Entity, tokens: Tokens) -> ProjectedEntity:
    text = tokens.text[entity.start : entity.end]
    return ProjectedEntity(entity.start, entity.end, entity.label, text, 1.0, 1.0)


def tags_of_silver(item: Sentence) -> list[str]:
    return encoded(item.tokens, item.silver or ())


def encoded(tokens: Tokens, entities: Sequence[Entity | ProjectedEntity]) -> list[str]:
    return encode(spans(tokens, entities), len(tokens))


def spans(tokens: Tokens, entities: Sequence[Entity | ProjectedEntity]) -> list[TokenSpan]:
    return [(*tokens.covering(item.start, item.end)[:2], item.label) for item in entities]


if __name__ == "__main__":
    main()
