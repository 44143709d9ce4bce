"""What corpus mode loses by learning from a sample, and how time and memory grow with a project.

`python bench/scale.py quality --languages lug,tsn --shares 1,0.5,0.25`: F1 of the project's projection where a
share of the tasks teaches and the others are counted. The shipped weights have seen these languages: read the
differences. `refresh --shares 0.8`: the like, where the table of so many of the tasks is made anew when the
others come. `python bench/scale.py store --tasks 10000,100000 --corpus-limit 1000`: real sentences with other
names in them, through import and predict in a process of their own; then one new task in a hundred. `--url`
names the database, `--corpus-limit 0` projects each task on its own. `python bench/scale.py learning --tasks
5000`: the first `predict` of real tasks and the one after a hundred were reviewed. `python bench/scale.py
growth --tasks 10000,100000,1000000`: status, push, sync and plan of projects that the database fills by itself,
with a Label Studio of a few lines on the loopback interface. `python bench/scale.py ray --tasks 40000`: one
actor of Ray, two.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import random
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import xner_label  # noqa: E402
from tests import large_store  # noqa: E402
from tests.loopback_studio import LoopbackStudio  # noqa: E402
from tests.postgres_process import PostgresProcess, postgres_folder, running_postgres  # noqa: E402
from xner_label.entities import Task, Tokens  # noqa: E402
from xner_label.evaluation.spans import JudgedTask, evaluate  # noqa: E402
from xner_label.jsonl import read_values  # noqa: E402
from xner_label.pipeline.pipeline import Pipeline  # noqa: E402
from xner_label.predicting.corpus_state import CorpusState, learn_corpus  # noqa: E402
from xner_label.predicting.evidence_table import draw_sample, with_all_counted, with_table_refreshed  # noqa: E402
from xner_label.predicting.learned_projector import LearnedProjector  # noqa: E402
from xner_label.predicting.predictor import Predictor, PredictReport  # noqa: E402
from xner_label.projection.corpus import refresh as corpus_refresh  # noqa: E402
from xner_label.projection.loglinear.weights_file import Weights  # noqa: E402
from xner_label.reporting.status import status  # noqa: E402
from xner_label.review.plans import make_plan  # noqa: E402
from xner_label.settings.table import Settings  # noqa: E402
from xner_label.store import migrating, projects  # noqa: E402
from xner_label.store.database import Store, open_store  # noqa: E402
from xner_label.store.gold import add_imported_gold  # noqa: E402
from xner_label.store.task_import import import_tasks  # noqa: E402
from xner_label.store.tasks import ids_by_external  # noqa: E402
from xner_label.studio.push import PushOptions, push  # noqa: E402
from xner_label.studio.sync import sync  # noqa: E402

LABELS = ("PER", "ORG", "LOC")
BATCH = 500


def data(language: str) -> list[Task]:
    folder = os.environ.get("XNER_LABEL_BENCH_DATA")
    if not folder:
        raise SystemExit("XNER_LABEL_BENCH_DATA names no folder: nothing to measure on")
    return list(read_values(Path(folder) / "lowres" / language / "projection.jsonl", Task))


def quality(language: str, share: float) -> None:
    tasks, weights = data(language), Weights.load()
    numbered = list(enumerate(tasks))
    batches = [numbered[start : start + BATCH] for start in range(0, len(tasks), BATCH)]
    begun = time.perf_counter()
    sample = draw_sample(batches, (), round(share * len(tasks)))
    state = learn_corpus(weights, sample.ids, sample.instances, {})
    learned = time.perf_counter()
    if len(sample.ids) < len(tasks):
        state = with_all_counted(state, weights, sample.instances, batches)
    counted = time.perf_counter()
    pipeline = Pipeline(LearnedProjector(weights, state), labels=LABELS)
    answers = [answer for batch in batches for answer in pipeline.predict([task for _, task in batch])]
    ended = time.perf_counter()
    scores = judge(tasks, answers)
    print(
        f"{language} {len(sample.ids)} of {len(tasks)} teach: F1 {scores.f1:.4f} (P {scores.precision:.3f} R "
        f"{scores.recall:.3f}); learning {learned - begun:.0f} s, counting {counted - learned:.1f} s, projecting "
        f"{ended - counted:.1f} s",
        flush=True,
    )


def judge(tasks: Sequence[Task], answers: Sequence[Any]) -> Any:
    judged = [
        [msgspec.convert(item, JudgedTask, from_attributes=True) for item in items] for items in (tasks, answers)
    ]
    return evaluate(*judged, LABELS)


def refresh(language: str, share: float, seed: int = 0) -> None:
    """The F1 of all tasks where the table of a share of them is made anew, with the thresholds and without any,
    and where all is learned anew; the size of the sample is the same, a quarter of all tasks."""
    tasks, weights = data(language), Weights.load()
    numbered = list(enumerate(tasks))
    random.Random(seed).shuffle(numbered)
    batches = [numbered[start : start + BATCH] for start in range(0, len(tasks), BATCH)]
    first = numbered[: round(share * len(tasks))]

    def learned(among: list[tuple[int, Task]]) -> CorpusState:
        sample = draw_sample([among], (), len(tasks) // 4)
        return with_all_counted(
            learn_corpus(weights, sample.ids, sample.instances, {}), weights, sample.instances, [among]
        )

    before = learned(first)
    states = {"counted anew": with_table_refreshed(before, weights, batches), "learned anew": learned(numbered)}
    thresholds = corpus_refresh._GROWTH, corpus_refresh._SHARE
    corpus_refresh._GROWTH = corpus_refresh._SHARE = -1.0
    states["counted anew, no thresholds"] = with_table_refreshed(before, weights, batches)
    corpus_refresh._GROWTH, corpus_refresh._SHARE = thresholds
    for name, state in states.items():
        projector = LearnedProjector(weights, state)
        pipeline = Pipeline(projector, labels=LABELS)
        answers = [answer for batch in batches for answer in pipeline.predict([task for _, task in batch])]
        kept = sum(projector.answers_as_before(task) for _, task in first)
        scores = judge([task for _, task in numbered], answers)
        print(
            f"{language} seed {seed}, {len(first)} and {len(tasks) - len(first)} more, {name}: "
            f"F1 {scores.f1:.4f}, {kept / len(first):.0%} of those before keep their answers",
            flush=True,
        )


def grown(tasks: Sequence[Task], start: int, stop: int, seed: int = 0) -> list[tuple[Task, str]]:
    """Tasks ``start`` to ``stop`` of a corpus as large as one likes, with given links.

    Real sentences in turn, in which a name that both sides write alike is another one: of ever more names, some of
    them frequent (Zipf), as in texts. Which task a number stands for depends on nothing else.
    """
    return [(_renamed(tasks[number % len(tasks)], number, seed), "pool") for number in range(start, stop)]


def _renamed(task: Task, number: int, seed: int) -> Task:
    drawn = random.Random(f"{seed}-{number}")
    source, target = task.source or "", list(task.tokens or ())
    entities, shift = [], 0
    for entity in sorted(task.source_entities or (), key=lambda entity: entity.start):
        words = (task.source or "")[entity.start : entity.end]
        start, name = entity.start + shift, words
        if words in target and drawn.random() < 0.8:
            name = _name(int(drawn.paretovariate(0.4)) % 10**7)
            target = [name if word == words else word for word in target]
            source = source[:start] + name + source[start + len(words) :]
            shift += len(name) - len(words)
        entities.append(msgspec.structs.replace(entity, start=start, end=start + len(name)))
    if any(left.end > right.start for left, right in pairwise(entities)):
        entities, source, target = list(task.source_entities or ()), task.source or "", list(task.tokens or ())
    target.append(str(number))  # no two are the same
    text = " ".join(target)
    return Task(
        id=f"g{number}",
        text=text,
        source=source,
        source_entities=tuple(entities),
        tokens=None if Tokens.tokenize(text).words() == target else tuple(target),
        alignment=task.alignment,
    )


def _name(number: int) -> str:
    syllables = ("ba", "ki", "mu", "lo", "na", "se", "wa", "ga", "ri", "tu", "ke", "no")
    name, number = "", number + 12
    while number:
        number, place = divmod(number, len(syllables))
        name += syllables[place]
    return name.capitalize()


def base_tasks() -> list[Task]:
    """Sentences whose source has no other tokens than those that its text shows: links stay right."""
    return [
        task
        for task in data("lug")
        if task.tokens and Tokens.tokenize(task.source or "").words() == list(task.source_tokens or ())
    ]


class Meter:
    """Seconds of steps, and of the parts of one; the memory of this process. ``server``: a database's own."""

    def __init__(self, name: str, server: PostgresProcess | None = None) -> None:
        self.name = name
        self.server = server
        self.seconds: dict[str, float] = {}

    def __call__(self, step: str, work: Callable[[], Any]) -> Any:
        begun = time.perf_counter(), time.process_time(), self._of_server()
        outcome = work()
        self.seconds[step] = time.perf_counter() - begun[0]
        spent = time.process_time() - begun[1]
        served = f", {self._of_server() - begun[2]:.2f} s of the server" if self.server else ""
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        load = os.getloadavg()[0]
        if isinstance(outcome, PredictReport):
            print(f"{self.name}: {outcome.predicted} tasks predicted, {outcome.unchanged} keep their answers")
        print(
            f"{self.name}: {step} {self.seconds[step]:.2f} s ({spent:.2f} s CPU of this process{served}), at most "
            f"{memory:.0f} MiB so far, load {load:.1f}",
            flush=True,
        )
        return outcome

    def _of_server(self) -> float:
        """Seconds of CPU of the server and of all that it has started."""
        if self.server is None:
            return 0.0
        import psutil

        number = int((self.server.folder / "data" / "postmaster.pid").read_text().split()[0])
        main = psutil.Process(number)
        times = main.cpu_times()
        spent = times.user + times.system + times.children_user + times.children_system
        for child in main.children():
            with suppress(psutil.Error):
                spent += sum(child.cpu_times()[:2])
        return float(spent)


class StageSeconds:
    """Seconds of CPU from each stage's beginning to the next; implements :class:`xner_label.progress.Progress`."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self._stage, self._begun = "opening", time.process_time()

    def begin(self, stage: str, total: int | None = None) -> None:
        now = time.process_time()
        self.seconds[self._stage] += now - self._begun
        self._stage, self._begun = stage, now

    def advance(self, count: int = 1) -> None:
        pass


def settings_for(url: str, limit: int) -> Settings:
    return Settings(database_url=url, labels=LABELS, aligner="given", tagger="given", corpus_limit=limit)


def add(store: Store, project: int, tasks: Sequence[Task], start: int, stop: int) -> None:
    for first in range(start, stop, 2_000):
        with store.write() as session:
            import_tasks(session, project, grown(tasks, first, min(first + 2_000, stop)))


def make_postgres(count: int, limit: int, more: int) -> None:
    """The like in a PostgreSQL server of its own, whose time is told apart."""
    programs = postgres_folder()
    if programs is None:
        raise SystemExit("no PostgreSQL here: nothing to measure on")
    with running_postgres(programs) as server, server.database() as url:
        make_store(url, count, limit, more, server)


def make_store(url: str, count: int, limit: int, more: int, server: PostgresProcess | None = None) -> None:
    """Import and predict ``count`` tasks, then ``more`` of them, into a new store."""
    tasks, settings = base_tasks(), settings_for(url, limit)
    meter = Meter(f"{url.partition(':')[0]} {count} tasks, {limit} teach", server)
    with open_store(url, check=False) as store:
        migrating.upgrade(store)
        with store.write() as session:
            project = projects.ensure_project(session, settings.project, LABELS).id
        meter("generating alone", lambda: [grown(tasks, n, n + 100) for n in range(0, min(count, 10_000), 100)])
        meter("import", lambda: add(store, project, tasks, 0, count))
        stages = StageSeconds()
        meter("predict", lambda: watched(lambda: Predictor(store, settings).predict_project(stages), meter.name))
        stages.begin("the end")
        parts = (f"{stage} {seconds:.2f} s" for stage, seconds in stages.seconds.items() if seconds >= 0.05)
        print(f"{meter.name}: {', '.join(parts)}; {stored_size(url, server) / 2**20:.0f} MiB stored", flush=True)
        meter("status", lambda: status(store, settings.project))
        meter("predict, nothing new", lambda: Predictor(store, settings).predict_project())
        if more:
            meter(f"import {more} more", lambda: add(store, project, tasks, count, count + more))
            meter(f"predict {more} more", lambda: Predictor(store, settings).predict_project())


def learning(url: str, count: int, reviewed: int = 100) -> None:
    """The first `predict` of real tasks, and the one that learns from what people said of some of them."""
    tasks = [
        msgspec.structs.replace(task, id=f"{language}-{task.id}")
        for language in ("lug", "tsn")
        for task in data(language)
    ][:count]
    settings, meter = settings_for(url, 50_000), Meter(f"{len(tasks)} tasks, {reviewed} reviewed")
    with open_store(url, check=False) as store:
        migrating.upgrade(store)
        with store.write() as session:
            project = projects.ensure_project(session, settings.project, LABELS).id
            import_tasks(
                session, project, [(msgspec.structs.replace(task, entities=None), "pool") for task in tasks]
            )
        meter("first predict", lambda: Predictor(store, settings).predict_project())
        entities = {str(task.id): task.entities or () for task in random.Random(0).sample(tasks, reviewed)}
        with store.write() as session:
            ids = ids_by_external(session, project, list(entities))
            add_imported_gold(session, {ids[name]: given for name, given in entities.items()})
        report = meter("predict that learns", lambda: Predictor(store, settings).predict_project())
        print(f"{meter.name}: {report.learned}", flush=True)


def stored_size(url: str, server: PostgresProcess | None) -> int:
    """Bytes of a database with its indexes: of SQLite's files, or of what the server holds."""
    if server is not None:
        files = list((server.folder / "data" / "base").rglob("*"))
    else:
        database = Path(url.removeprefix("sqlite:///"))
        files = list(database.parent.glob(f"{database.name}*"))
    return sum(file.stat().st_size for file in files if file.is_file())


def watched(work: Callable[[], Any], name: str) -> Any:
    """The work, with the share of samples of its main thread in projection and in the database's own work."""
    samples: Counter[str] = Counter()
    main, stopped = threading.get_ident(), threading.Event()

    def look() -> None:
        while not stopped.wait(0.05):
            frame, kind = sys._current_frames().get(main), "other"
            while frame is not None:
                file, function = frame.f_code.co_filename, frame.f_code.co_name
                if "/projection/" in file or "/stages/tagging/" in file or file.endswith("corpus_state.py"):
                    kind = "projection"
                elif function in ("do_execute", "do_executemany", "do_commit", "fetchmany", "fetchall"):
                    kind = "database"
                else:
                    frame = frame.f_back
                    continue
                break
            samples[kind] += 1

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        return work()
    finally:
        stopped.set()
        watcher.join()
        shares = {kind: f"{count / samples.total():.0%}" for kind, count in samples.most_common()}
        print(f"{name}: samples of predict {shares}", flush=True)


def growth(url: str, count: int) -> None:
    """How long commands take in a project of ``count`` predicted tasks, of which 100 are in Label Studio."""
    meter = Meter(f"{url.partition(':')[0]} {count} tasks")
    with open_store(url, check=False) as store, LoopbackStudio(large_store.LABELS).open() as studio:
        migrating.upgrade(store)
        meter("made", lambda: large_store.fill(store, count))
        settings = Settings(labels=large_store.LABELS, studio_url=studio.url, studio_api_key="a" * 40)
        studio.connect(store, settings.project)
        meter("status, first", lambda: status(store, settings.project))
        meter("status", lambda: status(store, settings.project))
        push(store, settings, PushOptions(limit=1))  # what it imports and opens isn't what grows
        meter("push --limit 100", lambda: push(store, settings, PushOptions(limit=100)))
        sync(store, settings)
        for number in range(1, 11):
            studio.annotate(number, [])
        meter("sync of 10 changes", lambda: sync(store, settings))
        meter("plan --minutes 60", lambda: make_plan(store, settings.project, 60.0, keep=False))


def ray_actors(folder: Path, count: int, actors: Sequence[int]) -> None:
    """Records a second for each number of actors, from the first part to the last one: start-up apart.

    Beside the clock, since cores are shared: the seconds of CPU that processes of each kind spend for 10,000
    records in that time. ``folder`` is for the files; each number is run twice, in turn.
    """
    path, size = folder / "tasks.jsonl", 1_000
    tasks = base_tasks()
    with path.open("wb") as stream:
        for start in range(0, count, size):
            for task, _ in grown(tasks, start, min(start + size, count)):
                stream.write(msgspec.json.encode(task) + b"\n")
    options = ["--engine", "ray", "--aligner", "none", "--tagger", "given", "--part-size", str(size)]
    for turn in range(2):
        for number in actors:
            out = folder / f"out-{turn}-{number}"
            command = ["predict", str(path), "-o", str(out), *options, "--actors", str(number)]
            begun = time.perf_counter()
            process = subprocess.Popen([sys.executable, "-m", "xner_label", *command], stdout=subprocess.DEVNULL)
            spent = spent_between_parts(process, out, number)
            if process.returncode not in (0, 5):  # names that changed leave a record or two without its links
                raise SystemExit(f"xner-label ended with {process.returncode}")
            whole = time.perf_counter() - begun
            times = sorted(part.stat().st_mtime for part in out.glob("part-*"))
            made, seconds = size * (len(times) - number), times[-1] - times[number - 1]
            kinds = ", ".join(f"{kind} {value / made * 10_000:.2f} s" for kind, value in sorted(spent.items()))
            print(
                f"{number} actors, {count} records: {whole:.1f} s, from the first part on {made / seconds:.0f} "
                f"records/s in {seconds:.1f} s, {made / spent['actors']:.0f} for each second of an actor's CPU "
                f"({spent['actors'] / seconds:.2f} cores); CPU for 10,000: {kinds}; load {os.getloadavg()[0]:.1f}",
                flush=True,
            )


def spent_between_parts(process: subprocess.Popen[bytes], out: Path, actors: int) -> Counter[str]:
    """Seconds of CPU of a run on Ray by the kind of process, from the first part of the last actor to begin to the
    last part. Returns when the run has ended."""
    import psutil

    kinds, now, first, last = {process.pid: "driver"}, dict[int, float](), dict[int, float](), dict[int, float]()
    seen = 0
    while process.poll() is None:
        with suppress(psutil.Error):
            top = psutil.Process(process.pid)
            for each in (top, *top.children(recursive=True)):
                with suppress(psutil.Error):
                    title = "".join(each.cmdline()[:1])  # none of one that is about to begin or has ended
                    if "(_Actor)" in title:
                        kinds[each.pid] = "actors"
                    elif "(_CutFile)" in title:
                        kinds[each.pid] = "cutting"
                    now[each.pid] = sum(each.cpu_times()[:2])
        parts = len(list(out.glob("part-*")))
        if parts > seen:
            seen, last = parts, dict(now)
            if parts >= actors and not first:
                first = dict(now)
        time.sleep(0.05)
    spent: Counter[str] = Counter()
    for number, value in last.items():
        spent[kinds.get(number, "Ray")] += value - first.get(number, 0.0)
    return spent


def in_process(function: Callable[..., None], *arguments: Any) -> None:
    """In a process of its own: its memory is that of the work alone."""
    process = multiprocessing.get_context("spawn").Process(target=function, args=arguments)
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(process.exitcode)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["quality", "refresh", "store", "learning", "growth", "ray"])
    parser.add_argument("--languages", default="lug,tsn")
    parser.add_argument("--shares", default="1,0.5,0.25")
    parser.add_argument("--seed", default=0, type=int, help="of the order in `refresh`")
    parser.add_argument("--tasks", default="10000")
    parser.add_argument("--actors", default="1,2", help="of Ray, in `ray`")
    parser.add_argument("--more", default=0, type=int, help="tasks that come later")
    parser.add_argument("--corpus-limit", default=1_000, type=int, help="0: each task on its own")
    parser.add_argument("--url", default="sqlite:///{folder}/store.db", help="new database; {count} is replaced")
    parser.add_argument("--postgres", action="store_true", help="a server of its own for `store`")
    arguments = parser.parse_args()
    print(f"xner-label {xner_label.__version__}, weights {Weights.load().digest}, {platform.platform()}")
    if arguments.what in ("quality", "refresh"):
        for language in arguments.languages.split(","):
            for share in map(float, arguments.shares.split(",")):
                quality(language, share) if arguments.what == "quality" else refresh(
                    language, share, arguments.seed
                )
        return
    if arguments.what == "ray":
        with tempfile.TemporaryDirectory() as folder:
            ray_actors(Path(folder), int(arguments.tasks), [int(number) for number in arguments.actors.split(",")])
        return
    for count in map(int, arguments.tasks.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            url = arguments.url.format(folder=folder, count=count)
            if arguments.what in ("growth", "learning"):
                in_process(growth if arguments.what == "growth" else learning, url, count)
                continue
            sizes = count, arguments.corpus_limit, arguments.more or count // 100
            if arguments.postgres:
                in_process(make_postgres, *sizes)
            else:
                in_process(make_store, url, *sizes)


if __name__ == "__main__":
    main()
