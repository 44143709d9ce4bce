"""Errors are laid at the door of the stage that made them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from xner_label.entities import Entity, ProjectedEntity, SourceMention, Tokens
from xner_label.review.error_sources import ReviewedTask, error_sources, errors_of
from xner_label.review.name_patterns import name_patterns

SOURCE = "Amina Odhiambo met Kofi in Accra"
TEXT = "Amina Odhiambo alikutana na Kofi mjini Accra"
LINKS = "0-0 1-1 2-2 3-4 4-5 5-6"
PEOPLE = {"Amina Odhiambo": "PER", "Kofi": "PER", "Accra": "LOC"}


def entity(text: str, name: str, label: str) -> Entity:
    start = text.index(name)
    return Entity(start, start + len(name), label)


def projected(name: str, label: str, source: str | None = "", source_label: str = "") -> ProjectedEntity:
    """An entity of TEXT; its source has the same name unless another, or none, is given."""
    span = entity(TEXT, name, label)
    mention = None
    if source is not None:
        span_of_source = entity(SOURCE, source or name, source_label or label)
        mention = SourceMention(span_of_source.start, span_of_source.end, span_of_source.label, source or name)
    return ProjectedEntity(span.start, span.end, label, name, 1.0, 0.9, mention)


def task(
    predicted: Sequence[ProjectedEntity],
    gold: Sequence[Entity],
    tagged: Sequence[str] = tuple(PEOPLE),
    links: str | None = LINKS,
    source: str = SOURCE,
) -> ReviewedTask:
    return ReviewedTask(
        id="1",
        text=TEXT,
        tokens=Tokens.tokenize(TEXT),
        predicted=tuple(predicted),
        gold=tuple(gold),
        source=source,
        source_tokens=Tokens.tokenize(source),
        source_entities=tuple(entity(SOURCE, name, PEOPLE[name]) for name in tagged),
        alignment=links,
    )


AMINA, KOFI, ACCRA = (entity(TEXT, name, label) for name, label in PEOPLE.items())


@pytest.mark.parametrize(
    ("reviewed", "stage", "kind"),
    [
        (task([projected("Amina", "PER", "Amina Odhiambo")], [AMINA]), "border", "misplaced"),
        (task([projected("Accra", "PER", source_label="PER")], [ACCRA]), "source tagger", "mislabelled"),
        (task([projected("Accra", "PER", source_label="LOC")], [ACCRA]), "corpus", "mislabelled"),
        (task([projected("Kofi", "PER")], []), "source tagger", "invented"),
        (task([projected("mjini", "LOC", None)], []), "corpus", "invented"),
        (task([], [KOFI]), "cut", "missed"),
        (task([], [KOFI], tagged=()), "source tagger", "missed"),
        (task([], [KOFI], links=""), "alignment", "missed"),
        (task([], [KOFI], tagged=(), links=""), "source tagger", "missed"),
        (task([], [KOFI], tagged=(), links="", source="She met him there"), "translation", "missed"),
        (task([projected("mjini", "PER", "Kofi")], [KOFI], links="3-5"), "alignment", "misplaced"),
    ],
)
def test_the_stage_and_kind_of_an_error(reviewed: ReviewedTask, stage: str, kind: str) -> None:
    assert [(error.stage, error.kind) for error in errors_of(reviewed)] == [(stage, kind)]


def test_a_task_that_is_right_has_no_errors() -> None:
    assert errors_of(task([projected("Accra", "LOC"), projected("Kofi", "PER")], [KOFI, ACCRA])) == []


def test_what_mending_a_stage_would_bring() -> None:
    # One right, one invented, one missed: F1 = 2 * 1 / (2 + 2).
    report = error_sources([task([projected("Accra", "LOC"), projected("mjini", "LOC", None)], [KOFI, ACCRA])])
    assert report.f1 == pytest.approx(0.5)
    assert {row.stage: row.f1_if_mended for row in report.stages} == {
        "cut": pytest.approx(2 * 2 / (3 + 2)),
        "corpus": pytest.approx(2 * 1 / (1 + 2)),
    }
    assert report.stages[0].stage == "cut"
    assert sum(row.share for row in report.stages) == pytest.approx(1.0)
    assert report.stages[1].examples[0].predicted == "mjini [LOC]"


def test_a_label_that_people_change_again_and_again_is_a_habit() -> None:
    names = ("Amina", "Kofi", "Accra")
    relabelled = [
        task([projected(name, "PER", source_label="PER")], [entity(TEXT, name, "ORG")]) for name in names
    ]
    assert [row.stage for row in error_sources(relabelled).stages] == ["label habit"]
    assert [row.stage for row in error_sources(relabelled[:2]).stages] == ["source tagger"]


def test_nothing_reviewed_is_no_error() -> None:
    report = error_sources([])
    assert (report.tasks, report.f1, report.stages) == (0, 0.0, ())
    assert name_patterns([]) == []


def test_patterns_of_names_that_are_lost() -> None:
    lost = task([], [AMINA, KOFI])
    kept = task([projected("Kofi", "PER")], [KOFI])
    rows = {row.pattern: row for row in name_patterns([lost, kept])}
    assert (rows["one word"].names, rows["one word"].lost) == (2, 1)
    assert (rows["two words"].names, rows["two words"].lost) == (1, 1)
    assert rows["two words"].examples == ("Amina Odhiambo → Amina Odhiambo",)
    assert 0.0 < rows["one word"].low < 0.5 < rows["one word"].high < 1.0
    assert rows["label PER"].names == 3
