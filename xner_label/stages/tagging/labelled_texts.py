"""Labelled texts to train a tagger on, in the project's labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from xner_label.entities import Entity, check_offsets
from xner_label.errors import ConfigurationError
from xner_label.jsonl import read_checked
from xner_label.stages.tagging.tag_map import project_label

_REMEDY = "set pipeline.tagger_map or --map, for example GPE=LOC, or give --labels"


class _LabelledText(msgspec.Struct):
    text: str
    entities: tuple[Entity, ...]


def read_labelled_texts(
    path: Path | str,
    labels: Sequence[str],
    mapping: Mapping[str, str] | None = None,
    *,
    tell: Callable[[str], None] | None = None,
) -> list[tuple[str, list[Entity]]]:
    """Texts and entities of a JSON Lines file with ``text`` and ``entities``, labels as the project calls them.

    Labels are translated as a checkpoint's are, see :func:`~xner_label.stages.tagging.tag_map.project_label`;
    those that the project has no name for are left out, and ``tell`` hears of them. Raises UsageError when the
    file can't be opened, RecordError for the first bad line, ConfigurationError when no entity is left to learn
    from.
    """
    seen: set[str] = set()
    foreign: Counter[str] = Counter()

    def known(record: _LabelledText) -> tuple[str, list[Entity]]:
        check_offsets(record.text, record.entities, "entities")
        seen.update(entity.label for entity in record.entities)
        named = [(entity, project_label(entity.label, labels, mapping or {})) for entity in record.entities]
        foreign.update(entity.label for entity, label in named if label not in labels)
        return record.text, [
            msgspec.structs.replace(entity, label=label) for entity, label in named if label in labels
        ]

    texts = list(read_checked(path, _LabelledText, known))
    if not any(entities for _, entities in texts):
        raise ConfigurationError(
            f"no entity in {path} to learn from: its labels ({', '.join(sorted(seen)) or 'none'}) don't fit the "
            f"project's ({', '.join(labels)})",
            hint=_REMEDY,
        )
    if foreign and tell is not None:
        listed = ", ".join(f"{label} ({count})" for label, count in foreign.most_common())
        tell(f"{path}: nothing is learned of the labels {listed}, which the project hasn't ({_REMEDY})")
    return texts
