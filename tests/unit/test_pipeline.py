"""The pipeline: what a corpus projector learned is looked up by task, and what wasn't matched exactly is said."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from tests.checkpoints import save_bert
from tests.unit.test_corpus import corpus
from xner_label.entities import Prediction, Task
from xner_label.pipeline.pipeline import Pipeline
from xner_label.projection.exact import marginals
from xner_label.projection.problem import Instance, Projection, Projections
from xner_label.projection.projectors import make_projector
from xner_label.stages.interfaces import SentencePair


class Rounding:
    """Links as a neural aligner makes them: right, with weights that differ by 1e-7 from batch to batch."""

    learns = False
    signature = "rounding"

    def __init__(self) -> None:
        self.aligned = self.batches = 0

    def align(self, pairs: Sequence[SentencePair]) -> list[list[tuple[int, int, float]]]:
        self.batches += 1
        self.aligned += len(pairs)
        weight = 0.9 + 1e-7 * self.batches
        return [[(0, 0, weight), (1, 1, weight), (3, 2, weight), (4, 3, weight)] for _ in pairs]


class Watched:
    """A corpus projector that notes how large its corpora are."""

    signature = "watched"
    needs: frozenset[str] = frozenset()
    cut = 0.5

    def __init__(self) -> None:
        self.corpora: list[int] = []

    def project_corpus(self, instances: Sequence[Instance]) -> list[Projections]:
        self.corpora.append(len(instances))
        return [Projections([Projection(0, 0, 1, "PER", 1.0, 1.0)]) for _ in instances]


def unaligned(count: int) -> list[Task]:
    return [msgspec.structs.replace(task, alignment=None) for task in corpus(count)]


def test_a_corpus_is_projected_once_whatever_the_rounding_of_its_links():
    aligner, projector = Rounding(), Watched()
    pipeline = Pipeline(projector, aligner=aligner)
    tasks = unaligned(300)
    pipeline.learn(tasks)
    for start in range(0, 300, 100):
        predictions = pipeline.predict(tasks[start : start + 100])
        assert [prediction.id for prediction in predictions if isinstance(prediction, Prediction)] == [
            task.id for task in tasks[start : start + 100]
        ]
    assert (projector.corpora, aligner.aligned) == ([300], 300)
    pipeline.predict(
        [Task(id="new", text="Zawadi", source="Zawadi", source_entities=tasks[0].source_entities[:1])]
    )
    assert projector.corpora == [300, 1]


def test_the_default_corpus_mode_answers_in_batches_as_in_one_go():
    tasks = unaligned(60)
    whole, batches = (Pipeline(make_projector("corpus"), aligner=Rounding()) for _ in range(2))
    for pipeline in (whole, batches):
        pipeline.learn(tasks)
    assert whole.signature == batches.signature
    assert whole.predict(tasks) == [answer for task in tasks for answer in batches.predict([task])]
    renamed = [msgspec.structs.replace(task, id=f"other {task.id}") for task in tasks]
    assert [answer.entities for answer in whole.predict(renamed)] == [
        answer.entities for answer in whole.predict(tasks)
    ]
    other = Pipeline(make_projector("corpus"), aligner=Rounding())
    other.learn(tasks[1:])
    assert other.signature != whole.signature


@pytest.mark.models
def test_a_corpus_with_a_real_checkpoint_is_one_corpus(tmp_path):
    from xner_label.checkpoints.devices import Placement
    from xner_label.stages.alignment.embedding import EmbeddingAligner
    from xner_label.stages.alignment.encoder import load_encoder

    encoder = load_encoder(str(save_bert(tmp_path / "bert")), Placement("cpu", "float32"), None)
    tasks = unaligned(120)

    def answers(size: int) -> list[object]:
        pipeline = Pipeline(make_projector("corpus"), aligner=EmbeddingAligner("tiny", encoder, method="mwmf"))
        pipeline.learn(tasks)
        return [
            answer
            for start in range(0, len(tasks), size)
            for answer in pipeline.predict(tasks[start : start + size])
        ]

    assert answers(7) == answers(120)


@pytest.mark.parametrize("name", ["default", "corpus"])
def test_what_is_not_exact_is_said_also_when_the_first_entity_is(name, monkeypatch):
    """The competition is between the second and the third mention; labels leave the third out."""
    monkeypatch.setattr(marginals, "TRANSITION_LIMIT", 1)
    source = "Asha met Baraka Juma and Juma Baraka ."
    text = "Asha alikutana na Juma Baraka Juma leo ."
    rows = [(0, 4, "PER"), (9, 20, "PER"), (25, 36, "ORG")]
    entities = [{"start": start, "end": end, "label": label, "score": 0.9} for start, end, label in rows]
    row = {"id": 1, "text": text, "source": source, "source_entities": entities}
    task = msgspec.convert(row | {"alignment": "0-0 1-1 2-4 3-3 5-5 6-4"}, Task)
    plain = msgspec.convert(
        row | {"source_entities": entities[:1], "alignment": "0-0", "id": 2, "text": "Asha", "source": "Asha"},
        Task,
    )
    pipeline = Pipeline(make_projector(name), labels=["PER"])
    if pipeline.learns:
        pipeline.learn([task, plain])
    crowded, alone = pipeline.predict([task, plain])
    assert crowded.note == "too many entities compete for the same words: matched approximately"
    assert alone.note is None
