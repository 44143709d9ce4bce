"""Links for tasks: the fields that `xner-label align` adds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xner_label.entities import Task, Tokens
from xner_label.errors import RecordError
from xner_label.projection.alignment.links import format_links
from xner_label.projection.interfaces import Aligner


def align_tasks(aligner: Aligner, tasks: Sequence[Task]) -> list[dict[str, Any] | RecordError]:
    """Tokens, source tokens and links of each task, or the error that keeps it from having them.

    A task's own tokens are used where it brings them. Links it brings are replaced.
    """
    answers: list[dict[str, Any] | RecordError] = []
    pairs: list[tuple[list[str], list[str]]] = []
    for task in tasks:
        try:
            if task.source is None:
                raise RecordError("source", "missing; give the source text, or run `xner-label translate` first")
            source = _words(task.source, task.source_tokens, "source_tokens")
            target = _words(task.text, task.tokens, "tokens")
        except RecordError as error:
            answers.append(error)
            continue
        pairs.append((source, target))
        answers.append({"tokens": target, "source_tokens": source})
    found = iter(aligner.align(pairs))
    for answer in answers:
        if isinstance(answer, dict):
            answer["alignment"] = format_links(next(found))
    return answers


def _words(text: str, tokens: Sequence[str] | None, field: str) -> list[str]:
    return (Tokens.tokenize(text) if tokens is None else Tokens.locate(text, tokens, field)).words()
