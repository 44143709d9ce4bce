"""The sample corpus keeps what its README promises."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from xner_label.entities import Entity, Tokens
from xner_label.sample import LABELLED_SOURCE, LABELS, PAIRS, SAMPLES, SampleTask, read_sample


@pytest.fixture(scope="module")
def pairs() -> list[SampleTask]:
    return read_sample()


@pytest.fixture(scope="module")
def labelled() -> list[SampleTask]:
    return read_sample(LABELLED_SOURCE)


@pytest.fixture(scope="module")
def sides(pairs, labelled) -> list[tuple[str, str, tuple[Entity, ...]]]:
    """Every annotated text: (id, text, entities)."""
    annotated = [(task.id, task.text, task.entities) for task in [*pairs, *labelled]]
    return annotated + [(task.id, task.source, task.source_entities) for task in pairs]


def test_every_entity_is_a_clean_mention_in_order(sides):
    for task_id, text, entities in sides:
        position = 0
        for entity in entities:
            mention = text[entity.start : entity.end]
            assert position <= entity.start < entity.end <= len(text), task_id
            assert mention == mention.strip(), (task_id, mention)
            assert mention[0].isalnum(), (task_id, mention)
            assert entity.label in LABELS, task_id
            assert entity.score is None, task_id  # given by a person
            position = entity.end


def test_gold_mentions_are_whole_tokens(pairs):
    """So that a projector that works on whole tokens can be exactly right."""
    for task in pairs:
        tokens = Tokens.tokenize(task.text)
        for entity in task.entities:
            assert tokens.covering(entity.start, entity.end)[2], (task.id, task.text[entity.start : entity.end])


def test_ids_texts_and_sources_are_unique(pairs, labelled):
    assert [task.id for task in pairs] == [f"sw-{number:04d}" for number in range(1, len(pairs) + 1)]
    assert len({task.text for task in pairs}) == len(pairs)
    english = [task.source for task in pairs] + [task.text for task in labelled]
    assert len(set(english)) == len(english)
    assert len({task.id for task in labelled}) == len(labelled)


def test_a_name_has_one_label(sides):
    """What the sample teaches is consistent; the company and the river called Amazon are both meant."""
    labels: dict[str, set[str]] = {}
    for _, text, entities in sides:
        for entity in entities:
            labels.setdefault(text[entity.start : entity.end], set()).add(entity.label)
    assert {name for name, its_labels in labels.items() if len(its_labels) > 1} == {"Amazon"}


def counts_row(name: str, texts: list[tuple[Entity, ...]]) -> str:
    """The row of the README's table for these annotated texts."""
    labels = Counter(entity.label for entities in texts for entity in entities)
    empty = sum(not entities for entities in texts)
    return "| " + " | ".join(map(str, [name, len(texts), *(labels[label] for label in LABELS), empty])) + " |"


def test_the_readme_counts_what_is_there(pairs, labelled):
    readme = PAIRS.with_name("README.md").read_text(encoding="utf-8")
    for split in ("pool", "dev", "test"):
        assert counts_row(split, [task.entities for task in pairs if task.split == split]) in readme
    assert counts_row("all, gold", [task.entities for task in pairs]) in readme
    assert counts_row("all, source entities", [task.source_entities for task in pairs]) in readme
    assert counts_row("English only", [task.entities for task in labelled]) in readme


def test_there_is_enough_of_everything(pairs):
    by_split = Counter(task.split for task in pairs)
    assert len(pairs) >= 420
    assert by_split["pool"] >= 300
    assert by_split["dev"] >= 40
    assert by_split["test"] >= 80
    for split, size in by_split.items():
        labels = Counter(entity.label for task in pairs if task.split == split for entity in task.entities)
        assert min(labels[label] for label in LABELS) >= size // 4, (split, labels)
    assert 0.12 <= sum(not task.entities for task in pairs) / len(pairs) <= 0.18
    mentions = [task.text[e.start : e.end] for task in pairs for e in task.entities]
    assert sum(" " in mention for mention in mentions) >= 300
    assert len(set(mentions)) >= 500


def test_the_hard_cases_are_in(pairs):
    def at_least(condition: Callable[[SampleTask], bool], least: int) -> None:
        assert sum(map(condition, pairs)) >= least

    def translated(task: SampleTask) -> bool:
        """No target mention looks like the source mention."""
        texts = {task.text[e.start : e.end] for e in task.entities}
        return any(task.source[e.start : e.end] not in texts for e in task.source_entities)

    at_least(lambda task: len(task.source_entities) > len(task.entities), 12)  # the name is dropped
    at_least(lambda task: len(task.source_entities) < len(task.entities), 12)  # "Kenyan" becomes "wa Kenya"
    at_least(translated, 180)
    at_least(lambda task: any(ord(character) > 0xFFFF for character in task.text), 10)  # two UTF-16 units
    at_least(lambda task: "“" in task.text, 30)
    at_least(lambda task: "–" in task.text or "—" in task.text, 10)
    at_least(lambda task: "ng'" in task.text.lower() or "ng’" in task.text.lower(), 5)
    at_least(lambda task: "\r\n" in task.text, 1)
    at_least(lambda task: "  " in task.text, 1)
    at_least(lambda task: any(entity.start == 0 for entity in task.entities), 50)


def test_read_sample_selects_a_split():
    assert {task.split for task in read_sample(split="dev")} == {"dev"}
    assert len(read_sample()) == sum(len(read_sample(split=split)) for split in ("pool", "dev", "test"))


def test_the_hindi_sample_is_clean_and_counted():
    hindi = read_sample(SAMPLES["hi"])
    assert [task.id for task in hindi] == [f"hi-{number:04d}" for number in range(1, len(hindi) + 1)]
    assert len({task.text for task in hindi}) == len({task.source for task in hindi}) == len(hindi) >= 150
    labels: dict[str, set[str]] = {}
    for task in hindi:
        for text, entities in ((task.text, task.entities), (task.source, task.source_entities)):
            tokens, position = Tokens.tokenize(text), 0
            for entity in entities:
                mention = text[entity.start : entity.end]
                assert position <= entity.start < entity.end <= len(text), task.id
                assert mention == mention.strip(), (task.id, mention)
                assert entity.label in LABELS
                assert entity.score is None
                assert tokens.covering(entity.start, entity.end)[2], (task.id, mention)
                labels.setdefault(mention, set()).add(entity.label)
                position = entity.end
    assert {name for name, labels_of_name in labels.items() if len(labels_of_name) > 1} == set()
    readme = PAIRS.with_name("README.md").read_text(encoding="utf-8")
    for split in ("pool", "dev", "test"):
        assert counts_row(split, [task.entities for task in hindi if task.split == split]) in readme
    assert counts_row("all, gold", [task.entities for task in hindi]) in readme
    assert counts_row("all, source entities", [task.source_entities for task in hindi]) in readme
