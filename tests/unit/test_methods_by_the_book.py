"""The paper's methods against slow, obvious implementations: loops over every span and every set of spans.

What is shared with the package is the problem (instances) and nothing else. Scores are those of the docstrings in
:mod:`xner_label.projection.handmade.scores`, written out word by word.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence

import pytest

from tests.soak import rounds
from xner_label.entities import Entity, Tokens
from xner_label.projection.problem import Instance, Mention
from xner_label.projection.projectors import make_projector
from xner_label.settings.choices import MATCHINGS

Span = tuple[int, int]
SpanScore = Callable[[Instance, Mention, Span], float]

LABELS = ("PER", "LOC")
TAGS = ("O", *(f"{prefix}-{label}" for label in LABELS for prefix in "BI"))


def random_instance(generator: random.Random) -> Instance:
    source, target = (
        Tokens.tokenize(" ".join(generator.choice("abcdefgh") for _ in range(length)))
        for length in (generator.randint(1, 6), generator.randint(1, 6))
    )
    mentions = []
    for _ in range(generator.randint(1, 3)):
        first = generator.randrange(len(source))
        last = min(len(source), first + generator.randint(1, 3))
        label = generator.choice(LABELS)
        entity = Entity(source.starts[first], source.ends[last - 1], label)
        mentions.append(Mention(first, last, label, None, entity))
    pairs = [(k, word) for k in range(len(source)) for word in range(len(target))]
    linked = sorted(generator.sample(pairs, min(len(pairs), generator.randint(0, 8))))
    links = tuple((*pair, generator.choice((0.25, 0.5, 1.0))) for pair in linked)
    tags = []
    for _ in target:
        weights = [generator.random() for _ in TAGS]
        tags.append({tag: weight / sum(weights) for tag, weight in zip(TAGS, weights, strict=True)})
    return Instance(source, target, tuple(mentions), links, None, tags)


def all_spans(instance: Instance) -> list[Span]:
    size = len(instance.target)
    return [(first, last) for first in range(size) for last in range(first + 1, size + 1)]


class Scorer:
    """Log-probabilities that are the same for the same pair, and look like a model's."""

    signature = "pairs"

    @staticmethod
    def _of(left: str, right: str) -> float:
        return -random.Random(f"{left}>{right}").random() * 3.0

    def to_target(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        return [self._of(*pair) for pair in pairs]

    def to_source(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        return [self._of(right, left) for left, right in pairs]


def align(instance: Instance, mention: Mention, span: Span) -> float:
    mass = 0.0
    for k in range(mention.first, mention.last):
        for word in range(*span):
            for source, target, weight in instance.links or ():
                if (source, target) == (k, word):
                    mass += weight
    return mass / ((mention.last - mention.first) + (span[1] - span[0]))


def ner(instance: Instance, mention: Mention, span: Span) -> float:
    assert instance.target_tags is not None
    first, last = span
    total = instance.target_tags[first][f"B-{mention.label}"]
    for word in range(first + 1, last):
        total += instance.target_tags[word][f"I-{mention.label}"]
    score = 1.15 ** (last - first - 1) * total / (last - first)
    return score if score >= 0.05 else 0.0


def ner_spans(instance: Instance, mention: Mention, span: Span) -> float:
    assert instance.target_tags is not None
    first, last = span
    total = sum(instance.target_tags[first][f"B-{label}"] for label in LABELS)
    for word in range(first + 1, last):
        total += sum(instance.target_tags[word][f"I-{label}"] for label in LABELS)
    score = 1.15 ** (last - first - 1) * total / (last - first)
    return score if score >= 0.05 else 0.0


def nmt(instance: Instance, mention: Mention, span: Span) -> float:
    name = " ".join(instance.source.words()[mention.first : mention.last])
    text = " ".join(instance.target.words()[span[0] : span[1]])
    (forward,) = Scorer().to_target([(name, text)])
    (backward,) = Scorer().to_source([(name, text)])
    score = (math.exp(forward) + math.exp(backward)) / 2
    return score if score >= 0.1 else 0.0


def fused(**weights: float) -> SpanScore:
    scores = {"align": align, "ner_spans": ner_spans, "nmt": nmt, "ner": ner}
    return lambda instance, mention, span: sum(
        weight * scores[name](instance, mention, span) for name, weight in weights.items()
    )


BOOK: dict[str, SpanScore] = {
    "align": align,
    "ner": ner,
    "ner-spans": ner_spans,
    "nmt": nmt,
    "align+ner": fused(align=0.5, ner=0.5),
    "align+ner-spans": fused(align=0.5, ner_spans=0.5),
    "align+ner-spans+nmt": fused(align=0.5, ner_spans=0.5, nmt=1.0),
    "0.3*ner+0.7*align": fused(ner=0.3, align=0.7),
}

Candidate = tuple[int, Span, float]


def candidates_of(instance: Instance, score: SpanScore) -> list[Candidate]:
    scored = (
        (index, span, score(instance, mention, span))
        for index, mention in enumerate(instance.mentions)
        for span in all_spans(instance)
    )
    return [candidate for candidate in scored if candidate[2] > 0]


def sets_without_overlap(candidates: list[Candidate]) -> Iterator[list[Candidate]]:
    """Every set of candidates of which no two share a target word."""

    def extend(chosen: list[Candidate], rest: list[Candidate]) -> Iterator[list[Candidate]]:
        yield chosen
        for place, candidate in enumerate(rest):
            free = all(candidate[1][1] <= span[0] or span[1] <= candidate[1][0] for _, span, _ in chosen)
            if free:
                yield from extend([*chosen, candidate], rest[place + 1 :])

    return extend([], candidates)


def best_total(instance: Instance, candidates: list[Candidate], constraint: str) -> float | None:
    best = None
    having = {index for index, _, _ in candidates}
    for chosen in sets_without_overlap(candidates):
        counts = {index: sum(other == index for other, _, _ in chosen) for index in having}
        fits = {
            "<=": all(count <= 1 for count in counts.values()),
            "=": all(count == 1 for count in counts.values()),
            ">=": all(count >= 1 for count in counts.values()),
        }[constraint]
        total = sum(value for _, _, value in chosen)
        if fits and (best is None or total > best):
            best = total
    return best


def greedily(candidates: list[Candidate]) -> set[tuple[int, Span]]:
    chosen: list[Candidate] = []
    rest = list(candidates)
    while rest:
        best = min(rest, key=lambda c: (-c[2], c[1][1] - c[1][0], c[1][0], c[0]))
        chosen.append(best)
        rest = [
            (index, span, value)
            for index, span, value in rest
            if index != best[0] and (span[1] <= best[1][0] or best[1][1] <= span[0])
        ]
    return {(index, span) for index, span, _ in chosen}


@pytest.mark.soak
@pytest.mark.parametrize("matching", MATCHINGS)
@pytest.mark.parametrize("name", BOOK)
def test_scores_and_matchings_are_those_of_the_book(name: str, matching: str) -> None:
    generator = random.Random(f"{name}{matching}")
    projector = make_projector(f"{name}@{matching}", translation_scorer=Scorer())
    feasible = 0
    for _ in range(rounds(12)):
        instance = random_instance(generator)
        candidates = candidates_of(instance, BOOK[name])
        (projections,) = projector.project([instance])  # type: ignore[union-attr]
        chosen = [(p.mention or 0, (p.first, p.last), p.score) for p in projections]
        for index, span, value in chosen:
            assert value == pytest.approx(BOOK[name](instance, instance.mentions[index], span))
            assert next(p.label for p in projections if p.mention == index) == instance.mentions[index].label
        if matching == "greedy":
            assert {(index, span) for index, span, _ in chosen} == greedily(candidates)
            continue
        if len(candidates) > 40 and matching == ">=":
            continue  # too many sets to go through
        expected = best_total(instance, candidates, matching)
        if expected is None:
            assert not projections.exact
            continue
        feasible += 1
        assert sum(value for _, _, value in chosen) == pytest.approx(expected)
    assert feasible or matching == "greedy"


def heuristic(instance: Instance, d: int = 1, k: int = 1, thr: float = 0.8) -> set[tuple[int, Span]]:
    """García-Ferrero et al. 2022 with the additions of Politov et al. 2025."""
    runs: list[Candidate] = []
    for index, mention in enumerate(instance.mentions):
        size = mention.last - mention.first
        linked = [
            any(mention.first <= s < mention.last and t == word for s, t, _ in instance.links or ())
            for word in range(len(instance.target))
        ]
        # A run begins and ends on linked words, holds no gap of more than d others and can't be made longer.
        spans = []
        for first, last in all_spans(instance):
            inside = linked[first:last]
            gaps = "".join("x" if word else "." for word in inside)
            whole = inside[0] and inside[-1] and "." * (d + 1) not in gaps
            before = "".join("x" if word else "." for word in linked[max(0, first - d - 1) : first])
            after = "".join("x" if word else "." for word in linked[last : last + d + 1])
            if whole and "x" not in before and "x" not in after:
                spans.append((first, last))
        runs += [(index, span, (span[1] - span[0]) / size) for span in spans]
    placed: list[Candidate] = []
    for index, span, ratio in sorted(runs, key=lambda run: (run[1][0] - run[1][1], run[1][0], run[1][1], run[0])):
        free = all(span[1] <= other[0] or other[1] <= span[0] for _, other, _ in placed)
        if ratio >= thr and free and sum(other == index for other, _, _ in placed) < k:
            placed.append((index, span, ratio))
    return {(index, span) for index, span, _ in placed}


@pytest.mark.soak
def test_the_heuristic_is_that_of_the_book() -> None:
    generator = random.Random(2)
    projector = make_projector("heuristic")
    placed = 0
    for _ in range(rounds(400)):
        instance = random_instance(generator)
        (projections,) = projector.project([instance])  # type: ignore[union-attr]
        expected = heuristic(instance)
        assert {(p.mention, (p.first, p.last)) for p in projections} == expected
        placed += len(expected)
    assert placed > 100


def entities_of(tags: Sequence[str]) -> set[tuple[int, int, str]]:
    """IOB2 read tag by tag; an I that continues nothing begins an entity."""
    entities: set[tuple[int, int, str]] = set()
    for first, tag in enumerate(tags):
        label = tag[2:]
        begins = tag != "O" and (
            tag[0] == "B" or first == 0 or tags[first - 1] not in (f"B-{label}", f"I-{label}")
        )
        if begins:
            last = first + 1
            while last < len(tags) and tags[last] == f"I-{label}":
                last += 1
            entities.add((first, last, label))
    return entities


def most_probable(probabilities: Sequence[dict[str, float]]) -> list[str]:
    ordered = ["O", *sorted(tag for tag in TAGS if tag != "O")]
    return [max(ordered, key=lambda tag: of_token.get(tag, 0.0)) for of_token in probabilities]


@pytest.mark.soak
def test_transfer_and_the_ensemble_are_those_of_the_book() -> None:
    generator = random.Random(3)
    transfer, ensemble, default = map(make_projector, ("transfer", "ensemble", "default"))
    proposed, kept = 0, 0
    for _ in range(rounds(150)):
        instance = random_instance(generator)
        assert instance.target_tags is not None
        tags = [dict(of_token) for of_token in instance.target_tags]
        (projections,) = transfer.project([instance])  # type: ignore[union-attr]
        best = most_probable(tags)
        assert {(p.first, p.last, p.label) for p in projections} == entities_of(best)
        for p in projections:
            lowest = min(tags[token][best[token]] for token in range(p.first, p.last))
            assert (p.mention, p.score, p.confidence) == (None, pytest.approx(lowest), pytest.approx(lowest))

        mean = []
        (of_source,) = default.project([instance])  # type: ignore[union-attr]
        for token, of_token in enumerate(tags):
            projected, weight = {"O": 1.0}, 0.5
            for p in of_source:
                if p.first <= token < p.last:
                    tag = f"B-{p.label}" if token == p.first else f"I-{p.label}"
                    projected, weight = {tag: p.confidence, "O": 1 - p.confidence}, 1.0
            mean.append(
                {tag: (weight * projected.get(tag, 0) + of_token.get(tag, 0)) / (1 + weight) for tag in TAGS}
            )
        (projections,) = ensemble.project([instance])  # type: ignore[union-attr]
        assert {(p.first, p.last, p.label) for p in projections} == entities_of(most_probable(mean))
        spans = {(p.first, p.last, p.label): p.mention for p in of_source}
        for p in projections:
            assert p.mention == spans.get((p.first, p.last, p.label))
            kept += p.mention is not None
        proposed += len(projections)
    assert proposed > kept > 0
