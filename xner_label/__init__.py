"""XNER-Label: named entities projected across languages, reviewed in Label Studio, learned from.

What a program may rely on is what ``__all__`` names; docs/api.md shows it at work. Each name is loaded when first
asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"

__all__ = [
    "Entity",
    "Evaluation",
    "Prediction",
    "ProjectedEntity",
    "RecordError",
    "Task",
    "XnerLabelError",
    "__version__",
    "evaluate",
    "open_store",
    "project",
]

if TYPE_CHECKING:
    from xner_label.api import evaluate, project
    from xner_label.entities import Entity, Prediction, ProjectedEntity, Task
    from xner_label.errors import RecordError, XnerLabelError
    from xner_label.evaluation.spans import Evaluation
    from xner_label.store.database import open_store

# Where each name lives: `xner-label --help` imports this module, and shall not import all the rest.
_HOMES = {
    "Entity": "xner_label.entities",
    "Evaluation": "xner_label.evaluation.spans",
    "Prediction": "xner_label.entities",
    "ProjectedEntity": "xner_label.entities",
    "RecordError": "xner_label.errors",
    "Task": "xner_label.entities",
    "XnerLabelError": "xner_label.errors",
    "evaluate": "xner_label.api",
    "open_store": "xner_label.store.database",
    "project": "xner_label.api",
}


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
