"""Name cards: one question about all occurrences of a name, as a task of Label Studio.

A card shows the name in both languages, how often it occurs and up to five occurrences in context; its options
come with the task. The option's alias is what an annotation carries, see :func:`option_of` and :func:`verdict_of`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any
from xml.etree import ElementTree

from xner_label.entities import Span
from xner_label.errors import ContractError
from xner_label.review.name_answers import Kind, Verdict
from xner_label.review.name_groups import NameGroup, Occurrence, places_shown
from xner_label.studio.labelling import EXTERNAL_ID
from xner_label.wording import counted

# Keys of a card's data. TITLE is for the table, which would show CARD as raw HTML.
CARD = "card"
OPTIONS = "options"
TITLE = "name"

# Text around an occurrence that a card shows, in code points.
_CONTEXT = 160
_MARK = "background:rgba(217,119,6,.30);color:inherit;border-radius:3px;padding:0 2px"
_STYLE = (
    ".xner-card { font-size: 17px; line-height: 1.6; unicode-bidi: plaintext; text-align: start } "
    ".xner-card [class*=richtext__line], .xner-card [class*=richtext__container] "
    "{ unicode-bidi: plaintext; text-align: start }"
)


def card_config() -> str:
    """The labelling configuration of the project that cards go to, as XML."""
    view = ElementTree.Element("View")
    ElementTree.SubElement(view, "Style").text = _STYLE
    shown = ElementTree.SubElement(view, "View", className="xner-card")
    ElementTree.SubElement(shown, "HyperText", name="card", value=f"${CARD}", inline="true")
    ElementTree.SubElement(
        view,
        "Choices",
        name="answer",
        toName="card",
        choice="single-radio",
        value=f"${OPTIONS}",
        required="true",
        requiredMessage="One answer for all of them; the last one if it depends on the sentence.",
    )
    ElementTree.indent(view)
    return ElementTree.tostring(view, encoding="unicode")


def card_data(external_id: str, group: NameGroup, labels: Sequence[str], spans: Sequence[str]) -> dict[str, Any]:
    """A card as Label Studio imports it; ``labels`` and ``spans`` are the others that the group could have."""
    shown = group.occurrences[0]
    name = shown.text[shown.start : shown.end]
    data = {
        EXTERNAL_ID: external_id,
        TITLE: f"{name} ({group.key.label}), {counted(len(group.occurrences), 'time')}",
        CARD: _card(group),
    }
    return with_verdicts(data, [group.key.label, *labels], spans)


def with_verdicts(data: Mapping[str, Any], labels: Sequence[str], spans: Sequence[str]) -> dict[str, Any]:
    """A card's data with options for these labels and spans."""
    options = [
        option_of(verdict, str(number) if number < 10 else "")
        for number, verdict in enumerate(verdicts(labels, spans), start=1)
    ]
    return {**data, OPTIONS: options}


def verdicts(labels: Sequence[str], spans: Sequence[str]) -> list[Verdict]:
    """What can be answered, in the order of the options: the labels first, "it depends" last."""
    return [
        *(Verdict(Kind.LABEL, name) for name in labels),
        *(Verdict(Kind.SPAN, text) for text in spans),
        Verdict(Kind.NO_NAME),
        Verdict(Kind.DEPENDS),
    ]


def option_of(verdict: Verdict, hotkey: str) -> dict[str, str]:
    """An option of a card; without a ``hotkey`` it is for the mouse alone."""
    words = {
        Kind.LABEL: f"{verdict.value}",
        Kind.SPAN: f"other borders: {verdict.value}",
        Kind.NO_NAME: "not a name",
        Kind.DEPENDS: "it depends on the sentence",
    }[verdict.kind]
    alias = f"{verdict.kind}:{verdict.value}" if verdict.value else str(verdict.kind)
    return {"value": words, "alias": alias} | ({"hotkey": hotkey} if hotkey else {})


def verdict_of(regions: Sequence[Mapping[str, Any]]) -> Verdict | None:
    """What an annotation of a card says; None for one without an answer.

    Raises ContractError for an answer that no card offers.
    """
    chosen = [region["value"]["choices"] for region in regions if region.get("type") == "choices"]
    if not chosen or not chosen[0]:
        return None
    return verdict_of_alias(str(chosen[0][0]))


def verdict_of_alias(alias: str) -> Verdict:
    """What an option stands for. Raises ContractError for one that no card offers."""
    kind, _, value = alias.partition(":")
    if kind not in {str(known) for known in Kind} or bool(value) != (kind in (Kind.LABEL, Kind.SPAN)):
        raise ContractError(
            f"{alias!r} is no answer that a name card offers",
            hint="delete that annotation in Label Studio, and answer the card again",
        )
    return Verdict(Kind(kind), value)


def _card(group: NameGroup) -> str:
    first = group.occurrences[0]
    name = first.text[first.start : first.end]
    source = ""
    if first.source is not None and first.mention is not None:
        source = (
            f' <span style="opacity:.75">← {escape(first.source[first.mention.start : first.mention.end])}</span>'
        )
    sure = sum(occurrence.confidence for occurrence in group.occurrences) / len(group.occurrences)
    count = len(group.occurrences)
    lines = [
        f'<div style="font-size:1.35em;font-weight:600"><bdi>{escape(name)}</bdi>{source}</div>',
        f'<div style="opacity:.75">{escape(group.key.label)}? {count} times, '
        f"expected right: {sure:.0%}. Your answer is for all of them.</div>",
    ]
    examples = [group.occurrences[place] for place in places_shown(len(group.occurrences))]
    for number, occurrence in enumerate(examples, start=1):
        lines.append(
            f'<div style="margin-top:12px" dir="auto">{number}. '
            f"{_marked(occurrence.text, Span(occurrence.start, occurrence.end))}</div>"
        )
        if occurrence.source is not None:
            shown = _source(occurrence)
            lines.append(f'<div style="font-size:.85em;opacity:.8" dir="auto">{shown}</div>')
    return "".join(lines)


def _source(occurrence: Occurrence) -> str:
    assert occurrence.source is not None
    if occurrence.mention is None:
        return escape(_cut(occurrence.source, 0, 0)[0])
    return _marked(occurrence.source, occurrence.mention)


def _marked(text: str, span: Span) -> str:
    """The text around a span, escaped, the span marked."""
    shown, start = _cut(text, span.start, span.end)
    end = start + span.end - span.start
    return f'{escape(shown[:start])}<mark style="{_MARK}">{escape(shown[start:end])}</mark>{escape(shown[end:])}'


def _cut(text: str, start: int, end: int) -> tuple[str, int]:
    """The text within _CONTEXT code points of a span, cut at spaces, and where the span starts in it."""
    left = 0 if start <= _CONTEXT else text.find(" ", start - _CONTEXT, start) + 1 or start - _CONTEXT
    right = len(text) if end + _CONTEXT >= len(text) else text.rfind(" ", end, end + _CONTEXT)
    right = end + _CONTEXT if right < 0 else right
    before, after = "… " if left else "", " …" if right < len(text) else ""
    return f"{before}{text[left:right]}{after}", start - left + len(before)
