"""Whether an answer is one of Label Studio's API: checked as it comes in, before the SDK makes objects of it.

The SDK takes anything that is JSON. An empty object where a list of tasks should stand would then read as "there
are no tasks", and everything that people did would seem to be deleted. So each successful answer that something is
concluded from must have the form that Label Studio 1.23 gives it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from xner_label.errors import StudioError

if TYPE_CHECKING:
    import httpx

_PROJECT = {"id": int, "label_config": str, "created_at": str}
_MADE = {"id": int}

# By method and path: the fields that a JSON object must have, or of each object of a list.
_FORMS: tuple[tuple[str, str, Mapping[str, type] | list[Mapping[str, type]]], ...] = (
    ("GET", r"/api/tasks/", {"tasks": list, "total": int}),
    ("GET", r"/api/projects/", {"results": list}),
    ("GET|PATCH", r"/api/projects/\d+/", _PROJECT),
    ("POST", r"/api/projects/", _PROJECT),
    ("POST", r"/api/projects/\d+/import", {"task_count": int}),
    ("POST", r"/api/projects/\d+/import/predictions", {"created": int}),
    ("GET", r"/api/ml/", [{"id": int, "url": str}]),
    ("POST", r"/api/ml/", _MADE),
    ("GET", r"/api/webhooks/", [{"id": int, "url": str}]),
    ("POST", r"/api/webhooks/", _MADE),
    ("GET", r"/api/dm/views/", [_MADE]),
    ("POST", r"/api/dm/views/", _MADE),
    ("GET", r"/api/users/", [{"id": int, "email": str}]),
)


class NotAnsweredError(StudioError):
    """A request was sent and it is not known whether Label Studio carried it out."""


def check_answer(response: httpx.Response) -> None:
    """A response hook of httpx. Raises NotAnsweredError for a success that doesn't look like Label Studio's."""
    form = _form_of(response)
    if form is None:
        return
    response.read()
    try:
        document = response.json()
    except ValueError:
        document = None
    if not _fits(document, form):
        url = response.url
        raise NotAnsweredError(
            f"what answers at {url.scheme}://{url.netloc.decode()} doesn't speak Label Studio's API: "
            f"{response.request.method} {url.path} gave {_shown(response.content)}",
            hint="check LABEL_STUDIO_URL and what stands between; then run the same command again",
        )


def _form_of(response: httpx.Response) -> Mapping[str, type] | list[Mapping[str, type]] | None:
    if not response.is_success:
        return None
    method, path = response.request.method, response.url.path
    return next(
        (
            form
            for methods, pattern, form in _FORMS
            if re.fullmatch(methods, method) and re.search(rf"{pattern}$", path)
        ),
        None,
    )


def _fits(document: Any, form: Mapping[str, type] | list[Mapping[str, type]]) -> bool:
    if isinstance(form, list):
        return isinstance(document, list) and all(_fits(row, form[0]) for row in document)
    return isinstance(document, dict) and all(isinstance(document.get(name), kind) for name, kind in form.items())


def _shown(content: bytes) -> str:
    """The beginning of an answer, short enough to hold nothing of interest but its form."""
    text = content[:40].decode("utf-8", "replace")
    return repr(text if len(content) <= 40 else f"{text} ...")
