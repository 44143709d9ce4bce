"""Queries about pipeline versions: the long signature that says everything, and the short name people see.

A trained model counts as one too; its version is both its signature and its name.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from xner_label.store.database import insert_new
from xner_label.store.tables import PipelineVersion, Prediction

# What is short and free of commas (Label Studio lists versions separated by them) is a name already.
_NAME = re.compile(r"[\w.:+-]{1,64}", re.ASCII)
_PROJECTOR = re.compile(r"\bprojector=([a-z]+(?:-[a-z]+)*)")
# Hexadecimal digits behind a name: more only where fewer are taken.
_DIGITS = (4, 8, 16, 64)


def ensure_pipelines(session: Session, signatures: Collection[str]) -> dict[str, int]:
    """Ids of the pipeline versions with these signatures, made and named where they are new."""
    for digits in _DIGITS:
        ids = _ids(session, signatures)
        missing = [signature for signature in signatures if signature not in ids]
        if not missing:
            break
        rows = [{"signature": signature, "name": readable_name(signature, digits)} for signature in missing]
        insert_new(session, PipelineVersion, rows)
    return _ids(session, signatures)


def _ids(session: Session, signatures: Collection[str]) -> dict[str, int]:
    query = select(PipelineVersion.signature, PipelineVersion.id).where(PipelineVersion.signature.in_(signatures))
    return dict(session.execute(query).all())


def readable_name(signature: str, digits: int = _DIGITS[0]) -> str:
    """A short name such as ``corpus-3f2a``: the projector, and the first digits of the signature's SHA-256."""
    if _NAME.fullmatch(signature):
        return signature
    projector = _PROJECTOR.search(signature)
    digest = hashlib.sha256(signature.encode()).hexdigest()[:digits]
    kind = projector.group(1).removeprefix("log-linear-") if projector else "pipeline"
    return f"{kind}-{digest}"


def ensure_pipeline(session: Session, signature: str) -> PipelineVersion:
    """The pipeline version with this signature, made and named when it is new."""
    return session.get_one(PipelineVersion, ensure_pipelines(session, [signature])[signature])


def find_name(session: Session, signature: str) -> str | None:
    """The name of a pipeline version; None when it has never predicted anything here."""
    return session.scalar(select(PipelineVersion.name).where(PipelineVersion.signature == signature))


def signatures_by_name(session: Session, names: Collection[str]) -> dict[str, str]:
    """The full signatures of the pipeline versions with these names."""
    query = select(PipelineVersion.name, PipelineVersion.signature).where(PipelineVersion.name.in_(names))
    return dict(session.execute(query).all())


def made_by(version: str) -> ColumnElement[bool]:
    """The prediction was made by the pipeline version of that name."""
    return (
        Prediction.pipeline_id
        == select(PipelineVersion.id).where(PipelineVersion.name == version).scalar_subquery()
    )
