"""The views of the data manager that a connected project has."""

from __future__ import annotations

from typing import Any

from xner_label.studio.client import Studio
from xner_label.studio.labelling import CONFLICT, CONTROL_SLICE, LOOK_HTML, QUEUE, RANK, SOURCE_HTML

REVIEW_TITLE = "To review"
CONTROL_TITLE = "Control slice"
CONFLICTS_TITLE = "Conflicts"
DONE_TITLE = "Done"
# Columns of the data manager that say nothing here.
HIDDEN_COLUMNS = (
    *("tasks:inner_id", "tasks:completed_at", "tasks:total_predictions", "tasks:avg_lead_time"),
    *("tasks:draft_exists", "tasks:file_upload", "tasks:storage_filename", "tasks:predictions_results"),
    *("tasks:annotations_results", "tasks:annotations_ids", "tasks:predictions_model_versions"),
    *("tasks:created_at", "tasks:updated_at", "tasks:updated_by", "tasks:comment_count"),
    *("tasks:unresolved_comment_count", "tasks:last_comment_updated_at", "tasks:comment_authors"),
)
_HIDDEN_DATA = tuple(f"tasks:data.{key}" for key in (LOOK_HTML, SOURCE_HTML))
_BY_RANK = f"tasks:data.{RANK}"
# The order of earlier versions, which a connect replaces.
_BY_SCORE = ["tasks:predictions_score"]


def ensure_views(studio: Studio, project: int) -> int:
    """Make our views where they are missing; returns the id of what waits for review.

    Views that are there stay as people left them, but for what earlier versions made.
    """
    there = {
        view.data.get("title"): view
        for view in studio.read(studio.api.views.list, project=project)
        if isinstance(view.data, dict)
    }
    ids = {}
    for title, ordering, filters in _views():
        view = there.get(title)
        data = {
            "title": title,
            "type": "list",
            "ordering": [ordering],
            "filters": {"conjunction": "and", "items": filters},
            "hiddenColumns": {part: [*HIDDEN_COLUMNS, *_HIDDEN_DATA] for part in ("explore", "labeling")},
            # Label Studio orders fields of a task's data as text unless they are shown as numbers
            "columnsDisplayType": {_BY_RANK: "Number"},
        }
        if view is None:
            ids[title] = int(studio.write(studio.api.views.create, project=project, data=data).id)
            continue
        ids[title] = int(view.id)
        kept = {**data, **view.data}
        if kept["ordering"] == _BY_SCORE:
            kept |= {"ordering": data["ordering"], "columnsDisplayType": data["columnsDisplayType"]}
        kept["hiddenColumns"] = {
            part: list(dict.fromkeys([*hidden, *_HIDDEN_DATA])) for part, hidden in kept["hiddenColumns"].items()
        }
        if kept != view.data:
            studio.write(studio.api.views.update, str(view.id), project=project, data=kept)
    return ids[REVIEW_TITLE]


def _views() -> list[tuple[str, str, list[dict[str, Any]]]]:
    """Title, order and filters of each."""
    waiting = [_number("total_annotations", "equal", 0), _number("cancelled_annotations", "equal", 0)]
    return [
        (REVIEW_TITLE, _BY_RANK, waiting),
        (CONTROL_TITLE, _BY_RANK, [_field(QUEUE, CONTROL_SLICE)]),
        (CONFLICTS_TITLE, _BY_RANK, [_field(QUEUE, CONFLICT)]),
        (DONE_TITLE, "-tasks:updated_at", [_number("total_annotations", "greater", 0)]),
    ]


def _number(field: str, operator: str, value: int) -> dict[str, Any]:
    return {"filter": f"filter:tasks:{field}", "operator": operator, "type": "Number", "value": value}


def _field(key: str, value: str) -> dict[str, Any]:
    return {"filter": f"filter:tasks:data.{key}", "operator": "equal", "type": "String", "value": value}
