"""A checkpoint's tag set in the project's labels.

Tag sets differ in their labels (CoNLL's PER, OntoNotes' PERSON, GPE and FAC, WikiANN's PER) and in how they mark
borders (IOB1, IOB2, BIOES, BILOU, or not at all). Both are evened out here, on probabilities, so that what a model
says twice over (B-GPE and B-LOC) adds up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from xner_label.errors import ConfigurationError

# Names of the same kind of entity in CoNLL, OntoNotes, WikiANN, MasakhaNER and common fine-tuned checkpoints.
# A checkpoint's label becomes the first of its group that the project knows; other labels are ignored, MISC and
# what belongs there too unless the project has it (as in the paper).
_GROUPS = (
    ("PER", "PERSON", "PERS", "PEOPLE"),
    ("ORG", "ORGANIZATION", "ORGANISATION", "CORPORATION", "CORP"),
    ("LOC", "LOCATION", "GPE", "FAC", "FACILITY"),
    ("DATE",),
    ("MISC", "MISCELLANEOUS", "NORP", "EVENT", "WORK_OF_ART", "PRODUCT", "LANGUAGE", "LAW"),
)
_BEGINS = frozenset("BSU")
_CONTINUES = frozenset("IEL")


def project_label(label: str, labels: Sequence[str], mapping: Mapping[str, str]) -> str | None:
    """The project's label for a checkpoint's, or None. ``mapping`` comes before what is known here."""
    if label in mapping:
        return mapping[label]
    known = {name.upper(): name for name in labels}
    upper = label.upper()
    if upper in known:
        return known[upper]
    for group in _GROUPS:
        if upper in group:
            return next((known[name] for name in group if name in known), None)
    return None


class TagMap:
    """Turns a checkpoint's tag probabilities into those of IOB2 tags in the project's labels.

    ``tags`` names the columns of the result: ``O``, then ``B-X`` and ``I-X`` for each label the checkpoint can
    give, in the project's order; ``unknown`` are the project's labels that it can't give. ``mapping`` translates
    single checkpoint labels (``{"GPE": "LOC"}``), or whole tags that say nothing (``{"LABEL_1": "B-PER"}``).

    Raises ConfigurationError when nothing fits or ``mapping`` names a label that the project doesn't have.
    """

    def __init__(
        self, checkpoint_tags: Sequence[str], labels: Sequence[str], mapping: Mapping[str, str] | None = None
    ) -> None:
        mapping = mapping or {}
        self._check(mapping, labels)
        checkpoint = [_split(mapping.get(tag, tag)) for tag in checkpoint_tags]
        translated = [
            (prefix, project_label(label, labels, mapping)) if label else ("O", None)
            for prefix, label in checkpoint
        ]
        covered = {label for _, label in translated}
        known = [label for label in labels if label in covered]
        if not known:
            seen = sorted({label for _, label in checkpoint if label})
            raise ConfigurationError(
                f"none of the checkpoint's labels ({', '.join(seen) or 'none'}) fits the project's "
                f"({', '.join(labels)})",
                hint='set pipeline.tagger_map, for example ["GPE=LOC"], or choose another tagger',
            )
        self.tags: tuple[str, ...] = ("O", *(f"{prefix}-{label}" for label in known for prefix in "BI"))
        self.unknown = tuple(label for label in labels if label not in known)
        columns = {tag: column for column, tag in enumerate(self.tags)}
        self._merge = np.zeros((len(translated), len(self.tags)))
        for row, (prefix, label) in enumerate(translated):
            tag = "O" if label is None else f"{'B' if prefix in _BEGINS else 'I'}-{label}"
            self._merge[row, columns[tag]] = 1.0

    @staticmethod
    def _check(mapping: Mapping[str, str], labels: Sequence[str]) -> None:
        for name, target in mapping.items():
            if (_split(target)[1] or target) not in labels and target != "O":
                raise ConfigurationError(
                    f"pipeline.tagger_map sends {name} to {target}, which the project doesn't have",
                    hint=f"its labels are {', '.join(labels)}",
                )

    def __call__(self, probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
        """From (words, checkpoint tags) to (words, tags); rows keep their sum.

        An I-X that doesn't continue an X begins one: in IOB1, and where a checkpoint doesn't mark borders, it
        always says I-X. So P(I-X) stays only as far as the word before is X; the rest moves to B-X.
        """
        merged: NDArray[np.float64] = probabilities.astype(np.float64) @ self._merge
        begin, inside = merged[:, 1::2], merged[:, 2::2]
        before = np.zeros_like(inside)
        before[1:] = np.minimum(begin[:-1] + inside[:-1], 1.0)
        moved = inside * (1.0 - before)
        merged[:, 1::2] += moved
        merged[:, 2::2] -= moved
        return merged


def parse_mapping(items: Sequence[str]) -> dict[str, str]:
    """Read ``["GPE=LOC", ...]``. Raises ConfigurationError for an item that isn't of that form."""
    pairs: dict[str, str] = {}
    for item in items:
        name, _, target = (field.strip() for field in item.partition("="))
        if not name or not target:
            raise ConfigurationError(f"pipeline.tagger_map: {item!r} isn't of the form GPE=LOC", hint="correct it")
        pairs[name] = target
    return pairs


def _split(tag: str) -> tuple[str, str]:
    """Prefix and label of a tag; no label for O. A tag without prefix counts as a continuing one (IO scheme)."""
    if tag.upper() in ("O", "OUTSIDE"):
        return "O", ""
    if len(tag) > 2 and tag[1] in "-_" and tag[0].upper() in _BEGINS | _CONTINUES:
        return tag[0].upper(), tag[2:]
    if len(tag) > 2 and tag[-2] in "-_" and tag[-1].upper() in _BEGINS | _CONTINUES:
        return tag[-1].upper(), tag[:-2]
    return "I", tag
