"""Names in any script: folded, romanised and by their consonants."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xner_label.letter_case import has_case
from xner_label.projection.similarity import similarity
from xner_label.word_forms import fold
from xner_label.writing_systems import consonant_skeleton, is_romanisable, is_unspaced, romanise


@pytest.mark.parametrize(
    ("word", "folded"),
    [
        ("Müller", "muller"),
        ("Łódź", "lodz"),
        ("Ørsted", "orsted"),
        ("Đorđe", "dorde"),
        ("Diyarbakır", "diyarbakir"),
        ("İstanbul", "istanbul"),
        ("Nai\u00adrobi", "nairobi"),
        ("٢٠٢٠", "2020"),
        ("२०२०", "2020"),
        ("۱۴۰۲", "1402"),
        ("مُحَمَّد", "محمد"),
        ("کیف", "كيف"),
        ("צה״ל", 'צה"ל'),
        ("Ёлка", "елка"),
        ("Երևան", "երեվան"),
    ],
)
def test_what_is_no_difference_between_names_is_folded(word, folded):
    assert fold(word) == folded


@pytest.mark.parametrize(
    ("written", "in_capitals"),
    [
        ("Παπαδόπουλος", "ΠΑΠΑΔΟΠΟΥΛΟΣ"),  # accents go and the final sigma is no other letter
        ("Αθήνα", "ΑΘΉΝΑ"),
        ("Երևան", "ԵՐԵՎԱՆ"),
        ("Diyarbakır", "DİYARBAKIR"),
        ("Straße", "STRASSE"),
        ("თბილისი", "ᲗᲑᲘᲚᲘᲡᲘ"),
        ("Київ", "КИЇВ"),
        ("Қазақстан", "ҚАЗАҚСТАН"),
    ],
)
def test_names_in_capitals_are_the_same_names(written, in_capitals):
    assert fold(written) == fold(in_capitals)
    assert similarity(written, in_capitals) == 1.0


@pytest.mark.parametrize(("left", "right"), [("か", "が"), ("กา", "ก่า"), ("कि", "का"), ("ば", "ぱ")])
def test_marks_that_are_letters_stay(left, right):
    assert fold(left) != fold(right)


def test_dates_match_across_digits():
    assert similarity("2020", "٢٠٢٠") == similarity("2020", "२०२०") == 1.0
    assert similarity("2021", "٢٠٢٠") == 0.0


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("Москва", "Moskva"),
        ("አዲስ አበባ", "Addis Ababa"),
        ("दिल्ली", "Dilli"),
        ("서울", "Seoul"),
        ("თბილისი", "Tbilisi"),
        ("Ομπάμα", "Obama"),  # letters that are read together
        ("Λουντ", "Lund"),
        ("Ευρώπη", "Evropi"),
        ("Երևան", "Erevan"),
        ("Լոնդոն", "London"),
        ("לונדון", "London"),  # a consonant letter for a vowel
        ("โตเกียว", "Tokeiyao"),  # a vowel before the consonant that it follows
        ("ໂຕກຽວ", "Tokyo"),
        ("အမ်စတာဒမ်", "Amsterdam"),
        ("스톡홀름", "Stockholm"),  # a vowel that only parts consonants
        ("Азербайджан", "Azerbaijan"),
        ("ऑस्ट्रेलिया", "Australia"),
    ],
)
def test_names_are_alike_across_scripts(name, other):
    assert similarity(name, other) >= 0.75


def test_consonants_carry_a_name_where_vowels_are_not_written():
    assert consonant_skeleton(romanise(fold("محمد"))) == consonant_skeleton("mohamed")
    assert similarity("محمد", "Mohamed") >= 0.75


def test_what_a_script_has():
    assert has_case("Москва")
    assert not has_case("თბილისი")
    assert not has_case("東京")
    assert is_unspaced("東京")
    assert is_unspaced("กรุงเทพ")
    assert not is_unspaced("서울")
    assert is_romanisable("Москва")
    assert not is_romanisable("Zürich")


@given(st.text(max_size=20))
def test_any_text_has_a_form_and_folding_twice_is_folding_once(text):
    assert fold(fold(text)) == fold(text) or not text.isascii()
    assert romanise(fold(text)) is not None
    assert consonant_skeleton(romanise(fold(text))) is not None


@given(st.text(alphabet=st.characters(max_codepoint=127)))
def test_ascii_is_lower_case(text):
    assert fold(text) == text.lower()
    assert romanise(fold(text)) == text.lower()
