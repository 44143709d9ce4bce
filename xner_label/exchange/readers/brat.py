"""brat's standoff files: a text (``a.txt``) and what is annotated in it (``a.ann``), side by side in a folder.

Entities are the text-bound annotations (``T1<TAB>PER 0 5<TAB>Amina``); the other kinds aren't read.
Offsets are code points, end exclusive, as ours. brat cuts a span at the end of a line: fragments with nothing but
white space between them are one entity again, other discontinuous ones are left out and counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

from xner_label.entities import Entity, Task
from xner_label.errors import RecordError, UsageError
from xner_label.exchange.readers.interface import ImportedTask, Numbered, ReadOptions, in_order
from xner_label.exchange.readers.lines import undecodable

TEXT, ANNOTATIONS = ".txt", ".ann"
_TEXT_BOUND = re.compile(r"T\S*\t(?P<label>\S+) (?P<spans>\d+ \d+(?:;\d+ \d+)*)(?:\t(?P<text>.*))?")
_DISCONTINUOUS = "a discontinuous entity isn't read"
_KINDS = {
    "R": "relations aren't read",
    "*": "relations aren't read",
    "E": "events aren't read",
    "A": "attributes aren't read",
    "M": "attributes aren't read",
    "N": "links to knowledge bases aren't read",
}


def is_folder_of_brat(path: Path) -> bool:
    """Whether a path is a folder in which somewhere an ``.ann`` file lies."""
    return path.is_dir() and next(path.rglob(f"*{ANNOTATIONS}"), None) is not None


def read_brat(path: Path, options: ReadOptions) -> Iterator[Numbered]:
    """A task for each text of a folder and its subfolders in the order of their names, or for the text of a file.

    A text's id is its path in the folder without the ending, %XX read as the character it stands for; a text
    without annotations counts as not labelled.
    Raises UsageError where there are no such files.
    """
    folder = path if path.is_dir() else path.parent
    texts = sorted(path.rglob(f"*{TEXT}")) if path.is_dir() else [path.with_suffix(TEXT)]
    missing = [name for name in texts if not name.is_file()]
    if missing or not texts:
        what = f"{missing[0]} isn't there" if missing else f"{path} holds no {TEXT} files"
        raise UsageError(what, hint=f"brat keeps a text in NAME{TEXT} and its annotations in NAME{ANNOTATIONS}")
    for number, text_path in enumerate(texts, 1):
        annotations = text_path.with_suffix(ANNOTATIONS)
        key = unquote(text_path.relative_to(folder).with_suffix("").as_posix())
        try:
            text = _read(text_path, options.encoding)
            lines = _read(annotations, options.encoding).split("\n") if annotations.is_file() else None
            task = _task(key, text, lines)
        except RecordError as error:
            yield number, error.in_file(error.file or annotations)
        else:
            yield number, task


def _read(path: Path, encoding: str | None) -> str:
    """A file's text as it is: line ends and a byte order mark count in the offsets."""
    try:
        text = path.read_bytes().decode(encoding or "utf-8", "strict" if encoding else "surrogateescape")
    except OSError as error:
        raise RecordError("text", f"can't be read: {error.strerror}", file=path) from None
    except UnicodeDecodeError as error:
        raise RecordError("text", f"isn't {encoding} throughout: {error}", file=path) from None
    if problem := undecodable(text):
        raise RecordError("text", problem, file=path)
    return text


def _task(key: str, text: str, lines: Sequence[str] | None) -> ImportedTask:
    if lines is None:
        return ImportedTask(Task(id=key, text=text), unlabelled=True)
    entities: dict[Entity, None] = {}
    notes: dict[str, None] = {}
    for number, line in enumerate(lines, 1):
        line = line.rstrip("\r")
        if not line.startswith("T"):
            if note := _KINDS.get(line[:1]):
                notes[note] = None
            continue
        try:
            entity = _entity(text, line)
        except RecordError as error:
            raise error.at_line(number) from None
        if entity is None:
            notes[_DISCONTINUOUS] = None
        else:
            entities[entity] = None
    task = Task(id=key, text=text, entities=in_order(entities))
    return ImportedTask(task, entities_field="annotations", notes=tuple(notes))


def _entity(text: str, line: str) -> Entity | None:
    """The entity of a line ``T...``, None for a discontinuous one. Raises RecordError."""
    match = _TEXT_BOUND.fullmatch(line)
    if match is None:
        raise RecordError("annotations", f"{line[:60]!r} isn't `T1<TAB>LABEL START END<TAB>TEXT`")
    spans = [tuple(map(int, span.split())) for span in match["spans"].split(";")]
    if any(not 0 <= start < end <= len(text) for start, end in spans):
        raise RecordError(
            "annotations",
            f"{match['spans']} doesn't fit a text of {len(text)} code points; they count line ends, too",
        )
    joined = [text[end:start] for (_, end), (start, _) in pairwise(spans)]
    if any(gap.strip() for gap in joined) or spans != sorted(spans):
        return None
    covered = " ".join(text[start:end] for start, end in spans)
    if match["text"] is not None and match["text"].split() != covered.split():
        raise RecordError(
            "annotations",
            f"{match['text'][:40]!r} isn't what stands at {match['spans']}, that is {covered[:40]!r}; count code "
            "points, not bytes",
        )
    return Entity(spans[0][0], spans[-1][1], match["label"])
