"""An answer about a name that is never linked changes its other places in a stored project."""

from __future__ import annotations

import msgspec

from tests.integration.test_learning import SETTINGS, add, predict, predicted, right, settle_tasks
from tests.integration.test_learning import store as store
from tests.misnamed_corpus import PEOPLE
from xner_label.entities import Entity, Task
from xner_label.store import projects, withdrawing
from xner_label.store.database import Store

DAY = "Jumatatu"


def arrivals() -> list[Task]:
    """Sentences whose day is neither linked nor spelt alike."""
    return [
        Task(
            id=f"m{number}",
            text=f"{person} alifika {DAY} .",
            source=f"{person} arrived on Monday .",
            source_entities=(
                Entity(0, len(person), "PER", 0.9),
                Entity(len(person) + 12, len(person) + 18, "LOC", 0.9),
            ),
            alignment="0-0 1-1 4-3",
            entities=(Entity(0, len(person), "PER"), Entity(len(person) + 9, len(person) + 17, "LOC")),
        )
        for number, person in enumerate(PEOPLE)
    ]


def days(store: Store, version: str) -> dict[str, bool]:
    """Whether each task's prediction has the day."""
    return {
        task_id: any(entity.text == DAY for entity in prediction.entities)
        for task_id, prediction in predicted(store, version).items()
    }


def test_an_answer_reaches_a_name_that_is_never_linked_until_it_is_taken_back(store: Store) -> None:
    sentences = arrivals()
    add(store, sentences)
    before = predict(store)
    assert not any(days(store, before.version).values())
    settle_tasks(store, sentences[:1])
    after = predict(store)
    answers = predicted(store, after.version)
    assert all(right(task, answers[str(task.id)]) for task in sentences[1:])
    entity = answers["m5"].entities[1]
    assert entity.source is not None
    assert entity.source.text == "Monday"
    assert entity.provenance
    assert (entity.provenance.settled, entity.provenance.against_count) == (("m0",), 0)

    new = f"Leo {sentences[3].text}"
    add(store, [msgspec.structs.replace(sentences[3], id="new", text=new, alignment="0-1 1-2 4-4")])
    later = predict(store)
    assert (later.version, later.predicted) == (after.version, 1)
    assert days(store, after.version)["new"]

    with store.write() as session:
        project = projects.get_project(session, SETTINGS.project)
        withdrawing.withdraw(session, withdrawing.answers_of(session, project.id))
    assert not any(days(store, predict(store).version).values())
