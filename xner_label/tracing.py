"""Traces for OpenTelemetry: which command, request and job led to what, and how long each took.

Nothing happens, and nothing is imported, unless the extra ``otel`` is installed and an address is set
(OTEL_EXPORTER_OTLP_ENDPOINT, or the setting trace.endpoint). Spans carry names, numbers and ids; what tasks say,
and what errors say, stays out of them.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from xner_label import __version__
from xner_label.errors import MissingExtraError
from xner_label.logs import run_id

ENDPOINT_VARIABLES = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
# The trace that a command belongs to, where something starts it as a part of its own.
PARENT_VARIABLE = "TRACEPARENT"
# By its name in headers and in the options of jobs.
CARRIER = "traceparent"
# Seconds that the receiver of the spans may take before they are dropped.
_TIMEOUT = 5.0


class _State:
    """The tracer and what it must be told at the end; None while nothing is traced."""

    tracer: Any = None
    provider: Any = None


def start_tracing(part: str, endpoint: str = "") -> None:
    """Trace what this process does as ``part``, such as cli or backend, where an address is set; once.

    Raises MissingExtraError where ``endpoint``, the setting, asks for what isn't installed.
    """
    wanted = endpoint or next((os.environ[name] for name in ENDPOINT_VARIABLES if os.environ.get(name)), "")
    if not wanted or _State.tracer is not None:
        return
    if not all(map(_is_installed, ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http"))):
        if endpoint:
            raise MissingExtraError("otel", "tracing")
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    about = {"service.version": __version__, "service.instance.id": run_id()}
    resource = Resource.create({"service.name": f"xner-label-{part}", **about})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    exporter = (
        OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=_TIMEOUT) if endpoint else None
    )
    provider.add_span_processor(BatchSpanProcessor(exporter or OTLPSpanExporter(timeout=_TIMEOUT)))
    _State.provider, _State.tracer = provider, provider.get_tracer("xner_label", __version__)


def stop_tracing() -> None:
    """Send what is left, for a few seconds at most."""
    provider, _State.provider, _State.tracer = _State.provider, None, None
    if provider is not None:
        provider.shutdown()


def is_traced() -> bool:
    """Whether spans are made."""
    return _State.tracer is not None


@contextmanager
def span(name: str, *, parent: str | None = None, **attributes: str | int | float | bool) -> Iterator[Any]:
    """A span for the length of a block; yields what takes further attributes (``set_attribute``), or None.

    ``parent`` is the traceparent of a trace that began elsewhere. An exception marks the span with its kind alone.
    """
    if _State.tracer is None:
        yield None
        return
    from opentelemetry.trace import Status, StatusCode
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    context = TraceContextTextMapPropagator().extract({CARRIER: parent}) if parent else None
    named = {f"xner_label.{key}": value for key, value in attributes.items()}
    with _State.tracer.start_as_current_span(
        name, context=context, attributes=named, record_exception=False, set_status_on_exception=False
    ) as current:
        try:
            yield current
        except BaseException as error:
            current.set_status(Status(StatusCode.ERROR, type(error).__name__))
            raise


def traceparent() -> str | None:
    """The present span as others carry it on; None while nothing is traced."""
    if _State.tracer is None:
        return None
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get(CARRIER)


def trace_headers() -> Mapping[str, str]:
    """The header that carries the present span on, or none."""
    carried = traceparent()
    return {} if carried is None else {CARRIER: carried}


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False
