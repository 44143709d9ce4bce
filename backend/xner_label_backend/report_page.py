"""The review report over HTTP: made when somebody asks, at most once a minute, and off the event loop."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import Future
from threading import Thread

from xner_label.reporting.report import report
from xner_label.reporting.report_page import render, require_drawing
from xner_label.store.database import Store

# Seconds for which a page is shown again.
_FRESH = 60.0


class ReportPage:
    """The page of a project. Raises MissingExtraError without what draws it, before anybody asks."""

    def __init__(self, store: Store, project: str) -> None:
        require_drawing()
        self._store = store
        self._project = project
        self._making = asyncio.Lock()
        self._page = ""
        self._made_at: float | None = None

    async def html(self) -> str:
        """The page, at most a minute old; however many ask, it is made once."""
        async with self._making:
            if self._made_at is None or time.monotonic() - self._made_at > _FRESH:
                self._page = await asyncio.wrap_future(self._made())
                self._made_at = time.monotonic()
            return self._page

    def _made(self) -> Future[str]:
        """The page to come, from a thread that doesn't keep a process that wants to end."""
        page: Future[str] = Future()

        def make() -> None:
            try:
                page.set_result(render(report(self._store, self._project)))
            except BaseException as error:  # noqa: BLE001 - whoever asked hears of it
                page.set_exception(error)

        Thread(target=make, name="reporting", daemon=True).start()
        return page
