"""What people settled in a stored project changes the predictions of the other tasks, once and for all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.misnamed_corpus import TITLED, misnamed_corpus
from tests.processes import begin
from tests.soak import rounds
from xner_label import entities
from xner_label.entities import Entity
from xner_label.exchange.exporting import export
from xner_label.predicting import corpus_state
from xner_label.predicting.predictor import Predictor, PredictReport
from xner_label.projection.corpus.evidence import Observations, sums_elsewhere
from xner_label.projection.corpus.lookup import TallyLookup
from xner_label.projection.corpus.rounds import first_opinion
from xner_label.projection.corpus.settled import clamped, settle
from xner_label.projection.corpus.tally import Tally
from xner_label.projection.loglinear.model import Model
from xner_label.projection.loglinear.weights_file import Weights
from xner_label.reporting.status import status
from xner_label.settings.table import Settings
from xner_label.store import corpus_states, migrating, predictions, projects, runs, tables, tasks, withdrawing
from xner_label.store.database import Store, open_store
from xner_label.store.gold import add_imported_gold
from xner_label.store.stages import add_stage_results

COUNT, REVIEWED = 160, 48
SETTINGS = Settings(labels=("PER", "LOC"), aligner="given", tagger="given")


PREDICT = [sys.executable, "-m", "xner_label", "predict", "--aligner", "given", "--tagger", "given", "--json"]


def records(count: int = COUNT) -> list[entities.Task]:
    instances, gold = misnamed_corpus(count)
    return [
        entities.Task(
            id=f"t{number:03}",
            text=instance.target.text,
            source=instance.source.text,
            source_entities=tuple(mention.entity for mention in instance.mentions),
            alignment=" ".join(f"{source}-{target}" for source, target, _ in instance.links or ()),
            entities=tuple(
                Entity(instance.target.starts[first], instance.target.ends[last - 1], label)
                for first, last, label in spans
            ),
        )
        for number, (instance, spans) in enumerate(zip(instances, gold, strict=True))
    ]


def unseen(task: entities.Task) -> entities.Task:
    """The same names in a sentence that the corpus doesn't have."""
    return msgspec.structs.replace(task, text=task.text.replace("alienda", "alirudi"))


def add(store: Store, sentences: list[entities.Task]) -> None:
    with store.write() as session:
        project = projects.ensure_project(session, SETTINGS.project, SETTINGS.labels)
        plain = [(msgspec.structs.replace(task, entities=None), "pool") for task in sentences]
        tasks.add_tasks(session, project.id, plain)


def settle_tasks(store: Store, sentences: list[entities.Task]) -> None:
    with store.write() as session:
        project = projects.get_project(session, SETTINGS.project)
        ids = tasks.ids_by_external(session, project.id, [str(task.id) for task in sentences])
        add_imported_gold(session, {ids[str(task.id)]: task.entities or () for task in sentences})


def predicted(store: Store, version: str) -> dict[str, entities.Prediction]:
    with store.read() as session:
        project = projects.get_project(session, SETTINGS.project)
        rows = predictions.predictions_of(session, project.id, version)
        return {task.external_id: predictions.to_record(task, prediction) for task, prediction in rows}


def right(task: entities.Task, prediction: entities.Prediction) -> bool:
    wanted = {(entity.start, entity.end, entity.label) for entity in task.entities or ()}
    return sorted(wanted) == sorted((entity.start, entity.end, entity.label) for entity in prediction.entities)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(f"sqlite:///{tmp_path}/store.db", check=False) as opened:
        migrating.upgrade(opened)
        yield opened


def predict(store: Store) -> PredictReport:
    return Predictor(store, SETTINGS).predict_project()


def test_answers_change_what_nobody_has_opened(store: Store) -> None:
    sentences = records()
    add(store, sentences)
    before = predict(store)
    assert before.learned is None
    assert not any(
        right(task, predicted(store, before.version)[str(task.id)]) for task in sentences if TITLED in task.text
    )
    settle_tasks(store, sentences[:REVIEWED])
    assert status(store, SETTINGS.project).unlearned == REVIEWED

    after = predict(store)
    assert after.version != before.version
    assert status(store, SETTINGS.project).unlearned == 0
    answers = predicted(store, after.version)
    titled = [task for task in sentences[REVIEWED:] if TITLED in task.text]
    assert titled
    assert all(right(task, answers[str(task.id)]) for task in titled)
    assert after.learned is not None
    assert after.learned.answers == REVIEWED
    assert after.learned.tasks >= len(titled)
    reason = next(entity for entity in answers[str(titled[0].id)].entities if entity.label == "PER").provenance
    assert isinstance(reason, entities.Provenance)
    assert reason.settled_count == sum(TITLED in task.text for task in sentences[:REVIEWED])
    assert set(reason.settled) <= {task.id for task in sentences[:REVIEWED] if TITLED in task.text}
    assert reason.names > 10

    again = predict(store)
    assert (again.version, again.predicted, again.known) == (after.version, 0, COUNT)
    assert again.learned is None


def test_a_new_task_is_projected_in_the_light_of_the_others_and_leaves_them_alone(store: Store) -> None:
    sentences = records(COUNT + 8)
    sentences[COUNT:] = map(unseen, sentences[COUNT:])
    add(store, sentences[:COUNT])
    settle_tasks(store, sentences[:REVIEWED])
    before = predict(store)
    add(store, sentences[COUNT:])
    after = predict(store)
    assert (after.version, after.predicted, after.known) == (before.version, 8, COUNT)
    answers = predicted(store, after.version)
    assert all(right(task, answers[str(task.id)]) for task in sentences[COUNT:])
    with store.read() as session:
        project = projects.get_project(session, SETTINGS.project)
        state = corpus_states.newest_state(session, project.id)
        assert state is not None
        assert len(corpus_states.additions(session, state.id)) == 8
        stored = corpus_state.CorpusState.load(state.content)
    assert stored.covers([])
    # one task asked about by itself is answered by the same version
    extra = unseen(records(COUNT + 9)[-1])
    add(store, [extra])
    with store.read() as session:
        row = next(task for task in tasks.iterate_tasks(session, project.id) if task.external_id == extra.id)
    answer = Predictor(store, SETTINGS).predict_tasks([row])[0]
    assert isinstance(answer, entities.Prediction)
    assert answer.pipeline == after.pipeline


def test_what_judges_models_and_what_people_disagree_about_teaches_nothing(store: Store) -> None:
    sentences = records()
    add(store, sentences)
    with store.write() as session:
        for row in tasks.iterate_tasks(session, projects.get_project(session, SETTINGS.project).id):
            row.split = "test"
    before = predict(store)
    settle_tasks(store, sentences[:REVIEWED])
    after = predict(store)
    assert after.version == before.version
    assert status(store, SETTINGS.project).unlearned == 0


def test_killed_while_learning_it_learns_the_same(store: Store, tmp_path: Path) -> None:
    sentences = records()
    add(store, sentences)
    predict(store)
    settle_tasks(store, sentences[:REVIEWED])
    environment = {**os.environ, "XNER_LABEL_DATABASE_URL": store.url}
    (tmp_path / "xner-label.toml").write_text('labels = ["PER", "LOC"]\n')
    settled = REVIEWED
    for number in range(rounds(5)):
        process = begin(
            PREDICT, env=environment, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(0.8 + 2.6 * (0.618 * number % 1))
        process.send_signal(signal.SIGKILL)
        assert process.wait() in (0, -signal.SIGKILL)
        with store.read() as session:
            project = projects.get_project(session, SETTINGS.project)
            assert project.pipeline is not None
            whole = len(predictions.predicted_task_ids(session, project.id, project.pipeline.name))
            state = corpus_states.newest_state(session, project.id)
            assert state is not None
            corpus_state.CorpusState.load(state.content)
        assert whole == COUNT  # what is current is complete
        assert status(store, SETTINGS.project).gold == settled
        settle_tasks(store, sentences[settled : settled + 1])
        settled += 1
    done = predict(store)
    answers = predicted(store, done.version)
    assert len(answers) == COUNT
    assert status(store, SETTINGS.project).unlearned == 0
    assert sum(right(task, answers[str(task.id)]) for task in sentences[settled:]) == COUNT - settled


def test_counts_of_parts_are_those_of_the_whole() -> None:
    instances, gold = misnamed_corpus(80)
    model = Model(Weights.load())
    whole = Observations(instances, [model], [0] * 80)
    answers = {number: gold[number] for number in range(20)}
    settled = settle(whole, answers)
    belief = clamped(whole, first_opinion(whole), settled)
    expected = sums_elsewhere(whole, belief, settled.weight, settled.loose, settled.mention_weight(whole))

    counted = Observations(instances[:79], [model], [0] * 79)
    settled = settle(counted, answers)
    belief = clamped(counted, first_opinion(counted), settled)
    tally = Tally.of(counted, belief, settled)
    first, others = (Observations(part, [model], [0] * len(part)) for part in (instances[:40], instances[40:79]))
    settled = settle(first, answers)
    joined = Tally.empty(tally.labels)
    joined.add(Tally.of(first, clamped(first, first_opinion(first), settled), settled))
    of_others = Tally.by_sentence(others, first_opinion(others))
    for part in of_others:
        joined.add(part)
    for number, part in enumerate(of_others):
        alone = Observations(instances[40 + number : 41 + number], [model], [0], more_labels=others.labels)
        assert part == Tally.of(alone, first_opinion(alone))
    last = Observations(instances[79:], [model], [0])
    of_last = whole.sentence == 79
    candidates = of_last[whole.candidates.mention]
    for sums in (TallyLookup(tally).sums(last), TallyLookup(joined).sums(last)):
        for name, values in expected._asdict().items():
            rows = of_last if len(values) == len(whole) else candidates
            assert getattr(sums, name) == pytest.approx(values[rows], abs=0.02), name


def command(store: Store, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line on the store."""
    environment = {**os.environ, "XNER_LABEL_DATABASE_URL": store.url}
    return subprocess.run(
        [sys.executable, "-m", "xner_label", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(store.url.removeprefix("sqlite:///")).parent,
    )


def test_undone_answers_take_back_what_they_moved(store: Store) -> None:
    sentences = records()
    add(store, sentences)
    start = predict(store)
    settle_tasks(store, sentences[:REVIEWED])
    moved = predict(store)
    assert moved.version != start.version
    refused = command(store, "undo")
    assert refused.returncode == 2
    assert "--annotator or --since" in refused.stderr
    looked = command(store, "undo", "--since", "2020-01-01", "--dry-run")
    assert f"{REVIEWED} answers in {REVIEWED} tasks would be withdrawn" in looked.stdout
    assert command(store, "undo", "--annotator", "nobody", "--json").stdout.startswith("{")
    done = command(store, "undo", "--since", "2020-01-01")
    assert f"{REVIEWED} answers in {REVIEWED} tasks withdrawn" in done.stdout
    assert status(store, SETTINGS.project).gold == 0
    assert status(store, SETTINGS.project).unlearned == REVIEWED
    back = predict(store)
    before, after = predicted(store, start.version), predicted(store, back.version)
    assert {key: spans(answer) for key, answer in before.items()} == {
        key: spans(answer) for key, answer in after.items()
    }


def test_what_is_learned_depends_on_no_history(store: Store, tmp_path: Path) -> None:
    sentences = records()
    add(store, sentences)
    start = predict(store)
    for number in range(0, REVIEWED, 10):  # in five syncs
        settle_tasks(store, sentences[number : min(number + 10, REVIEWED)])
        last = predict(store)
    assert last.version != start.version
    with open_store(f"sqlite:///{tmp_path}/at-once.db", check=False) as other:
        migrating.upgrade(other)
        add(other, sentences)
        settle_tasks(other, sentences[:REVIEWED])
        at_once = predict(other)
        assert at_once.version == last.version
        assert predicted(other, at_once.version) == predicted(store, last.version)
        assert state_of(other) == state_of(store)

    # an answer that is given and taken back
    before = state_of(store)
    settle_tasks(store, sentences[REVIEWED : REVIEWED + 1])
    assert predict(store).version != last.version
    with store.write() as session:
        project = projects.get_project(session, SETTINGS.project)
        (task,) = tasks.ids_by_external(session, project.id, [str(sentences[REVIEWED].id)]).values()
        answers = withdrawing.answers_of(session, project.id)
        withdrawing.withdraw(session, [answer for answer in answers if answer.task_id == task])
    back = predict(store)
    assert (back.version, back.predicted, back.known) == (last.version, 0, COUNT)
    assert state_of(store) == before
    assert status(store, SETTINGS.project).unlearned == 0
    assert predict(store).version == last.version


def test_a_state_that_comes_back_is_the_newest_whatever_the_clock_says(store: Store) -> None:
    with store.write() as session:
        project = projects.ensure_project(session, SETTINGS.project, SETTINGS.labels)
        first = corpus_states.add_state(session, project.id, corpus_states.NewState("a", "", 1, b"a"))
        first.created_at += timedelta(days=1)  # by another machine's clock
        second = corpus_states.add_state(session, project.id, corpus_states.NewState("b", "", 2, b"b"))
        assert corpus_states.newest_state(session, project.id) is second
        back = corpus_states.add_state(session, project.id, corpus_states.NewState("a", "", 3, b"a, rewritten"))
        newest = corpus_states.newest_state(session, project.id)
        assert newest is back is first
        assert (newest.annotation_id, corpus_states.content_of(session, newest.id)) == (3, b"a, rewritten")
        for number in range(9):
            added = corpus_states.add_state(
                session, project.id, corpus_states.NewState(str(number), "", 4 + number, b"")
            )
            assert corpus_states.newest_state(session, project.id) is added


def state_of(store: Store) -> corpus_state.CorpusState:
    with store.read() as session:
        row = corpus_states.newest_state(session, projects.get_project(session, SETTINGS.project).id)
        assert row is not None
        return corpus_state.CorpusState.load(corpus_states.content_of(session, row.id))


def spans(prediction: entities.Prediction) -> set[tuple[int, int, str]]:
    return {(entity.start, entity.end, entity.label) for entity in prediction.entities}


def test_why_tells_the_story_of_an_entity(store: Store) -> None:
    sentences = records()
    add(store, sentences)
    settle_tasks(store, sentences[:REVIEWED])
    assert "none yet: run `xner-label predict`" in command(store, "why", str(sentences[0].id)).stdout
    predict(store)
    titled = next(task for task in sentences[REVIEWED:] if TITLED in task.text)
    told = command(store, "why", str(titled.id))
    assert told.returncode == 0
    assert f"{TITLED} [PER]" in told.stdout
    assert f"links Bi-Bi, {TITLED}-{TITLED}" in told.stdout
    assert "people settled it so in 6 tasks" in told.stdout
    assert "of this name land on this text" in told.stdout
    settled = command(store, "why", str(sentences[0].id))
    assert "settled by import" in settled.stdout
    with store.write() as session:
        counts = {"gold_tasks": 1, "silver_tasks": 1, "config": {}, "metrics": {}}
        run = tables.ModelRun(project_id=1, version="crf-1", kind="crf", path="crf-1", **counts)
        session.add(run)
        session.flush()
        runs.promote(session, run, "better", "lead")
        (task_id,) = tasks.ids_by_external(session, 1, [str(sentences[0].id)]).values()
        entity = entities.ProjectedEntity(0, 2, "LOC", sentences[0].text[:2], 1.0, 0.75)
        answer = entities.Prediction(sentences[0].id, sentences[0].text, (entity,), 0.75, "crf-1")
        predictions.add_predictions(session, [(task_id, answer)])
    served = command(store, "why", str(sentences[0].id)).stdout
    assert f"served   crf-1: {sentences[0].text[:2]} [LOC] 0.75" in served
    assert "served" not in command(store, "why", str(sentences[1].id)).stdout
    unknown = command(store, "why", "nothing")
    assert unknown.returncode == 2
    assert "no task 'nothing'" in unknown.stderr


def predict_twice_at_once(store: Store, folder: Path) -> list[dict[str, Any]]:
    """The reports of two processes, which must come to the same version."""
    (folder / "xner-label.toml").write_text('labels = ["PER", "LOC"]\n')
    environment = {**os.environ, "XNER_LABEL_DATABASE_URL": store.url}
    both = [
        begin(PREDICT, env=environment, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        for _ in range(2)
    ]
    reports = [msgspec.json.decode(process.communicate()[0]) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert len({report["version"] for report in reports}) == 1
    return reports


def test_two_processes_that_learn_at_once_learn_the_same(store: Store, tmp_path: Path) -> None:
    sentences = records()
    add(store, sentences)
    settle_tasks(store, sentences[:REVIEWED])
    reports = predict_twice_at_once(store, tmp_path)
    assert sum(report["predicted"] for report in reports) == COUNT
    answers = predicted(store, reports[0]["version"])
    assert sum(right(task, answers[str(task.id)]) for task in sentences[REVIEWED:]) == COUNT - REVIEWED


def test_people_teach_where_names_begin_inside_a_word(store: Store) -> None:
    names = {"ጀርመን": "Germany", "ኬንያ": "Kenya", "ኡጋንዳ": "Uganda"}
    sentences = [
        entities.Task(
            id=source,
            text=f"በ{name} ነው",
            source=f"in {source}",
            source_entities=(Entity(3, 3 + len(source), "LOC"),),
            alignment="1-0",
            entities=(Entity(1, 1 + len(name), "LOC"),),
        )
        for name, source in names.items()
    ]
    add(store, sentences)
    uganda = sentences[-1]
    before = predict(store)
    assert [entity.start for entity in predicted(store, before.version)["Uganda"].entities] == [0]
    settle_tasks(store, sentences[:-1])
    after = predict(store)
    assert " borders=" in after.pipeline
    assert Predictor(store, SETTINGS).would_make(after.pipeline)
    assert right(uganda, predicted(store, after.version)["Uganda"])
    assert predict(store).version == after.version


THAI = "สมชายอยู่เชียงใหม่"


def thai(**fields: str) -> entities.Task:
    mentions = (Entity(0, 7, "PER"), Entity(14, 24, "LOC"))
    return entities.Task(id="th", text=THAI, source="Somchai is in Chiang Mai", source_entities=mentions, **fields)


def test_links_without_tokens_count_letters_and_those_of_an_aligner_the_words_it_cut(
    store: Store, tmp_path: Path
) -> None:
    letters = "0-0 0-1 0-2 0-3 0-4 3-7 3-8 3-9 3-10 4-11 4-12 4-13"
    add(store, [thai(alignment=letters)])
    predict(store)
    told = command(store, "why", "th")
    assert told.returncode == 0
    assert "links Somchai-ส, Somchai-ม" in told.stdout

    pytest.importorskip("icu4py")
    with store.write() as session:
        session.query(tables.Task).update({"alignment": None})
        add_stage_results(session, "aligner", "eflomal:1", [(1, "f", {"alignment": "0-0 1-1 3-2 4-2"})])
    assert "links Somchai-สมชาย" in command(store, "why", "th").stdout
    export(store, SETTINGS.project, tmp_path / "full.jsonl", gold=False, silver=True, full=True)
    (line,) = (tmp_path / "full.jsonl").read_bytes().splitlines()
    exported = msgspec.json.decode(line)
    assert exported["tokens"] == ["สมชาย", "อยู่", "เชียงใหม่"]
    assert exported["alignment"] == "0-0 1-1 3-2 4-2"
