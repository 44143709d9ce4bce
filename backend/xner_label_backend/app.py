"""The routes: what Label Studio 1.23 asks its ML backends, and how it is answered.

Health and set-up are asked at every page that shows the model, so they look at the store and load nothing. A
prediction that isn't ready in time, or can't be made because the store is out of reach, is a 503: Label Studio
keeps nothing of it and asks again, while an empty result would stay for good.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, NamedTuple, TypeVar

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST as METRICS_TYPE
from pydantic import ValidationError

from xner_label import __version__
from xner_label.errors import ConfigurationError, XnerLabelError
from xner_label.jobs.worker import Worker
from xner_label.logs import told
from xner_label.predicting.service import Answer, Asked, PredictionService
from xner_label.settings.table import Settings
from xner_label.store.database import Store
from xner_label.store.gauges import Gauges, gauges
from xner_label.store.pipelines import readable_name
from xner_label.store.runs import Serving
from xner_label.studio.attaching import SECRET_HEADER
from xner_label.studio.labelling import EXTERNAL_ID, SOURCE, Control
from xner_label_backend.batching import MicroBatcher
from xner_label_backend.guard import Credentials, Guard, OncePerMinute
from xner_label_backend.jobs import EmbeddedWorker, JobIntake
from xner_label_backend.metrics import Metrics
from xner_label_backend.openapi import BODY_REFUSALS, REFUSALS, body_of
from xner_label_backend.protocol import AskedTask, PredictRequest, SetupRequest, WebhookEvent
from xner_label_backend.report_page import ReportPage
from xner_label_backend.results import control_of, empty, result_of, same_name_elsewhere

Result = TypeVar("Result")

_LOG = logging.getLogger(__name__)
# Anybody may press the button, or pretend to, any number of times.
_TRAINING_LOG = logging.getLogger(f"{__name__}.training")
_TRAINING_LOG.addFilter(OncePerMinute())

# Label Studio hangs up after 100 seconds.
_DEADLINE = 90.0
# What may wait for the model, in tasks, before more is refused.
_QUEUE = 20_000
# "Retrieve predictions" sends all selected tasks in one request: ten thousand of 5 kB fit.
_MAX_BYTES = 64 * 1024 * 1024
# START_TRAINING, which carries no secret, is a small document.
_MAX_UNSIGNED = 64 * 1024
# Threads for the store and for parsing, and seconds between two looks at what is served.
_READERS = 2
_WATCH = 1.0
# Seconds without another webhook after which a worker may take annotations over.
_QUIET = 10.0
# Seconds for which what the store says of the project is good enough for monitoring.
_REFRESH = 60.0
# As model_version while there is no prediction at all.
UNPREDICTED = f"xner-label/{__version__} nothing-predicted-yet"


class Backend:
    """What the routes work with.

    ``snapshot`` is the version that was served a moment ago. Health and set-up are answered from it, whatever else
    is going on: the store is read, and configurations are parsed, in a few threads of our own, because more of
    them would only take Python's lock from the loop that answers.
    """

    def __init__(self, service: PredictionService, settings: Settings, store: Store) -> None:
        self._service = service
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="reading")
        self._watcher = ThreadPoolExecutor(1, thread_name_prefix="watching")
        self._watching: asyncio.Task[None] | None = None
        self.snapshot: str | None = None
        self._settings = settings
        self._batcher = MicroBatcher(service.predict, settings.backend_batch)
        quiet = settings.backend_sync_after or _QUIET
        self._intake = JobIntake(store, settings.project, {"sync": quiet})
        self._worker = (
            EmbeddedWorker(lambda: Worker(store, settings, ["sync"])) if settings.backend_sync_after > 0 else None
        )
        self.metrics = Metrics(self._batcher.waiting)
        self._store = store
        self._observed_at: float | None = None
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Let requests that wait for predictions end now, with a 503."""
        if self._watching is not None:
            self._watching.cancel()
        self._stopping.set()

    def close(self, timeout: float) -> None:
        """Stop predicting and synchronising; what is under way gets ``timeout`` seconds each."""
        for pool in (self._readers, self._watcher):
            pool.shutdown(wait=False, cancel_futures=True)
        self._batcher.close(timeout)
        self._intake.close(timeout)
        if self._worker is not None:
            self._worker.close(timeout)

    def changed(self, action: str) -> None:
        """A webhook told of a change; returns at once."""
        self.metrics.webhook()
        if action.startswith("ANNOTATION"):
            self._intake.ask_for("sync")

    def train(self) -> None:
        """Somebody pressed Start Training; returns at once."""
        self._intake.ask_for("train")

    async def version(self) -> str:
        """The model_version of what is served, at most a second late; asks the store only the first time."""
        if self._watching is None:
            self.snapshot = _version(await self.read(self._service.current))
            self._watching = asyncio.create_task(self._watch())
        if self.snapshot is None:
            self.snapshot = _version(await self.read(self._service.current))
        return self.snapshot

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_WATCH)
            try:
                self.snapshot = _version(await loop.run_in_executor(self._watcher, self._service.current))
            except Exception:  # noqa: BLE001 - whoever asks next asks the store and hears why
                self.snapshot = None

    async def exposition(self) -> bytes:
        """Everything that is counted, and the state of the project, at most _REFRESH seconds old."""
        now = time.monotonic()
        if self._observed_at is None or now - self._observed_at > _REFRESH:
            self._observed_at = now
            try:
                self.metrics.state(await self.version(), await self.read(self._gauges))
            except XnerLabelError as error:
                _LOG.warning("the metrics of the store are old: %s", told(error))
        return self.metrics.exposition()

    def _gauges(self) -> Gauges | None:
        with self._store.read() as session:
            return gauges(session, self._settings.project)

    async def read(self, call: Callable[..., Result], *arguments: Any) -> Result:
        """Do something short that isn't for the event loop."""
        # the request's fields go along
        run = copy_context().run
        return await asyncio.get_running_loop().run_in_executor(self._readers, run, call, *arguments)

    async def versions(self) -> list[str]:
        """All versions, the served one first."""
        return [readable_name(name) for name in await self.read(self._service.versions)] or [UNPREDICTED]

    async def predict(self, body: bytes) -> bytes:
        """The reply to a /predict: one result per task, in order.

        Raises NotReadyError, and RequestValidationError for a malformed body.
        """
        # one visit to a thread where the store has it all: each costs the loop a switch
        prepared = await self.read(self._prepare, body)
        if isinstance(prepared, bytes):
            return prepared
        return await self.read(self._finish, prepared, await self._complete(prepared.stored, prepared.usable))

    def _prepare(self, body: bytes) -> _Prepared | bytes:
        """What the store knows about a request, or the reply if that is all."""
        request = _decoded(body)
        if len(request.tasks) > _QUEUE:
            raise NotReadyError(f"{len(request.tasks)} tasks at once are more than {_QUEUE}")
        serving = self._service.current()
        try:
            control = control_of(request.label_config, self._settings.labels)
        except ConfigurationError as error:
            _LOG.warning("no predictions for project %s: %s", request.studio_project, told(error))
            return _encoded([empty(_version(serving)) for _ in request.tasks])
        if serving is not None and serving.source_field:
            control = msgspec.structs.replace(control, source_key=serving.source_field)
        ours = serving is not None and serving.studio_project in (None, request.studio_project)
        asked = [_asked(task, control, ours=ours) for task in request.tasks]
        usable = [item for item in asked if isinstance(item, Asked)]
        stored = self._service.stored(serving, usable)
        if request.params is not None and request.params.context is not None:
            stored = [answer or Answer(reason="a selection is answered from the text") for answer in stored]
        prepared = _Prepared(request, serving, control, asked, usable, stored)
        answers = [answer for answer in stored if answer is not None]
        return self._finish(prepared, answers) if len(answers) == len(stored) else prepared

    def _finish(self, prepared: _Prepared, answers: Sequence[Answer]) -> bytes:
        """The reply, from one answer for each usable task."""
        following = iter(answers)
        every = [next(following) if isinstance(item, Asked) else Answer(reason=item) for item in prepared.asked]
        self.metrics.predictions(every)
        serving = prepared.serving
        if serving is None or serving.version is None:
            serving = self._service.current()
        return _encoded(_results(prepared.request, prepared.asked, every, prepared.control, _version(serving)))

    async def _complete(self, stored: Sequence[Answer | None], asked: Sequence[Asked]) -> Sequence[Answer]:
        """The stored answers and, where there is none, one that is made now."""
        missing = [task for task, answer in zip(asked, stored, strict=True) if answer is None]
        if self._batcher.waiting() + len(missing) > _QUEUE:
            raise NotReadyError(f"more than {_QUEUE} tasks are waiting to be predicted")
        futures = [asyncio.wrap_future(future) for future in self._batcher.submit(missing)]
        done = asyncio.gather(*futures, return_exceptions=True)
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait((done, stopping), timeout=_DEADLINE, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        late = sum(not future.done() for future in futures)
        if late:
            # What is late goes on and is kept, so that asking again finds it.
            raise NotReadyError(f"{len(asked) - late} of {len(asked)} tasks are predicted; ask again")
        made = iter([future.result() for future in futures])
        return [answer or next(made) for answer in stored]


class _Prepared(NamedTuple):
    """A request with what the store has for it: an answer or None for each usable task."""

    request: PredictRequest
    serving: Serving | None
    control: Control
    asked: list[Asked | str]
    usable: list[Asked]
    stored: list[Answer | None]


def _encoded(results: list[dict[str, Any]]) -> bytes:
    return msgspec.json.encode({"results": results})


def _decoded(body: bytes) -> PredictRequest:
    try:
        return PredictRequest.model_validate_json(body)
    except ValidationError as error:
        raise RequestValidationError(error.errors(include_input=False, include_url=False)) from None


def _results(
    request: PredictRequest,
    asked: Sequence[Asked | str],
    answers: Sequence[Answer],
    control: Control,
    version: str,
) -> list[dict[str, Any]]:
    results = []
    for task, item, answer in zip(request.tasks, asked, answers, strict=True):
        name, text = f"task {task.id}", item.text if isinstance(item, Asked) else ""
        if request.params is not None and request.params.context is not None:
            selected = request.params.context.result
            results.append(same_name_elsewhere(name, text, selected, answer, control, version))
        else:
            results.append(result_of(name, text, answer, control, version))
    return results


class NotReadyError(XnerLabelError):
    """There is more to predict than the time allows."""


def create_app(service: PredictionService, settings: Settings, store: Store) -> FastAPI:
    """The application; jobs go to ``store``. Its state's ``backend`` is to be closed at the end."""
    app = FastAPI(
        title="XNER-Label ML backend",
        version=__version__,
        max_body_size=_MAX_BYTES,
        # pages that load scripts from elsewhere; /openapi.json is all one needs
        docs_url=None,
        redoc_url=None,
    )
    backend = Backend(service, settings, store)
    credentials = Credentials(
        settings.backend_user, settings.backend_password, settings.webhook_secret, settings.backend_token
    )
    app.state.backend = backend
    app.add_middleware(Guard, credentials=credentials, observe=backend.metrics.request)
    app.exception_handler(RequestValidationError)(_invalid)
    app.exception_handler(XnerLabelError)(_unavailable)

    @app.get("/health", responses=REFUSALS)
    async def health(request: Request) -> dict[str, str]:
        version = await backend.version()
        if credentials.user and "authorization" not in request.headers:
            return {"status": "UP"}
        return {"status": "UP", "version": __version__, "model_version": version}

    @app.post("/setup", responses=BODY_REFUSALS)
    async def setup(request: SetupRequest) -> dict[str, str]:
        return {"model_version": await backend.version()}

    @app.get("/versions", responses=REFUSALS)
    async def versions() -> dict[str, list[str]]:
        return {"versions": await backend.versions()}

    @app.post("/predict", openapi_extra=body_of(PredictRequest), responses=BODY_REFUSALS)
    async def predict(request: Request) -> Response:
        return Response(await backend.predict(await request.body()), media_type="application/json")

    @app.post("/webhook", status_code=202, openapi_extra=body_of(WebhookEvent), responses=BODY_REFUSALS)
    async def webhook(request: Request) -> Response:
        return await _webhook(request, credentials, backend)

    @app.get("/ready", responses=REFUSALS)
    async def ready(request: Request) -> dict[str, str]:
        await backend.read(service.check)
        if credentials.user and "authorization" not in request.headers:
            return {"status": "READY"}
        return {"status": "READY", "model_version": _version(await backend.read(service.current))}

    if settings.backend_report == "on":
        page = ReportPage(store, settings.project)

        @app.get("/report", response_class=HTMLResponse, responses=REFUSALS)
        async def report() -> Response:
            return Response(await page.html(), media_type="text/html; charset=utf-8")

    @app.get("/metrics", response_class=PlainTextResponse, responses=REFUSALS)
    async def metrics() -> Response:
        return Response(await backend.exposition(), media_type=METRICS_TYPE)

    return app


async def _webhook(request: Request, credentials: Credentials, backend: Backend) -> Response:
    signed = credentials.webhook_allows(request.headers.get(SECRET_HEADER))
    # START_TRAINING comes from Label Studio's ML page, which knows the backend's user but no webhook headers
    unsigned = (
        not signed
        and credentials.allows(request.headers.get("authorization"))
        and int(request.headers.get("content-length", _MAX_UNSIGNED)) < _MAX_UNSIGNED
    )
    if not (signed or unsigned):
        return _refused()
    try:
        event = WebhookEvent.model_validate_json(await request.body())
    except ValidationError:
        return _json({"detail": "expected a JSON object with `action`"}, 422) if signed else _refused()
    if unsigned and event.action != "START_TRAINING":
        return _refused()
    if event.action == "START_TRAINING":
        if signed or credentials.user:
            backend.train()
            _TRAINING_LOG.warning("training waits for `xner-label worker`")
        else:
            _TRAINING_LOG.warning("training isn't started for just anybody: set backend.user, then connect again")
    else:
        backend.changed(event.action)
    return _json({"status": "noted"}, 202)


def _refused() -> Response:
    return _json({"detail": f"the header {SECRET_HEADER} is missing or wrong"}, 401)


def _asked(task: AskedTask, control: Control, *, ours: bool) -> Asked | str:
    """What to look for in the store, or why there can't be a prediction. ``ours``: ids mean the store's tasks."""
    text, external_id = task.data.get(control.text_key), task.data.get(EXTERNAL_ID)
    # ours, else the name it has in the files of `xner-label import`
    source = task.data.get(control.source_key) or task.data.get(SOURCE) or task.data.get("source")
    if not isinstance(text, str) or not text.strip():
        return f"its data has no text under {control.text_key!r}"
    if "\0" in text or not _encodable(text):
        return "its text holds NUL or half a surrogate pair, which can't be stored"
    return Asked(
        text=text,
        source=source if isinstance(source, str) and source.strip() and "\0" not in source else None,
        external_id=str(external_id) if isinstance(external_id, str | int) and ours else None,
        studio_task=task.id if ours else None,
    )


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _version(serving: Serving | None) -> str:
    if serving is None or serving.version is None:
        return UNPREDICTED
    return readable_name(serving.version)


async def _invalid(_request: Request, error: Exception) -> Response:
    """What is wrong with a request, without repeating it: it may carry a token."""
    assert isinstance(error, RequestValidationError)
    problems = [{"loc": problem["loc"], "msg": problem["msg"]} for problem in error.errors()]
    return _json({"detail": problems}, 422)


async def _unavailable(request: Request, error: Exception) -> Response:
    _LOG.warning("%s %s: %s", request.method, request.url.path, told(error))
    return _json({"detail": str(error)}, 503, {"Retry-After": "5"})


def _json(document: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(document), status, headers, media_type="application/json")
