"""What stands above a text as HTML: what to look at first, and the source with its entities marked.

Everything that comes from a text is escaped: no mark-up of it is shown, no script of it runs. Backgrounds are
translucent, so that both read on a light and on a dark page.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from xner_label.entities import SourceMention
from xner_label.review.doubts import Hint, LinkSupport
from xner_label.studio.reasons import confidence, witnesses
from xner_label.wording import counted

if TYPE_CHECKING:
    from xner_label.store.tables import ProjectedEntity

# Doubtful entities that are listed; the rest is counted.
_LISTED = 8
# The background of a label without a colour.
_GREY = "#808080"


def marked_source(source: str, mentions: Iterable[SourceMention], colours: Mapping[str, str]) -> str:
    """The source with its entities marked; of entities that overlap the first and longest."""
    pieces, position = [], 0
    for mention in sorted(mentions, key=lambda mention: (mention.start, -mention.end)):
        if mention.start < position:
            continue
        words = source[mention.start : mention.end]
        pieces += [escape(source[position : mention.start]), mark(words, mention.label, colours)]
        position = mention.end
    pieces.append(escape(source[position:]))
    return f'<div dir="auto">{"".join(pieces)}</div>'


def mark(words: str, label: str, colours: Mapping[str, str]) -> str:
    """Words on the colour of a label, which a pointer held over them names."""
    red, green, blue = (int(colours.get(label, _GREY)[place : place + 2], 16) for place in (1, 3, 5))
    style = f"background:rgba({red},{green},{blue},.30);color:inherit;border-radius:3px;padding:0 2px"
    return f'<mark style="{style}" title="{escape(label)}"><bdi>{escape(words)}</bdi></mark>'


def look_first(
    doubtful: Sequence[tuple[ProjectedEntity, LinkSupport | None]],
    hints: Sequence[Hint],
    colours: Mapping[str, str],
) -> str:
    """Each doubtful entity with its confidence and why, and what may be missing; empty where there is neither."""
    lines = []
    if doubtful:
        lines.append("<b>Look at these first</b>")
        lines += [
            f"{mark(entity.text, entity.label, colours)} {escape(entity.label)}: "
            f"{escape('; '.join(_reasons(entity, support)))}"
            for entity, support in doubtful[:_LISTED]
        ]
        if len(doubtful) > _LISTED:
            lines.append(f"and {len(doubtful) - _LISTED} more")
    if hints:
        lines.append("<b>Perhaps missing</b>")
        lines += [_hint(hint, colours) for hint in hints]
    return "".join(f"<div>{line}</div>" for line in lines)


def _reasons(entity: ProjectedEntity, support: LinkSupport | None) -> list[str]:
    reasons = [confidence(entity.confidence)]
    if entity.source_text:
        reasons.append(
            f"from {entity.source_text}" + ("" if support is None else f", aligned {support.share:.2f}")
        )
        if entity.source_label != entity.label:
            reasons.append(f"the source says {entity.source_label}")
    else:
        reasons.append("not from the source")
    if support is not None and support.uncertain_border:
        reasons.append("border uncertain")
    return [*reasons, *witnesses(entity)]


def _hint(hint: Hint, colours: Mapping[str, str]) -> str:
    words = mark(hint.words, hint.label, colours)
    if hint.start is None:
        return f"{words} {escape(hint.label)} stands in the source; nothing is marked for it"
    return f"{words} was marked {escape(hint.label)} in {counted(hint.tasks, 'other text')}"
