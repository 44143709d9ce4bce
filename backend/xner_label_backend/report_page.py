"""The review report over HTTP: made when somebody asks, at most once a minute, and off the event loop."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

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
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="reporting")
        self._page: str | None = None
        self._made_at = 0.0

    async def html(self) -> str:
        """The page, at most a minute old."""
        return await asyncio.get_running_loop().run_in_executor(self._worker, self._made)

    def _made(self) -> str:
        now = time.monotonic()
        if self._page is None or now - self._made_at > _FRESH:
            self._page = render(report(self._store, self._project))
            self._made_at = now
        return self._page
