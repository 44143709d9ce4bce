"""A tagger whose labels are translated into the project's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from xner_label.entities import Entity, Tokens
from xner_label.errors import ConfigurationError, RecordError
from xner_label.stages.interfaces import Tagger
from xner_label.stages.tagging.tag_map import project_label


class RelabelledTagger:
    """Gives the entities of ``tagger`` the labels that the project has for them; those without one are left out.

    ``known`` are the labels that the tagger can give. The signature names the translation where it changes a
    label. Raises ConfigurationError when the project has none of them.
    """

    def __init__(
        self, tagger: Tagger, known: Sequence[str], labels: Sequence[str], mapping: Mapping[str, str] | None = None
    ) -> None:
        named = {label: project_label(label, labels, mapping or {}) for label in known}
        self._names = {label: name for label, name in named.items() if name in labels and name is not None}
        if not self._names:
            raise ConfigurationError(
                f"none of the tagger's labels ({', '.join(sorted(known)) or 'none'}) fits the project's "
                f"({', '.join(labels)})",
                hint='set pipeline.tagger_map, for example ["GPE=LOC"], or choose another tagger',
            )
        self._tagger = tagger
        changed = [f"{label}={name}" for label, name in sorted(self._names.items()) if label != name]
        self.signature = ":".join([tagger.signature, *changed])

    def tag(self, texts: Sequence[Tokens]) -> list[list[Entity] | RecordError]:
        """The entities of each text that the project has a label for."""
        return [
            entities if isinstance(entities, RecordError) else self._relabelled(entities)
            for entities in self._tagger.tag(texts)
        ]

    def _relabelled(self, entities: Sequence[Entity]) -> list[Entity]:
        names = self._names
        return [
            entity if names[entity.label] == entity.label else _renamed(entity, names[entity.label])
            for entity in entities
            if entity.label in names
        ]


def _renamed(entity: Entity, label: str) -> Entity:
    return msgspec.structs.replace(entity, label=label)
