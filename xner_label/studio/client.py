"""One session with a Label Studio server: token, time limits, retries, and errors that say what to do.

Reads are repeated on a broken connection, writes never: Label Studio doesn't recognise a repeated import, so
whoever writes must find out what arrived before writing again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from xner_label.errors import ConfigurationError, MissingExtraError, StudioError
from xner_label.logs import REQUEST_HEADER, run_id
from xner_label.settings.table import Settings
from xner_label.studio.answers import NotAnsweredError, check_answer
from xner_label.tracing import span, trace_headers
from xner_label.wording import counted

# Seconds that one request may take. Importing a chunk of tasks takes one or two.
_TIMEOUT = 60.0
# How long what was sent may be on its way: as long as its sender waits for an answer, and then while Label Studio
# may go on with the request of a sender that has gone.
SETTLE = timedelta(seconds=_TIMEOUT + 30)
_READ = {"max_retries": 2}
_WRITE = {"max_retries": 0}
# Label Studio answers a page of this size within two seconds.
_PAGE = 500

_TOKEN_HINT = (
    "put a personal access token or a legacy token of this server into LABEL_STUDIO_API_KEY; both are under "
    "Account & Settings, and legacy tokens work only where an administrator has switched them on"
)
_LOOPBACK_HINT = (
    "Label Studio refuses addresses of this machine and of private networks by default: start it with "
    "ML_BLOCK_LOCAL_IP=false and SSRF_PROTECTION_ENABLED=false, both, or give backend.url a public address"
)
_AGAIN_HINT = "run the same command again: what was finished isn't repeated"
# How often a page is asked for that holds fewer tasks than it says: one may have been deleted in between.
_ATTEMPTS = 3


@contextmanager
def open_studio(settings: Settings) -> Iterator[Studio]:
    """A session with the server that ``settings`` name, for the length of a block.

    Raises MissingExtraError without label-studio-sdk, ConfigurationError for a missing token or an address that
    isn't one. Nothing is sent before the first request.
    """
    try:
        import httpx
        from label_studio_sdk.client import LabelStudio
    except ModuleNotFoundError:
        raise MissingExtraError("studio", "Label Studio") from None
    url = settings.studio_url.rstrip("/")
    if not re.fullmatch(r"https?://[^/\s]+.*", url):
        raise ConfigurationError(
            f"{settings.studio_url!r} isn't the address of a Label Studio",
            hint="set LABEL_STUDIO_URL, for example to http://127.0.0.1:8080",
        )
    if not settings.studio_api_key:
        raise ConfigurationError("there is no token for Label Studio", hint=_TOKEN_HINT)
    hooks: dict[str, list[Callable[..., Any]]] = {"request": [_carry], "response": [check_answer]}
    headers = {REQUEST_HEADER: run_id()}
    with httpx.Client(timeout=_TIMEOUT, follow_redirects=True, event_hooks=hooks, headers=headers) as http:
        with _explained(url):
            api = LabelStudio(base_url=url, api_key=settings.studio_api_key, httpx_client=http, timeout=_TIMEOUT)
        yield Studio(url, api)


class Studio:
    """A session. ``url`` has no slash at its end; ``api`` is the SDK's client, to be called through ``read`` and
    ``write``."""

    def __init__(self, url: str, api: Any) -> None:
        self.url = url
        self.api = api

    def read(self, request: Callable[..., Any], /, *args: Any, **options: Any) -> Any:
        """Carry out a request that changes nothing. Raises StudioError."""
        with _explained(self.url), _traced(request):
            return request(*args, **options, request_options=_READ)

    def write(self, request: Callable[..., Any], /, *args: Any, **options: Any) -> Any:
        """Carry out a request once. Raises StudioError, as NotAnsweredError when it may have arrived."""
        with _explained(self.url), _traced(request):
            return request(*args, **options, request_options=_WRITE)

    def project_url(self, project: int) -> str:
        """Where people find a project in the browser."""
        return f"{self.url}/projects/{project}/data"

    def project(self, project: int) -> Any:
        """A project of the server. Raises StudioError when it is gone or hidden from the token."""
        return self.read(self.api.projects.get, project)

    def clock(self) -> datetime:
        """The server's time, to the second: the time that its records carry, unlike ours."""
        headers = self.read(self.api.versions.with_raw_response.get).headers
        return parsedate_to_datetime(headers["date"]).astimezone(UTC)

    def count_tasks(self, project: int) -> int:
        """How many tasks a project has."""
        return int(self._list(project, _query([]), size=1, include="id").response.total)

    def tasks(self, project: int, *, changed_after: datetime | None = None, include: str) -> Iterator[Any]:
        """The tasks of a project by rising id, of each only the fields in ``include``, a comma-separated list.

        Of annotations it gives no more than ``id`` and ``updated_at``. A page begins after the last id seen, so
        that a task deleted meanwhile can't make another one slip through between two pages.
        """
        newer = [] if changed_after is None else [_filter("updated_at", "Datetime", _stamp(changed_after))]
        last = 0
        while True:
            filters = [_filter("id", "Number", last), *newer]
            page = self._page(project, filters, include=include)
            yield from page
            if len(page) < _PAGE:
                return
            last = page[-1].id

    def full_tasks(self, project: int, ids: Sequence[int], *, include: str | None = None) -> Iterator[Any]:
        """These tasks with everything about their annotations, or with the fields in ``include``; those that are
        gone are left out."""
        for start in range(0, len(ids), _PAGE):
            chosen = {"all": False, "included": list(ids[start : start + _PAGE])}
            yield from self._whole(project, {"selectedItems": chosen}, include)

    def _page(self, project: int, filters: list[dict[str, Any]], *, include: str) -> list[Any]:
        """The first tasks that pass the filters, by rising id."""
        return self._whole(project, _query(filters), include)

    def _whole(self, project: int, query: dict[str, Any], include: str | None) -> list[Any]:
        """A page of a listing. Raises NotAnsweredError when it holds fewer tasks than it counts."""
        for _ in range(_ATTEMPTS):
            answer = self._list(project, query, size=_PAGE, include=include)
            page, total = list(answer.items or []), answer.response.total
            if len(page) >= min(total, _PAGE):
                return page
        raise NotAnsweredError(
            f"Label Studio at {self.url} lists {counted(len(page), 'task')} of project "
            f"{project} and counts {total}",
            hint="look into its log; nothing was concluded from this answer",
        )

    def _list(self, project: int, query: dict[str, Any], *, size: int, include: str | None = None) -> Any:
        # resolve_uri would rewrite a text that happens to contain the address of a storage
        return self.read(
            self.api.tasks.list,
            project=project,
            query=json.dumps(query),
            page_size=size,
            include=include,
            fields="all",
            resolve_uri=False,
        )


def _traced(request: Callable[..., Any]) -> AbstractContextManager[Any]:
    """A span for one call of the SDK."""
    return span("label-studio " + getattr(request, "__qualname__", "call"))


def _carry(request: Any) -> None:
    """Give a request the trace that it belongs to."""
    request.headers.update(trace_headers())


def _query(filters: list[dict[str, Any]]) -> dict[str, Any]:
    return {"filters": {"conjunction": "and", "items": filters}, "ordering": ["tasks:id"]}


def _filter(field: str, kind: str, value: object) -> dict[str, object]:
    return {"filter": f"filter:tasks:{field}", "operator": "greater", "type": kind, "value": value}


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@contextmanager
def _explained(url: str) -> Iterator[None]:
    """Turn what the SDK and httpx raise into StudioError. Their own messages show cookies: they stop here."""
    import httpx
    from label_studio_sdk.core.api_error import ApiError
    from label_studio_sdk.core.parse_error import ParsingError

    try:
        yield
    except ApiError as error:
        refusal = _refusal(url, error.status_code, error.body)
        # its words may repeat what a task says
        refusal.logged = f"Label Studio at {url} answered {error.status_code} ({refusal.hint})"
        raise refusal from None
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise StudioError(
            f"can't reach Label Studio at {url}: {error}", hint="start it, or correct LABEL_STUDIO_URL"
        ) from None
    except httpx.TimeoutException:
        raise NotAnsweredError(
            f"Label Studio at {url} did not answer within {_TIMEOUT:.0f} s", hint=_AGAIN_HINT
        ) from None
    except httpx.HTTPError as error:
        raise NotAnsweredError(
            f"the connection to Label Studio at {url} broke: {error}", hint=_AGAIN_HINT
        ) from None
    except (ParsingError, AttributeError, LookupError, TypeError, ValueError) as error:
        # what the SDK stumbles over when JSON has another form than it expects
        raise NotAnsweredError(
            f"what answers at {url} doesn't speak Label Studio's API ({type(error).__name__})",
            hint="check LABEL_STUDIO_URL and what stands between; then run the same command again",
        ) from error


def _refusal(url: str, status: int | None, body: Any) -> StudioError:
    if not isinstance(body, dict):
        return NotAnsweredError(
            f"what answers at {url} (status {status}) doesn't speak Label Studio's API",
            hint="check LABEL_STUDIO_URL, and its log if it is the right one",
        )
    detail = _detail(body)
    if status == 401:
        return StudioError(f"Label Studio at {url} refused the token: {detail}", hint=_TOKEN_HINT)
    if "reserved" in detail or "local network" in detail:
        return StudioError(f"Label Studio at {url} refused an address: {detail}", hint=_LOOPBACK_HINT)
    if status == 403:
        return StudioError(
            f"Label Studio at {url} doesn't allow this: {detail}", hint="use the token of a user who may do it"
        )
    if status == 404:
        return StudioError(
            f"Label Studio at {url} has no such thing, or hides it from this token: {detail}",
            hint="if the project was deleted, `xner-label connect --new` makes another one",
        )
    if status is None or status >= 500:
        return NotAnsweredError(f"Label Studio at {url} failed ({status}): {detail}", hint="look into its log")
    return StudioError(f"Label Studio at {url} refused ({status}): {detail}", hint="correct what it names")


def _detail(body: dict[str, Any]) -> str:
    """The words of an error answer, without mark-up, on one line of reasonable length."""
    problems = body.get("validation_errors") or body.get("detail") or body
    if isinstance(problems, dict):
        problems = "; ".join(
            str(item) for value in problems.values() for item in (value if isinstance(value, list) else [value])
        )
    text = " ".join(re.sub(r"<[^>]*>", "", str(problems)).split())
    return text if len(text) <= 500 else f"{text[:500]} ..."
