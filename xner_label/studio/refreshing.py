"""Tasks that wait in Label Studio follow the newest predictions.

Label Studio shows the predictions of one version at a time. When a better pipeline or a newly trained model has
predicted the tasks that still wait there, they get its predictions beside the old ones, and the version that is
shown changes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from xner_label.errors import StudioError
from xner_label.store import reviews
from xner_label.store.database import Store
from xner_label.store.reviews import Outgoing
from xner_label.store.tables import Project
from xner_label.studio.client import Studio
from xner_label.studio.labelling import Control
from xner_label.studio.regions import to_studio

# Predictions in one request: about a second of Label Studio's time.
_CHUNK = 500


def refresh(
    store: Store, studio: Studio, project: Project, version: str, control: Control, progress: Callable[[str], None]
) -> int:
    """Give the waiting tasks of a connected project the predictions of ``version``; returns how many got one.

    The control slice stays blind. Raises StudioError, and ContractError when a prediction doesn't fit its text.
    """
    assert project.studio_project is not None
    with store.read() as session:
        outdated = reviews.outdated_items(session, project.id, version)
    if not outdated:
        return 0
    progress(f"{len(outdated)} waiting tasks get newer predictions ...")
    # an interrupted refresh may have sent some without noting it
    there = {
        row.id
        for row in studio.tasks(project.studio_project, include="id,predictions_model_versions")
        if f",{version}," in f",{row.predictions_model_versions},"
    }
    for start in range(0, len(outdated), _CHUNK):
        chunk = outdated[start : start + _CHUNK]
        _send(studio, project.studio_project, [one for one in chunk if one.task.studio_task not in there], control)
        with store.write() as session:
            shown = {one.item.id: one.prediction.id for one in chunk if one.prediction is not None}
            reviews.set_shown(session, shown)
    return len(outdated)


def _send(studio: Studio, studio_project: int, outgoing: Sequence[Outgoing], control: Control) -> None:
    request = [
        {"task": one.task.studio_task, **to_studio(one.task.text, one.prediction, control)}
        for one in outgoing
        if one.prediction is not None
    ]
    if request:
        studio.write(studio.api.projects.import_predictions, studio_project, request=request)


def show_version(studio: Studio, studio_project: int, version: str) -> bool:
    """Make Label Studio show the predictions of this version; False when it holds none of them yet."""
    if studio.project(studio_project).model_version == version:
        return True
    try:
        studio.write(studio.api.projects.update, studio_project, model_version=version)
    except StudioError as error:
        if "Model version doesn't exist" in str(error):
            return False
        raise
    return True
