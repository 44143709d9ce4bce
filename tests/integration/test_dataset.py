"""What training learns from, as files: nothing held out in it, and the same entities back from every format."""

import pytest
from sqlalchemy import update

from tests.sample_store import PROJECT, prepare_sample_store
from xner_label.entities import Entity, Task
from xner_label.errors import UsageError
from xner_label.exchange.exporting import export
from xner_label.exchange.importing import ImportOptions, import_file
from xner_label.exchange.writers import WRITERS
from xner_label.jsonl import read_values
from xner_label.sample import LABELS
from xner_label.store import gold, projects, tables, tasks
from xner_label.store.database import open_store
from xner_label.training.data import DataOptions, collect
from xner_label.training.dataset import make_dataset
from xner_label.training.near_duplicates import NearDuplicates
from xner_label.training.rules import MergeRules


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    file = tmp_path_factory.mktemp("dataset") / "store.db"
    prepare_sample_store(file, 60)
    with open_store(f"sqlite:///{file}") as store:
        yield store


def spans(entities):
    return {(item.start, item.end, item.label) for item in entities}


@pytest.mark.parametrize("format", WRITERS)
def test_every_format_gives_the_gold_back(store, tmp_path, format):
    report = make_dataset(store, PROJECT, DataOptions(), tmp_path / "data", format)
    assert set(report.files) == {"gold", "silver", "dev", "test"}
    with store.read() as session:
        learned = {item.sentence.text: spans(item.entities) for item in collect(session, PROJECT).gold}
    (file,) = (tmp_path / "data").glob("gold.*")
    again = f"again-{format}"
    import_file(store, again, LABELS, file, ImportOptions(gold=True))
    with store.read() as session:
        back = gold.gold_of(session, projects.get_project(session, again).id)
    if format == "conll":  # which holds words, not the white space between them
        assert len(back) == len(learned)
        assert sum(len(item.entities) for item in back) == sum(map(len, learned.values()))
    else:
        assert {item.task.text: spans(item.entities) for item in back} == learned


def test_silver_keeps_its_confidence_and_nothing_is_overwritten(store, tmp_path):
    make_dataset(store, PROJECT, DataOptions(), tmp_path / "data")
    lines = (tmp_path / "data" / "silver.jsonl").read_text("utf-8")
    assert '"confidence":' in lines
    with pytest.raises(UsageError, match="there already"):
        make_dataset(store, PROJECT, DataOptions(), tmp_path / "data")
    assert make_dataset(store, PROJECT, DataOptions()).files == {}


def test_the_rules_are_shown_and_decide(store, tmp_path):
    plain = make_dataset(store, PROJECT, DataOptions()).data
    assert {rule.setting for rule in plain.rules} >= {None, "training.rules.settled"}
    without = make_dataset(store, PROJECT, DataOptions(rules=MergeRules(silver="none"))).data
    assert (without.silver, without.unused_silver) == (0, plain.silver)
    strict = make_dataset(store, PROJECT, DataOptions(rules=MergeRules(min_silver_confidence=1.0)), tmp_path / "s")
    assert strict.data.doubtful_entities > plain.doubtful_entities
    assert strict.files["silver"].entities == strict.data.silver_entities


def test_texts_that_are_nearly_held_out_are_not_learned_from(store):
    with store.write() as session:
        project = projects.get_project(session, PROJECT)
        held_out = next(tasks.iterate_tasks(session, project.id, tables.Task.split == "test"))
        near = f"{held_out.text.upper()} !"
        tasks.add_tasks(session, project.id, [(Task(id="near", text=near), "pool")])
        (added,) = tasks.find_tasks(session, project.id, external_ids=["near"], studio_tasks=[], texts=[])
        gold.add_imported_gold(session, {added.id: [Entity(0, 3, "PER")]})
        data = collect(session, PROJECT)
        assert data.report.nearly_held_out == 1
        assert near not in {item.sentence.text for item in data.gold}
        assert near in {
            item.sentence.text for item in collect(session, PROJECT, DataOptions(near_duplicates=1)).gold
        }
        session.execute(update(tables.Task).where(tables.Task.id == added.id).values(split="left-out"))


def test_near_duplicates():
    near = NearDuplicates(["Rais wa Kenya alifika Nairobi jana asubuhi", "", "na"], 0.8)
    assert near.has("rais wa kenya  alifika NAIROBI jana asubuhi.")
    assert near.has("na")
    assert not near.has("Rais wa Uganda alifika Kampala leo jioni")
    assert not near.has("")
    assert not NearDuplicates([], 0.8).has("na")
    assert not NearDuplicates(["na"], 1).has("na")


def test_a_full_export_is_what_the_projector_can_be_fitted_on(store, tmp_path):
    export(store, PROJECT, tmp_path / "full.jsonl", gold=True, silver=False, full=True)
    rows = list(read_values(tmp_path / "full.jsonl", Task))
    complete = [row for row in rows if row.source and row.source_entities is not None and row.entities is not None]
    assert len(complete) >= len(rows) - 2
