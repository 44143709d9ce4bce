"""WebAnno TSV 3.3, for INCEpTION: a sentence for each task, entities in its layer of named entities."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from xner_label.entities import Entity, Tokens
from xner_label.exchange.exported import ExportedTask, ExportReport
from xner_label.exchange.webanno import FORMAT, NAMED_ENTITY, NOTHING, VALUE, escape_text, escape_value, units


def write_webanno(tasks: Iterable[ExportedTask], report: ExportReport) -> Iterator[bytes]:
    """One document with all tasks. Entities may overlap and begin or end inside a token.

    An entity that touches no token can't be written; splits have no place in the format.
    """
    yield f"{FORMAT}\n#T_SP={NAMED_ENTITY}|{VALUE}\n\n".encode()
    begin = number = 0
    for sentence, task in enumerate(tasks, 1):
        tokens = Tokens.of(task.text, task.tokens)
        lines = [f"#Sentence.id={escape_text(task.id.replace(chr(10), ' '))}"]
        lines += [f"#Text={escape_text(line)}" for line in task.text.split("\n")]
        numbered = _numbered(task, tokens, number, report)
        number += len(numbered)
        for index, (start, end) in enumerate(zip(tokens.starts, tokens.ends, strict=True), 1):
            touching = [(entity, key) for entity, key in numbered if entity.start < end and entity.end > start]
            whole = [pair for pair in touching if pair[0].start <= start and pair[0].end >= end]
            lines.append(_unit(f"{sentence}-{index}", begin, task.text, start, end, whole))
            parts: dict[tuple[int, int], list[tuple[Entity, int]]] = {}
            for entity, key in touching:
                if (entity, key) not in whole:
                    parts.setdefault((max(entity.start, start), min(entity.end, end)), []).append((entity, key))
            for piece, (part_start, part_end) in enumerate(sorted(parts), 1):
                pairs = parts[part_start, part_end]
                lines.append(_unit(f"{sentence}-{index}.{piece}", begin, task.text, part_start, part_end, pairs))
        begin += units(task.text) + 1
        yield ("\n".join(lines) + "\n\n").encode()


def _numbered(task: ExportedTask, tokens: Tokens, number: int, report: ExportReport) -> list[tuple[Entity, int]]:
    """The entities with numbers after ``number``; those that touch no token go into the report."""
    result = []
    for entity in task.entities:
        first, last, _ = tokens.covering(entity.start, entity.end)
        if first < last:
            number += 1
            result.append((entity, number))
        else:
            report.leave_out(task, entity, "covers no token")
    return result


def _unit(name: str, begin: int, text: str, start: int, end: int, entities: Sequence[tuple[Entity, int]]) -> str:
    """The line of a token or a piece of one."""
    first = begin + units(text[:start])
    labels = "|".join(f"{escape_value(entity.label)}[{number}]" for entity, number in entities)
    word = escape_text(text[start:end]).replace("\n", "\\n")
    return f"{name}\t{first}-{first + units(text[start:end])}\t{word}\t{labels or NOTHING}\t"
