"""Long texts: their sentences as tasks, and whole again; on SQLite and PostgreSQL."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from tests.processes import begin, until
from tests.soak import rounds
from xner_label.entities import Entity, Span, trimmed
from xner_label.errors import UsageError
from xner_label.exchange.documents import sentence_spans
from xner_label.exchange.exporting import export
from xner_label.exchange.importing import ImportOptions, ImportReport, import_file
from xner_label.store import tables
from xner_label.store.database import Store, open_store
from xner_label.store.migrating import upgrade

LABELS = ("PER", "LOC", "ORG")
NEWS = "Amina Juma yuko Lamu. Bw. Otieno alisema: “Hapana!”\n\nKisha akaenda Kisumu.  Mwisho"


def entity(text: str, part: str, label: str) -> dict[str, Any]:
    return {"start": text.index(part), "end": text.index(part) + len(part), "label": label}


GOLD = [entity(NEWS, "Amina Juma", "PER"), entity(NEWS, "Otieno", "PER"), entity(NEWS, "Kisumu", "LOC")]


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read_in(store: Store, name: str, path: Path, **options: Any) -> ImportReport:
    return import_file(store, name, LABELS, path, ImportOptions(sentences=True, **options))


def written(store: Store, name: str, path: Path, **options: Any) -> list[dict[str, Any]]:
    export(store, name, path, **{"gold": True, "silver": False, "documents": True, **options})
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_document_goes_in_as_sentences_and_comes_out_whole(each_store: Store, tmp_path: Path) -> None:
    path = write(tmp_path / "in.jsonl", {"id": "news", "text": NEWS, "entities": GOLD, "split": "dev"})
    report = read_in(each_store, "p", path, gold=True)
    assert (report.documents, report.added, report.gold, report.bad) == (1, 4, 4, 0)
    sentences = written(each_store, "p", tmp_path / "out.jsonl", documents=False)
    assert [(row["id"], row["text"]) for row in sentences] == [
        ("news#1", "Amina Juma yuko Lamu."),
        ("news#2", "Bw. Otieno alisema: “Hapana!”"),
        ("news#3", "Kisha akaenda Kisumu."),
        ("news#4", "Mwisho"),
    ]
    assert sentences[1]["entities"] == [entity(sentences[1]["text"], "Otieno", "PER")]
    whole = {"id": "news", "text": NEWS, "entities": GOLD, "split": "dev", "origin": "gold"}
    assert written(each_store, "p", tmp_path / "out.jsonl") == [whole]
    again = read_in(each_store, "p", path, gold=True)
    assert (again.documents, again.added, again.known, again.gold_corrected) == (1, 0, 4, 0)
    assert written(each_store, "p", tmp_path / "out.jsonl") == [whole]


def test_sentences_that_an_entity_joins_stay_one(each_store: Store, tmp_path: Path) -> None:
    joined = entity(NEWS, "Lamu. Bw. Otieno", "ORG")
    report = read_in(
        each_store, "p", write(tmp_path / "a.jsonl", {"id": 1, "text": NEWS, "entities": [joined]}), gold=True
    )
    assert report.added == 3
    assert written(each_store, "p", tmp_path / "out.jsonl")[0]["entities"] == [joined]
    # a document that is cut already stays as it is
    plain = write(tmp_path / "b.jsonl", {"id": 2, "text": NEWS}, {"id": 3, "text": "Juma."})
    assert read_in(each_store, "p", plain).added == 5
    late = write(tmp_path / "c.jsonl", {"id": 2, "text": NEWS, "entities": [joined]})
    report = read_in(each_store, "p", late, gold=True)
    assert (report.bad, report.added, report.gold) == (1, 0, 0)
    assert "entities[0]: 16..32 goes over the border of two of its sentences" in str(report.errors[0])


def test_what_cannot_be_cut_is_refused(each_store: Store, tmp_path: Path) -> None:
    path = write(
        tmp_path / "in.jsonl",
        {"id": "a", "text": "Juma yuko Lamu.", "source": "Juma is in Lamu."},
        {"id": "b", "text": "Juma.", "tokens": ["Juma", "."]},
        {"id": "c", "text": "Juma. Amina."},
        {"id": "c", "text": "Amina."},
    )
    report = read_in(each_store, "p", path)
    assert (report.bad, report.documents, report.added) == (3, 1, 2)
    assert [error.field for error in report.errors] == ["source", "tokens", "id"]
    other = write(tmp_path / "other.jsonl", {"id": "c", "text": "Baraka."})
    report = read_in(each_store, "p", other)
    assert "already belongs to another document" in str(report.errors[0])
    with pytest.raises(UsageError, match="isn't cut into sentences"):
        read_in(each_store, "p", path, source_labelled=True)
    with pytest.raises(UsageError, match="single sentences"):
        written(each_store, "p", tmp_path / "out.jsonl", full=True)
    assert not (tmp_path / "out.jsonl").exists()


def test_a_document_that_lacks_a_sentence_is_named(each_store: Store, tmp_path: Path) -> None:
    read_in(each_store, "p", write(tmp_path / "in.jsonl", {"id": "news", "text": NEWS}))
    third = {"id": "news#3", "text": "Kisha akaenda Kisumu.", "entities": []}
    alone = {"id": "alone", "text": "Lamu.", "entities": []}
    import_file(each_store, "p", LABELS, write(tmp_path / "one.jsonl", third, alone), ImportOptions(gold=True))
    report = export(each_store, "p", tmp_path / "out.jsonl", gold=True, silver=False, documents=True)
    assert (report.tasks, report.incomplete_documents) == (1, 1)
    assert report.named == ["document 'news': 1 of its 4 sentences can be exported"]
    assert json.loads((tmp_path / "out.jsonl").read_text())["id"] == "alone"


PIECES = st.sampled_from(
    ["Amina", "Bw.", " ", "\n", ". ", "! “", "?”", "。", "።", "ا", "𐍈", "3.5", "\u200b", "a b"]
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with open_store(f"sqlite:///{tmp_path_factory.mktemp('store') / 'a.db'}", check=False) as opened:
        upgrade(opened)
        yield opened


@pytest.mark.soak
@settings(max_examples=rounds(40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_document_comes_back(store: Store, tmp_path: Path, data: st.DataObject) -> None:
    folder = tmp_path / uuid4().hex
    folder.mkdir()
    rows = []
    for number in range(data.draw(st.integers(1, 3))):
        text = "".join(data.draw(st.lists(PIECES, min_size=1, max_size=14)))
        if not text.strip():
            continue
        spans: set[tuple[int, int]] = set()
        for _ in range(data.draw(st.integers(0, 3))):
            start = data.draw(st.integers(0, len(text) - 1))
            start, end = trimmed(text, start, data.draw(st.integers(start + 1, len(text))))
            if start < end:
                spans.add((start, end))
        entities = [{"start": start, "end": end, "label": "PER"} for start, end in sorted(spans)]
        rows.append({"id": str(number), "text": text, "entities": entities, "split": "pool", "origin": "gold"})
    name = uuid4().hex
    report = read_in(store, name, write(folder / "in.jsonl", *rows), gold=True)
    assert report.bad == 0, report.errors
    if rows:
        assert written(store, name, folder / "out.jsonl") == rows


def test_spans_of_a_hundred_thousand_sentences() -> None:
    text = "Amina yuko Lamu. " * 100_000
    entities = [Entity(17 * number, 17 * number + 5, "PER") for number in range(100_000)]
    spans = sentence_spans(text, entities)
    assert len(spans) == 100_000
    assert sentence_spans("", []) == []
    assert sentence_spans(text, [Entity(0, len(text) - 1, "PER")]) == [Span(0, len(text) - 1)]


@pytest.fixture
def run(tmp_path: Path, command_line: list[str]) -> Any:
    def call(*arguments: object, **options: Any) -> subprocess.Popen[bytes]:
        return begin([*command_line, *map(str, arguments)], cwd=tmp_path, **options)

    call("init", "--labels", "PER,LOC,ORG", "--target-language", "sw").wait()
    call("db", "upgrade").wait()
    return call


def test_two_imports_at_once_and_one_killed(run: Any, tmp_path: Path) -> None:
    """Documents are whole at any moment; running the same import again adds the rest, each sentence once."""
    rows = [{"id": f"d{number}", "text": f"Juma {number}. Amina yuko Lamu."} for number in range(5_000)]
    path = write(tmp_path / "many.jsonl", *rows)
    store_path = tmp_path / "xner-label.db"

    def counts() -> tuple[int, int, int]:
        with open_store(f"sqlite:///{store_path}") as store, store.read() as session:
            return tuple(  # type: ignore[return-value]
                session.scalar(select(func.count()).select_from(table)) or 0
                for table in (tables.Document, tables.DocumentSentence, tables.Task)
            )

    both = [run("import", path, "--sentences") for _ in range(2)]
    until(lambda: counts()[0], pause=0.02)
    both[0].kill()
    documents, sentences, tasks = counts()
    assert documents > 0
    assert sentences == tasks == 2 * documents
    killed, other = (process.wait() for process in both)
    assert killed in (-signal.SIGKILL, 0)  # it may have been the quicker one
    assert other == 0
    assert counts() == (5_000, 10_000, 10_000)
    again = run("import", path, "--sentences", "--json", stdout=subprocess.PIPE)
    report = json.loads(again.communicate()[0])
    assert (report["documents"], report["added"], report["known"]) == (5_000, 0, 10_000)
