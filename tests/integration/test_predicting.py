"""What `predict` asks: which projector, and which stage for what a task lacks."""

from __future__ import annotations

import msgspec
import pytest

from xner_label import sample
from xner_label.entities import Entity, Task
from xner_label.errors import ConfigurationError
from xner_label.predicting.predictor import Predictor
from xner_label.projection.loglinear.weights_file import Weights
from xner_label.settings.table import Settings
from xner_label.stages.interfaces import Translation
from xner_label.store import migrating, predictions, projects, tables, tasks
from xner_label.store.database import open_store
from xner_label.store.stages import stage_results
from xner_label.store.task_import import import_tasks


@pytest.fixture
def store(tmp_path):
    with open_store(f"sqlite:///{tmp_path / 'store.db'}", check=False) as store:
        migrating.upgrade(store)
        with store.write() as session:
            project = projects.ensure_project(session, "default", sample.LABELS)
            tasks.add_tasks(session, project.id, [(task, "pool") for task in sample.read_sample(split="dev")])
        yield store


def projector_of(store, **options):
    """The projector in the signature that the stored predictions have."""
    report = Predictor(store, Settings(aligner="none", **options)).predict_project()
    assert report.predicted == len(sample.read_sample(split="dev"))
    (stage,) = [stage for stage in report.pipeline.split() if stage.startswith("projector=")]
    return stage.removeprefix("projector=").split(":")[0]


def test_the_tasks_of_a_project_inform_each_other(store):
    assert projector_of(store) == "log-linear-corpus"


def test_many_tasks_inform_each_other_through_a_table(store):
    assert projector_of(store, corpus_limit=10) == "log-linear-corpus"


def test_without_corpus_mode_tasks_are_predicted_one_by_one(store):
    assert projector_of(store, corpus_limit=0) == "log-linear"


def test_weights_without_corpus_mode_serve_task_by_task(store, tmp_path):
    file = tmp_path / "weights.json"
    file.write_bytes(msgspec.structs.replace(Weights.load(), rounds=()).dump())
    assert projector_of(store, projector_weights=str(file)) == "log-linear"


class CountingTagger:
    """Marks words that begin with a capital; remembers what it was asked."""

    tags = ("PER", "LOC")

    def __init__(self, label: str) -> None:
        self.label = label
        self.signature = f"capitals-{label}"
        self.asked: list[str] = []

    def tag(self, sentences):
        self.asked += [sentence.text for sentence in sentences]
        return [
            [Entity(start, end, self.label, 0.9)]
            for sentence in sentences
            for start, end in [(sentence.starts[0], sentence.ends[0])]
        ]


class CountingTranslator:
    """Puts the text into capital letters, and its name in front."""

    def __init__(self, name: str) -> None:
        self.signature = name
        self.asked: list[str] = []

    def translate(self, texts):
        self.asked += texts
        return [Translation(f"{self.signature} {text.upper()}", -0.1) for text in texts]


PERSON = Entity(0, 4, "PER")


@pytest.fixture
def bare(each_store):
    """Three tasks without a source, one with its own, one with its own entities too."""
    rows = [Task(id=str(number), text=f"Amina {number} anaishi Kisumu") for number in range(3)]
    rows.append(Task(id="s", text="Amina anaishi Lamu", source="Amina lives in Lamu"))
    rows.append(
        Task(id="e", text="Juma anaishi Lamu", source="Juma is in Lamu", source_entities=(Entity(0, 4, "PER"),))
    )
    with each_store.write() as session:
        project = projects.ensure_project(session, "default", ["PER", "LOC"])
        tasks.add_tasks(session, project.id, [(task, "pool") for task in rows])
    return each_store


def predict(store, translator, tagger, **options):
    predictor = Predictor(store, Settings(aligner="none", projector="string", labels=("PER", "LOC")))
    predictor.__dict__ |= {"_translator": translator, "_tagger": tagger}
    return predictor.predict_project(**options)


def rows(store):
    with store.read() as session:
        return {row.external_id: tasks.to_record(row) for row in tasks.iterate_tasks(session, 1)}


def test_another_tagger_tags_again_and_the_first_ones_results_stay(bare):
    translator, people, places = CountingTranslator("nllb"), CountingTagger("PER"), CountingTagger("LOC")
    first = predict(bare, translator, people)
    assert (first.predicted, len(translator.asked), len(people.asked)) == (5, 3, 4)
    assert rows(bare)["s"].source_entities == (Entity(0, 5, "PER", 0.9),)
    second = predict(bare, translator, places)
    assert (second.predicted, len(translator.asked), len(places.asked)) == (5, 3, 4)
    assert rows(bare)["s"].source_entities == (Entity(0, 5, "LOC", 0.9),)
    assert rows(bare)["e"].source_entities == (Entity(0, 4, "PER"),), "people gave it"
    assert first.pipeline != second.pipeline
    with bare.read() as session:
        stored = predictions.predictions_of(session, 1, first.version)
        assert {entity.label for task, row in stored for entity in row.entities} == {"PER"}
    again = predict(bare, translator, people)
    assert (again.known, again.predicted, len(people.asked)) == (5, 0, 4)
    assert rows(bare)["s"].source_entities == (Entity(0, 5, "PER", 0.9),)


def test_another_translator_translates_again_and_its_source_is_tagged(bare):
    tagger = CountingTagger("PER")
    predict(bare, CountingTranslator("nllb"), tagger)
    assert rows(bare)["0"].source == "nllb AMINA 0 ANAISHI KISUMU"
    with bare.read() as session:
        task = list(tasks.iterate_tasks(session, 1))[0]  # noqa: RUF015 - a cursor left half-way would stay open
        assert session.get(tables.StageVersion, task.translator_id).signature == "nllb"
        assert tasks.to_given(task).source is None
    madlad = CountingTranslator("madlad")
    assert predict(bare, madlad, tagger).predicted == 5
    assert (len(madlad.asked), len(tagger.asked)) == (3, 7)
    assert rows(bare)["0"].source == "madlad AMINA 0 ANAISHI KISUMU"
    assert rows(bare)["0"].source_entities == (Entity(0, 6, "PER", 0.9),)
    assert rows(bare)["s"].source == "Amina lives in Lamu", "people gave it"


def test_labels_that_the_project_gets_later_need_no_second_tagging(bare):
    tagger = CountingTagger("ORG")
    predict(bare, CountingTranslator("nllb"), tagger)
    assert rows(bare)["s"].source_entities == ()
    predictor = Predictor(bare, Settings(aligner="none", projector="string", labels=("PER", "LOC", "ORG")))
    predictor.__dict__ |= {"_translator": CountingTranslator("nllb"), "_tagger": tagger}
    predictor.predict_project()
    assert rows(bare)["s"].source_entities == (Entity(0, 5, "ORG", 0.9),)
    assert len(tagger.asked) == 4


class Recording:
    """A Progress that remembers."""

    def __init__(self) -> None:
        self.stages: list[list[object]] = []

    def begin(self, stage, total=None):
        self.stages.append([stage, total, 0])

    def advance(self, count=1):
        self.stages[-1][2] += count


def test_a_few_tasks_go_first_and_the_rest_later(store):
    predictor = Predictor(store, Settings(aligner="none"))
    count = len(sample.read_sample(split="dev"))
    few = predictor.predict_project(limit=3)
    again = predictor.predict_project(limit=3, split="pool")
    assert (few.predicted, again.predicted, few.version) == (3, 3, again.version)
    assert "log-linear-corpus" not in few.pipeline
    assert predictor.predict_project(split="test").predicted == 0
    progress = Recording()
    whole = predictor.predict_project(progress)
    assert whole.predicted == count
    assert progress.stages == [
        ["translating and tagging", count, count],
        ["aligning", count, count],
        ["learning", count, count],
        ["projecting", count, count],
    ]


def test_a_look_at_a_few_tasks_leaves_what_is_current(store):
    whole = Predictor(store, Settings(aligner="none")).predict_project()
    Predictor(store, Settings(aligner="none", projector="string")).predict_project(limit=3)
    with store.read() as session:
        assert projects.get_project(session, "default").pipeline.name == whole.version


def test_a_stage_works_again_where_tasks_brought_something_along(bare):
    translator, tagger = CountingTranslator("nllb"), CountingTagger("LOC")
    predict(bare, translator, tagger)
    brought = [Task(id="e", text="Juma anaishi Lamu", source="Juma is in Lamu", source_entities=(PERSON,))]
    predict(bare, translator, tagger, again=["tagger"])
    assert rows(bare)["e"].source_entities == (Entity(0, 4, "LOC", 0.9),)
    assert rows(bare)["e"].source == "Juma is in Lamu"
    with bare.write() as session:
        (kept,) = stage_results(session, "tagger", "given", {5: "given"}).values()
        assert kept == {"source_entities": [{"start": 0, "end": 4, "label": "PER"}]}
        stored = predictions.predictions_of(session, 1, projects.get_project(session, "default").pipeline.name)
        assert {entity.label for task, row in stored for entity in row.entities if task.external_id == "e"} == {
            "LOC"
        }
        assert import_tasks(session, 1, [(task, "pool") for task in brought]).completed == 1
    assert rows(bare)["e"].source_entities == (PERSON,)
    predict(bare, translator, tagger, again=["translator"])
    assert rows(bare)["e"].source == "nllb JUMA ANAISHI LAMU"
    assert rows(bare)["s"].source == "nllb AMINA ANAISHI LAMU"
    with pytest.raises(ConfigurationError, match="no translator is configured to work again"):
        predict(bare, None, tagger, again=["translator"])
