"""Whether everything the configured pipeline needs is there, with the remedy for what is not."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from xner_label import __version__
from xner_label.errors import MissingExtraError, StudioError, XnerLabelError
from xner_label.pipeline.checking import check_stages
from xner_label.reporting.check import Check
from xner_label.reporting.connection import backend_checks, project_checks
from xner_label.settings.table import Settings

_SHOWN_VERSIONS = ("sqlalchemy", "label-studio-sdk", "fastapi", "torch", "transformers", "eflomal")


@dataclass(frozen=True)
class Diagnosis:
    """All checks, in the order in which problems should be put right."""

    checks: tuple[Check, ...]

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that said no."""
        return tuple(check for check in self.checks if check.verdict == "no")


def diagnose(settings: Settings) -> Diagnosis:
    """Carry out every check; a check that can't be carried out says so instead of raising."""
    database = _database(settings.database_url)
    return Diagnosis(
        (
            _versions(),
            _extra("studio", "label_studio_sdk", "talking to Label Studio"),
            _extra("backend", "fastapi", "the ML backend"),
            *_stages(settings),
            _training_folder(settings.training_folder),
            database,
            *_studio(settings),
            *backend_checks(settings),
            # asking the store would make the file where there is none
            *(project_checks(settings) if database.verdict == "ok" else ()),
        )
    )


def backend_address(settings: Settings) -> str:
    """The address at which Label Studio reaches the ML backend, as far as the settings tell."""
    return settings.backend_url or f"http://{settings.backend_host}:{settings.backend_port}"


def _versions() -> Check:
    versions = [f"xner-label {__version__}", f"Python {platform.python_version()}"]
    for name in _SHOWN_VERSIONS:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return Check("versions", "ok", ", ".join(versions))


def _extra(extra: str, module: str, purpose: str) -> Check:
    if importlib.util.find_spec(module):
        return Check(f"extra {extra}", "ok", "installed")
    return Check(f"extra {extra}", "no", f"{purpose} needs it", MissingExtraError(extra, purpose).hint)


def _stages(settings: Settings) -> Iterator[Check]:
    for stage, description, problem in check_stages(settings):
        if problem is None:
            yield Check(stage, "ok", description)
            continue
        remedy = problem.hint
        if isinstance(problem, MissingExtraError) and problem.extra == "eflomal":
            remedy += ", which takes a C compiler; or choose --aligner none --projector string"
        yield Check(stage, "no", f"{description}: {problem.args[0]}", remedy)


def _training_folder(folder: str) -> Check:
    path = Path(folder).expanduser()
    existing = next(place for place in (path, *path.resolve().parents) if place.exists())
    if existing.is_dir() and os.access(existing, os.W_OK):
        return Check("training folder", "ok", str(path))
    return Check("training folder", "no", f"{existing} can't be written", "set training.folder to another one")


def _database(url: str) -> Check:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    from xner_label.store.database import open_store

    try:
        parsed = make_url(url)
        file = parsed.database if parsed.get_backend_name() == "sqlite" else None
        if file and file != ":memory:" and not Path(file).is_file():
            # Opening it would make it.
            return Check("database", "no", f"there is no {file}", "run `xner-label db upgrade`")
        with open_store(url) as store:
            return Check("database", "ok", f"{store.url}, schema at head")
    except ArgumentError:
        return Check("database", "no", "its URL can't be read", "for example sqlite:///xner-label.db")
    except XnerLabelError as error:
        return Check("database", "no", error.args[0], error.hint)


def _studio(settings: Settings) -> Iterator[Check]:
    from xner_label.studio.probe import probe

    address = backend_address(settings)
    try:
        server = probe(settings.studio_url, settings.studio_api_key, address)
    except StudioError as error:
        yield Check("Label Studio", "no", error.args[0], error.hint)
        return
    yield Check("Label Studio", "ok", f"{server.version} at {settings.studio_url}")
    if server.user is not None:
        yield Check("token", "ok", f"{server.token} token of {server.user}")
    elif server.token == "none":
        yield Check("token", "no", server.refusal, "set LABEL_STUDIO_API_KEY or LABEL_STUDIO_API_KEY_FILE")
    elif "legacy" in server.refusal.lower():
        yield Check(
            "token",
            "no",
            f"a legacy token, and this server takes none: {server.refusal}",
            "make a personal access token under Account & Settings, or allow legacy tokens in the organisation",
        )
    else:
        yield Check(
            "token",
            "no",
            f"{server.token} token refused: {server.refusal}",
            "copy it anew from Account & Settings",
        )
    remedy = "start Label Studio with ML_BLOCK_LOCAL_IP=false and SSRF_PROTECTION_ENABLED=false"
    for name, allowed in (
        ("ML backend address", server.backend_allowed),
        ("webhook address", server.webhook_allowed),
    ):
        if allowed is False:
            yield Check(name, "no", f"Label Studio refuses {address}: it blocks private addresses", remedy)
        elif allowed:
            yield Check(name, "ok", f"Label Studio accepts {address}")
