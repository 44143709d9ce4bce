"""The formats by name, and which of them a file is in, where its name and its beginning leave no doubt."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

import msgspec

from xner_label.errors import RecordError, UsageError
from xner_label.exchange.readers import (
    brat,
    conll,
    hugging_face,
    label_studio,
    spacy_docs,
    span_records,
    webanno,
)
from xner_label.exchange.readers.interface import Numbered, PathReader, Reader, ReadOptions
from xner_label.exchange.readers.json_records import RecordReader, numbered_records, read_records
from xner_label.exchange.readers.lines import HEAD, stream_of, utf8_stream
from xner_label.exchange.readers.packed import (
    PARQUET,
    data_set_records,
    is_data_set,
    parquet_records,
    tag_names,
    unpacked,
)
from xner_label.exchange.readers.plain_text import read_text
from xner_label.exchange.readers.tables import header_of, read_table
from xner_label.exchange.readers.task_lines import read_task
from xner_label.jsonl import open_input


class Format(msgspec.Struct, frozen=True):
    """One format: what it is, in words, and how it is read: as a stream of text, or by its path."""

    description: str
    read: Reader | None = None
    read_path: PathReader | None = None


FORMATS: Mapping[str, Format] = {
    "jsonl": Format("our own JSON Lines, as `project` takes them", partial(read_records, read_record=read_task)),
    "csv": Format("a table (CSV, TSV) with a column `text`", read_table),
    "text": Format("plain text, one sentence a line", read_text),
    "conll": Format("CoNLL columns: a token and its tag a line", conll.read_conll),
    "hf": Format("Hugging Face `tokens`, `ner_tags`", partial(read_records, read_record=hugging_face.read_tagged)),
    "label-studio": Format(
        "Label Studio's JSON export", partial(read_records, read_record=label_studio.read_export)
    ),
    "doccano": Format("doccano's JSON Lines", partial(read_records, read_record=span_records.read_doccano)),
    "prodigy": Format("Prodigy's JSON Lines", partial(read_records, read_record=span_records.read_prodigy)),
    "webanno": Format("WebAnno TSV 3, from INCEpTION", webanno.read_webanno),
    "brat": Format("brat's .txt and .ann files", read_path=brat.read_brat),
    "spacy": Format("spaCy's DocBin", read_path=spacy_docs.read_docs),
}
# Formats of texts alone.
WITHOUT_ENTITIES = frozenset({"csv", "text"})
_MATCHERS: Mapping[str, Callable[[dict[str, Any]], bool]] = {
    "label-studio": label_studio.matches,
    "hf": hugging_face.matches,
    "doccano": span_records.matches_doccano,
    "prodigy": span_records.matches_prodigy,
}
_BY_SUFFIX = {
    **dict.fromkeys((".jsonl", ".ndjson", ".json"), "jsonl"),
    **dict.fromkeys((".csv", ".tsv", ".tab"), "csv"),
    **dict.fromkeys((".conll", ".conllu", ".bio", ".iob", ".iob2", ".bioes", ".bilou", ".bmes", ".ner"), "conll"),
    ".txt": "text",
}
# What the rows of a Parquet file may be.
_OF_ROWS: Mapping[str, RecordReader] = {"jsonl": read_task, "hf": hugging_face.read_tagged}
# How many records of a JSON file its format is judged by.
_JUDGED = 50
_SLASHED = re.compile(r"(\S+[/|_](O|[BIESLUM]-[^\s/|]+)\s*)+")


@contextmanager
def open_records(path: Path, options: ReadOptions) -> Iterator[tuple[str, Iterator[Numbered]]]:
    """The name of a file's format, and its records. ``-`` is standard input; brat's format is a folder.

    gzip and Zstandard are unpacked on the way; the rows of a Parquet file, or of a folder that Hugging Face's
    `save_to_disk` made, are read as records of our own format or as Hugging Face's, whichever they are. Raises
    UsageError when the file can't be read, isn't text, or leaves its format open, MissingExtraError where
    unpacking it needs an optional package.
    """
    if is_data_set(path):
        named = options.tag_names or tag_names(path, hugging_face.TAGS)
        yield _rows(data_set_records(path), msgspec.structs.replace(options, tag_names=named))
        return
    by_path = options.format or _format_by_path(path)
    if by_path is not None and (read_path := FORMATS[by_path].read_path) is not None:
        if not path.exists():
            raise UsageError(f"can't read {path}: no such file or folder", hint="check the path")
        yield by_path, read_path(path, options)
        return
    with open_input(path) as packed:
        if path.is_file() and packed.peek(4)[:4] == PARQUET:  # type: ignore[attr-defined]
            yield _rows(parquet_records(path), options)
            return
        with (
            unpacked(packed, path) as (stream, inner),
            utf8_stream(stream, options.encoding, str(path)) as (head, utf8),
        ):
            name = options.format or detect_format(head, inner)
            read = FORMATS[name].read
            if read is None:
                raise UsageError(f"{name} isn't read from a stream", hint="name the file or folder")
            yield name, read(utf8, options)


def _format_by_path(path: Path) -> str | None:
    """The format of what isn't one stream of text, None for all others."""
    if path.suffix.lower() == spacy_docs.SUFFIX:
        return "spacy"
    if path.suffix.lower() == brat.ANNOTATIONS or brat.is_folder_of_brat(path):
        return "brat"
    return None


def _rows(rows: Iterator[bytes], options: ReadOptions) -> tuple[str, Iterator[Numbered]]:
    """The format of the rows of a table, and their records, numbered from 1."""
    first = list(islice(rows, _JUDGED))
    name = options.format or _json_format("\n".join(row.decode() for row in first)) or "jsonl"
    if name not in _OF_ROWS:
        raise UsageError(f"rows of a table can't be read as {name}", hint=f"give --format {'|'.join(_OF_ROWS)}")
    return name, _read_rows(chain(first, rows), _OF_ROWS[name], options)


def _read_rows(rows: Iterable[bytes], read: RecordReader, options: ReadOptions) -> Iterator[Numbered]:
    for number, row in enumerate(rows, 1):
        try:
            yield number, read(row, options)
        except RecordError as error:
            yield number, error.at_line(number)


def detect_format(head: str, path: Path) -> str:
    """The format of a file that begins with ``head``. Raises UsageError where it isn't clear."""
    by_suffix = _BY_SUFFIX.get(path.suffix.lower())
    if webanno.matches(head):
        return "webanno"
    if by_suffix == "jsonl":
        return _json_format(head) or "jsonl"
    if (json_format := _json_format(head, every=True)) is not None:
        return json_format
    if by_suffix == "conll" or (by_suffix == "csv" and header_of(_first_line(head))):
        return by_suffix
    if conll.find_layout(head) is not None:
        return "conll"
    if by_suffix == "text" or (by_suffix is None and path.suffix):
        _refuse_other_than_text(head, path)
    if by_suffix is None:
        raise UsageError(f"can't tell the format of {path}", hint=f"give --format {'|'.join(FORMATS)}")
    return by_suffix


def _json_format(head: str, *, every: bool = False) -> str | None:
    """The JSON format whose marks most of the first records bear, None where they aren't JSON objects.

    ``every``: none of them may be anything else than an object.
    """
    if not head.lstrip().startswith(("{", "[")):
        return None
    try:
        whole = [record for _, _, record in islice(numbered_records(stream_of(head)), _JUDGED)]
    except UsageError:
        return None
    decoded = [None if isinstance(record, RecordError) else _decoded(record) for record in whole]
    records = [record for record in decoded if record is not None]
    if len(head) > HEAD // 4 and len(decoded) > 1:
        decoded.pop()  # cut off, perhaps
    if not records or (every and None in decoded):
        return None
    for name, matches in _MATCHERS.items():
        if sum(map(matches, records)) > len(records) / 2:
            return name
    return "jsonl"


def _decoded(record: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(record)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _first_line(head: str) -> str:
    lines = [line for line in re.split(r"\r\n?|\n", head) if line.strip()]
    if len(lines) > 1 and re.fullmatch(r"(?i)sep=.", lines[0].strip()):
        return lines[1]
    return lines[0] if lines else ""


def _refuse_other_than_text(head: str, path: Path) -> None:
    first = _first_line(head)
    header = header_of(first)
    if header is not None and len(header[1]) > 1 and all(re.fullmatch(r"\w+", name) for name in header[1]):
        separator = header[0].replace("\t", "tab")
        raise UsageError(
            f"{path} looks like a table whose columns are separated by {separator!r}",
            hint="give --format csv, or --format text if its first line is a sentence",
        )
    if _SLASHED.fullmatch(first.strip()):
        raise UsageError(
            f"{path} looks like words with their tags ({first.split()[0]})",
            hint="write one token and its tag a line (--format conll), or --format text if these are sentences",
        )
