from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xner_label.stages.translation.sentences import pieces, sentences


@pytest.mark.parametrize(
    "expected",
    [
        ["Dr. Amina Nabatanzi met J. Okello.", "They talked!", "Did they?", "(Yes.)", "Good."],
        ["He said “No.”", "Then he left…", "Later, 3.5 million came."],
        ["第一句。", "第二句！", "第三句"],
        ["यह पहला है।", "यह दूसरा है।"],
        ["ይህ የመጀመሪያው ነው።", "ይህ ሁለተኛው ነው።"],
        ["A headline without a stop\n", "And the text below."],
        ["the U.S. Senate voted."],
    ],
)
def test_cuts_where_sentences_end(expected: list[str]) -> None:
    text = ("" if "。" in expected[0] else " ").join(expected)
    assert [text[span.start : span.end] for span in sentences(text)] == [sentence.strip() for sentence in expected]


@given(st.text(alphabet=st.sampled_from("aB. \n。!?'\"…\u00a0"), max_size=60), st.integers(1, 12))
def test_nothing_but_white_space_is_lost_and_every_piece_fits(text: str, limit: int) -> None:
    spans = pieces(text, lambda piece: len(piece) <= limit)
    position = 0
    for span in spans:
        assert not text[position : span.start].strip()
        assert 0 < span.end - span.start <= limit
        assert text[span.start : span.end].strip() == text[span.start : span.end]
        position = span.end
    assert not text[position:].strip()
