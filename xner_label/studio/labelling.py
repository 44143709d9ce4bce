"""The labelling configuration: what a person sees, and which control holds the entities.

The source text stands above the text to label, so that one can check a projection without knowing the other
language by heart. A project that somebody else configured is used as it is, as long as it has a Labels control on
a plain Text with all of our labels.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import msgspec

from xner_label.errors import ConfigurationError

if TYPE_CHECKING:
    from xner_label.store.tables import Project

# Keys of a task's data in Label Studio. Its interface shows the whole task where a key is called `source`.
TEXT = "text"
SOURCE = "source_text"
EXTERNAL_ID = "xner_id"
MIN_CONFIDENCE = "min_conf"
# The place in the queue, and the part of it: see below.
RANK = "xner_rank"
QUEUE = "xner_queue"
# HTML: what to look at first, and the source with its entities marked.
LOOK_HTML = "xner_look"
SOURCE_HTML = "xner_source"
# Tasks that people review with a prediction, those without one, and those about which they disagree.
REVIEW, CONTROL_SLICE, CONFLICT = "review", "control", "conflict"

# Told apart in the usual kinds of colour blindness, and dark enough for the white text of a label's hotkey.
_COLOURS = {"PER": "#2563EB", "ORG": "#D97706", "LOC": "#059669", "DATE": "#9333EA", "MISC": "#DB2777"}
_FURTHER_COLOURS = ("#0891B2", "#65A30D", "#DC2626", "#4B5563", "#7C2D12", "#4338CA", "#BE185D", "#A16207")

# Translucent, so that it reads on a light and on a dark page. Chromium's own style sheet hides <area>, which are
# the handles that drag a region's border. Lines run as their own script does, and are as wide as the page, so that
# they begin at the side where it begins.
_STYLE = (
    ".xner-source { background: rgba(128, 128, 128, .12); border-left: 4px solid rgba(128, 128, 128, .5); "
    "border-radius: 4px; padding: 8px 14px; margin-bottom: 14px } "
    ".htx-highlight area { display: inline } "
    ".xner-source [class*=richtext__line], .xner-source [class*=richtext__container], "
    ".xner-text [class*=richtext__line], .xner-text [class*=richtext__container] "
    "{ unicode-bidi: plaintext; text-align: start } "
    ".xner-text [class*=richtext__line], .xner-text [class*=richtext__container] "
    "{ font-size: 18px; line-height: 2.2 } "
    "[class*=richtext__line] { min-width: 100% } "
    ".xner-control, .xner-undefined { display: none } "
    ".xner-source:has(.xner-review, .xner-conflict) .xner-plain { display: none } "
    ".xner-source .xner-review, .xner-source .xner-conflict { white-space: pre-wrap } "
    ".xner-look .xner-review:not(:empty), .xner-look .xner-conflict { border-left: 4px solid #D97706; "
    "background: rgba(217, 119, 6, .10); border-radius: 4px; padding: 6px 14px; margin-bottom: 14px }"
)
# A labelling configuration of this many characters has thousands of labels.
LONGEST_CONFIG = 1_000_000


class Control(msgspec.Struct, frozen=True):
    """The Labels control of a project: its name, the Text it labels, the data key shown there, its labels, the
    data key of the source, and whether the project shows what to look at first and the marked source."""

    from_name: str
    to_name: str
    text_key: str
    labels: tuple[str, ...]
    source_key: str = SOURCE
    guides: bool = False


def labelling_config(labels: Sequence[str], source_language: str = "en") -> str:
    """The configuration of a new project, as XML."""
    view = ElementTree.Element("View")
    ElementTree.SubElement(view, "Style").text = _STYLE
    view.append(_look())
    source = ElementTree.SubElement(view, "View", className="xner-source")
    ElementTree.SubElement(source, "Header", value=f"Source ({source_language})", size="5")
    source.append(_optional_html("marked", SOURCE_HTML))
    plain = ElementTree.SubElement(source, "View", className="xner-plain")
    ElementTree.SubElement(plain, "Text", name="source", value=f"${SOURCE}")
    control = ElementTree.SubElement(view, "Labels", name="label", toName="text", showInline="true")
    for label, colour in zip(labels, _colours(labels), strict=True):
        ElementTree.SubElement(control, "Label", value=label, background=colour)
    target = ElementTree.SubElement(view, "View", className="xner-text")
    ElementTree.SubElement(target, "Text", name="text", value=f"${TEXT}")
    ElementTree.indent(view)
    return ElementTree.tostring(view, encoding="unicode")


def our_control(labels: Sequence[str]) -> Control:
    """The control of a project that has :func:`labelling_config`."""
    return Control("label", "text", TEXT, tuple(labels), guides=True)


def upgraded_config(label_config: str) -> str | None:
    """A configuration that we made for an earlier version as we make it now, everything that people changed in it
    left as it is; None for one that is up to date or isn't ours. Raises ConfigurationError."""
    root = _parsed(label_config)
    place = next((view for view in root.iter("View") if view.get("className") == "xner-source"), None)
    if place is None or _guides(root):
        return None
    source = next((text for text in place.iter("Text") if text.get("value") == f"${SOURCE}"), None)
    if source is None or source not in list(place):
        return None
    position = list(place).index(source)
    place.remove(source)
    plain = ElementTree.Element("View", className="xner-plain")
    plain.append(source)
    place.insert(position, _optional_html("marked", SOURCE_HTML))
    place.insert(position + 1, plain)
    root.insert(list(root).index(place) if place in list(root) else 0, _look())
    for style in root.iter("Style"):
        if (style.text or "").strip().startswith(".xner-source {"):
            style.text = _STYLE
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode")


def _look() -> ElementTree.Element:
    view = ElementTree.Element("View", className="xner-look")
    view.append(_optional_html("look", LOOK_HTML))
    return view


def _optional_html(name: str, key: str) -> ElementTree.Element:
    """HTML of the field ``key``, hidden where the task doesn't have it.

    Label Studio refuses tasks that lack a field which an object's value names as ``$key``, such as those that
    people make by hand. It doesn't look into ``$[key]``, which its browser side reads all the same and writes as
    "undefined" where it is missing: the style hides that.
    """
    value = f'<div class="xner-$[{QUEUE}]">$[{key}]</div>'
    return ElementTree.Element("HyperText", name=name, value=value, inline="true")


def _guides(root: ElementTree.Element) -> bool:
    return any(f"$[{LOOK_HTML}]" in element.get("value", "") for element in root.iter("HyperText"))


def control_of_project(studio_row: Any, project: Project) -> Control:
    """The control of a connected project of Label Studio with the labels and fields that the store has for it.

    Raises ConfigurationError.
    """
    control = find_control(studio_row.label_config, project.labels, text_field=project.studio_text_field)
    return msgspec.structs.replace(
        control, labels=tuple(project.labels), source_key=project.studio_source_field or SOURCE
    )


def find_control(label_config: str, labels: Sequence[str], *, text_field: str | None = None) -> Control:
    """The first Labels control on a plain Text that offers all of ``labels``; ``text_field`` names the field of
    the task that the Text must show.

    Raises ConfigurationError, naming what is missing, when the configuration has none.
    """
    every = _controls(label_config)
    controls = [control for control in every if text_field in (None, control.text_key)]
    for control in controls:
        if set(labels) <= set(control.labels):
            return control
    if not controls:
        shown = "a field of the task" if text_field is None else f"the field {text_field!r}"
        problem = f"has no <Labels> on a <Text> that shows {shown}"
    else:
        offered = set().union(*(control.labels for control in controls))
        missing = sorted(set(labels).difference(offered) or set(labels))
        problem = f"lacks the label{'s' if len(missing) > 1 else ''} {', '.join(missing)}"
        if strange := sorted(offered.difference(labels)):
            problem += f" and offers {', '.join(strange)}, which the project doesn't have"
    raise ConfigurationError(
        f"the labelling configuration of the Label Studio project {problem}",
        hint="add it there, change `labels` in xner-label.toml and run `xner-label connect`, or run "
        "`xner-label connect --replace-config`",
    )


def shown_fields(label_config: str) -> list[str]:
    """The fields of a task that a configuration shows, in its order. Raises ConfigurationError."""
    fields = [
        match.group(1)
        for element in _parsed(label_config).iter()
        for value in element.attrib.values()
        if (match := re.fullmatch(r"\$(\w+)", value))
    ]
    return list(dict.fromkeys(fields))


@lru_cache(maxsize=16)
def _controls(label_config: str) -> tuple[Control, ...]:
    """Every Labels control on a plain Text that shows a field of the task."""
    root = _parsed(label_config)
    texts = {
        element.get("name", ""): element.get("value", "")[1:]
        for element in root.iter("Text")
        if element.get("value", "").startswith("$")
    }
    guides = _guides(root)
    return tuple(
        Control(element.get("name", ""), target, texts[target], _offered(element), guides=guides)
        for element in root.iter("Labels")
        if (target := element.get("toName", "")) in texts
    )


def _parsed(label_config: str) -> ElementTree.Element:
    """The configuration as XML, which may neither be huge nor grow while it is read."""
    if len(label_config) > LONGEST_CONFIG:
        problem = f"has {len(label_config):,} characters, {LONGEST_CONFIG:,} are allowed"
    elif "<!DOCTYPE" in label_config.upper():
        problem = "has a <!DOCTYPE>, which is refused"
    else:
        try:
            return ElementTree.fromstring(label_config)  # noqa: S314 - no document type, so nothing that could grow
        except ElementTree.ParseError as error:
            problem = f"isn't valid XML: {error}"
    raise ConfigurationError(
        f"the project's labelling configuration {problem}",
        hint="correct it in Label Studio under Settings > Labeling Interface",
    ) from None


def _offered(element: ElementTree.Element) -> tuple[str, ...]:
    # where a label has an alias, that is what results carry
    return tuple(label.get("alias") or label.get("value") or "" for label in element.iter("Label"))


def _colours(labels: Sequence[str]) -> list[str]:
    further = iter(_FURTHER_COLOURS * (len(labels) // len(_FURTHER_COLOURS) + 1))
    return [_COLOURS.get(label) or next(further) for label in labels]


def label_colours(labels: Sequence[str]) -> dict[str, str]:
    """The colour (#RRGGBB) of each label in the configurations that we make."""
    return dict(zip(labels, _colours(labels), strict=True))
