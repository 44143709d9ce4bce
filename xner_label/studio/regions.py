"""Between our entities and Label Studio's regions, checked on the way out and on the way in.

Both sides count code points, end exclusive. Label Studio stores a region with a wrong label, a wrong control or
an offset past the end without complaint and then doesn't show it, so nothing leaves or enters unchecked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from xner_label.errors import ContractError
from xner_label.store.pipelines import readable_name
from xner_label.studio.labelling import Control
from xner_label.studio.reasons import reasons

if TYPE_CHECKING:
    from xner_label.store.predictions import PlacedEntity
    from xner_label.store.tables import Prediction, ProjectedEntity


class ReviewedEntity(msgspec.Struct, frozen=True):
    """An entity as a person left it. ``region`` is the region's id, the prediction's own for one that was kept,
    moved or relabelled."""

    region: str
    start: int
    end: int
    label: str


def to_studio(text: str, prediction: Prediction, control: Control) -> dict[str, Any]:
    """A stored prediction of ``text`` as Label Studio takes it: model_version, score and the regions.

    Raises ContractError when an entity doesn't fit the text or the control's labels.
    """
    return {
        "model_version": readable_name(prediction.pipeline.name),
        "score": prediction.confidence,
        "result": [region_of(text, entity, control) for entity in prediction.entities],
    }


def require_fitting(entity: PlacedEntity, labels: Sequence[str]) -> None:
    """Raise ContractError for a stored entity that doesn't fit its text or the labels."""
    _check(entity.whole, entity.start, entity.end, entity.text, entity.label, labels, f"entity {entity.region}")


def region_of(text: str, entity: ProjectedEntity, control: Control) -> dict[str, Any]:
    """A stored entity of ``text`` as a region. Raises ContractError when it doesn't fit the text or the labels."""
    _check(text, entity.start, entity.end, entity.text, entity.label, control.labels, f"entity {entity.region}")
    return {
        "id": entity.region,
        "from_name": control.from_name,
        "to_name": control.to_name,
        "type": "labels",
        "score": entity.confidence,
        "meta": {"text": [reasons(entity)]},
        "value": {"start": entity.start, "end": entity.end, "text": entity.text, "labels": [entity.label]},
    }


def from_studio(text: str, result: Sequence[Mapping[str, Any]], control: Control) -> list[ReviewedEntity]:
    """The entities of an annotation's result list on ``text``, in text order, without exact repetitions.

    White space that was selected along with an entity is cut off. Results of other controls and relations are
    passed over. Raises ContractError for a region that doesn't fit the text or the labels.
    """
    by_span: dict[tuple[int, int, str], ReviewedEntity] = {}
    for region in result:
        if region.get("from_name") == control.from_name and region.get("type") == "labels":
            entity = _entity(text, region, control)
            by_span.setdefault((entity.start, entity.end, entity.label), entity)
    return [by_span[key] for key in sorted(by_span)]


def _entity(text: str, region: Mapping[str, Any], control: Control) -> ReviewedEntity:
    where = f"region {region.get('id')}"
    value = region.get("value")
    if not isinstance(value, Mapping):
        raise ContractError(f"{where} has no value", hint="delete the region in Label Studio and mark it again")
    start, end, labels = value.get("start"), value.get("end"), value.get("labels")
    if not (isinstance(labels, Sequence) and len(labels) == 1 and isinstance(labels[0], str)):
        raise ContractError(
            f"{where} must have exactly one label, found {labels!r}", hint="correct the region in Label Studio"
        )
    covered = value.get("text")
    if _same_up_to_space(text, start, end, covered):
        covered = None
    start, end = _check(text, start, end, covered, labels[0], control.labels, where)
    inside = text[start:end]
    start += len(inside) - len(inside.lstrip())
    end -= len(inside) - len(inside.rstrip())
    if start >= end:
        raise ContractError(f"{where} holds nothing but white space", hint="delete the region in Label Studio")
    return ReviewedEntity(str(region.get("id", "")), start, end, labels[0])


def _same_up_to_space(text: str, start: object, end: object, covered: object) -> bool:
    """Whether Label Studio may have made ``covered`` of that stretch of the text: it writes a line break as
    backslash and n, and a tab or several spaces as one space."""
    if not (isinstance(start, int) and isinstance(end, int) and isinstance(covered, str)):
        return False
    stretch, words = (" ".join(part.replace("\\n", " ").split()) for part in (text[start:end], covered))
    return stretch == words


def _check(
    text: str, start: object, end: object, covered: object, label: str, labels: Sequence[str], where: str
) -> tuple[int, int]:
    """Raise ContractError unless the offsets lie in the text, give ``covered`` (None: not said) and the label is
    known; returns the offsets."""
    if not (type(start) is int and type(end) is int and 0 <= start < end <= len(text)):
        raise ContractError(
            f"{where}: offsets {start!r}-{end!r} don't lie inside the text of {len(text)} code points",
            hint="offsets count Unicode code points, end exclusive",
        )
    if covered is not None and covered != text[start:end]:
        raise ContractError(
            f"{where}: offsets {start}-{end} hold {text[start:end]!r}, not {covered!r}",
            hint="the text was changed after the region was made, or offsets don't count code points",
        )
    if label not in labels:
        raise ContractError(
            f"{where}: label {label!r} isn't one of {', '.join(labels)}",
            hint="add it to `labels` in xner-label.toml and to the labelling configuration, or relabel the region",
        )
    return start, end
