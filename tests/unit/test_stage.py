"""Completing tasks: one way for lines and for the store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from xner_label.entities import Entity, Task, Tokens
from xner_label.errors import ConfigurationError, RecordError
from xner_label.iob2 import tags_of
from xner_label.pipeline.stage import (
    Added,
    AlignmentStage,
    Stage,
    TaggingStage,
    TranslationStage,
    additions,
    completed,
    fingerprint,
)
from xner_label.stages.interfaces import SentencePair, Translation
from xner_label.stages.tagging.crf import CrfTagger
from xner_label.stages.tagging.labelled_texts import read_labelled_texts
from xner_label.stages.tagging.relabelled import RelabelledTagger


class Upper:
    """Translates by shouting; counts what it is asked."""

    signature = "upper"

    def __init__(self) -> None:
        self.asked: list[str] = []

    def translate(self, texts: Sequence[str]) -> list[Translation]:
        self.asked += texts
        return [Translation(text.upper(), -0.5) for text in texts]


class Diagonal:
    """Links word k with word k; learns how many pairs there are."""

    learns = True
    signature = "diagonal"

    def fit(self, pairs: Sequence[SentencePair]) -> bool:
        self.signature = f"diagonal:{len(pairs)}"
        return True

    def align(self, pairs: Sequence[SentencePair]) -> list[list[tuple[int, int, float]]]:
        return [[(place, place, 0.5) for place in range(min(len(a), len(b)))] for a, b in pairs]


class Kept:
    """Stage results by task id, signature and fingerprint, as JSON."""

    def __init__(self) -> None:
        self.entries: dict[tuple[str, str, str], bytes] = {}

    def known(self, stage: Stage, tasks: Sequence[Task]) -> list[Added | None]:
        entries = [self.entries.get(self._key(stage, task)) for task in tasks]
        return [None if entry is None else msgspec.json.decode(entry) for entry in entries]

    def keep(self, stage: Stage, results: Sequence[tuple[Task, Added]]) -> None:
        self.entries |= {self._key(stage, task): msgspec.json.encode(added) for task, added in results}

    @staticmethod
    def _key(stage: Stage, task: Task) -> tuple[str, str, str]:
        return str(task.id), stage.signature, fingerprint(stage, task)


@pytest.fixture(scope="module")
def crf() -> CrfTagger:
    texts = [Tokens.tokenize(f"{name} saw {town}.") for name in ("Amina", "Juma") for town in ("Lamu", "Kisumu")]
    tags = [
        tags_of(text, [Entity(0, text.ends[0], "PERSON"), Entity(text.starts[2], text.ends[2], "GPE")])
        for text in texts
    ]
    return CrfTagger.train([text.words() for text in texts], tags)


def test_what_a_task_has_is_kept_and_what_is_about_something_replaced_goes() -> None:
    stage = TranslationStage(translator := Upper())
    given = Task(id=1, text="habari", source="news", source_entities=(Entity(0, 4, "MISC"),), alignment="0-0")
    assert additions(stage, [given, Task(id=2, text="ndiyo")]) == [{}, {"source": "NDIYO", "source_score": -0.5}]
    assert translator.asked == ["ndiyo"]
    [again] = additions(stage, [given], again=True)
    assert again == {"source": "HABARI", "source_score": -0.5, "source_entities": None, "alignment": None}
    [task] = completed(stage, [Task(id=3, text="ndiyo", back_translations=(("x",),))])
    assert task == Task(id=3, text="ndiyo", source="NDIYO")


def test_errors_stay_with_their_task(crf: CrfTagger) -> None:
    stage = TaggingStage(RelabelledTagger(crf, ("PERSON", "GPE"), ("PER", "LOC")))
    broken = Task(id=3, text="x", source="Juma", source_tokens=("Amina",))
    first, second, third, fourth = completed(
        stage,
        [RecordError("id", "bad"), Task(id=1, text="x", source="Amina saw Lamu."), Task(id=2, text="x"), broken],
    )
    assert isinstance(first, RecordError)
    assert isinstance(second, Task)
    assert [(e.start, e.end, e.label) for e in second.source_entities or ()] == [(0, 5, "PER"), (10, 14, "LOC")]
    assert [error.field for error in (first, third, fourth) if isinstance(error, RecordError)] == [
        "id",
        "source",
        "source_tokens",
    ]


def test_results_are_kept_by_task_signature_and_input(crf: CrfTagger) -> None:
    kept = Kept()
    tasks = [Task(id=1, text="x", source="Amina saw Lamu."), Task(id=2, text="x", source="Juma saw Kisumu.")]
    stages: list[Any] = [TaggingStage(crf), AlignmentStage(Diagonal())]
    for stage in stages:
        stage.learn(tasks)
        assert stage.learns == stage.signature.startswith("diagonal:2")
    first = tasks
    for stage in stages:
        first = completed(stage, first, results=kept)  # type: ignore[assignment]
    assert len(kept.entries) == 4
    assert first[0].alignment == "0-0:0.5"

    class Refusing:
        learns = False

        def __init__(self, signature: str) -> None:
            self.signature = signature

        def tag(self, texts: Sequence[Tokens]) -> list[list[Entity]]:
            raise AssertionError(texts)

        align = tag

    again = tasks
    for stage in (TaggingStage(Refusing(crf.signature)), AlignmentStage(Refusing("diagonal:2"))):  # type: ignore[arg-type]
        again = completed(stage, again, results=kept)  # type: ignore[assignment]
    assert again == first
    assert fingerprint(stages[1], tasks[0]) == fingerprint(
        stages[1], first[0]
    )  # the same tokens, now written down
    changed = msgspec.structs.replace(tasks[0], source="Amina saw Mombasa.")
    for stage, task in (
        (TaggingStage(Refusing("other")), tasks[0]),
        (TaggingStage(Refusing(crf.signature)), changed),
    ):
        with pytest.raises(AssertionError):
            completed(stage, [task], results=kept)  # type: ignore[arg-type]


def test_labels_are_translated_into_the_projects(crf: CrfTagger, tmp_path: Any) -> None:
    assert RelabelledTagger(crf, ("PERSON", "GPE"), ("PERSON", "GPE")).signature == crf.signature
    tagger = RelabelledTagger(crf, ("PERSON", "GPE"), ("PER", "ORG"), {"GPE": "ORG"})
    assert tagger.signature == f"{crf.signature}:GPE=ORG:PERSON=PER"
    [entities] = tagger.tag([Tokens.tokenize("Amina saw Lamu.")])
    assert [entity.label for entity in entities] == ["PER", "ORG"]
    with pytest.raises(ConfigurationError, match=r"none of the tagger's labels \(GPE, PERSON\) fits.*DATE"):
        RelabelledTagger(crf, ("PERSON", "GPE"), ("DATE",))
    path = tmp_path / "labelled.jsonl"
    path.write_text(
        '{"text": "Amina saw Lamu", "entities": [{"start": 0, "end": 5, "label": "PERSON"}, '
        '{"start": 10, "end": 14, "label": "SHIP"}]}\n'
    )
    told: list[str] = []
    texts = read_labelled_texts(path, ("PER", "LOC"), tell=told.append)
    assert texts == [("Amina saw Lamu", [Entity(0, 5, "PER")])]
    assert len(told) == 1
    assert "SHIP (1)" in told[0]
    with pytest.raises(ConfigurationError, match=r"no entity .*\(PERSON, SHIP\) don't fit .*\(DATE\)"):
        read_labelled_texts(path, ("DATE",))
