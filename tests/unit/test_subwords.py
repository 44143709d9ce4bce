import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.checkpoints import SENTENCES, save_bert, save_nllb, save_xlm_roberta
from xner_label.checkpoints.loading import load_tokenizer
from xner_label.checkpoints.subwords import Subwords, windows

ODD = ("", "\u200b", "ng'ombe", "[SEP]", "</s>", "don't-know", "▁", "Ⅷ", "e\u0301", "北京", "1,000.5", "a b")


@given(st.integers(0, 500), st.integers(1, 60))
def test_windows_keep_every_subtoken_once_and_read_no_more_than_the_limit(length, limit):
    cut = windows(length, limit)
    assert [k for window in cut for k in range(window.keep_start, window.keep_end)] == list(range(length))
    for window in cut:
        assert 0 <= window.start <= window.keep_start <= window.keep_end <= window.end <= length
        assert window.end - window.start <= limit


def test_long_texts_keep_context_on_both_sides():
    first, second, *_ = windows(1000, 400)
    assert first.end - first.keep_end == second.keep_start - second.start == 50


def test_a_window_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        windows(10, 0)


@pytest.mark.models
@pytest.mark.parametrize("save", [save_bert, save_xlm_roberta, save_nllb])
def test_words_one_by_one_give_what_the_tokenizer_gives_for_the_sentence(save, tmp_path):
    tokenizer = load_tokenizer(str(save(tmp_path)))
    subwords = Subwords(tokenizer)
    sentences = [sentence.split() for sentence in SENTENCES] + [list(ODD), []]
    before, after = subwords.frame("lug_Latn" if save is save_nllb else None)
    for words, pieces in zip(sentences, subwords.split(sentences), strict=True):
        expected = tokenizer([words], is_split_into_words=True) if words else None
        if expected is None:
            assert pieces == []
            continue
        assert [*before, *(index for word in pieces for index in word), *after] == expected["input_ids"][0]
        numbers = [number for number, word in enumerate(pieces) for _ in word]
        assert numbers == [number for number in expected.word_ids(0) if number is not None]
