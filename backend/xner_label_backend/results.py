"""From stored predictions to the results that Label Studio takes.

Label Studio stores a region with a wrong label, control or offset without complaint and never shows it, and drops
the whole answer for one score that isn't a number. So every region is checked against the labelling configuration
that came with the request, and left out, with a logged reason, when it doesn't fit.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from xner_label.errors import ConfigurationError, ContractError
from xner_label.logs import told
from xner_label.predicting.service import Answer
from xner_label.store.tables import Prediction
from xner_label.studio.labelling import Control, find_control, our_control
from xner_label.studio.regions import from_studio, region_of

_LOG = logging.getLogger(__name__)


def control_of(label_config: str | None, labels: Sequence[str]) -> Control:
    """The control that predictions are for: the one that offers all our labels, else the first on a text.

    Raises ConfigurationError when the configuration has none at all.
    """
    if not label_config:
        return our_control(labels)
    try:
        return find_control(label_config, labels)
    except ConfigurationError:
        return find_control(label_config, ())


def empty(version: str) -> dict[str, Any]:
    """The result of a task without a prediction."""
    return {"result": [], "score": 0.0, "model_version": version}


def result_of(name: str, text: str, answer: Answer, control: Control, version: str) -> dict[str, Any]:
    """One item of the reply. ``name`` is how the log calls the task."""
    prediction = answer.prediction
    if prediction is None:
        _LOG.warning("no prediction for %s: %s", name, answer.reason)
        return empty(version)
    if not math.isfinite(prediction.confidence):
        _LOG.error("no prediction for %s: its confidence %r is no number", name, prediction.confidence)
        return empty(version)
    return {
        "result": _regions(name, text, prediction, control),
        "score": prediction.confidence,
        "model_version": version,
    }


def _regions(name: str, text: str, prediction: Prediction, control: Control) -> list[dict[str, Any]]:
    regions = []
    for entity in prediction.entities:
        try:
            if not math.isfinite(entity.confidence):
                raise ContractError(f"entity {entity.region}: confidence {entity.confidence!r} is no number")
            regions.append(region_of(text, entity, control))
        except ContractError as error:
            _LOG.warning("left out of the prediction for %s: %s", name, told(error))
    return regions


def same_name_elsewhere(
    name: str,
    text: str,
    selected: Sequence[Mapping[str, Any]],
    shown: Answer | None,
    control: Control,
    version: str,
) -> dict[str, Any]:
    """The answer to a person's selection: the other places where exactly the same words stand, with its label.

    Places that the selection or the stored prediction covers already are left out. The score, of each region and
    of all, is 0: nobody has measured how often such a place is right.
    """
    # Label Studio leaves the names of the control out of the selection
    regions = [{"from_name": control.from_name, "type": "labels", **region} for region in selected]
    try:
        chosen = from_studio(text, regions, control)
    except ContractError as error:
        _LOG.warning("nothing suggested for %s: %s", name, told(error))
        return empty(version)
    covered = [(entity.start, entity.end) for entity in chosen]
    if shown is not None and shown.prediction is not None:
        covered += [(entity.start, entity.end) for entity in shown.prediction.entities]
    result = []
    for entity in chosen:
        words = text[entity.start : entity.end]
        for match in re.finditer(rf"(?<!\w){re.escape(words)}(?!\w)", text):
            start, end = match.span()
            if any(start < other_end and other_start < end for other_start, other_end in covered):
                continue
            covered.append((start, end))
            result.append(
                {
                    "id": f"same-{start}-{end}",
                    "from_name": control.from_name,
                    "to_name": control.to_name,
                    "type": "labels",
                    "score": 0.0,
                    "value": {"start": start, "end": end, "text": words, "labels": [entity.label]},
                }
            )
    return {**empty(version), "result": result}
