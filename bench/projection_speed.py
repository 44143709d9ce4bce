"""Speed of the projection on real links: projectors, the thesis' formulation, the whole command, its memory.

Seconds are CPU seconds of one process, so that other load on the machine counts less; ratios are within one run.
"""

from __future__ import annotations

import argparse
import cProfile
import io
import json
import os
import pstats
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np
from scipy.sparse import csr_array

from xner_label import __version__
from xner_label.entities import Task
from xner_label.pipeline.json_stream import project_stream
from xner_label.pipeline.pipeline import Pipeline
from xner_label.projection.handmade.candidates import alignment_window
from xner_label.projection.problem import (
    CorpusProjector,
    Instance,
    Projection,
    Projections,
    Projector,
    build_instance,
    project_all,
)
from xner_label.projection.projectors import make_projector, models_asked
from xner_label.projection.spans import MAX_LENGTH, ngrams

ROOT = Path(__file__).resolve().parents[1]
PROJECTORS = ("heuristic", "align", "link-dice", "string", "default")


class ThesisProjector:
    """The paper's greedy matching as its thesis formulates it: dense candidates, score matrices, greedy.

    For each sentence with entities: all n-grams of the alignment window as rows of an indicator matrix T, the
    entities as rows of P, links A; scores P A T' / (|p| + |t|) by sparse products; then the best remaining pair
    again and again.
    """

    signature = "thesis"
    needs = frozenset({"alignment"})
    cut = 0.0

    def project(self, instances: Sequence[Instance]) -> list[Projections]:
        return [self._project(instance) if instance.mentions else Projections() for instance in instances]

    def _project(self, instance: Instance) -> Projections:
        links = instance.links or ()
        spans = ngrams(*alignment_window(instance.mentions, links), MAX_LENGTH)
        if not spans:
            return Projections()
        source, target, weight = zip(*links, strict=True)
        shape = (len(instance.source), len(instance.target))
        alignment = csr_array((weight, (source, target)), shape=shape)
        entities = _indicators([(mention.first, mention.last) for mention in instance.mentions], shape[0])
        candidates = _indicators(spans, shape[1])
        mass = (entities @ alignment @ candidates.T).toarray()
        lengths = np.array([mention.last - mention.first for mention in instance.mentions])[:, None]
        lengths = lengths + np.array([last - first for first, last in spans])[None, :]
        scores = mass / lengths
        free = np.ones(shape[1], dtype=bool)
        open_mentions = np.ones(len(instance.mentions), dtype=bool)
        result = Projections()
        rows, columns = np.nonzero(scores)
        for place in np.argsort(-scores[rows, columns], kind="stable"):
            row = rows[place]
            first, last = spans[columns[place]]
            if open_mentions[row] and free[first:last].all():
                open_mentions[row] = False
                free[first:last] = False
                score = float(scores[row, columns[place]])
                result.append(Projection(int(row), first, last, instance.mentions[row].label, score, score))
        return result.in_order()


def _indicators(spans: Sequence[tuple[int, int]], width: int) -> csr_array:
    lengths = [last - first for first, last in spans]
    columns = np.concatenate([np.arange(first, last) for first, last in spans])
    starts = np.concatenate([[0], np.cumsum(lengths)])
    return csr_array((np.ones(len(columns)), columns, starts), shape=(len(spans), width))


class NothingProjector:
    """Projects nothing: what remains is everything around a projection."""

    signature = "nothing"
    needs: frozenset[str] = frozenset()
    cut = 0.0

    def project(self, instances: Sequence[Instance]) -> list[Projections]:
        return [Projections() for _ in instances]


class GivenProjector:
    """Hands out projections made before: what remains is everything around, with entities to write."""

    signature = "given"
    needs: frozenset[str] = frozenset()
    cut = 0.0

    def __init__(self, projections: list[Projections]) -> None:
        self._projections = projections
        self._next = 0

    def project(self, instances: Sequence[Instance]) -> list[Projections]:
        begin, self._next = self._next, self._next + len(instances)
        return self._projections[begin : self._next]


def cpu_seconds(function: Callable[[], object], repeats: int) -> float:
    """Median CPU seconds of ``repeats`` calls, after one that isn't counted."""
    function()
    seconds = []
    for _ in range(repeats):
        begin = time.process_time()
        function()
        seconds.append(time.process_time() - begin)
    return statistics.median(seconds)


def projectors(tasks: list[Task], repeats: int) -> dict[str, dict[str, float]]:
    """Sentences per second of each projector on instances in memory, and how often it is as fast as the thesis."""
    instances = [build_instance(task)[0] for task in tasks]
    made: dict[str, Projector | CorpusProjector] = {"thesis": ThesisProjector()}
    made |= {name: make_projector(name) for name in PROJECTORS if not models_asked(name)}
    seconds: dict[str, list[float]] = {name: [] for name in made}
    for _ in range(repeats):  # in turn, so that a slow moment of the machine hits all alike
        for name, projector in made.items():
            seconds[name].append(cpu_seconds(lambda measured=projector: project_all(measured, instances), 1))  # type: ignore[misc]
    median = {name: statistics.median(values) for name, values in seconds.items()}
    return {
        name: {
            "sentences_per_second": len(instances) / value,
            "times_thesis": statistics.median(
                thesis / ours for thesis, ours in zip(seconds["thesis"], seconds[name], strict=True)
            ),
        }
        for name, value in median.items()
    }


def around(data: bytes, tasks: list[Task], repeats: int) -> dict[str, float]:
    """CPU microseconds a line of everything but the projection, with and without entities to write."""
    instances = [build_instance(task)[0] for task in tasks]
    projections = project_all(make_projector("default"), instances)

    def run(projector: Projector) -> None:
        project_stream(io.BytesIO(data), io.BytesIO(), Pipeline(projector, min_confidence=0.0), report=_refuse)

    return {
        "no_entities": cpu_seconds(lambda: run(NothingProjector()), repeats) / len(tasks) * 1e6,
        "entities": cpu_seconds(lambda: run(GivenProjector(projections)), repeats) / len(tasks) * 1e6,
    }


def _refuse(error: Exception) -> None:
    raise error


def whole_process(data: bytes, lines: int, arguments: list[str], repeats: int) -> dict[str, float]:
    """`xner-label project` as a process: lines per second by the clock and by CPU time, peak memory in MB."""
    rows = [line for line in data.split(b"\n") if line]
    wall, cpu, peak = [], [], 0.0
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "tasks.jsonl"
        with source.open("wb") as stream:
            for index in range(lines):
                stream.write(rows[index % len(rows)] + b"\n")
        command = [sys.executable, "-m", "xner_label", "project", *arguments, str(source), "-o"]
        environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        for _ in range(repeats):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            begin = time.perf_counter()
            done = subprocess.Popen([*command, str(Path(folder) / "out.jsonl")], env=environment)
            _, status, usage = os.wait4(done.pid, 0)
            wall.append(time.perf_counter() - begin)
            if status:
                raise SystemExit(f"{' '.join(command)} failed")
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            cpu.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
            peak = max(peak, usage.ru_maxrss / 1024)
    return {
        "lines": lines,
        "lines_per_second": lines / statistics.median(wall),
        "lines_per_cpu_second": lines / statistics.median(cpu),
        "peak_mb": peak,
    }


def profile(data: bytes, name: str, rows: int = 15) -> list[dict[str, object]]:
    """Where the time of the default goes, function by function (shares of the profiled total)."""
    profiler = cProfile.Profile()
    pipeline = Pipeline(make_projector(name))
    project_stream(io.BytesIO(data), io.BytesIO(), pipeline, report=_refuse)
    profiler.runcall(project_stream, io.BytesIO(data), io.BytesIO(), pipeline, report=_refuse)
    stats = pstats.Stats(profiler)
    entries = sorted(stats.stats.items(), key=lambda item: -item[1][2])[:rows]  # type: ignore[attr-defined]
    total = stats.total_tt  # type: ignore[attr-defined]
    return [
        {"function": f"{Path(file).name}:{function}", "calls": row[1], "share": row[2] / total}
        for (file, _, function), row in entries
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="europarl/de.voted", help="file of the benchmark data, without .jsonl")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--lines", type=int, default=20_000, help="lines for the whole process")
    parser.add_argument("--many", type=int, default=0, help="lines of one more run, for its memory")
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    arguments = parser.parse_args()
    folder = Path(os.environ.get("XNER_LABEL_BENCH_DATA", ROOT.parent / "shared" / "data"))
    path = folder / f"{arguments.data}.jsonl"
    if not path.is_file():
        raise SystemExit(f"skipped: {path} is not here; set XNER_LABEL_BENCH_DATA")
    data = path.read_bytes()
    decoder = msgspec.json.Decoder(Task)
    tasks = [decoder.decode(line) for line in data.splitlines()]
    report: dict[str, object] = {
        "data": arguments.data,
        "sentences": len(tasks),
        "version": __version__,
        "python": sys.version.split()[0],
        "repeats": arguments.repeats,
    }
    table = projectors(tasks, arguments.repeats)
    report["projectors"] = table
    print(f"{arguments.data}: {len(tasks)} sentences, median of {arguments.repeats}, CPU time")
    print(f"{'projector':12} {'sentences/s':>12} {'x thesis':>9}")
    for name, row in table.items():
        print(f"{name:12} {row['sentences_per_second']:12,.0f} {row['times_thesis']:9.1f}")
    report["around_us_per_line"] = outside = around(data, tasks, arguments.repeats)
    print(
        "around the projection, us a line: " + ", ".join(f"{name} {value:.1f}" for name, value in outside.items())
    )
    runs = {}
    for name in ("default", "link-dice"):
        runs[name] = whole_process(data, arguments.lines, ["--projector", name], max(3, arguments.repeats // 2))
    if arguments.many:
        runs["default, many"] = whole_process(data, arguments.many, ["--projector", "default"], 1)
    report["whole_process"] = runs
    for name, row in runs.items():
        print(
            f"xner-label project, {name}: {row['lines']:,} lines, {row['lines_per_second']:,.0f} a second, "
            f"{row['lines_per_cpu_second']:,.0f} a CPU second, {row['peak_mb']:.0f} MB"
        )
    report["profile"] = shares = profile(data, "default")
    print("where the default's time goes (of the profiled total):")
    for entry in shares:
        print(f"  {entry['share']:6.1%}  {entry['calls']:>8}  {entry['function']}")
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
