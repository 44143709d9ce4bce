"""The labelling configuration: what a person sees, and which control holds the entities.

The source text stands above the text to label, so that one can check a projection without knowing the other
language by heart. A project that somebody else configured is used as it is, as long as it has a Labels control on
a plain Text with all of our labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree

import msgspec

from xner_label.errors import ConfigurationError

# Keys of a task's data in Label Studio. Its interface shows the whole task where a key is called `source`.
TEXT = "text"
SOURCE = "source_text"
EXTERNAL_ID = "xner_id"
MIN_CONFIDENCE = "min_conf"

# Told apart in the usual kinds of colour blindness, and dark enough for the white text of a label's hotkey.
_COLOURS = {"PER": "#2563EB", "ORG": "#D97706", "LOC": "#059669", "DATE": "#9333EA", "MISC": "#DB2777"}
_FURTHER_COLOURS = ("#0891B2", "#65A30D", "#DC2626", "#4B5563", "#7C2D12", "#4338CA", "#BE185D", "#A16207")

_STYLE = (
    ".xner-source { background: #F3F4F6; border-left: 4px solid #9CA3AF; border-radius: 4px; "
    "padding: 8px 14px; margin-bottom: 14px } "
    ".xner-text [class*=richtext__line], .xner-text [class*=richtext__container] "
    "{ font-size: 18px; line-height: 2.2 }"
)


class Control(msgspec.Struct, frozen=True):
    """The Labels control of a project: its name, the Text it labels, the data key shown there, its labels."""

    from_name: str
    to_name: str
    text_key: str
    labels: tuple[str, ...]


def labelling_config(labels: Sequence[str], source_language: str = "en") -> str:
    """The configuration of a new project, as XML."""
    view = ElementTree.Element("View")
    ElementTree.SubElement(view, "Style").text = _STYLE
    source = ElementTree.SubElement(view, "View", className="xner-source")
    ElementTree.SubElement(source, "Header", value=f"Source ({source_language})", size="5")
    ElementTree.SubElement(source, "Text", name="source", value=f"${SOURCE}")
    control = ElementTree.SubElement(view, "Labels", name="label", toName="text", showInline="true")
    for label, colour in zip(labels, _colours(labels), strict=True):
        ElementTree.SubElement(control, "Label", value=label, background=colour)
    target = ElementTree.SubElement(view, "View", className="xner-text")
    ElementTree.SubElement(target, "Text", name="text", value=f"${TEXT}")
    ElementTree.indent(view)
    return ElementTree.tostring(view, encoding="unicode")


def our_control(labels: Sequence[str]) -> Control:
    """The control of a project that has :func:`labelling_config`."""
    return Control("label", "text", TEXT, tuple(labels))


def find_control(label_config: str, labels: Sequence[str]) -> Control:
    """The first Labels control on a plain Text that offers all of ``labels``.

    Raises ConfigurationError, naming what is missing, when the configuration has none.
    """
    try:
        root = ElementTree.fromstring(label_config)  # noqa: S314
    except ElementTree.ParseError as error:
        raise ConfigurationError(
            f"the project's labelling configuration isn't valid XML: {error}",
            hint="correct it in Label Studio under Settings > Labeling Interface",
        ) from None
    texts = {
        element.get("name", ""): element.get("value", "")[1:]
        for element in root.iter("Text")
        if element.get("value", "").startswith("$")
    }
    controls = [
        Control(element.get("name", ""), target, texts[target], _offered(element))
        for element in root.iter("Labels")
        if (target := element.get("toName", "")) in texts
    ]
    for control in controls:
        if set(labels) <= set(control.labels):
            return control
    if not controls:
        problem = "has no <Labels> on a <Text> that shows a field of the task"
    else:
        missing = sorted(set(labels).difference(*(control.labels for control in controls)) or set(labels))
        problem = f"lacks the label{'s' if len(missing) > 1 else ''} {', '.join(missing)}"
    raise ConfigurationError(
        f"the labelling configuration of the Label Studio project {problem}",
        hint="add it there, change `labels` in xner-label.toml, or run `xner-label connect --replace-config`",
    )


def _offered(element: ElementTree.Element) -> tuple[str, ...]:
    # where a label has an alias, that is what results carry
    return tuple(label.get("alias") or label.get("value") or "" for label in element.iter("Label"))


def _colours(labels: Sequence[str]) -> list[str]:
    further = iter(_FURTHER_COLOURS * (len(labels) // len(_FURTHER_COLOURS) + 1))
    return [_COLOURS.get(label) or next(further) for label in labels]
