"""Tokens in scripts without spaces and with particles, and what links without tokens count."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.soak import rounds
from xner_label import segmentation
from xner_label.entities import Task, Tokens
from xner_label.projection.problem import build_instance
from xner_label.tokenization import tokenize


def words(text, **options):
    return [text[start:end] for start, end in tokenize(text, **options)]


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Nai\u00adrobi ni mji", ["Nai\u00adrobi", "ni", "mji"]),
        ("می\u200cخواهم", ["می\u200cخواهم"]),
        ("a\u200bb \ufeffc", ["a", "b", "c"]),
        ('צה"ל צה״ל', ['צה"ל', "צה״ל"]),
        ("col·lecció", ["col·lecció"]),
        ("ጠቅላይ፡ሚኒስትሩ", ["ጠቅላይ", "፡", "ሚኒስትሩ"]),
        ("서울에서 온 김대중은 왔다", ["서울", "에서", "온", "김대중", "은", "왔다"]),
        ("iPhone ٢٠٢٠", ["iPhone", "٢٠٢٠"]),
    ],
)
def test_what_is_one_word(text, tokens):
    assert words(text) == tokens


@pytest.mark.soak
@settings(max_examples=rounds(300), deadline=None)
@given(st.text(st.sampled_from("ab1 _'-.,:/sS") | st.characters(max_codepoint=127), max_size=12))
def test_ascii_text_has_the_tokens_that_it_has_beside_other_letters(text):
    beside_others = tokenize(f"{text} é")
    assert beside_others[-1] == (len(text) + 1, len(text) + 2)
    assert tokenize(text) == beside_others[:-1]


def test_letters_are_the_same_everywhere():
    assert words("東京タワーへ", letters=True) == ["東", "京", "タ", "ワ", "ー", "へ"]
    assert words("서울에서", letters=True) == ["서울에서"]


def test_words_of_scripts_without_spaces():
    pytest.importorskip("icu4py")
    assert segmentation.segmenter() == "icu"
    assert words("กรุงเทพมหานคร เป็นเมือง") == ["กรุงเทพมหานคร", "เป็น", "เมือง"]
    assert words("我住在北京市，iPhone 5。") == ["我", "住在", "北京市", "，", "iPhone", "5", "。"]
    assert words("喬·斯頓") == ["喬", "·", "斯頓"]
    assert "".join(words("𠮷野家で東京に行った")) == "𠮷野家で東京に行った"


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("奧巴馬的助理科瑞·舒爾曼", ["奧巴馬", "的", "助理", "科瑞", "·", "舒爾曼"]),
        ("穿越波托馬克河", ["穿越", "波托馬克", "河"]),
        ("希拉里和特朗普", ["希拉里", "和", "特朗普"]),
        ("他達到了", ["他", "達到", "了"]),  # words, though each of these characters spells names, too
        ("加拿大和西班牙", ["加拿大", "和", "西班牙"]),
    ],
)
def test_foreign_names_that_no_dictionary_knows_are_whole(text, tokens):
    pytest.importorskip("icu4py")
    assert words(text) == tokens


def test_without_the_library_letters_are_tokens(monkeypatch):
    segmentation.word_lengths.cache_clear()
    monkeypatch.setattr(segmentation, "_breaker", lambda: None)
    try:
        assert segmentation.segmenter() == "letters"
        assert words("ไป กรุง") == words("ไป กรุง", letters=True)
    finally:
        segmentation.word_lengths.cache_clear()


def test_links_without_tokens_count_letters():
    task = Task(id=1, text="我在北京", source="I am in Beijing", source_entities=())
    counted = Task(id=1, text="我在北京", source="I am in Beijing", source_entities=(), alignment="3-2 3-3")
    assert len(build_instance(counted)[0].target) == 4
    assert build_instance(task)[0].target.words() == words("我在北京")


SAMPLES = st.text(alphabet='กรุงเทพ 東京に𠮷\u200b\u00adab서울은 אב"״é\u0301·1٢,።', max_size=30)


@given(SAMPLES, st.booleans())
def test_tokens_are_in_order_whole_and_found_again(text, letters):
    spans = tokenize(text, letters=letters)
    position = 0
    for start, end in spans:
        assert position <= start < end <= len(text)
        position = end
    assert Tokens.locate(text, words(text, letters=letters)).starts == [start for start, _ in spans]
