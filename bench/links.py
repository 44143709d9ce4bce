"""What each idea adds to eflomal's links: `XNER_LABEL_BENCH_DATA=... python bench/links.py --json out.json`.

Links are judged by what they are for: strict span F1 of two projectors on Europarl-NER's 799 sentence pairs (gold
English entities, gold target entities) and on low-resource news. Options were chosen on German; the others report.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
from pathlib import Path
from statistics import median

import msgspec

from xner_label.entities import Task
from xner_label.jsonl import read_values
from xner_label.pharaoh import format_links
from xner_label.pipeline.memory_cache import MemoryCache
from xner_label.pipeline.pipeline import Pipeline
from xner_label.projection.projectors import make_projector
from xner_label.stages.alignment.eflomal import EflomalAligner

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("XNER_LABEL_BENCH_DATA", ROOT.parent / "shared" / "data"))
FILES = {
    "de": "europarl/de.weak.jsonl",
    "es": "europarl/es.weak.jsonl",
    "lug": "lowres/lug/projection.jsonl",
    "tsn": "lowres/tsn/projection.jsonl",
}
PROJECTORS = ("align", "link-dice")
# eflomal's own number of iterations is 5000 / sqrt(number of pairs).
VARIANTS = {
    "one run, as it comes": {"runs": 1, "prefix": 0, "cognates": 0.0, "iterations": None},
    "+ prefixes": {"runs": 1, "prefix": 5, "cognates": 0.0, "iterations": None},
    "+ cognate priors": {"runs": 1, "prefix": 5, "cognates": 1.0, "iterations": None},
    "+ 18 iterations": {"runs": 1, "prefix": 5, "cognates": 1.0, "iterations": 18},
    "+ six runs voting (default)": {"runs": 6, "prefix": 5, "cognates": 1.0, "iterations": 18},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--languages", nargs="+", default=["de", "es"], choices=FILES)
    parser.add_argument("--repeats", type=int, default=3, help="fits of each variant; eflomal can't be seeded")
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    arguments = parser.parse_args()
    rows = []
    print(f"{'language':9} {'variant':28} {'CPU s':>7} " + " ".join(f"{name:>10}" for name in PROJECTORS))
    for language in arguments.languages:
        tasks = read(DATA / FILES[language])
        for name, options in VARIANTS.items():
            results = [measure(tasks, dict(options)) for _ in range(arguments.repeats)]
            row = {"language": language, "variant": name, "pairs": len(tasks)}
            row |= {key: median(result[key] for result in results) for key in results[0]}
            rows.append(row)
            scores = " ".join(f"{row[projector]:10.3f}" for projector in PROJECTORS)
            print(f"{language:9} {name:28} {row['cpu_seconds']:7.1f} {scores}", flush=True)
    if arguments.json:
        document = {"repeats": arguments.repeats, "rows": rows}
        arguments.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def read(path: Path) -> list[Task]:
    return list(read_values(path, Task))


def measure(tasks: list[Task], options: dict[str, int | float | None]) -> dict[str, float]:
    if options["iterations"] is None:
        options["iterations"] = round(5000 / len(tasks) ** 0.5)
    pairs = [(list(task.source_tokens or ()), list(task.tokens or ())) for task in tasks]
    begin = cpu_seconds()
    links = EflomalAligner(MemoryCache(), **options).align(pairs)  # type: ignore[arg-type]
    result = {"cpu_seconds": cpu_seconds() - begin}
    aligned = [
        msgspec.structs.replace(task, alignment=format_links(of_task))
        for task, of_task in zip(tasks, links, strict=True)
    ]
    return result | {name: f1(aligned, name) for name in PROJECTORS}


def cpu_seconds() -> float:
    """Of this process and of the eflomal processes it started."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def f1(tasks: list[Task], projector: str) -> float:
    predictions = Pipeline(make_projector(projector), min_confidence=0.0).predict(tasks)
    right = predicted = wanted = 0
    for task, prediction in zip(tasks, predictions, strict=True):
        gold = {(entity.start, entity.end, entity.label) for entity in task.entities or ()}
        spans = {(entity.start, entity.end, entity.label) for entity in prediction.entities}  # type: ignore[union-attr]
        right, predicted, wanted = right + len(gold & spans), predicted + len(spans), wanted + len(gold)
    return 2 * right / (predicted + wanted)


if __name__ == "__main__":
    main()
