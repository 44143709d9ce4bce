"""What Label Studio 1.23 sends: only the fields that are used; everything else, tokens above all, is dropped."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from xner_label.studio.labelling import LONGEST_CONFIG


class _Message(BaseModel):
    model_config = ConfigDict(extra="ignore")


class SetupRequest(_Message):
    """POST /setup. Its ``access_token`` is not read: the backend has a token of its own."""

    project: str = ""


class AskedTask(_Message):
    """A task as it stands in Label Studio. ``data`` holds the text under the key that the label config names."""

    id: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    data: dict[str, Any]


class Context(_Message):
    """What a person selected just now, with Auto-Annotation on."""

    result: list[dict[str, Any]] = Field(default_factory=list)


class Parameters(_Message):
    """What Label Studio says beside the tasks."""

    context: Context | None = None


class PredictRequest(_Message):
    """POST /predict. ``project`` is "ID.TIME" of Label Studio's project."""

    tasks: list[AskedTask]
    project: str | None = None
    label_config: Annotated[str, Field(max_length=LONGEST_CONFIG)] | None = None
    params: Parameters | None = None

    @property
    def studio_project(self) -> int | None:
        """The number of the Label Studio project, as ``"12.1700000000"`` begins; None without one."""
        number = (self.project or "").partition(".")[0]
        return int(number) if number.isdecimal() and len(number) < 19 else None


class WebhookEvent(_Message):
    """POST /webhook, from a webhook of the project or, START_TRAINING, from the ML page."""

    action: str
