"""What a reviewer should look at first: doubts with reasons, possible missed entities, how they are shown."""

from __future__ import annotations

import pytest

from xner_label.entities import Entity, SourceMention, Tokens
from xner_label.review.doubts import Hint, HintCounts, KnownNames, count_accepted, doubtful, hints, link_support
from xner_label.store.tables import ProjectedEntity, Task
from xner_label.studio.labelling import find_control, label_colours, labelling_config, our_control, upgraded_config
from xner_label.studio.marking import look_first, marked_source

TEXT, SOURCE = "Amina alifika Benki ya Dunia mjini Kano", "Amina reached the World Bank in Kano"
COLOURS = label_colours(["PER", "ORG", "LOC"])


def task(**fields):
    return Task(**{"text": TEXT, "source": SOURCE} | fields)


def entity(words, label, confidence, source=None):
    start = TEXT.index(words)
    projected = ProjectedEntity(
        start=start, end=start + len(words), label=label, text=words, confidence=confidence
    )
    if source:
        projected.source_start = SOURCE.index(source)
        projected.source_end = projected.source_start + len(source)
        projected.source_label, projected.source_text = label, source
    return projected


def place(text, words):
    return text.index(words), text.index(words) + len(words)


def mention(words, label):
    return {"start": SOURCE.index(words), "end": SOURCE.index(words) + len(words), "label": label}


def test_only_doubtful_entities_are_listed_the_worst_first():
    sure, unsure, worst = entity("Amina", "PER", 0.7), entity("Kano", "LOC", 0.69), entity("Benki", "ORG", 0.1)
    assert doubtful([sure, unsure, worst]) == [worst, unsure]
    assert doubtful([]) == []


@pytest.mark.parametrize(
    ("alignment", "share", "uncertain"),
    [
        ("3-2 4-4", 1.0, False),
        ("3-2 4-4:0.5", 1.0, False),
        ("3-1 4-4", 2 / 3, True),
        ("3-0 4-6", 0.0, False),
        ("0-0", 0.0, False),
    ],
)
def test_links_support_an_entity(alignment, share, uncertain):
    support = link_support(task(), place(SOURCE, "World Bank"), place(TEXT, "Benki ya Dunia"), alignment)
    assert support.share == pytest.approx(share)
    assert support.uncertain_border is uncertain


def test_links_say_nothing_without_a_source_or_about_other_tokens():
    spans = place(SOURCE, "Kano"), place(TEXT, "Kano")
    assert link_support(task(), *spans, None) is None
    assert link_support(task(source=None), *spans, "0-0") is None
    assert link_support(task(), *spans, "0-99") is None
    assert link_support(task(), *spans, "nonsense") is None
    # the task's own come before computed ones
    assert link_support(task(alignment="6-6"), *spans, "0-0").share == 1.0


def test_names_that_people_marked_in_several_tasks_are_found_again():
    gold = [
        ("Kano leo", [Entity(0, 4, "LOC")]),
        ("mji Kano", [Entity(4, 8, "LOC")]),
        ("Benki ya Dunia Benki", [Entity(0, 14, "ORG"), Entity(15, 20, "ORG")]),
        ("na Benki ya Dunia", [Entity(3, 17, "ORG")]),
        ("Amina", [Entity(0, 5, "PER")]),
        ("Juma", [Entity(0, 4, "PER")]),
        ("Juma", [Entity(0, 4, "ORG")]),
    ]
    hinted = list(KnownNames(gold).find(TEXT, Tokens.of(TEXT, None)))
    assert [(hint.words, hint.label, hint.tasks) for hint in hinted] == [
        ("Benki ya Dunia", "ORG", 2),
        ("Kano", "LOC", 2),
    ]
    assert all(TEXT[hint.start : hint.end] == hint.words for hint in hinted)
    assert list(KnownNames([]).find(TEXT, Tokens.of(TEXT, None))) == []


def test_hints_are_what_the_prediction_lacks():
    names = KnownNames([("Kano", [Entity(0, 4, "LOC")])] * 2)
    sources = [mention("Amina", "PER"), mention("World Bank", "ORG"), mention("Kano", "MISC")]
    hinted = hints(
        task(source_entities=sources), [entity("Amina", "PER", 0.9, "Amina")], names, ["PER", "ORG", "LOC"]
    )
    assert hinted == [Hint("Kano", "LOC", 35, 39, 2), Hint("World Bank", "ORG")]
    assert hints(task(), [entity("Kano", "LOC", 0.2)], names, ["LOC"]) == []
    assert hints(task(source=None, source_entities=None), [], KnownNames([]), ["LOC"]) == []


def test_a_hint_counts_as_accepted_once():
    place, elsewhere = {"words": "Kano", "label": "LOC", "start": 35, "end": 39, "tasks": 2}, Entity(0, 5, "LOC")
    named = {"words": "Kano", "label": "LOC"}
    assert count_accepted([]) == HintCounts(0, 0)
    assert count_accepted([([place], [elsewhere]), ([named], [elsewhere])]) == HintCounts(2, 1)
    assert count_accepted([([named, place], [Entity(34, 39, "LOC")])]) == HintCounts(2, 1)
    assert count_accepted([([named], [Entity(35, 39, "PER")]), ([named], [])]) == HintCounts(2, 0)


def test_nothing_of_a_text_is_taken_for_html():
    source = "<script>alert('x')</script> & \"Kano\" $text"
    start = source.index("Kano")
    html = marked_source(source, [SourceMention(start, start + 4, '"><b>', "")], COLOURS)
    assert "<script" not in html
    assert "<b>" not in html
    assert html.count("<mark") == 1
    assert "&lt;script&gt;" in html
    shown = look_first([(entity("Kano", "LOC", 0.4), None)], [Hint("<img src=x>", "LOC")], COLOURS)
    assert "<img" not in shown
    assert "doubtful (0.40)" in shown


def test_overlapping_mentions_of_the_source_are_marked_once():
    inner, outer = SourceMention(24, 28, "ORG", ""), SourceMention(18, 28, "ORG", "")
    html = marked_source(SOURCE, [inner, outer, SourceMention(0, 5, "PER", "")], COLOURS)
    assert "<bdi>World Bank</bdi>" in html
    assert html.count("<mark") == 2
    assert "37,99,235" in html, "people's blue"


def test_many_doubts_are_counted_and_none_is_nothing():
    many = [(entity("Kano", "LOC", 0.4), None)] * 20
    assert "and 12 more" in look_first(many, [], COLOURS)
    assert look_first([], [], COLOURS) == ""


OLD = (
    '<View><Style>.xner-source { background: #eee }</Style><View className="xner-source"><Header value="Source"/>'
    '<Text name="source" value="$source_text"/></View><Labels name="label" toName="text"><Label value="PER"/>'
    '<Label value="LOC" alias="place"/></Labels><Text name="text" value="$text"/>'
    '<TextArea name="note" toName="text"/></View>'
)


def test_an_earlier_configuration_is_upgraded_and_what_people_added_stays():
    labels = ["PER", "place"]
    new = upgraded_config(OLD)
    assert not find_control(OLD, labels).guides
    assert find_control(new, labels) == our_control(labels)
    assert 'name="note"' in new
    assert "#eee" not in new
    assert upgraded_config(new) is None
    assert upgraded_config(labelling_config(["PER"])) is None
    assert upgraded_config('<View><Text name="t" value="$source_text"/></View>') is None
