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
        ("東京タワーへ", ["東", "京", "タ", "ワ", "ー", "へ"]),
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
