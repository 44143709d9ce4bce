"""What the backend counts, for Prometheus."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from xner_label.predicting.service import Answer
from xner_label.store.base import utc_now
from xner_label.store.gauges import BANDS, Gauges

# Any other path counts as "other", so that a scanner can't fill the memory with names.
_PATHS = frozenset({"/health", "/ready", "/setup", "/predict", "/versions", "/webhook", "/metrics"})
# Label Studio waits 1 s for health and webhooks, 3 s for set-up, 100 s for predictions.
_SECONDS = (0.005, 0.02, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)


class Metrics:
    """The counters of one backend. ``waiting`` tells how many tasks wait for the model."""

    def __init__(self, waiting: Callable[[], int]) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "xner_label_requests", "Requests answered", ("path", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "xner_label_request_seconds", "Time to answer", ("path",), buckets=_SECONDS, registry=self._registry
        )
        self._predictions = Counter(
            "xner_label_predictions",
            "Tasks answered: from the store, computed, or without a prediction",
            ("origin",),
            registry=self._registry,
        )
        self._webhooks = Counter("xner_label_webhooks", "Webhooks with the right secret", registry=self._registry)
        Gauge("xner_label_waiting_tasks", "Tasks that wait for the model", registry=self._registry).set_function(
            waiting
        )

        self._entities = self._gauge("entities", "Predicted entities by confidence, up to", "confidence")
        self._review = self._gauge("review_waiting_tasks", "Tasks in Label Studio that wait for an answer")
        self._sync_age = self._gauge("sync_age_seconds", "Seconds since annotations were last taken over")
        self._acceptance = self._gauge("acceptance_ratio", "Share of shown entities that people left as they were")
        self._jobs = self._gauge("jobs", "Jobs of the worker", "kind", "state")
        self._model = self._gauge("model_info", "The version that is served", "version")

    def _gauge(self, name: str, help: str, *labels: str) -> Gauge:
        return Gauge(f"xner_label_{name}", help, labels, registry=self._registry)

    def state(self, version: str, project: Gauges | None) -> None:
        """What is served, and what the store says of the project."""
        self._model.clear()
        self._model.labels(version).set(1)
        if project is None:
            return
        for end in BANDS:
            self._entities.labels(f"{end:g}").set(project.entities.get(end, 0))
        self._review.set(project.waiting)
        age = math.nan if project.last_sync is None else (utc_now() - project.last_sync).total_seconds()
        self._sync_age.set(age)
        self._acceptance.set(math.nan if project.acceptance is None else project.acceptance)
        self._jobs.clear()
        for (kind, state), count in project.jobs.items():
            self._jobs.labels(kind, state).set(count)

    def request(self, path: str, status: int, seconds: float) -> None:
        """One request was answered."""
        path = path if path in _PATHS else "other"
        self._requests.labels(path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def predictions(self, answers: Iterable[Answer]) -> None:
        """Tasks were answered."""
        for answer in answers:
            origin = "none" if answer.prediction is None else "computed" if answer.computed else "store"
            self._predictions.labels(origin).inc()

    def webhook(self) -> None:
        """A webhook arrived."""
        self._webhooks.inc()

    def exposition(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self._registry)
