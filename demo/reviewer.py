"""A SIMULATED reviewer: submits the sample's gold through Label Studio's API, the way a person's edits arrive.

It starts from the prediction that is shown, keeps or corrects its regions and deletes or adds others, so that the
annotation carries what Label Studio itself would store: the ids of the prediction's regions and where each came
from.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from xner_label.entities import Entity
from xner_label.sample import SampleTask


def review(url: str, token: str, project: int, gold: Mapping[str, SampleTask]) -> int:
    """Annotate every task of a Label Studio project that nobody has annotated; returns how many.

    ``gold`` is keyed by the external id that a task carries as ``xner_id``.
    """
    from label_studio_sdk.client import LabelStudio

    client = LabelStudio(base_url=url, api_key=token)
    reviewed = 0
    for task in client.tasks.list(project=project, fields="all", page_size=100):
        if task.annotations:
            continue
        known = gold[task.data["xner_id"]]
        shown = task.predictions[0] if task.predictions else None
        client.annotations.create(
            id=task.id,
            result=edited(shown.result if shown else [], known.text, known.entities or ()),
            parent_prediction=shown.id if shown else None,
        )
        reviewed += 1
    return reviewed


def edited(regions: Sequence[Mapping[str, Any]], text: str, gold: Sequence[Entity]) -> list[dict[str, Any]]:
    """A prediction's regions after a careful person has worked on them.

    A region is kept where the gold has the same span, corrected where it has one that overlaps, else deleted;
    gold that no region was used for is added.
    """
    left = list(gold)
    pairs: list[tuple[Mapping[str, Any] | None, Entity]] = []
    for same_span in (True, False):
        for region in regions:
            if any(region is used for used, _ in pairs):
                continue
            match = next((entity for entity in left if _fits(region["value"], entity, same_span)), None)
            if match is not None:
                left.remove(match)
                pairs.append((region, match))
    pairs += [(None, entity) for entity in left]
    return [_region(region, entity, text) for region, entity in pairs]


def _fits(value: Mapping[str, Any], entity: Entity, same_span: bool) -> bool:
    if same_span:
        return (value["start"], value["end"]) == (entity.start, entity.end)
    return bool(value["start"] < entity.end and entity.start < value["end"])


def _region(region: Mapping[str, Any] | None, entity: Entity, text: str) -> dict[str, Any]:
    value = {
        "start": entity.start,
        "end": entity.end,
        "text": text[entity.start : entity.end],
        "labels": [entity.label],
    }
    if region is None:
        new = {"from_name": "label", "to_name": "text", "type": "labels", "origin": "manual"}
        return {"id": secrets.token_hex(5), **new, "value": value}
    kept = all(region["value"][key] == value[key] for key in ("start", "end", "labels"))
    return {**region, "value": value, "origin": "prediction" if kept else "prediction-changed"}
