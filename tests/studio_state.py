"""What must hold between a store and Label Studio after whatever happened, and people who work on meanwhile."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
from sqlalchemy import select

from xner_label.settings.table import Settings
from xner_label.store import checking, gold, predictions, reviews, runs, tables
from xner_label.store.database import Store
from xner_label.store.pipelines import readable_name
from xner_label.studio.push import PushOptions, push
from xner_label.studio.sync import sync

# Of an annotation in Label Studio: its state, and start, end and label of its entities.
Answer = tuple[datetime, frozenset[tuple[int, int, str]]]


@dataclass
class Counts:
    """What a check looked at."""

    tasks: int = 0
    predictions: int = 0
    annotations: int = 0


def require_nothing_lost(
    store: Store, settings: Settings, api: Any, number: int, *, split: str = "pool"
) -> Counts:
    """Bring both sides up to date, then compare all that each of them holds of Label Studio's ``number``."""
    push(store, settings, PushOptions(limit=0, split=split))
    sync(store, settings)
    rows = list(api.tasks.list(project=number, fields="all", page_size=1000))
    doubled = {name: count for name, count in Counter(row.data["xner_id"] for row in rows).items() if count > 1}
    assert doubled == {}, "tasks that are there twice"
    with store.read() as session:
        project = session.scalars(select(tables.Project)).one()
        version = runs.reviewed_version(session, project, split)
        assert version is not None
        query = select(tables.Task.studio_task, tables.Task.external_id)
        ours = dict(session.execute(query.where(tables.Task.studio_task.is_not(None))).all())
        predicted = predictions.predicted_task_ids(session, project.id, version)
        predictable = set(session.scalars(select(tables.Task.studio_task).where(tables.Task.id.in_(predicted))))
        unsent = select(tables.ReviewItem.id).where(tables.ReviewItem.pushed_at.is_(None))
        assert list(session.scalars(unsent)) == [], "chosen and never pushed"
        assert reviews.unshown_items(session, project.id) == 0
        stored = Counter(
            (row.studio_annotation, _answer(row)) for row in gold.current_annotations(session, project.id)
        )
    assert ours == {row.id: row.data["xner_id"] for row in rows}
    for row in rows:
        shown = Counter(there.model_version for there in row.predictions)
        assert all(count == 1 for count in shown.values()), f"a prediction of task {row.id} is there twice"
        assert shown, f"task {row.id} has no prediction"
        if not row.annotations and row.id in predictable:
            assert readable_name(version) in shown, f"task {row.id} waits without the prediction that is reviewed"
    there = Counter(
        (annotation["id"], _answer_there(annotation)) for row in rows for annotation in row.annotations
    )
    assert stored == there, "annotations"
    assert checking.check_store(store).problems == {}
    return Counts(len(rows), sum(len(row.predictions) for row in rows), there.total())


def _answer(row: tables.Annotation) -> Answer:
    assert row.studio_updated_at is not None
    entities = frozenset((entity["start"], entity["end"], entity["label"]) for entity in row.entities)
    return row.studio_updated_at, entities


def _answer_there(annotation: dict[str, Any]) -> Answer:
    values = [item["value"] for item in annotation["result"]]
    entities = frozenset((value["start"], value["end"], value["labels"][0]) for value in values)
    return datetime.fromisoformat(annotation["updated_at"]).astimezone(UTC), entities


@dataclass
class People:
    """Annotators who submit what waits, change it now and then, and delete it now and then."""

    url: str
    token: str
    project: int
    pause: float = 1.0
    seed: int = 5
    submitted: int = 0
    refused: Counter[int] = field(default_factory=Counter)

    @contextlib.contextmanager
    def at_work(self, count: int = 2) -> Iterator[None]:
        """So many of them for the length of a block."""
        over = threading.Event()
        threads = [threading.Thread(target=self._work, args=(over, self.seed + worker)) for worker in range(count)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            over.set()
            for thread in threads:
                thread.join()

    def submit(self, count: int) -> None:
        """Do so many tasks now."""
        chance = random.Random(self.seed + self.submitted)
        with self._browser() as browser:
            for _ in range(count):
                self._answer_one(browser, chance)

    def _browser(self) -> httpx.Client:
        headers = {"Authorization": f"Token {self.token}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60)

    def _work(self, over: threading.Event, seed: int) -> None:
        chance = random.Random(seed)
        with self._browser() as browser:
            while not over.wait(self.pause * chance.uniform(0.5, 1.5)):
                self._answer_one(browser, chance)

    def _answer_one(self, browser: httpx.Client, chance: random.Random) -> None:
        task = browser.get(f"/api/projects/{self.project}/next")
        if task.status_code == 404:
            time.sleep(0.05)
            return
        document = task.json()
        result = document["predictions"][0]["result"] if document["predictions"] else []
        kept = [region for region in result if chance.random() < 0.8]
        made = browser.post(f"/api/tasks/{document['id']}/annotations/", json={"result": kept, "lead_time": 3.0})
        if made.status_code != 201:
            self.refused[made.status_code] += 1
            return
        self.submitted += 1
        if chance.random() < 0.15:
            browser.patch(f"/api/annotations/{made.json()['id']}/", json={"result": result})
        elif chance.random() < 0.1:
            browser.delete(f"/api/annotations/{made.json()['id']}/")
