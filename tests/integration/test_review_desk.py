"""The review desk on a stored project: what people answered becomes numbers, a plan and a verdict."""

from __future__ import annotations

import json
import random
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from sqlalchemy import select
from sqlalchemy.orm import Session

from tests.processes import LIMIT, begin
from tests.store_fixtures import each_store as each_store
from tests.store_fixtures import each_url as each_url
from tests.store_fixtures import sqlite_url as sqlite_url
from xner_label.cli.main import cli
from xner_label.entities import Entity, Prediction, ProjectedEntity, Provenance, Task
from xner_label.errors import CheckFailedError, UsageError
from xner_label.reporting.status import status
from xner_label.review import desk as review_desk
from xner_label.review import selection
from xner_label.review.drift import drift_report
from xner_label.review.finishing import calibrate_project, stop_report
from xner_label.review.plan_outcomes import compare_plan, plan_outcomes
from xner_label.review.plans import make_plan
from xner_label.store import desk, eligible_tasks, migrating, predictions, projects, reviews, tables, tasks
from xner_label.store.database import Store, open_store
from xner_label.store.pipelines import ensure_pipeline
from xner_label.store.pruning import prune
from xner_label.training.data import DataOptions, collect

COUNT = 500


class Corpus:
    """Sentences of two names each, one as sure as the other is likely to be right."""

    def __init__(self, count: int = COUNT) -> None:
        draw = random.Random(0)
        self.texts = [
            f"Word{draw.randrange(300)} saw Name{draw.randrange(200)} in Town{draw.randrange(90)}"
            for _ in range(count)
        ]
        self.predictions: list[Prediction] = []
        self.gold: list[list[Entity]] = []
        for number, text in enumerate(self.texts):
            words = text.split()
            shown, gold = [], []
            for word, label, other in ((words[2], "PER", "LOC"), (words[4], "LOC", "PER")):
                start = text.index(f" {word}") + 1
                end = start + len(word)
                sure = min(0.995, max(0.05, draw.betavariate(5, 0.4)))
                shown.append(
                    ProjectedEntity(start, end, label, word, 1.0, sure, None, Provenance(tagger=round(sure, 3)))
                )
                gold.append(Entity(start, end, label if draw.random() < sure else other))
            whole = shown[0].confidence * shown[1].confidence
            self.predictions.append(Prediction(str(number), text, tuple(shown), whole, "p1"))
            self.gold.append(gold)

    def store(self, session: Session) -> tables.Project:
        """A project with these predictions."""
        project = projects.ensure_project(session, "default", ["PER", "LOC"])
        named = [(Task(id=str(number), text=text), "pool") for number, text in enumerate(self.texts)]
        tasks.add_tasks(session, project.id, named)
        ids = tasks.ids_by_external(session, project.id, [task.id for task, _ in named])
        rows = [(ids[prediction.id], prediction) for prediction in self.predictions]
        predictions.add_predictions(session, rows)
        project.pipeline = ensure_pipeline(session, "p1")
        return project

    def answer(self, session: Session, numbers: list[int], *, drawn: bool = True, blind: bool = False) -> None:
        """People settle these tasks, after they were drawn at random (or not)."""
        pairs = {task.external_id: (task, row) for task, row in predictions.predictions_of(session, 1, "p1")}
        chosen = [pairs[str(number)] for number in numbers]
        items = [(task.id, None if blind else row.id) for task, row in chosen]
        reviews.add_batch(session, 1, "random", items, {task for task, _ in items} if drawn else ())
        for number, (task, _) in zip(numbers, chosen, strict=True):
            session.add(
                tables.Annotation(
                    task_id=task.id,
                    origin="studio",
                    studio_annotation=number + 1,
                    studio_updated_at=datetime(2026, 1, 1, tzinfo=UTC),
                    regions=[],
                    annotator="ann",
                    lead_time=3600.0 if number % 25 == 0 else 4.0 + number % 3,
                    entities=msgspec.to_builtins(self.gold[number]),
                )
            )


@pytest.fixture
def project(tmp_path: Path) -> Iterator[tuple[Store, Corpus]]:
    """A predicted project on SQLite, which nobody has reviewed."""
    with open_store(f"sqlite:///{tmp_path}/store.db", check=False) as store:
        migrating.upgrade(store)
        corpus = Corpus()
        with store.write() as session:
            corpus.store(session)
        yield store, corpus


def test_on_both_databases(each_store):
    corpus = Corpus(120)
    with each_store.write() as session:
        corpus.store(session)
        corpus.answer(session, list(range(40)))
        corpus.answer(session, list(range(40, 60)), blind=True)
    report = calibrate_project(each_store, "default")
    assert report.calibrator.entities == 120
    assert report.calibrator.audited == 120
    assert report.estimates is not None
    assert report.anchoring is not None
    assert report.anchoring.tasks == (40, 20)
    assert make_plan(each_store, "default", 2.0).tasks
    assert status(each_store, "default").verdict is not None


def test_nothing_reviewed_is_said_and_nothing_invented(project):
    store, _ = project
    report = calibrate_project(store, "default")
    assert not report.calibrator.fitted
    assert report.note is not None
    assert report.estimates is None
    with pytest.raises(CheckFailedError, match="0 were audited, 50 are needed"):
        review_desk.acceptance(store, "default", 0.1)
    assert not stop_report(store, "default").verdict.stop
    plan = make_plan(store, "default", 10.0)
    assert plan.f1_now is None
    assert 0 < plan.minutes <= 10.0
    assert compare_plan(store, "default") is None


def test_nothing_predicted_is_a_usage_error(tmp_path):
    with open_store(f"sqlite:///{tmp_path}/store.db", check=False) as store:
        migrating.upgrade(store)
        with store.write() as session:
            projects.ensure_project(session, "default", ["PER"])
        assert not review_desk.is_predicted(store, "default")
        with pytest.raises(UsageError, match="nothing is predicted"):
            calibrate_project(store, "default")


def test_the_same_answers_are_calibrated_once(project):
    store, corpus = project
    with store.write() as session:
        corpus.answer(session, list(range(60)))
    first, second = (calibrate_project(store, "default") for _ in range(2))
    assert first == second
    with store.read() as session:
        assert session.query(desk.StoredCalibration).count() == 1


def test_several_calibrate_at_once_and_one_is_killed(each_store, each_url, command_line, tmp_path):
    corpus = Corpus(120)
    with each_store.write() as session:
        corpus.store(session)
        corpus.answer(session, list(range(60)))
    line = [*command_line, "calibrate", "--json", "--database-url", each_url]
    started = [
        begin(line, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)
    ]
    time.sleep(random.uniform(0.3, 1.5))
    started[0].kill()
    answers = [process.communicate(timeout=LIMIT) for process in started]
    assert [process.returncode for process in started[1:]] == [0, 0], answers
    assert len({out for out, _ in answers[1:]}) == 1
    with each_store.read() as session:
        assert session.query(desk.StoredCalibration).count() == 1


def test_a_calibration_outlives_the_predictions_it_was_made_of(project):
    store, corpus = project
    calibrate_project(store, "default")
    with store.write() as session:
        tasks.add_tasks(session, 1, [(Task(id="new", text="Habari"), "pool")])
        later = [msgspec.structs.replace(row, pipeline="p2") for row in corpus.predictions]
        ids = tasks.ids_by_external(session, 1, [row.id for row in later])
        predictions.add_predictions(session, [(ids[row.id], row) for row in later])
        projects.get_project(session, "default").pipeline = ensure_pipeline(session, "p2")
    prune(store, dry_run=False)
    with store.read() as session:
        assert list(predictions.count_predictions(session, 1)) == ["p2"]
        assert session.query(desk.StoredCalibration).count() == 1
    assert stop_report(store, "default").verdict.stability is None


def test_what_the_last_answers_taught(project):
    store, corpus = project
    started = datetime(2026, 1, 1, tzinfo=UTC)

    def learn(version: str, hours: int, change: int) -> None:
        """Another projection, in which so many tasks have lost their second entity."""
        with store.write() as session:
            rows = [
                msgspec.structs.replace(
                    row, pipeline=version, entities=row.entities[:1] if number % 5 < change else row.entities
                )
                for number, row in enumerate(corpus.predictions)
            ]
            ids = tasks.ids_by_external(session, 1, [row.id for row in rows])
            predictions.add_predictions(session, [(ids[row.id], row) for row in rows])
            made = ensure_pipeline(session, version)
            made.created_at = started + timedelta(hours=hours)
            projects.get_project(session, "default").pipeline = made

    def answer(numbers: list[int], hours: int) -> None:
        with store.write() as session:
            known = set(session.scalars(select(tables.Annotation.id)))
            corpus.answer(session, numbers)
            session.flush()
            for row in session.scalars(select(tables.Annotation).where(tables.Annotation.id.not_in(known))):
                row.created_at = started + timedelta(hours=hours)

    with store.write() as session:
        ensure_pipeline(session, "p1").created_at = started
    answer(list(range(60)), 1)
    learn("p2", 2, 0)
    # these few answers changed nothing: they are judged together with those before them
    answer(list(range(60, 70)), 3)
    learn("p3", 4, 1)
    report = stop_report(store, "default")
    assert report.verdict.stability == pytest.approx(1 - 86 / (430 * 2 - 86))
    assert report.verdict.learned is not None
    for_corpus = stop_report(store, "default", purpose="corpus").verdict
    assert not for_corpus.stop
    assert "the last answers changed" in for_corpus.line


def test_only_what_was_drawn_at_random_carries_promises_and_estimates(project):
    store, corpus = project
    with store.write() as session:
        corpus.answer(session, list(range(200)), drawn=False)
    report = calibrate_project(store, "default")
    assert report.calibrator.entities == 400
    assert report.calibrator.audited == 0
    assert report.estimates is None
    with pytest.raises(CheckFailedError):
        review_desk.acceptance(store, "default", 0.2)


@pytest.mark.parametrize(("per", "together"), [("entity", False), ("entity", True), ("sentence", False)])
def test_what_is_exported_keeps_the_promise(project, per, together, tmp_path):
    store, corpus = project
    with store.write() as session:
        corpus.answer(session, list(range(200)))
    path = tmp_path / "silver.jsonl"
    arguments = ["export", "--silver", "--max-error", "0.15", "--per", per, "-o", str(path), "--level", "0.9"]
    database = f"sqlite:///{tmp_path}/store.db"
    extra = ["--together"] if together else []
    result = CliRunner().invoke(cli, [*arguments, *extra, "--database-url", database, "--json"])
    assert result.exit_code == 0, result.stderr
    assert "audited ones were" in result.stderr
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    wrong, accepted, bad, whole = 0, 0, 0, 0
    for line in lines:
        gold = {(entity.start, entity.end, entity.label) for entity in corpus.gold[int(line["id"])]}
        errors = [(entity["start"], entity["end"], entity["label"]) not in gold for entity in line["entities"]]
        wrong, accepted = wrong + sum(errors), accepted + len(errors)
        bad, whole = bad + any(errors), whole + 1
    assert accepted > 100
    assert (bad / whole if per == "sentence" else wrong / accepted) <= 0.15
    if per == "sentence":
        assert all(len(line["entities"]) == 2 for line in lines)


def test_a_refused_promise_leaves_no_file(project, tmp_path):
    path = tmp_path / "silver.jsonl"
    arguments = ["export", "--silver", "--max-error", "0.05", "-o", str(path)]
    result = CliRunner().invoke(cli, [*arguments, "--database-url", f"sqlite:///{tmp_path}/store.db"])
    assert isinstance(result.exception, CheckFailedError)
    assert "more audited sentences" in (result.exception.hint or "")
    assert not path.exists()


def test_training_sees_only_what_was_promised(project):
    store, corpus = project
    with store.write() as session:
        corpus.answer(session, list(range(200)))
        every = collect(session, "default", DataOptions())
        promised = collect(session, "default", DataOptions(max_error=0.05))
        assert promised.report.silver == every.report.silver
        assert 0 < promised.report.silver_entities < every.report.silver_entities


def test_a_sample_speaks_for_the_rest(project):
    """The same estimates, a little wider, from less."""
    store, corpus = project
    with store.write() as session:
        corpus.answer(session, list(range(100)))
        every = review_desk.view(session, "default")
        some = review_desk.view(session, "default", most=100)
        beside = review_desk.view(session, "default", most=100, beside=[301, 302])
    assert (len(every.evidence.ids), len(some.evidence.ids), len(beside.evidence.ids)) == (COUNT, 200, 202)
    assert some.evidence.weight.sum() == pytest.approx(COUNT)
    assert beside.evidence.weight.sum() == pytest.approx(COUNT)
    assert set(some.evidence.ids[some.evidence.reviewed]) == set(range(1, 101))
    whole, part = (review_desk.calibration_report(seen).estimates for seen in (every, some))
    assert part.unreviewed == whole.unreviewed == 400
    assert part.f1.value == pytest.approx(whole.f1.value, abs=0.03)
    assert part.f1.high - part.f1.low > 0.95 * (whole.f1.high - whole.f1.low)
    shares = [review_desk.guarantee_report(seen, 0.3) for seen in (every, some)]
    assert sum(row.open for row in shares[1].promises) == pytest.approx(800, abs=2)


def test_tasks_that_lack_an_entity_are_not_whole(project):
    """A sentence that needs another entity counts as missed, and its score knows of source entities left over."""
    store, corpus = project
    for number in range(0, 200, 4):
        corpus.gold[number].append(Entity(0, 4, "LOC"))
    with store.write() as session:
        for task in session.query(tables.Task):
            number = int(task.external_id)
            # two are projected; every fourth has one more that isn't
            task.source_entities = [{"start": 0, "end": 1, "label": "LOC"}] * (3 if number % 4 == 0 else 2)
            for entity in session.query(tables.Prediction).filter_by(task_id=task.id).one().entities:
                entity.source_start, entity.source_end = 0, 1
        corpus.answer(session, list(range(200)))
        seen = review_desk.view(session, "default")
    report = calibrate_project(store, "default")
    assert seen.evidence.missed[:200].sum() == 50
    assert seen.evidence.lost.sum() == COUNT / 4
    assert not seen.evidence.whole[:200:4].any()
    assert report.missed.fitted
    assert report.missed.coefficients["lost"] < -0.5
    unread = np.arange(200, COUNT)
    lacking, others = seen.scores.complete[unread[unread % 4 == 0]], seen.scores.complete[unread[unread % 4 > 0]]
    assert lacking.mean() < others.mean() - 0.2
    assert report.task_calibrated.auroc.value > report.task_raw.auroc.value
    promised = review_desk.guarantee_report(seen, 0.3, per="sentence").promises[0]
    assert promised.unit == "sentence"


def test_sentences_come_in_the_order_of_their_score(project):
    store, corpus = project
    with store.write() as session:
        corpus.answer(session, list(range(200)))
        row = projects.get_project(session, "default")
        chosen, _ = selection.in_order(session, row, "p1", "least-confident", 50, split="pool")
        raw = eligible_tasks.least_confident(session, row.id, "p1", "pool", limit=50)
        score = review_desk.score_of_tasks(session, row.id, "p1", [task for task, _, _ in chosen])
    assert len(chosen) == 50
    assert [task for task, _, _ in chosen] != [task for task, _, _ in raw]
    order = [score[task] for task, _, _ in chosen]
    assert max(order) < 0.9
    assert np.corrcoef(order, np.arange(50))[0, 1] > 0.7


def test_a_plan_meets_reality(project):
    store, corpus = project
    with store.write() as session:
        corpus.answer(session, list(range(100)))
    plan = make_plan(store, "default", 5.0)
    assert plan.lead_times.measured == 96
    assert plan.lead_times.interrupted == 4
    assert compare_plan(store, "default") is None
    done = plan.tasks[: len(plan.tasks) // 2]
    with store.write() as session:
        corpus.answer(session, [int(task) for task in done], drawn=False)
    outcome = compare_plan(store, "default")
    assert outcome is not None
    assert (outcome.answered, outcome.planned) == (len(done), len(plan.tasks))
    expected = sum(
        max(len(set(shown) - set(gold)), len(set(gold) - set(shown)))
        for number in map(int, done)
        for shown, gold in [
            (
                [(row.start, row.end, row.label) for row in corpus.predictions[number].entities],
                [(row.start, row.end, row.label) for row in corpus.gold[number]],
            )
        ]
    )
    assert outcome.changes == expected
    assert outcome.held
    assert outcome.minutes is not None
    later = make_plan(store, "default", 5.0)
    assert compare_plan(store, "default") is None  # nothing was done since
    assert not set(later.tasks) & set(done)
    with store.write() as session:
        corpus.answer(session, [int(task) for task in later.tasks], drawn=False)
    first, second = plan_outcomes(store, "default")
    assert first == outcome
    assert second.answered == len(later.tasks)


def test_a_plan_asks_about_names_and_takes_no_longer_than_it_may(project):
    store, corpus = project
    with store.write() as session:
        corpus.answer(session, list(range(100)))
    plan = make_plan(store, "default", 25.0, keep=False)
    assert 20 < plan.minutes <= 25.0
    assert plan.names
    assert all(row.occurrences >= 2 for row in plan.names)
    assert plan.name_changes.low <= plan.name_changes.value <= plan.name_changes.high
    assert plan.f1_now is not None
    assert plan.f1_after is not None
    assert plan.f1_after.value > plan.f1_now.value
    sentences = make_plan(store, "default", 25.0, strategy="leverage", keep=False)
    assert sentences.names == []
    assert len(sentences.tasks) > len(plan.tasks)
    assert plan_outcomes(store, "default") == []


def test_a_plan_of_before_names_were_planned_is_still_compared(project):
    store, corpus = project
    with store.write() as session:
        corpus.answer(session, list(range(100)))
    plan = make_plan(store, "default", 5.0)
    newer = {"strategy", "name_answer_id", "planned_tasks", "names", "name_changes", "name_forecast"}
    newer |= {"seconds_per_name", "silver_now", "silver_after", "model"}
    with store.write() as session:
        (stored,) = session.query(desk.ReviewPlan)
        stored.content = {name: value for name, value in stored.content.items() if name not in newer}
        corpus.answer(session, [int(task) for task in plan.tasks], drawn=False)
    outcome = compare_plan(store, "default")
    assert outcome is not None
    assert (outcome.answered, outcome.planned_names) == (len(plan.tasks), 0)


def test_new_text_of_another_kind_is_noticed(project, tmp_path):
    """Sentences of other words, less sure, imported after people reviewed."""
    store, corpus = project
    with store.write() as session:
        corpus.answer(session, random.Random(1).sample(range(COUNT), 120))
    options = ["--database-url", f"sqlite:///{tmp_path}/store.db"]
    calibrate_project(store, "default")
    # all of it came in one import, whose end isn't new text
    assert drift_report(store, "default").verdict.new == 0
    with store.write() as session:
        for number, task in enumerate(session.scalars(select(tables.Task).order_by(tables.Task.id))):
            task.created_at -= timedelta(days=2 if number < 420 else 1)
    quiet = drift_report(store, "default")
    assert quiet.verdict.new >= 50
    assert quiet.verdict.action == "nothing", quiet
    assert status(store, "default").drift.action == "nothing"
    draw = random.Random(2)
    with store.write() as session:
        texts = [f"Mji{draw.randrange(400)} wa Kijiji{draw.randrange(400)} ulikuwa hapa" for _ in range(200)]
        tasks.add_tasks(session, 1, [(Task(id=f"n{n}", text=text), "pool") for n, text in enumerate(texts)])
        ids = tasks.ids_by_external(session, 1, [f"n{n}" for n in range(200)])
        rows = []
        for number, text in enumerate(texts):
            sure = draw.uniform(0.3, 0.8)
            entity = ProjectedEntity(0, text.index(" "), "LOC", text.split()[0], 1.0, sure, None)
            rows.append((ids[f"n{number}"], Prediction(f"n{number}", text, (entity,), sure, "p1")))
        predictions.add_predictions(session, rows)
    result = CliRunner().invoke(cli, ["drift", "--exit-code", *options])
    assert isinstance(result.exception, CheckFailedError), result.output
    assert "retrain" in result.output
    state = status(store, "default")
    assert state.drift.action == "retrain"
    assert any("xner-label drift" in line for line in state.advice)
    with store.read() as session:
        first = desk.created_at(session, min(ids.values()))
    since = drift_report(store, "default", since=first, keep=False)
    assert since.verdict.new == 200
    moved = {row.what for row in since.verdict.comparisons if row.moved}
    assert moved == {"confidence", "label mix", "vocabulary"}


def test_commands_speak(project, tmp_path):
    store, corpus = project
    with store.write() as session:
        corpus.answer(session, list(range(150)))
    options = ["--database-url", f"sqlite:///{tmp_path}/store.db"]

    def run(*arguments: str, code: int = 0) -> str:
        result = CliRunner().invoke(cli, [*arguments, *options])
        assert (getattr(result.exception, "exit_code", None) or result.exit_code) == code, result.output
        return result.output

    assert "the whole corpus, by 150 audited tasks" in run("calibrate")
    said = run("plan", "--minutes", "25")
    assert "entities are put right" in said
    assert "name with" in said or "names with" in said
    assert "nothing is said of the model" in said
    assert "go on" in run("stop", "--exit-code", code=6)
    assert "verdict        go on" in run("status")
    document = json.loads(run("stop", "--min-gain", "1.0", "--json"))
    assert document["verdict"]["stop"] is True
