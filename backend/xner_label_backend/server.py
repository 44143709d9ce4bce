"""Running the backend: settings that must be right, a socket, and an end that leaves nothing behind."""

from __future__ import annotations

import ipaddress
import logging
import socket
import sys
from collections.abc import Callable

import uvicorn

from xner_label.errors import ConfigurationError
from xner_label.jobs.interrupts import terminating_interrupts
from xner_label.predicting.service import PredictionService
from xner_label.settings.table import Settings
from xner_label.store.database import Store
from xner_label_backend.app import create_app

_LOG = logging.getLogger(__name__)

# Seconds that requests, and then the work under way, get to end.
_GRACE = 2
# Seconds that a thread runs before another one may: threads that read the store are nearly always at work, and the
# event loop has to wait for one of them after each of the several calls to the system that an answer takes.
_SWITCH = 0.0001
# Connections that may wait for the event loop.
_BACKLOG = 1024


def serve(store: Store, settings: Settings, started: Callable[[str], None]) -> None:
    """Answer requests until SIGINT or SIGTERM. ``started`` gets the address once requests are taken.

    Must run in the main thread. Raises ConfigurationError when the settings contradict or the port can't be had.
    """
    if bool(settings.backend_user) != bool(settings.backend_password):
        raise ConfigurationError(
            "Basic auth needs both a user and a password",
            hint="set backend.user and XNER_LABEL_BACKEND_PASSWORD, or neither",
        )
    if settings.backend_token and not settings.backend_user:
        raise ConfigurationError(
            "a token alone would keep Label Studio out, which brings a user and a password",
            hint="set backend.user and XNER_LABEL_BACKEND_PASSWORD too, or leave XNER_LABEL_BACKEND_TOKEN out",
        )
    if settings.backend_batch < 1:
        raise ConfigurationError("backend.batch must be 1 or more", hint="leave it out for the default")
    if settings.backend_sync_after > 0 and not settings.studio_api_key:
        raise ConfigurationError(
            "backend.sync_after needs a token for Label Studio",
            hint="set LABEL_STUDIO_API_KEY, or sync_after to 0",
        )
    service = PredictionService(store, settings)
    service.check()
    with terminating_interrupts(), listen(settings.backend_host, settings.backend_port) as listener:
        host, port = listener.getsockname()[:2]
        url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        if not ipaddress.ip_address(host.partition("%")[0]).is_loopback and not settings.backend_user:
            _LOG.warning(
                "%s can be reached from other machines, and everybody there may ask for predictions: "
                "set backend.user and XNER_LABEL_BACKEND_PASSWORD, or backend.host to 127.0.0.1",
                url,
            )
        # many threads that read the store would each keep the event loop waiting for the default 5 ms
        sys.setswitchinterval(_SWITCH)
        app = create_app(service, settings, store)
        config = uvicorn.Config(
            app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=_GRACE
        )
        server = _Server(config, lambda: started(url), app.state.backend.stop)
        try:
            server.run(sockets=[listener])
        except KeyboardInterrupt:
            # how uvicorn passes on the signal after it has shut down in order; before that it is a real interrupt
            if not server.started:
                raise
        finally:
            app.state.backend.close(_GRACE / 2)


class _Server(uvicorn.Server):
    """Says when requests are taken, and when they have to end."""

    def __init__(self, config: uvicorn.Config, announce: Callable[[], None], stopping: Callable[[], None]) -> None:
        super().__init__(config)
        self._announce = announce
        self._stopping = stopping

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._announce()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._stopping()
        await super().shutdown(sockets)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one. Raises ConfigurationError."""
    if not 0 <= port <= 65535:  # getaddrinfo would take it modulo 65536
        raise ConfigurationError(f"{port} is no port", hint="give --backend-port 0 to 65535; 0 takes a free one")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # With the protocol named, asyncio switches Nagle's algorithm off, which would add 40 ms to every answer.
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
            listener.listen(_BACKLOG)
        except OSError:
            listener.close()
            raise
        return listener
    except OSError as error:
        raise ConfigurationError(
            f"can't listen on {host}:{port}: {error.strerror or error}",
            hint="choose another --backend-host or --backend-port; port 0 takes a free one",
        ) from None
