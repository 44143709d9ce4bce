"""What the ML backend asks of the store, counted in statements."""

import pytest
from sqlalchemy import event

from xner_label.predicting.service import Asked, PredictionService
from xner_label.settings.table import Settings
from xner_label.store import projects, tasks


@pytest.fixture
def store(each_store):
    with each_store.write() as session:
        projects.ensure_project(session, "default", Settings().labels)
    return each_store


def statements_for(store, asked):
    """How many statements it takes to answer."""
    executed = []

    def note(_connection, _cursor, statement, *_):
        executed.append(statement)

    event.listen(store.engine, "before_cursor_execute", note)
    try:
        answers = PredictionService(
            store, Settings(aligner="none", projector="string", backend_store_asked="always")
        ).predict(asked)
    finally:
        event.remove(store.engine, "before_cursor_execute", note)
    assert len(answers) == len(asked)
    return len(executed)


def test_new_tasks_are_added_together(store):
    few = [Asked(text=f"few {n}", source="x") for n in range(1, 3)]
    many = [Asked(text=f"many {n}", source="x") for n in range(1, 65)]
    assert statements_for(store, many) <= statements_for(store, few) + 4
    with store.read() as session:
        assert len({task.text for task in tasks.iterate_tasks(session, 1)}) == 66
