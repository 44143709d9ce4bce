"""What Label Studio shows people before they begin: labels, what to do, and examples of what was settled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

# How our instructions begin: others belong to whoever wrote them.
_BEGINNING = "<h4>What to mark</h4>"
# Labels that have a digit as their key.
_KEYS = 9
# Examples of each label.
_EXAMPLES = 3


def instructions(labels: Sequence[str], examples: Mapping[str, Sequence[str]]) -> str:
    """The instructions, as HTML. ``examples`` are words that people marked, by label."""
    rows = "".join(
        f"<li><b>{escape(label)}</b>"
        + (f" (key {number})" if number <= _KEYS else "")
        + (f": {', '.join(map(escape, examples[label][:_EXAMPLES]))}" if examples.get(label) else "")
        + "</li>"
        for number, label in enumerate(labels, 1)
    )
    return (
        f"{_BEGINNING}<ul>{rows}</ul>"
        "<p>The upper text is a translation, the lower one is yours: your judgement counts. Coloured words are "
        "suggestions. Leave what is right, drag a wrong border, choose another label for a wrong one, press "
        "Backspace for what is no name, and mark what is missing: choose a label, then drag over the words. Mark "
        "the whole name and only the name. A text without names is submitted with nothing marked.</p>"
        "<p>Begin with <b>Label All Tasks</b>. Ctrl+Enter submits, Ctrl+Space skips what can't be decided. Some "
        "texts come without suggestions on purpose.</p>"
    )


def are_ours(text: str | None) -> bool:
    """Whether instructions are missing or were written here, so that newer ones may take their place."""
    return not text or text.startswith(_BEGINNING)
