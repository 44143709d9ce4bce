"""F1 and confidence of the projectors on real data, with shipped weights and with the row's language left out.

Only the second says what a new language may expect. Every left-out language means fitting anew on the others: some
ten minutes of CPU for everything. The data isn't part of the project: ../shared/data or XNER_LABEL_BENCH_DATA.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lowres import data_folder

from xner_label import __version__
from xner_label.evaluation import metrics
from xner_label.projection.corpus.projector import LogLinearCorpusProjector
from xner_label.projection.fitting.examples import Example, read_examples
from xner_label.projection.fitting.files import cased_part, fit_part
from xner_label.projection.fitting.simulated_tagger import simulate_tagger
from xner_label.projection.loglinear.projector import LogLinearProjector
from xner_label.projection.loglinear.weights_file import Weights
from xner_label.projection.problem import CorpusProjector, Projection, Projections, Projector, project_all
from xner_label.projection.projectors import make_projector

ROWS = {
    "de.voted": "europarl/de.voted",
    "es.voted": "europarl/es.voted",
    "de.weak": "europarl/de.weak",
    "es.weak": "europarl/es.weak",
    "lug": "lowres/lug/projection",
    "tsn": "lowres/tsn/projection",
}
REFERENCES = ("heuristic", "align-greedy", "link-dice", "string")
RESAMPLES, SEED = 1000, 13


def main() -> None:
    parser = argparse.ArgumentParser(prog=sys.argv[0], description=__doc__)
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=list(ROWS))
    parser.add_argument("--no-corpus", action="store_true", help="per sentence only: minutes less")
    parser.add_argument("--json", type=Path, default=Path("projection-quality.json"))
    parser.add_argument("--plots", type=Path, help="folder for the plots (needs matplotlib)")
    options = parser.parse_args()
    folder = data_folder()
    files = {row: read_examples(folder / f"{name}.jsonl") for row, name in ROWS.items()}
    shipped = Weights.load()
    results: list[dict[str, Any]] = []
    for language in sorted({row.split(".")[0] for row in options.rows}):
        others = [examples for row, examples in files.items() if row.split(".")[0] != language]
        part = cased_part(others, simulate_tagger(others))
        left_out = fit_part(part, "", None, not options.no_corpus)
        for row in options.rows:
            if row.split(".")[0] == language:
                results += judge_row(row, files[row], shipped, left_out)
    document = {
        "version": __version__,
        "shipped": shipped.digest,
        "seed": SEED,
        "resamples": RESAMPLES,
        "rows": results,
    }
    options.json.write_text(json.dumps(document, indent=1))
    if options.plots:
        plot(results, options.plots)


def judge_row(row: str, examples: Sequence[Example], shipped: Weights, left_out: Weights) -> list[dict[str, Any]]:
    """All projectors on one file, printed as they come."""
    projectors: list[tuple[str, str, Projector | CorpusProjector]] = [
        ("reference", name, make_projector(name)) for name in REFERENCES
    ]
    for origin, weights in (("shipped", shipped), ("left out", left_out)):
        projectors.append((origin, "default", LogLinearProjector(weights)))
        if weights.rounds:
            projectors.append((origin, "corpus", LogLinearCorpusProjector(weights)))
    results: list[dict[str, Any]] = []
    tables: list[np.ndarray] = []
    for origin, name, projector in projectors:
        projected = project(projector, examples)
        tables.append(counts(examples, projected, projector.cut))
        results.append({"row": row, "weights": origin, "projector": name} | judge(examples, projected, projector))
        results[-1]["f1_ci95"] = metrics.bootstrap_f1(tables[-1], resamples=RESAMPLES, seed=SEED)
    best = max(range(len(REFERENCES)), key=lambda place: results[place]["f1"])
    drawn = [metrics.f1_score(*metrics.resampled_sums(table, RESAMPLES, SEED).T) for table in tables]
    for result, scores in zip(results, drawn, strict=True):
        result["best_reference"] = results[best]["projector"]
        result["over_reference"] = result["f1"] - results[best]["f1"]
        result["over_reference_ci95"] = np.quantile(scores - drawn[best], [0.025, 0.975]).tolist()
        print(line(result), flush=True)
    return results


def project(projector: Projector | CorpusProjector, examples: Sequence[Example]) -> list[Projections]:
    return project_all(projector, [example.instance for example in examples])


def counts(examples: Sequence[Example], projected: Sequence[Sequence[Projection]], cut: float) -> np.ndarray:
    """Per task: right, predicted, gold."""
    rows = []
    for example, projections in zip(examples, projected, strict=True):
        kept = [(p.first, p.last, p.label) for p in projections if p.confidence >= cut]
        rows.append((sum(span in example.gold for span in kept), len(kept), len(example.gold)))
    return np.array(rows, float)


def judge(
    examples: Sequence[Example], projected: Sequence[Sequence[Projection]], projector: Projector | CorpusProjector
) -> dict[str, Any]:
    """F1 at the default cut; confidence without a cut, except ``auroc_at_cut``."""
    pairs = [
        (p.confidence, (p.first, p.last, p.label) in example.gold)
        for example, projections in zip(examples, projected, strict=True)
        for p in projections
    ]
    confidence, right = (np.array(column) for column in zip(*pairs, strict=True))
    cut = projector.cut
    total, predicted, gold = counts(examples, projected, cut).sum(axis=0)
    kept = confidence >= cut
    coverage = metrics.coverage_at(confidence, right, 0.95)
    return {
        "f1": float(2 * total / (predicted + gold)),
        "precision": float(total / predicted),
        "recall": float(total / gold),
        "cut": cut,
        "auroc": metrics.auroc(confidence, right),
        "auroc_at_cut": metrics.auroc(confidence[kept], right[kept]),
        "ap_errors": metrics.average_precision_of_errors(confidence, right),
        "brier": metrics.brier(confidence, right),
        "ece": metrics.expected_calibration_error(confidence, right),
        "right_at_95_of_gold": (coverage[1] if coverage else 0) / gold,
        "reliability": reliability(confidence, right),
        "gold": int(gold),
        "signature": projector.signature,
    }


def reliability(confidence: np.ndarray, right: np.ndarray) -> list[tuple[float, float, int]]:
    """Mean confidence, share right and number in each of ten equal bins that isn't empty."""
    place = np.minimum((confidence * 10).astype(int), 9)
    return [
        (float(confidence[place == k].mean()), float(right[place == k].mean()), int((place == k).sum()))
        for k in range(10)
        if (place == k).any()
    ]


def line(result: dict[str, Any]) -> str:
    low, high = result["f1_ci95"]
    below, above = result["over_reference_ci95"]
    text = (
        f"{result['row']:<9}{result['weights']:<10}{result['projector']:<13}"
        f"F1 {result['f1']:.3f} ({low:.3f}..{high:.3f})"
        f"  over {result['best_reference']}: {result['over_reference']:+.3f} ({below:+.3f}..{above:+.3f})"
    )
    if result["weights"] != "reference":
        text += (
            f"  P {result['precision']:.3f} R {result['recall']:.3f} AUROC {result['auroc']:.3f}"
            f" ({result['auroc_at_cut']:.3f} at the cut) ECE {result['ece']:.3f} Brier {result['brier']:.3f}"
            f" right at 95 %: {result['right_at_95_of_gold']:.3f}"
        )
    return text


def plot(results: Sequence[dict[str, Any]], folder: Path) -> None:
    """F1 by row, and how confidence and truth agree, both with the language left out."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    folder.mkdir(parents=True, exist_ok=True)
    rows = [row for row in ROWS if any(result["row"] == row for result in results)]
    shown = [("reference", "heuristic"), ("reference", "link-dice"), ("reference", "string")]
    shown += [("left out", "default"), ("left out", "corpus")]
    figure, axes = pyplot.subplots(figsize=(8, 3.2))
    for place, (weights, name) in enumerate(shown):
        by_row = {r["row"]: r for r in results if (r["weights"], r["projector"]) == (weights, name)}
        at = [number + (place - 2) * 0.16 for number, row in enumerate(rows) if row in by_row]
        present = [by_row[row] for row in rows if row in by_row]
        errors = [[r["f1"] - r["f1_ci95"][0] for r in present], [r["f1_ci95"][1] - r["f1"] for r in present]]
        axes.bar(at, [r["f1"] for r in present], 0.15, yerr=errors, label=name, error_kw={"linewidth": 0.7})
    axes.set(xticks=range(len(rows)), xticklabels=rows, ylim=(0.4, 1.05), ylabel="strict span F1")
    axes.legend(ncol=5, fontsize=8, loc="upper center")
    figure.tight_layout()
    figure.savefig(folder / "projection-f1.svg", metadata={"Date": None})
    figure, panels = pyplot.subplots(1, 2, figsize=(8, 3.6), sharey=True)
    for axes, name in zip(panels, ("default", "corpus"), strict=True):
        axes.plot([0, 1], [0, 1], color="gray", linewidth=0.7)
        for result in results:
            if (result["weights"], result["projector"]) == ("left out", name):
                confidence, right, _ = zip(*result["reliability"], strict=True)
                axes.plot(confidence, right, marker="o", markersize=3, linewidth=1, label=result["row"])
        axes.set(title=name, xlabel="confidence", ylabel="share right" if name == "default" else "")
    panels[0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(folder / "projection-reliability.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
