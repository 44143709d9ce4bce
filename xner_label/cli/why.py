"""``xner-label why``: where a task's entities come from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from xner_label.cli.options import json_option, with_settings
from xner_label.cli.output import answer
from xner_label.settings.table import Settings
from xner_label.wording import counted

if TYPE_CHECKING:
    from xner_label.entities import Provenance
    from xner_label.reporting.lineage import EntityStory, TaskStory

# Fewer expected entities than this show as none.
_HARDLY_ANY = 0.05


@click.command()
@click.argument("task_id")
@with_settings("database_url", "project")
@json_option
def command(settings: Settings, task_id: str, as_json: bool) -> None:
    """Show the story of each entity of a task: its source, its links, what spoke for it, what people said."""
    from xner_label.reporting.lineage import why
    from xner_label.store.database import open_store

    with open_store(settings.database_url) as store:
        story = why(store, settings.project, task_id)
    answer(story, _text(story), as_json=as_json)


def _text(story: TaskStory) -> str:
    lines = [
        f"text     {story.text}",
        f"source   {story.source or '-'}",
        f"version  {story.version or 'none yet: run `xner-label predict`'}",
    ]
    if story.served is not None:
        entities = ", ".join(
            f"{story.text[item.start : item.end]} [{item.label}] {item.score:.2f}"
            for item in story.served.entities
        )
        lines.append(f"served   {story.served.version}: {entities or '-'}")
    for entity in story.entities:
        lines += ["", f"{entity.text} [{entity.label}] at {entity.start}..{entity.end}, {entity.confidence:.2f}"]
        lines += [f"  {line}" for line in _reasons(entity)]
    for settled in story.answers:
        names = ", ".join(f"{story.text[item.start : item.end]} [{item.label}]" for item in settled.entities)
        lines += [
            "",
            f"settled by {settled.annotator or settled.origin}, {settled.moment:%Y-%m-%d %H:%M}: {names or '-'}",
        ]
    return "\n".join(lines)


def _reasons(entity: EntityStory) -> list[str]:
    if entity.source is None:
        lines = ["no source entity: a tagger of the target language found it"]
    else:
        lines = [f"from {entity.source.text!r} [{entity.source.label}]"]
    if entity.links:
        lines.append("links " + ", ".join(f"{source}-{target}" for source, target in entity.links))
    return lines + ([] if entity.provenance is None else _witnesses(entity.provenance))


def _witnesses(provenance: Provenance) -> list[str]:
    lines = []
    if provenance.names:
        lines.append(f"{provenance.votes:.1f} of {provenance.names:.1f} others of this name land on this text")
    if provenance.tagger is not None:
        lines.append(f"{provenance.tagger:.2f} by the tagger of the target language, which never saw the sentence")
    if provenance.alike is not None and provenance.rivals is not None:
        expected = provenance.alike + provenance.rivals
        if expected >= _HARDLY_ANY:
            lines.append(
                f"{provenance.alike:.1f} of {expected:.1f} entities of this text elsewhere have this label"
            )
    for said, ids, count in (
        ("people settled it so", provenance.settled, provenance.settled_count),
        ("people settled it otherwise", provenance.against, provenance.against_count),
    ):
        if count:
            lines.append(
                f"{said} in {counted(count, 'task')}: {', '.join(ids)}{', ...' if count > len(ids) else ''}"
            )
    if provenance.answer:
        lines.append(f"settled by name, {provenance.answer}")
    return lines
