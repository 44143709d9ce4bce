"""Groups of a name's occurrences, the options of their cards, and what answers do to predictions."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xner_label.entities import Prediction, ProjectedEntity, Provenance, SourceMention, Span
from xner_label.errors import ContractError
from xner_label.review.name_answers import (
    ANSWERED,
    Kind,
    NameAnswer,
    NameAnswers,
    Verdict,
    key_of,
    verdict_in_force,
)
from xner_label.review.name_groups import (
    SHOWN,
    NameKey,
    Occurrence,
    group_names,
    other_labels,
    other_spans,
    place_of,
    places_shown,
)
from xner_label.studio.card_options import with_labels
from xner_label.studio.name_cards import CARD, OPTIONS, card_data, option_of, verdict_of, verdicts, with_verdicts

TEXT = "Benki ya Dunia ilifungua ofisi mjini Dodoma."
SOURCE = "The World Bank opened an office in Dodoma."


def occurrence(task, words, label="ORG", confidence=0.6, name="World Bank", text=TEXT, source=SOURCE):
    start, at = text.index(words), source.index(name)
    return Occurrence(task, text, start, start + len(words), label, confidence, source, Span(at, at + len(name)))


def entity(words, label="ORG", confidence=0.6, name="World Bank", text=TEXT):
    start = text.index(words)
    source = SourceMention(0, len(name), label, name) if name else None
    return ProjectedEntity(start, start + len(words), label, words, 1.0, confidence, source)


def prediction(*entities, text=TEXT):
    confidence = 1.0
    for item in entities:
        confidence *= item.confidence
    return Prediction("1", text, tuple(entities), confidence, "pipeline-1")


def answers(key, kind, value=""):
    return NameAnswers([NameAnswer(key, Verdict(kind, value), "ann@example.org", "2026-11-30")])


def test_occurrences_of_one_name_with_one_label_form_a_group():
    groups = group_names(
        [
            occurrence(1, "Benki ya Dunia", confidence=0.9),
            occurrence(2, "Benki ya Dunia", confidence=0.3),
            occurrence(3, "Benki ya Dunia", label="LOC"),
            occurrence(4, "Dodoma", label="LOC", name="Dodoma"),
        ]
    )
    (group,) = groups
    assert group.key == NameKey("world bank", "benki ya dunia", "ORG")
    assert [member.task for member in group.occurrences] == [2, 1]
    assert group.expected_errors == pytest.approx(0.8)


def test_the_order_of_groups_is_that_of_expected_errors_and_not_of_the_input():
    occurrences = [
        occurrence(number, words, label, confidence, name)
        for number, (words, label, confidence, name) in enumerate(
            [("Benki ya Dunia", "ORG", 0.9, "World Bank"), ("Dodoma", "LOC", 0.5, "Dodoma")] * 2
        )
    ]
    groups = group_names(occurrences)
    assert [group.key.target for group in groups] == ["dodoma", "benki ya dunia"]
    assert group_names(occurrences[::-1]) == groups


def test_none_one_and_a_hundred_thousand_occurrences():
    assert group_names([]) == []
    assert group_names([occurrence(1, "Dodoma", "LOC", name="Dodoma")]) == []
    many = [occurrence(number, "Dodoma", "LOC", name="Dodoma") for number in range(100_000)]
    assert len(group_names(many)[0].occurrences) == 100_000


def test_labels_that_the_words_carry_elsewhere_come_first():
    key = NameKey("dodoma", "dodoma", "LOC")
    counts = {key: 5, NameKey("dodoma", "dodoma", "DATE"): 1, NameKey("dodoma city", "dodoma", "ORG"): 3}
    assert other_labels(key, counts, ["PER", "ORG", "LOC", "DATE"]) == ["ORG", "DATE", "PER"]


def test_other_spans_are_those_that_most_occurrences_could_take():
    group = group_names([occurrence(1, "Benki ya"), occurrence(2, "Benki ya")])[0]
    assert "Benki ya Dunia" in other_spans(group)
    known = [NameKey("world bank", "benki ya dunia", "ORG")]
    assert other_spans(group, known)[0] == "Benki ya Dunia"
    assert all(text != "Benki ya" for text in other_spans(group))


def test_another_span_is_found_where_it_meets_the_entity():
    text = "Dodoma na Benki ya Dunia, Benki ya Dunia"
    start = text.rindex("Benki")
    assert place_of(text, Span(start, start + 8), "BENKI ya dunia") == Span(start, len(text))
    assert place_of(text, Span(0, 6), "Benki ya Dunia") is None


def test_a_label_settles_every_occurrence_and_is_no_gold():
    item = entity("Benki ya Dunia", "LOC")
    answered, touched = answers(key_of(item), Kind.LABEL, "ORG").apply(
        prediction(item, entity("Dodoma", name="Dodoma"))
    )
    assert touched == 1
    assert [(item.text, item.label) for item in answered.entities] == [
        ("Benki ya Dunia", "ORG"),
        ("Dodoma", "ORG"),
    ]
    assert answered.entities[0].confidence == ANSWERED
    assert answered.entities[0].provenance == Provenance(answer="ann@example.org, 2026-11-30")
    assert answered.confidence == pytest.approx(ANSWERED * 0.6)


def test_a_confirmed_label_makes_surer_and_never_less_sure():
    item = entity("Benki ya Dunia", confidence=0.99)
    answered, touched = answers(key_of(item), Kind.LABEL, "ORG").apply(prediction(item))
    assert (touched, answered.entities[0].confidence) == (1, 0.99)


@pytest.mark.parametrize(("label", "count"), [("ORG", 7), ("LOC", 0)])
def test_what_people_settled_elsewhere_is_said_of_the_entity_that_they_settled(label: str, count: int):
    reviewed = Provenance(settled=("t1", "t2"), settled_count=7, against=("t3",), against_count=1)
    item = msgspec.structs.replace(entity("Benki ya Dunia"), provenance=reviewed)
    answered, _ = answers(key_of(item), Kind.LABEL, label).apply(prediction(item))
    assert answered.entities[0].label == label
    assert answered.entities[0].provenance.settled_count == count


def test_other_borders_move_the_entity_and_take_the_place_of_what_stands_there():
    short, inside = entity("Benki ya", name="World Bank"), entity("Dunia", "LOC", 0.5, name="World")
    answered, _ = answers(key_of(short), Kind.SPAN, "Benki ya Dunia").apply(prediction(short, inside))
    assert [(item.text, item.label) for item in answered.entities] == [("Benki ya Dunia", "ORG")]
    elsewhere = prediction(short)
    same, touched = answers(key_of(short), Kind.SPAN, "Benki Kuu").apply(elsewhere)
    assert (same, touched) == (elsewhere, 0)


def test_no_name_takes_the_entity_away_and_it_depends_leaves_it():
    item = entity("Benki ya Dunia")
    answered, touched = answers(key_of(item), Kind.NO_NAME).apply(prediction(item))
    assert (answered.entities, touched, answered.confidence) == ((), 1, pytest.approx(1.0))
    depends = answers(key_of(item), Kind.DEPENDS)
    assert (depends.signature, len(depends)) == ("", 0)
    assert depends.apply(prediction(item)) == (prediction(item), 0)


def test_the_signature_names_what_is_settled_not_who_said_so():
    key = NameKey("a", "a", "ORG")
    first = NameAnswers([NameAnswer(key, Verdict(Kind.NO_NAME), "ann", "2026-11-30")])
    other = NameAnswers([NameAnswer(key, Verdict(Kind.NO_NAME), "bea", "2026-12-01")])
    assert first.signature == other.signature != NameAnswers([]).signature == ""


def test_people_who_disagree_settle_nothing():
    ja, nein = Verdict(Kind.LABEL, "ORG"), Verdict(Kind.NO_NAME)
    assert verdict_in_force({"ann": ja}) == ja
    assert verdict_in_force({"ann": ja, "bea": ja}) == ja
    assert verdict_in_force({"ann": ja, "bea": nein}) is None
    assert verdict_in_force({}) is None


def test_a_card_shows_what_it_is_about_and_runs_nothing():
    text = "<script>alert(1)</script> Dodoma & zaidi"
    members = [occurrence(n, "Dodoma", "LOC", 0.5, "Dodoma", text=text) for n in range(7)]
    data = card_data("name-1", group_names(members)[0], ["ORG", "PER"], ["Dodoma & zaidi"])
    assert "<script" not in data[CARD]
    assert data[CARD].count("<mark") == 10
    assert [option["alias"] for option in data[OPTIONS]] == [
        *("label:LOC", "label:ORG", "label:PER", "span:Dodoma & zaidi", "no-name", "depends")
    ]
    assert [option["hotkey"] for option in data[OPTIONS]] == list("123456")


@given(st.sampled_from(verdicts(["PER", "ORG", "LOC"], ["a: b", "Ñandú"])))
def test_an_answer_comes_back_as_it_was_offered(verdict):
    region = {"type": "choices", "value": {"choices": [option_of(verdict, "1")["alias"]]}}
    assert verdict_of([region]) == verdict
    assert verdict_of([]) is None


@pytest.mark.parametrize("alias", ["", "label", "no-name:x", "whatever", "label:"])
def test_an_answer_that_no_card_offers_is_refused(alias):
    with pytest.raises(ContractError):
        verdict_of([{"type": "choices", "value": {"choices": [alias]}}])


@given(st.text(max_size=400), st.data())
def test_a_card_marks_exactly_the_name_in_any_text(text, data):
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    from html import unescape

    from xner_label.studio.name_cards import _marked

    shown = _marked(text, Span(start, end))
    marked = shown.split("<mark", 1)[1].split(">", 1)[1].split("</mark>")[0]
    assert unescape(marked) == text[start:end] or "&" in text


@pytest.mark.parametrize("count", [1, 4, 5, 6, 7, 211])
def test_a_card_shows_doubtful_and_sure_occurrences_alike(count):
    shown = places_shown(count)
    assert len(shown) == min(count, SHOWN) == len(set(shown))
    assert shown == sorted(shown)
    assert (shown[0], shown[-1]) == (0, count - 1)
    # what holds for most of a large group holds for most of those that are shown, whatever its worst fifth is
    assert sum(place < count // 5 for place in shown) <= max(1, len(shown) // 2)


def test_a_card_offers_the_labels_of_today():
    card = with_verdicts({"name": "Dodoma"}, ["LOC", "ORG", "PER"], ["Dodoma Mjini"])
    assert with_labels(card, ["PER", "ORG", "LOC"]) == card
    changed = with_labels(card, ["PER", "DATE", "LOC", "LAW"])
    aliases = [option["alias"] for option in changed["options"]]
    labels = ["label:LOC", "label:PER", "label:DATE", "label:LAW"]
    assert aliases == [*labels, "span:Dodoma Mjini", "no-name", "depends"]
    assert [option["hotkey"] for option in changed["options"]] == list("1234567")
    assert changed["name"] == "Dodoma"
    many = with_labels(card, [f"L{number}" for number in range(100)])
    assert len(many["options"]) == 103
    assert sum("hotkey" in option for option in many["options"]) == 9
    assert with_labels(many, ["LOC", "ORG", "PER"])["options"] == card["options"]
