"""What goes in comes out: import, export and import again, in every format that can do both."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.soak import rounds
from xner_label.entities import Tokens, trimmed
from xner_label.errors import UsageError
from xner_label.exchange.exporting import export
from xner_label.exchange.importing import ImportOptions, ImportReport, import_file
from xner_label.exchange.writers import WRITERS
from xner_label.store.database import Store, open_store
from xner_label.store.migrating import upgrade
from xner_label.tokenization import tokenize

LABELS = ("PER", "LOC", "ORG")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    url = f"sqlite:///{tmp_path_factory.mktemp('store') / 'a.db'}"
    with open_store(url, check=False) as opened:
        upgrade(opened)
        yield opened


def project(store: Store, path: Path, **options: Any) -> tuple[str, ImportReport]:
    """A new project with what a file holds."""
    name = uuid4().hex
    return name, import_file(store, name, LABELS, path, ImportOptions(gold=True, **options))


# Letters, marks and scripts of all kinds, white space of all kinds, and what formats treat specially.
characters = st.one_of(
    st.sampled_from("ab AB0\n\r\t\u00a0\u2028\u0085\u200b\u200d\ufeff\u00ad#,;|\"'\\[]{}-_./\u0301é北京กา👩‍🌾𐍈"),
    st.characters(exclude_categories=("Cs",), exclude_characters="\0"),
)


@st.composite
def tasks(draw: st.DrawFn, *, on_tokens: bool) -> list[dict[str, Any]]:
    """Tasks with gold: any spans, nested ones too, or (``on_tokens``) runs of whole tokens that never overlap."""
    result = []
    for number in range(draw(st.integers(1, 4))):
        text = draw(
            st.text(characters, min_size=1, max_size=30).filter(lambda text: text.strip() and tokenize(text))
        )
        entities: dict[tuple[int, int, str], None] = {}
        if on_tokens:
            tokens = Tokens.tokenize(text)
            position = 0
            while position < len(tokens) and draw(st.booleans()):
                first = draw(st.integers(position, len(tokens) - 1))
                position = draw(st.integers(first + 1, len(tokens)))
                span = tokens.span(first, position)
                entities[span.start, span.end, draw(st.sampled_from(LABELS))] = None
        else:
            for _ in range(draw(st.integers(0, 3))):
                start = draw(st.integers(0, len(text) - 1))
                start, end = trimmed(text, start, draw(st.integers(start + 1, len(text))))
                if start < end:
                    entities[start, end, draw(st.sampled_from(LABELS))] = None
        result.append(
            {
                "id": draw(st.sampled_from([f"t{number}", str(number), f" {number}\u00e9\"'"])),
                "text": text,
                "entities": [{"start": s, "end": e, "label": label} for s, e, label in sorted(entities)],
                "split": draw(st.sampled_from(["pool", "dev", "test"])),
            }
        )
    return result


def exported(store: Store, name: str, path: Path, format: str, **options: Any) -> bytes:
    export(store, name, path, gold=True, silver=False, format=format, **options)
    return path.read_bytes()


@pytest.mark.parametrize("format", ["jsonl", "doccano", "prodigy", "label-studio", "hf", "spacy"])
@pytest.mark.soak
@settings(max_examples=rounds(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_gold_goes_round(store: Store, tmp_path: Path, format: str, data: st.DataObject) -> None:
    rows = data.draw(tasks(on_tokens=format == "hf"))
    path = tmp_path / "in.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    first, report = project(store, path)
    assert (report.bad, report.gold) == (0, len(rows))
    content = exported(store, first, tmp_path / "out", format)
    second, report = project(store, tmp_path / "out", format=format)
    assert (report.bad, report.added) == (0, len(rows)), report.errors
    assert exported(store, second, tmp_path / "again", format) == content
    back = [json.loads(line) for line in exported(store, second, tmp_path / "jsonl", "jsonl").splitlines()]
    assert back == [{**row, "origin": "gold"} for row in rows]


@pytest.mark.soak
@settings(max_examples=rounds(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=tasks(on_tokens=True))
def test_columns_go_round_with_their_entities(store: Store, tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    """Columns hold neither ids nor the white space between tokens: words, tags and their order come back."""
    rows = list({"".join(Tokens.tokenize(row["text"])): row for row in rows}.values())
    path = tmp_path / "in.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    first, _ = project(store, path)
    content = exported(store, first, tmp_path / "out.conll", "conll")
    lines = content.decode().split("\n")
    assert all(line.count("\t") == 1 and all(line.split("\t")) for line in lines if line)
    second, report = project(store, tmp_path / "out.conll")
    assert report.bad == 0, report.errors
    again = exported(store, second, tmp_path / "again.conll", "conll")
    assert again == content


@pytest.mark.parametrize("format", ["brat", "webanno"])
@pytest.mark.soak
@settings(max_examples=rounds(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=tasks(on_tokens=False))
def test_standoff_goes_round(store: Store, tmp_path: Path, format: str, rows: list[dict[str, Any]]) -> None:
    """Ids, texts and entities come back, nested and inside tokens too; the formats have no place for splits."""
    if format == "webanno":
        for row in rows:  # entities begin and end in tokens there; what touches none is named by the export
            tokens = Tokens.tokenize(row["text"])
            entities = [entity for entity in row["entities"] if _is_on_tokens(tokens, entity)]
            row.update(entities=entities)
    folder = tmp_path / uuid4().hex
    folder.mkdir()
    (folder / "in.jsonl").write_text("".join(json.dumps({**row, "split": "pool"}) + "\n" for row in rows))
    first, _ = project(store, folder / "in.jsonl")
    export(store, first, folder / "out", gold=True, silver=False, format=format)
    second, report = project(store, folder / "out", format=format)
    assert (report.bad, report.added) == (0, len(rows)), report.errors
    back = [json.loads(line) for line in exported(store, second, folder / "jsonl", "jsonl").splitlines()]
    expected = [{**row, "split": "pool", "origin": "gold"} for row in rows]
    assert sorted(map(_comparable, back)) == sorted(map(_comparable, expected))


def _is_on_tokens(tokens: Tokens, entity: dict[str, Any]) -> bool:
    first, last, _ = tokens.covering(entity["start"], entity["end"])
    return first < last and tokens.starts[first] <= entity["start"] and tokens.ends[last - 1] >= entity["end"]


def _comparable(row: dict[str, Any]) -> str:
    entities = sorted(row["entities"], key=lambda entity: (entity["start"], entity["end"], entity["label"]))
    return json.dumps({**row, "entities": entities}, sort_keys=True)


def test_brat_takes_a_new_folder(store: Store, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"id": "a/1", "text": "Amina", "entities": []}\n')
    name, _ = project(store, tmp_path / "in.jsonl")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "kept").touch()
    for taken in (tmp_path / "full", tmp_path / "in.jsonl", "-"):
        with pytest.raises(UsageError, match="name a new folder"):
            export(store, name, taken, gold=True, silver=False, format="brat")
    export(store, name, tmp_path / "new", gold=True, silver=False, format="brat")
    assert sorted(file.name for file in (tmp_path / "new").iterdir()) == [
        "a%2F1.ann",
        "a%2F1.txt",
        "annotation.conf",
    ]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_everything_goes_round(store: Store, tmp_path: Path) -> None:
    row = {
        "id": "a",
        "text": "Amina yuko Lamu.",
        "entities": [{"start": 0, "end": 5, "label": "PER"}],
        "split": "dev",
        "origin": "gold",
        "source": "Amina is in Lamu.",
        "source_entities": [{"start": 0, "end": 5, "label": "PER", "score": 0.5}],
        "tokens": ["Amina", "yuko", "Lamu", "."],
        "source_tokens": ["Amina", "is", "in", "Lamu", "."],
        "alignment": "0-0 3-2:0.5",
    }
    path = tmp_path / "in.jsonl"
    path.write_text(json.dumps(row) + "\n")
    first, _ = project(store, path)
    content = exported(store, first, tmp_path / "out.jsonl", "jsonl", full=True)
    assert json.loads(content) == row
    second, _ = project(store, tmp_path / "out.jsonl")
    assert exported(store, second, tmp_path / "again.jsonl", "jsonl", full=True) == content


@pytest.mark.parametrize("format", sorted(WRITERS))
def test_an_empty_export_is_an_empty_file_of_its_format(store: Store, tmp_path: Path, format: str) -> None:
    (tmp_path / "in.txt").write_text("Amina\n")
    name = uuid4().hex
    import_file(store, name, LABELS, tmp_path / "in.txt", ImportOptions())
    exported(store, name, tmp_path / "out", format)
    assert project(store, tmp_path / "out", format=format)[1].added == 0


def test_what_contradicts_itself_writes_nothing(store: Store, tmp_path: Path) -> None:
    for name, options in (("absent", {}), ("absent", {"format": "conll", "full": True})):
        with pytest.raises(UsageError):
            exported(store, name, tmp_path / "out", **{"format": "jsonl", **options})
    assert not (tmp_path / "out").exists()
