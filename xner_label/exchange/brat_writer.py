"""brat's standoff files: a text and an annotation file for each task, in a folder that brat opens as it is."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

from xner_label.exchange.exported import ExportedTask, ExportReport
from xner_label.exchange.readers.brat import ANNOTATIONS, TEXT

CONFIGURATION = "annotation.conf"
# brat's names of types: no white space, and nothing that its configuration reads otherwise.
_NOT_IN_A_TYPE = re.compile(r"[\s|:;,=<>\[\]{}?*+!&^\"'#%\\]")
_LINE = re.compile(r"[^\n\r]+")


def write_brat(tasks: Iterable[ExportedTask], report: ExportReport, folder: Path) -> None:
    """Write ``ID.txt`` and ``ID.ann`` for each task, and an ``annotation.conf`` with the labels.

    Characters of an id that can't stand in a file's name are written as %XX. Entities may overlap; an entity over
    several lines becomes fragments, as brat has it. An entity whose label brat can't hold is
    left out.
    """
    labels: dict[str, None] = {}
    for task in tasks:
        name = file_name(task.id)
        lines: list[str] = []
        for entity in task.entities:
            if _NOT_IN_A_TYPE.search(entity.label):
                report.leave_out(task, entity, "has a label that brat can't hold")
                continue
            labels[entity.label] = None
            fragments = [line.span() for line in _LINE.finditer(task.text, entity.start, entity.end)]
            offsets = ";".join(f"{start} {end}" for start, end in fragments)
            covered = " ".join(task.text[start:end] for start, end in fragments)
            lines.append(f"T{len(lines) + 1}\t{entity.label} {offsets}\t{covered}\n")
        (folder / f"{name}{TEXT}").write_bytes(task.text.encode())
        (folder / f"{name}{ANNOTATIONS}").write_bytes("".join(lines).encode())
    sections = ["[entities]", *labels, "[relations]", "[events]", "[attributes]"]
    (folder / CONFIGURATION).write_bytes("".join(f"{line}\n" for line in sections).encode())


def file_name(external_id: str) -> str:
    """A task's id as the name of a file, without an ending; different ids give different names."""
    name = quote(external_id, safe=" !#$&'()+,;=@[]~")
    return f"%2E{name[1:]}" if name.startswith(".") else name
