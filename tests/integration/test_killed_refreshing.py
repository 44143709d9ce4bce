"""`predict` killed at any moment while it counts anew, copies answers that are kept and predicts the others."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

from sqlalchemy import delete, func, select, update

from tests.integration.test_learning import add, records
from tests.integration.test_refreshed_evidence import later
from tests.soak import rounds
from tests.warm_process import WarmCommands, warm_commands
from xner_label.predicting.predictor import Predictor
from xner_label.settings.table import Settings
from xner_label.store import projects
from xner_label.store.checking import check_store
from xner_label.store.database import Store
from xner_label.store.tables import (
    CorpusAddition,
    CorpusState,
    PipelineVersion,
    Prediction,
    Project,
    ProjectedEntity,
    Task,
)

TASKS = 900
SETTINGS = Settings(labels=("PER", "LOC"), aligner="given", tagger="given", corpus_limit=300)
PREDICT = ["predict", "--aligner", "given", "--tagger", "given"]
# Kills before the project's growth is left to be predicted to its end.
KILLS_IN_TURN = 4


def content(store: Store) -> dict[str, Any]:
    """What is in the store, but for ids and moments."""
    answer = (PipelineVersion.name, Task.external_id, Prediction.confidence, Prediction.note)
    entity = [column for column in ProjectedEntity.__table__.columns if column.key not in ("id", "prediction_id")]
    with store.read() as session:
        answers: dict[str, dict[str, Any]] = {}
        keys: dict[int, tuple[str, str]] = {}
        query = select(Prediction.id, *answer).join(Task, Task.id == Prediction.task_id).join(PipelineVersion)
        for key, version, task, *columns in session.execute(query):
            assert answers.setdefault(version, {}).setdefault(task, (columns, [])) == (columns, [])
            keys[key] = version, task
        query = select(ProjectedEntity.prediction_id, *entity)
        for key, *columns in session.execute(
            query.order_by(ProjectedEntity.prediction_id, ProjectedEntity.position)
        ):
            version, task = keys[key]
            assert f"p{key}-{columns[0]}" in columns
            answers[version][task][1].append([value for value in columns if value != f"p{key}-{columns[0]}"])
        states = select(CorpusState.signature, CorpusState.content).order_by(CorpusState.id)
        additions = (
            select(CorpusState.signature, Task.external_id, CorpusAddition.content)
            .join_from(CorpusAddition, CorpusState)
            .join(Task, Task.id == CorpusAddition.task_id)
        )
        current = projects.get_project(session, SETTINGS.project).pipeline
        return {
            "answers": answers,
            "states": [tuple(row) for row in session.execute(states)],
            "additions": sorted(map(tuple, session.execute(additions))),
            "current": current and current.name,
        }


def take_back(store: Store, version: str) -> None:
    """Leave what was there when ``version`` was the only one."""
    with store.write() as session:
        first = select(PipelineVersion.id).where(PipelineVersion.name == version).scalar_subquery()
        session.execute(update(Project).values(pipeline_id=first))
        session.execute(delete(Prediction).where(Prediction.pipeline_id != first))
        session.execute(delete(PipelineVersion).where(PipelineVersion.id != first))
        session.execute(
            delete(CorpusState).where(CorpusState.id > select(func.min(CorpusState.id)).scalar_subquery())
        )


def kill(store: Store, commands: WarmCommands, drawn: random.Random, seconds: float) -> str:
    """Kill a run somewhere within ``seconds``; every other time not before it has stored something new.

    Returns what it had come to.
    """

    def stored() -> tuple[int, int]:
        with store.read() as session:
            states = session.scalar(select(func.count()).select_from(CorpusState)) or 0
            return states, session.scalar(select(func.count()).select_from(Prediction)) or 0

    before = stored()
    commands.start(PREDICT)
    if drawn.random() < 0.5:
        time.sleep(drawn.uniform(0.0, seconds))
    else:
        given_up = time.monotonic() + seconds
        while stored() == before and time.monotonic() < given_up:
            time.sleep(0.002)
        time.sleep(drawn.uniform(0.0, 0.1))
    commands.kill()
    code, said = commands.wait()
    assert code in (0, -9), said
    states, answers = stored()
    if code == 0:
        return "finished"
    if states == 1:
        return "counting"
    return "predicting" if answers > TASKS else "counted"


def test_whatever_is_killed_the_store_is_that_of_an_undisturbed_run(
    each_store: Store, each_url: str, tmp_path: Path
) -> None:
    tasks = records(TASKS)
    add(each_store, tasks)
    first = Predictor(each_store, SETTINGS).predict_project().version
    before = content(each_store)
    add(each_store, later(tasks)[::3])
    environment = os.environ | {
        "XNER_LABEL_DATABASE_URL": each_url,
        "XNER_LABEL_LABELS": ",".join(SETTINGS.labels),
        "XNER_LABEL_PIPELINE_CORPUS_LIMIT": str(SETTINGS.corpus_limit),
    }
    reached: Counter[str] = Counter()
    with warm_commands(environment, tmp_path) as commands:
        begun = time.monotonic()
        assert commands.run(PREDICT)[0] == 0
        seconds = time.monotonic() - begun
        assert "was made anew" in commands.answer
        assert "keep their answers" in commands.answer
        undisturbed = content(each_store)
        assert undisturbed["answers"][first] == before["answers"][first]
        drawn = random.Random(11)
        for turn in range(rounds(1)):
            take_back(each_store, first)
            assert content(each_store) == before
            for _ in range(KILLS_IN_TURN):
                reached[kill(each_store, commands, drawn, seconds)] += 1
                now = content(each_store)
                assert now["answers"][first] == before["answers"][first], turn
                assert now["states"][:1] == before["states"]
                # what is current is complete
                assert now["current"] == first or now == undisturbed
            code, said = commands.run(PREDICT)
            assert code == 0, said
            assert content(each_store) == undisturbed, turn
    assert check_store(each_store).problems == {}
    print(dict(reached), f"{seconds:.1f} s undisturbed")
    assert reached.total() - reached["finished"] >= rounds(1)
