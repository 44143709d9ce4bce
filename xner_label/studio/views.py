"""The views of the data manager that a connected project has."""

from __future__ import annotations

from typing import Any

from xner_label.studio.client import Studio

VIEW_TITLE = "To review"
DONE_TITLE = "Done"
# Columns of the data manager that say nothing here.
HIDDEN_COLUMNS = (
    *("tasks:inner_id", "tasks:completed_at", "tasks:total_predictions", "tasks:avg_lead_time"),
    *("tasks:draft_exists", "tasks:file_upload", "tasks:storage_filename", "tasks:predictions_results"),
    *("tasks:annotations_results", "tasks:annotations_ids", "tasks:predictions_model_versions"),
    *("tasks:created_at", "tasks:updated_at", "tasks:updated_by", "tasks:comment_count"),
    *("tasks:unresolved_comment_count", "tasks:last_comment_updated_at", "tasks:comment_authors"),
)


def ensure_views(studio: Studio, project: int) -> int:
    """Make our views where they are missing; returns the id of what waits for review."""
    there = {
        view.data.get("title"): int(view.id)
        for view in studio.read(studio.api.views.list, project=project)
        if isinstance(view.data, dict)
    }
    unanswered = [_number("total_annotations", "equal", 0), _number("cancelled_annotations", "equal", 0)]
    for title, ordering, filters in (
        (VIEW_TITLE, "tasks:predictions_score", unanswered),
        (DONE_TITLE, "-tasks:updated_at", [_number("total_annotations", "greater", 0)]),
    ):
        if title not in there:
            data = {
                "title": title,
                "type": "list",
                "ordering": [ordering],
                "filters": {"conjunction": "and", "items": filters},
                "hiddenColumns": {"explore": list(HIDDEN_COLUMNS), "labeling": list(HIDDEN_COLUMNS)},
            }
            there[title] = int(studio.write(studio.api.views.create, project=project, data=data).id)
    return there[VIEW_TITLE]


def _number(field: str, operator: str, value: int) -> dict[str, Any]:
    return {"filter": f"filter:tasks:{field}", "operator": operator, "type": "Number", "value": value}
