"""Affixes that are written on to a name: left out of projected spans where something speaks for that."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xner_label.entities import Entity, Task
from xner_label.pipeline.pipeline import Pipeline
from xner_label.projection.inner_borders import BorderHabits, learn_border_habits, name_borders
from xner_label.projection.problem import Instance, build_instance
from xner_label.projection.projectors import make_projector

# Somebody cut a clitic off, once.
CLITICS = BorderHabits({"ب": 1, "ב": 1})


def _instance(text: str, source: str, name: str) -> Instance:
    start = source.index(name)
    entities = (Entity(start, start + len(name), "LOC"),)
    return build_instance(Task(id=1, text=text, source=source, source_entities=entities))[0]


def _named(text: str, source: str, token: str, habits: BorderHabits | None = None) -> str:
    """What is left of the token as the projection of the whole source."""
    instance = _instance(text, source, source)
    place = instance.target.words().index(token)
    span = name_borders(instance, 0, place, place + 1, habits or BorderHabits())
    return text[span.start : span.end]


@pytest.mark.parametrize(
    ("token", "source", "name"),
    [
        ("بلندن", "London", "لندن"),
        ("وبلندن", "London", "لندن"),
        ("لباريس", "Paris", "باريس"),
        ("בלונדון", "London", "לונדון"),
        ("ובברלין", "Berlin", "ברלין"),
        ("Ankara'da", "Ankara", "Ankara"),
        ("Ankara’dan", "Ankara", "Ankara"),
    ],
)
def test_an_affix_is_left_out_where_the_rest_reads_more_like_the_name(token: str, source: str, name: str) -> None:
    assert _named(f"{token} .", source, token, CLITICS) == name
    assert _named(f"{token} .", source, token) == (name if "nkara" in token else token)


@pytest.mark.parametrize(
    ("token", "source"),
    [
        ("باريس", "Paris"),  # the name's own letter
        ("لبنان", "Lebanon"),
        ("بارد", "cold"),  # no name
        ("بألمانيا", "Deutschland"),  # nothing reads alike
        ("w'Abagisu", "Bagisu"),
        ("O'Brien", "O'Brien"),
        ("nakwaMandela", "Mandela"),
        ("Londonesque", "London"),
    ],
)
def test_what_nothing_speaks_for_stays_whole(token: str, source: str) -> None:
    assert _named(f"{token} .", source, token) == token
    assert _named(f"{token} .", source, token, CLITICS) == token


def test_korean_particles_on_given_tokens() -> None:
    task = Task(
        id=1,
        text="오바마에게 물었다",
        source="asked Obama",
        tokens=("오바마에게", "물었다"),
        source_entities=(Entity(6, 11, "PER"),),
    )
    span = name_borders(build_instance(task)[0], 0, 0, 1)
    assert task.text[span.start : span.end] == "오바마"


def _settled(text: str, name: str, source: str = "Berlin") -> tuple[Instance, tuple[Entity, ...]]:
    start = text.index(name)
    return _instance(text, source, source), (Entity(start, start + len(name), "LOC"),)


@pytest.mark.parametrize(
    ("token", "source", "name"),
    [
        ("문재인은", "Moon Jae-in", "문재인"),
        ("김대중을", "Kim Dae-jung", "김대중"),
        ("손흥민의", "Son Heung-min", "손흥민"),
        ("김정은", "Kim Jong-un", "김정은"),  # the last syllable is the name's, however much like a particle
        ("박정은은", "Park Jung-eun", "박정은"),
    ],
)
def test_korean_names_are_one_word_of_several_source_words(token: str, source: str, name: str) -> None:
    instance = build_instance(
        Task(
            id=1,
            text=f"{token} .",
            source=source,
            source_entities=(Entity(0, len(source), "PER"),),
            tokens=(token, "."),
        )
    )[0]
    span = name_borders(instance, 0, 0, 1, BorderHabits())
    assert token[span.start : span.end] == name


def test_people_may_cut_other_affixes() -> None:
    settled = [_settled("በጀርመን ነው", "ጀርመን", "Germany"), _settled("በኬንያ ነው", "ኬንያ", "Kenya")]
    habits = learn_border_habits(settled)
    assert habits.prefixes_cut == {"በ": 2}
    assert _named("በኡጋንዳ ነው", "Uganda", "በኡጋንዳ") == "በኡጋንዳ"
    assert _named("በኡጋንዳ ነው", "Uganda", "በኡጋንዳ", habits) == "ኡጋንዳ"
    # what people settled as a name is one, whatever the source says
    assert _named("በጀርመን ነው", "Deutschland", "በጀርመን", habits) == "ጀርመን"
    assert habits.signature != BorderHabits().signature == ""


def test_one_clitic_cut_is_all_clitics_cut_while_few_are_left_standing() -> None:
    whole = [_settled("بلندن .", "بلندن", "London"), _settled("ببرلين .", "ببرلين", "Berlin")]
    cut = [_settled("بنيروبي .", "نيروبي", "Nairobi"), _settled("لبرلين .", "برلين", "Berlin")]
    assert learn_border_habits(whole).prefixes_kept == {"ب": 2}
    assert _named("ولندن .", "London", "ولندن", learn_border_habits(whole)) == "ولندن"
    assert _named("ولندن .", "London", "ولندن", learn_border_habits(cut)) == "لندن"
    assert _named("ولندن .", "London", "ولندن", learn_border_habits(whole + cut)) == "ولندن"


def test_none_and_overlooked_entities() -> None:
    assert learn_border_habits([]) == BorderHabits()
    instance = _instance("بلندن .", "London", "London")
    assert name_borders(instance, None, 0, 1) == instance.target.span(0, 1)


def test_predictions_end_inside_a_token() -> None:
    task = Task(
        id=1, text="في بلندن", source="in London", source_entities=(Entity(3, 9, "LOC"),), alignment="0-0 1-1"
    )
    (whole,) = Pipeline(make_projector("link-dice")).predict([task])
    assert [e.text for e in whole.entities] == ["بلندن"]  # type: ignore[union-attr]
    (prediction,) = Pipeline(make_projector("link-dice"), border_habits=CLITICS).predict([task])
    assert [(e.start, e.end, e.text) for e in prediction.entities] == [(4, 8, "لندن")]  # type: ignore[union-attr]


@given(st.text(alphabet="abAبلندنוב'’s서울에서 ", min_size=1), st.sampled_from(["London", "Seoul", "Ab", "AB's"]))
def test_a_name_is_never_empty_nor_outside_its_tokens(text: str, source: str) -> None:
    instance = _instance(text, source, source)
    for first in range(len(instance.target)):
        for last in range(first + 1, len(instance.target) + 1):
            whole = instance.target.span(first, last)
            habits = BorderHabits({"ا": 3, "a": 3, "Ab": 2}, {}, {"b": 2, "서": 3}, {}, frozenset({"b", "لندن"}))
            span = name_borders(instance, 0, first, last, habits)
            assert whole.start <= span.start < span.end <= whole.end
