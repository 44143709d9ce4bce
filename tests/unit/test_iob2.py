from __future__ import annotations

import string

from hypothesis import given
from hypothesis import strategies as st

from xner_label.entities import Entity, Tokens
from xner_label.iob2 import decode, encode, tags_of

tag = st.one_of(st.just("O"), st.tuples(st.sampled_from("BI"), st.sampled_from(["PER", "LOC"])).map("-".join))


@given(st.lists(tag))
def test_decoding_then_encoding_repairs_tags_into_valid_iob2(tags: list[str]) -> None:
    spans = decode(tags)
    repaired = encode(spans, len(tags))
    assert decode(repaired) == spans
    assert [t[2:] for t in repaired] == [t[2:] for t in tags]


def test_neighbouring_entities_of_one_type_stay_apart() -> None:
    assert decode(["B-PER", "B-PER", "I-PER", "O", "I-LOC"]) == [(0, 1, "PER"), (1, 3, "PER"), (4, 5, "LOC")]


def test_overlapping_entities_leave_the_longest() -> None:
    tokens = Tokens.tokenize("University of Bonn opens")
    entities = [Entity(14, 18, "LOC"), Entity(0, 18, "ORG")]
    assert tags_of(tokens, entities) == ["B-ORG", "I-ORG", "I-ORG", "O"]


@given(st.text(alphabet=string.ascii_letters + " ", max_size=30))
def test_one_tag_per_token(text: str) -> None:
    tokens = Tokens.tokenize(text)
    assert len(tags_of(tokens, [Entity(0, len(text), "PER")] if text else [])) == len(tokens)
