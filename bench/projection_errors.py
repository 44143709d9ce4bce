"""Where the default projector loses entities on a language that its weights haven't seen, and what it could reach.

A missed gold entity is counted under the first of these that holds: its span was projected with another label; an
overlapping span was projected; the source entity found it, but below the cut; a source entity has its span or an
overlapping one among its candidates, but chose another; no source entity leads there, with its text literally in
the source or without. Oracles choose the right span, and the right label or only the source's, wherever a
candidate has it. Minutes of CPU; the data isn't part of the project: ../shared/data or XNER_LABEL_BENCH_DATA.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lowres import data_folder
from projection_quality import ROWS, project

from xner_label.projection.corpus.projector import LogLinearCorpusProjector
from xner_label.projection.fitting.examples import Example, read_examples
from xner_label.projection.fitting.files import cased_part, fit_part
from xner_label.projection.fitting.simulated_tagger import simulate_tagger
from xner_label.projection.loglinear.columns import Vocabulary
from xner_label.projection.loglinear.mentions import matched_mentions
from xner_label.projection.loglinear.model import BATCH, SentenceBatch
from xner_label.projection.loglinear.projector import LogLinearProjector
from xner_label.projection.problem import Instance, Projection

Span = tuple[int, int]


def main() -> None:
    parser = argparse.ArgumentParser(prog=sys.argv[0], description=__doc__)
    parser.add_argument("--rows", nargs="+", default=["tsn", "lug"], choices=list(ROWS))
    parser.add_argument("--json", type=Path, default=Path("projection-errors.json"))
    options = parser.parse_args()
    folder = data_folder()
    files = {row: read_examples(folder / f"{name}.jsonl") for row, name in ROWS.items()}
    results = []
    for row in options.rows:
        others = [examples for name, examples in files.items() if name.split(".")[0] != row.split(".")[0]]
        weights = fit_part(cased_part(others, simulate_tagger(others)), "", None, True)
        for overlooked in (False, True):
            bounds = oracles(files[row], overlooked=overlooked)
            results.append({"row": row, "overlooked": overlooked, "oracles": bounds})
            print(f"{row:<9}oracle{' with overlooked names' * overlooked}: {bounds}", flush=True)
        for name, projector in (
            ("default", LogLinearProjector(weights)),
            ("corpus", LogLinearCorpusProjector(weights)),
        ):
            projected = project(projector, files[row])
            errors = count_errors(files[row], projected, projector.cut)
            results.append({"row": row, "projector": name} | errors)
            print(f"{row:<9}{name}: {errors}", flush=True)
    options.json.write_text(json.dumps(results, indent=1))


def count_errors(
    examples: Sequence[Example], projected: Sequence[Sequence[Projection]], cut: float
) -> dict[str, Any]:
    """How many gold entities are right, and the others and the wrong projections by stage."""
    missed: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    labels: Counter[str] = Counter()
    right = gold = 0
    for example, projections in zip(examples, projected, strict=True):
        truth = {(first, last): label for first, last, label in example.gold}
        kept = {(p.first, p.last): p.label for p in projections if p.confidence >= cut}
        reached = candidate_spans(example.instance)
        gold += len(truth)
        for span, label in truth.items():
            if kept.get(span) == label:
                right += 1
            else:
                spans = {(p.first, p.last) for p in projections}
                missed[stage(example.instance, span, kept, spans, reached)] += 1
        for span, label in kept.items():
            if span in truth and label != truth[span]:
                wrong["type"] += 1
                labels[f"{truth[span]} as {label}"] += 1
            elif span not in truth:
                wrong["boundary" if meets(span, truth) else "nothing there"] += 1
    return {
        "gold": gold,
        "right": right,
        "missed": dict(missed.most_common()),
        "wrong": dict(wrong.most_common()),
        "labels": dict(labels.most_common(6)),
    }


def stage(instance: Instance, span: Span, kept: dict[Span, str], projected: set[Span], reached: set[Span]) -> str:
    """What lost a gold entity; see the top of this file."""
    if span in kept:
        return "type"
    if meets(span, kept):
        return "boundary"
    if meets(span, projected):
        return "below the cut"
    if meets(span, reached):
        return "alignment"
    name = " ".join(instance.target.words()[span[0] : span[1]]).casefold()
    source = " ".join(instance.source.words()).casefold()
    return "source NER" if f" {name} " in f" {source} " else "name not in the source"


def meets(span: Span, others: Any) -> bool:
    """Whether the span shares a token with one of the others."""
    return any(first < span[1] and span[0] < last for first, last in others)


def candidate_spans(instance: Instance) -> set[Span]:
    """The target spans that some source entity could land on."""
    if not instance.mentions or not len(instance.target):
        return set()
    candidates = SentenceBatch([matched_mentions(instance, overlooked=False)[0]], Vocabulary()).candidates
    return set(zip(candidates.first.tolist(), candidates.last.tolist(), strict=True))


def oracles(examples: Sequence[Example], *, overlooked: bool) -> dict[str, float]:
    """F1 of the best choice among the candidates, with the source's labels and with the right ones."""
    vocabulary = Vocabulary()
    reached = named = gold = 0
    for at in range(0, len(examples), BATCH):
        chunk = examples[at : at + BATCH]
        gold += sum(len(example.gold) for example in chunk)
        matched = [matched_mentions(example.instance, overlooked=overlooked)[0] for example in chunk]
        solvable = [
            (example, instance)
            for example, instance in zip(chunk, matched, strict=True)
            if instance.mentions and len(instance.target)
        ]
        batch = SentenceBatch([instance for _, instance in solvable], vocabulary)
        columns, candidates = batch.columns, batch.candidates
        sentence = columns.sentence[candidates.mention]
        start = columns.target_at[sentence]
        spans = zip(
            sentence.tolist(),
            (candidates.first - start).tolist(),
            (candidates.last - start).tolist(),
            strict=True,
        )
        labels = [columns.labels[number] for number in columns.label[candidates.mention].tolist()]
        offers = {(span, label) for span, label in zip(spans, labels, strict=True)}
        places = {span for span, _ in offers}
        for number, (example, _) in enumerate(solvable):
            for first, last, label in example.gold:
                reached += (number, first, last) in places
                named += ((number, first, last), label) in offers
    return {
        "source labels": round(2 * named / (named + gold), 3),
        "right labels": round(2 * reached / (reached + gold), 3),
    }


if __name__ == "__main__":
    main()
