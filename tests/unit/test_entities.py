import pytest
from hypothesis import given
from hypothesis import strategies as st

from xner_label.entities import Tokens
from xner_label.errors import RecordError


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Ng'ombe wa Jean-Paul, 1,000.5!", ["Ng'ombe", "wa", "Jean-Paul", ",", "1,000.5", "!"]),
        ("Kenya's Wang'ombe’s O'Neill's 's", ["Kenya", "'s", "Wang'ombe", "’s", "O'Neill", "'s", "'", "s"]),
        ("नमस्ते दुनिया", ["नमस्ते", "दुनिया"]),
        ("hi 👨‍👩‍👧🇰🇪", ["hi", "👨‍👩‍👧", "🇰🇪"]),
        ("a\r\nb \u200f\u0645\u0631 e\u0301t", ["a", "b", "\u0645\u0631", "e\u0301t"]),
        ("", []),
    ],
)
def test_tokenize(text, tokens):
    assert Tokens.tokenize(text).words() == tokens


@given(st.text())
def test_tokens_are_ordered_disjoint_and_locatable(text):
    tokens = Tokens.tokenize(text)
    previous = 0
    for start, end in zip(tokens.starts, tokens.ends, strict=True):
        assert previous <= start < end <= len(text)
        previous = end
    first, last, exact = tokens.covering(0, len(text))
    assert (first, last) == (0, len(tokens))
    assert exact or not len(tokens)


def test_locate_refuses_what_is_not_next():
    located = Tokens.locate("Rais  wa Kenya.", ["Rais", "wa", "Kenya", "."])
    assert [tuple(located.span(k, k + 1).__getattribute__(a) for a in ("start", "end")) for k in (0, 3)] == [
        (0, 4),
        (14, 15),
    ]
    with pytest.raises(RecordError, match=r"tokens: token 1 \('Kenya'\)"):
        Tokens.locate("Rais wa Kenya", ["Rais", "Kenya"])
    with pytest.raises(RecordError, match="source_tokens"):
        Tokens.locate("Rais", [""], field="source_tokens")


def test_covering_widens_to_whole_tokens():
    tokens = Tokens.tokenize("in Nairobi today")
    assert tokens.covering(3, 10) == (1, 2, True)
    assert tokens.covering(4, 6) == (1, 2, False)
    assert tokens.covering(2, 3) == (1, 1, False)


@given(st.text(st.sampled_from("ab 'Üب中"), max_size=12), st.sets(st.integers(-1, 14)))
def test_tokens_are_cut_where_a_border_lies_inside(text, borders):
    tokens = Tokens.tokenize(text)
    pieces = tokens.cut_at(borders)
    assert "".join(pieces) == "".join(tokens)
    assert {*tokens.starts, *tokens.ends} <= {*pieces.starts, *pieces.ends}
    for start, end in zip(pieces.starts, pieces.ends, strict=True):
        assert text[start:end] in pieces.words()
        assert not any(start < border < end for border in borders)
        assert start in borders or start in tokens.starts


@given(st.text(st.sampled_from("ab 'Ü١ก中\u200b\u200c\u200d\ufeff\u00ad\u0301\u200f\x00\n👩🏽"), max_size=12))
def test_the_built_in_tokens_are_found_again(text):
    """`align` writes the built-in tokens of a text, `project` looks them up in it."""
    tokens = Tokens.tokenize(text)
    located = Tokens.locate(text, tokens.words())
    assert (list(located.starts), list(located.ends)) == (list(tokens.starts), list(tokens.ends))


def test_tokens_must_reach_the_end_of_what_can_be_seen():
    assert Tokens.locate("Anna\u200b Oslo \ufeff", ["Anna", "Oslo"]).words() == ["Anna", "Oslo"]
    assert len(Tokens.locate("Anna", [])) == 0
    with pytest.raises(RecordError, match=r"^tokens: they end at 4 of 9, before 'Oslo'"):
        Tokens.locate("Anna Oslo", ["Anna"])


def test_given_tokens_and_the_built_in_ones():
    assert Tokens.of("Anna-Lena", None).words() == ["Anna-Lena"]
    assert Tokens.of("Anna-Lena", ["Anna", "-", "Lena"]).words() == ["Anna", "-", "Lena"]
    with pytest.raises(RecordError, match=r"^source_tokens: "):
        Tokens.of("Anna", ["Oslo"], "source_tokens")
