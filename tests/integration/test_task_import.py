"""Importing again: what tasks lacked is added, what contradicts is named, corrected gold counts."""

import json
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import select

from tests.store_fixtures import fill
from xner_label.entities import Entity, Prediction, Task
from xner_label.exchange.importing import ImportOptions, import_file
from xner_label.store import predictions, projects, reviews, tables, tasks
from xner_label.store.gold import GoldImport, add_imported_gold, gold_of
from xner_label.store.stages import ensure_stage
from xner_label.store.task_import import import_tasks

CASES = Path(__file__).parents[1] / "cases"
A = Task(id="a", text="Amina anaishi Kisumu.", source="Amina lives in Kisumu.", alignment="0-0 3-2")
LABELS = ["PER", "LOC"]


@pytest.fixture
def store(each_store):
    return each_store


@pytest.fixture
def project(store):
    with store.write() as session:
        return projects.ensure_project(session, "default", LABELS).id


def stored(store, project):
    with store.read() as session:
        return [tasks.to_record(row) for row in tasks.iterate_tasks(session, project)]


def bring(store, project, *brought):
    with store.write() as session:
        return import_tasks(session, project, [(task, "pool") for task in brought])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("text", "Another text."),
        ("source", "Another source."),
        ("alignment", "0-0"),
        ("source_entities", (Entity(0, 5, "LOC"),)),
        ("tokens", ("Amina", "anaishi", "Kisumu.")),
    ],
)
def test_what_contradicts_the_stored_task_is_refused_and_changes_nothing(store, project, field, value):
    first = msgspec.structs.replace(A, source_entities=(Entity(0, 5, "PER"),), tokens=("Amina anaishi", "Kisumu."))
    bring(store, project, first)
    other = msgspec.structs.replace(first, **{field: value})
    report = bring(store, project, Task(id="b", text="new"), other)
    assert (report.added, report.known, report.completed) == (1, 0, 0)
    assert report.refused[1].field == ("id" if field == "text" else field)
    assert stored(store, project)[0] == first


def test_links_of_one_source_are_never_attached_to_another(store, project):
    bring(store, project, msgspec.structs.replace(A, alignment=None))
    other = msgspec.structs.replace(A, source="She lives there.", alignment="0-0 2-1")
    assert bring(store, project, other).refused[0].field == "source"
    assert stored(store, project)[0].alignment is None
    with store.write() as session:
        tasks.add_tasks(session, project, [(other, "pool")])
    assert stored(store, project)[0].alignment is None


def test_a_known_task_gets_what_it_lacked(store, project):
    bare = Task(id="a", text=A.text)
    bring(store, project, bare)
    report = bring(store, project, A, A)
    assert (report.added, report.known, report.completed, report.refused) == (0, 2, 1, {})
    assert stored(store, project) == [A]
    assert bring(store, project, bare, A).completed == 0
    assert stored(store, project) == [A]


def test_two_lines_of_one_file_with_one_id_complete_each_other(store, project):
    assert bring(store, project, Task(id="a", text=A.text), A).completed == 1
    assert stored(store, project) == [A]


def test_a_given_source_replaces_a_translation_and_what_was_found_in_it(store, project):
    bring(store, project, Task(id="a", text=A.text))
    with store.write() as session:
        tasks.set_sources(session, ensure_stage(session, "translator", "nllb"), {1: "Amina live Kisumu"})
        tasks.set_source_entities(session, ensure_stage(session, "tagger", "crf"), {1: [Entity(0, 5, "PER")]})
        predictions.add_predictions(
            session, [(1, Prediction("a", A.text, (), 0.5, pipeline)) for pipeline in "pq"]
        )
        seen = session.scalars(select(tables.Prediction.id)).first()
        reviews.add_batch(session, project, "confidence", [(1, seen)])
    assert bring(store, project, A).completed == 1
    assert stored(store, project) == [A]
    with store.read() as session:
        assert session.get(tables.Task, 1).tagger_id is None
        assert list(session.scalars(select(tables.Prediction.id))) == [seen], "people have seen it"


def test_gold_imported_again_wins_and_the_old_one_stays_readable(store):
    with store.write() as session:
        project, ids = fill(session)
        corrected = {ids["2"]: [Entity(0, 3, "LOC")], ids["a"]: [Entity(8, 13, "LOC")]}
        assert add_imported_gold(session, corrected) == GoldImport(1, 1)
        assert add_imported_gold(session, corrected) == GoldImport(0, 0)
        gold = {item.task.external_id: item for item in gold_of(session, project.id)}
        assert gold["2"].entities == (Entity(0, 3, "LOC"),)
        assert gold["2"].annotators == 1
        imported = session.scalars(select(tables.Annotation).where(tables.Annotation.task_id == ids["2"])).all()
        assert [row.entities[0]["label"] for row in imported] == ["PER", "LOC"]


def test_the_report_says_what_was_corrected_and_completed(store):
    options = ImportOptions(gold=True)
    assert import_file(store, "g", LABELS, CASES / "gold-1.jsonl", options).gold == 1
    again = import_file(store, "g", LABELS, CASES / "gold-2.jsonl", options)
    assert (again.known, again.gold, again.gold_corrected, again.bad) == (1, 0, 1, 0)
    with store.read() as session:
        (gold,) = gold_of(session, projects.get_project(session, "g").id)
    assert gold.entities == (Entity(0, 10, "PER"),)
    import_file(store, "a", LABELS, CASES / "again-1.jsonl", ImportOptions())
    again = import_file(store, "a", LABELS, CASES / "again-2.jsonl", ImportOptions())
    assert (again.known, again.completed, again.bad) == (1, 1, 0)


def test_a_contradiction_is_named_with_its_line(store, tmp_path):
    rows = [{"id": key, "text": A.text, "source": f"{key} one"} for key in "abc"]
    file = tmp_path / "tasks.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    import_file(store, "p", LABELS, file, ImportOptions())
    rows[1]["source"] = "another"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    report = import_file(store, "p", LABELS, file, ImportOptions())
    assert (report.known, report.bad) == (2, 1)
    assert "line 2: source: 'b' is stored with another one" in str(report.errors[0])


def test_a_task_that_is_there_in_another_split_stays_and_is_told_of(store, tmp_path):
    path = tmp_path / "tasks.jsonl"
    rows = [{"id": str(number), "text": f"Juma {number}"} for number in range(3)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert import_file(store, "p", LABELS, path, ImportOptions()).notes == {}
    assert import_file(store, "p", LABELS, path, ImportOptions()).notes == {}, "none was asked for"
    path.write_text(
        "".join(
            json.dumps({**row, "split": split}) + "\n"
            for row, split in zip(rows, ("test", "pool", "dev"), strict=True)
        )
    )
    note = "already there in the split `pool`, where it stays"
    assert import_file(store, "p", LABELS, path, ImportOptions()).notes == {note: 2}
    assert import_file(store, "p", LABELS, path, ImportOptions(split="dev")).notes == {note: 3}
    with store.read() as session:
        assert set(session.scalars(select(tables.Task.split))) == {"pool"}


def test_links_and_tokens_that_were_counted_apart_do_not_come_together(store, project):
    letters = Task(id="th", text="เขาไป", source="He went", alignment="0-0 1-3")
    words = ("เขา", "ไป")
    assert bring(store, project, letters).added == 1
    refused = bring(store, project, Task(id="th", text="เขาไป", tokens=words)).refused[0]
    assert (refused.field, "other words" in refused.problem) == ("tokens", True)
    odd = Task(id="odd", text="Amina yuko", source="Amina is", tokens=("Amina yuko",))
    assert bring(store, project, odd).added == 1
    links = Task(id="odd", text="Amina yuko", source="Amina is", alignment="0-0 1-1")
    refused = bring(store, project, links).refused[0]
    assert (refused.field, "beside the links" in refused.problem) == ("alignment", True)
    fitting = msgspec.structs.replace(links, alignment="0-0 1-0", tokens=odd.tokens)
    assert bring(store, project, fitting).completed == 1
    plain = Task(id="plain", text="Amina yuko", source="Amina is", alignment="0-0 1-1")
    bring(store, project, plain)
    assert bring(store, project, msgspec.structs.replace(plain, tokens=("Amina", "yuko"))).completed == 1
