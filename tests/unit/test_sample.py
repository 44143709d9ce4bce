"""The sample corpus keeps what its README promises."""

from __future__ import annotations

import pytest

from xner_label.entities import Entity, Tokens
from xner_label.sample import LABELLED_SOURCE, LABELS, SampleTask, read_sample


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


def test_a_label_never_contradicts_itself(sides):
    """One name, one label: nothing for a learner to be confused by but the language itself."""
    labels: dict[str, set[str]] = {}
    for _, text, entities in sides:
        for entity in entities:
            labels.setdefault(text[entity.start : entity.end], set()).add(entity.label)
    assert {name: found for name, found in labels.items() if len(found) > 1} == {}
