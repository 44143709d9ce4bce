"""Markers set, carried over, lost, doubled: what stands between them and what is counted."""

from __future__ import annotations

import re
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xner_label.entities import Span
from xner_label.projection.handmade.marked_translation import MarkedTranslator
from xner_label.stages.interfaces import Translation
from xner_label.stages.translation.markers import BRACKETS, STYLES, free_brackets, layers, mark, unmark

TEXT = "Bank of Kenya in Nairobi, Kenya"
BANK, KENYA, NAIROBI, AGAIN = Span(0, 13), Span(8, 13), Span(17, 24), Span(26, 31)


def crossing(left: Span, right: Span) -> bool:
    inside = set(range(left.start, left.end)), set(range(right.start, right.end))
    return bool(inside[0] & inside[1]) and not (inside[0] <= inside[1] or inside[1] <= inside[0])


@st.composite
def marked_words(draw: st.DrawFn) -> tuple[str, list[Span]]:
    words = draw(
        st.lists(st.sampled_from(["a", "Bo", "[", "x]", "<b>", "{y", "é", "中文", "."]), min_size=1, max_size=8)
    )
    text = " ".join(words)
    starts = [sum(len(word) + 1 for word in words[:index]) for index in range(len(words))]
    ends = [start + len(word) for start, word in zip(starts, words, strict=True)]
    borders = st.integers(0, len(words) - 1)
    ranges = draw(st.lists(st.tuples(borders, borders).map(sorted), max_size=5))
    return text, [Span(starts[first], ends[last]) for first, last in ranges]


@settings(max_examples=300, deadline=None)
@given(marked_words())
def test_spans_that_cross_are_apart_and_only_these(problem: tuple[str, list[Span]]) -> None:
    _, spans = problem
    groups = layers(spans)
    assert sorted(index for group in groups for index in group) == list(range(len(spans)))
    for group in groups:
        assert not any(crossing(spans[i], spans[j]) for i, j in combinations(group, 2))
    if not any(crossing(left, right) for left, right in combinations(spans, 2)):
        assert len(groups) <= 1


@settings(max_examples=300, deadline=None)
@given(marked_words(), st.sampled_from(STYLES))
def test_what_is_marked_comes_back(problem: tuple[str, list[Span]], style: str) -> None:
    text, spans = problem
    for group in layers(spans):
        wanted = [spans[index] for index in group]
        marked = mark(text, wanted, style)  # type: ignore[arg-type]
        assert None not in marked.names
        result = unmark(marked.text, marked)
        assert result.text == text
        assert set(result.spans) == set(wanted)
        assert list(result.named) == (wanted if style == "xml" else [])
        assert (result.unpaired, result.doubled) == (0, 0)


def test_markers_are_those_of_the_papers() -> None:
    spans = [NAIROBI, BANK, KENYA, AGAIN]
    assert mark(TEXT, spans, "brackets").text == "[ Bank of [ Kenya ] ] in [ Nairobi ], [ Kenya ]"
    assert mark(TEXT, spans, "xml").text == "<a>Bank of <b>Kenya</b></a> in <c>Nairobi</c>, <d>Kenya</d>"
    assert mark(TEXT, spans, "xml").names == ("c", "a", "b", "d")
    adjacent = mark("AB", [Span(0, 1), Span(1, 2)], "xml")
    assert adjacent.text == "<a>A</a><b>B</b>"


def test_markers_that_the_text_holds_are_passed_over() -> None:
    assert mark("[1] Amina", [Span(4, 9)], "brackets").text == "[1] { Amina }"
    assert free_brackets("[", "{}", "<") == ("«", "»")
    everything = "".join(map("".join, BRACKETS)) + " Amina"
    blocked = mark(everything, [Span(len(everything) - 5, len(everything))], "brackets")
    assert (blocked.text, blocked.names) == (everything, (None,))
    tagged = mark("<a> Amina </A>", [Span(4, 9)], "xml")
    assert tagged.text == "<a> <b>Amina</b> </A>"
    assert unmark("<a> <B>Amina</b> </A>", tagged).text == "<a> Amina </A>"
    many = mark("x " * 800, [Span(2 * place, 2 * place + 1) for place in range(800)], "xml")
    assert (many.names[25], many.names[26], many.names[-1]) == ("z", "aa", None)


@pytest.mark.parametrize(
    ("translated", "text", "spans", "unpaired", "doubled"),
    [
        ("[Benki] mjini [ Nairobi ].", "Benki mjini Nairobi.", ["Benki", "Nairobi"], 0, 0),
        ("[ Benki mjini Nairobi", "Benki mjini Nairobi", [], 1, 0),
        ("Benki ] mjini [ Nairobi ]", "Benki mjini Nairobi", ["Nairobi"], 1, 0),
        ("[[Benki]] mjini", "Benki mjini", ["Benki"], 0, 1),
        ("[ ] mjini", "mjini", [], 1, 0),
        ("ya[ Benki ]mjini", "ya Benki mjini", ["Benki"], 0, 0),
        ("", "", [], 0, 0),
        ("][", "", [], 2, 0),
    ],
)
def test_what_models_do_to_brackets(
    translated: str, text: str, spans: list[str], unpaired: int, doubled: int
) -> None:
    result = unmark(translated, mark(TEXT, [BANK, NAIROBI], "brackets"))
    assert result.text == text
    assert [result.text[span.start : span.end] for span in result.spans] == spans
    assert (result.unpaired, result.doubled) == (unpaired, doubled)


@pytest.mark.parametrize(
    ("translated", "named", "unpaired", "doubled"),
    [
        ("< b > Nairobi < / b > ya <A>Benki</a>", ["Benki", "Nairobi"], 0, 0),
        ("<a>Benki</a> <a>Benki</a> <b>Nairobi", ["Benki", None], 1, 1),
        ("<a>Benki</b>", [None, None], 2, 0),
        ("<a>Benki <b>ya</a> Nairobi</b>", ["Benki ya", "ya Nairobi"], 0, 0),
        ("<a>Benki</a> <z>x</z>", ["Benki", None], 1, 0),
        ("<a></a> Nairobi", [None, None], 1, 0),
    ],
)
def test_what_models_do_to_tags(translated: str, named: list[str | None], unpaired: int, doubled: int) -> None:
    result = unmark(translated, mark(TEXT, [BANK, NAIROBI], "xml"))
    texts = [None if span is None else result.text[span.start : span.end] for span in result.named]
    assert texts == named
    assert "<" not in result.text
    assert (result.unpaired, result.doubled) == (unpaired, doubled)


class Phrasebook:
    """Translates whole texts by a list, and others not at all."""

    signature = "phrasebook"

    def __init__(self, **entries: str) -> None:
        self.entries: dict[str, str] = entries
        self.asked: list[str] = []

    def translate(self, texts: list[str]) -> list[Translation]:
        self.asked += texts
        return [Translation(self.entries.get(text, text), -0.5) for text in texts]


def carried(text: str, spans: list[Span], style: str, **entries: str):
    translator = Phrasebook(**entries)
    (answer,) = MarkedTranslator(translator, style).translate([(text, spans)])  # type: ignore[arg-type]
    return answer


def test_names_that_change_their_order_are_told_apart_by_their_own_translations() -> None:
    text = "Cows of Anna in Rome"
    spans = [Span(0, 4), Span(8, 12), Span(16, 20)]
    marked = "[ Cows ] of [ Anna ] in [ Rome ]"
    answer = carried(
        text, spans, "brackets", **{marked: "Mjini [Roma] [ng'ombe] wa [Ana]", "Cows": "ng'ombe", "Rome": "Roma"}
    )
    assert answer.text == "Mjini Roma ng'ombe wa Ana"
    assert answer.renderings == ("ng'ombe", "Ana", "Roma")
    assert [answer.text[span.start : span.end] for span in answer.spans] == list(answer.renderings)
    assert answer.counts == {"marked": 3, "carried": 3}


def test_lost_doubled_and_repeated_markers_are_counted() -> None:
    repeated = "Anna met Anna"
    spans = [Span(0, 4), Span(9, 13)]
    answer = carried(repeated, spans, "brackets", **{"[ Anna ] met [ Anna ]": "[Anna] alikutana na [Anna]"})
    assert answer.spans == (Span(0, 4), Span(18, 22))
    answer = carried(repeated, spans, "brackets", **{"[ Anna ] met [ Anna ]": "Anna alikutana na [[Anna]"})
    assert answer.spans == (None, Span(18, 22))  # nearer to the second
    assert answer.counts == {"marked": 2, "carried": 1, "lost": 1, "unpaired": 1}
    same = carried("Anna", [Span(0, 4), Span(0, 4)], "brackets", **{"[ Anna ]": "[Ana]"})
    assert same.renderings == ("Ana", "Ana")
    unlike = carried("Rome", [Span(0, 4)], "brackets", **{"[ Rome ]": "[xyz]"})
    assert unlike.renderings == ("xyz",)  # the only one on both sides
    nothing = carried("Rome", [], "xml")
    assert (nothing.text, nothing.spans, nothing.counts) == ("Rome", (), {})


def test_spans_that_cross_are_rendered_in_a_translation_of_their_own() -> None:
    answer = carried("a b c", [Span(0, 3), Span(2, 5)], "xml")
    assert answer.renderings == ("a b", "b c")
    assert answer.spans == (Span(0, 3), None)
    blocked = "".join(map("".join, BRACKETS))
    answer = carried(f"{blocked} b", [Span(len(blocked) + 1, len(blocked) + 2)], "brackets")
    assert (answer.renderings, answer.counts) == ((None,), {"unmarkable": 1})


def test_no_text_no_question() -> None:
    translator = Phrasebook()
    assert MarkedTranslator(translator, "xml").translate([]) == []
    assert translator.asked == []


def test_brackets_in_translations_by_the_book() -> None:
    """Without nesting or loss a regular expression says the same."""
    marked = mark(TEXT, [BANK, NAIROBI, AGAIN], "brackets")
    for translated in ("[ a ] b [c d] e [ f ]", "x [ y ]", "[a] [b] [c]", "no names"):
        expected = [part.strip() for part in re.findall(r"\[([^\[\]]*)\]", translated)]
        result = unmark(translated, marked)
        assert [result.text[span.start : span.end] for span in result.spans] == expected
