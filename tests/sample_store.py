"""A store with the sample corpus in it, as training finds it."""

from pathlib import Path

import msgspec

from xner_label import sample
from xner_label.predicting.predictor import Predictor
from xner_label.settings.table import Settings
from xner_label.store import gold, migrating, projects, tasks
from xner_label.store.database import open_store

PROJECT = "default"


def prepare_sample_store(file: Path, reviewed: int) -> None:
    """The sample imported and predicted, all gold of dev and test, and of the first ``reviewed`` pool tasks."""
    url = f"sqlite:///{file}"
    with open_store(url, check=False) as store:
        migrating.upgrade(store)
        everything = sample.read_sample()
        with store.write() as session:
            project = projects.ensure_project(session, PROJECT, sample.LABELS)
            plain = [(msgspec.structs.replace(task, entities=None), task.split) for task in everything]
            tasks.add_tasks(session, project.id, plain)
            pool = [task.id for task in everything if task.split == "pool"]
            settled = set(pool[:reviewed]) | {task.id for task in everything if task.split != "pool"}
            ids = tasks.ids_by_external(session, project.id, [str(task.id) for task in everything])
            gold.add_imported_gold(
                session, {ids[str(task.id)]: task.entities for task in everything if task.id in settled}
            )
        Predictor(store, Settings(database_url=url, aligner="none", projector="string")).predict_project()
