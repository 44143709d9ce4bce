import pytest

from xner_label.entities import Tokens
from xner_label.projection.similarity import FoldedTokens, similar_ngrams, similarity
from xner_label.word_forms import fold


@pytest.mark.parametrize(
    ("left", "right", "least", "most"),
    [
        ("Müller", "MULLER", 1.0, 1.0),
        ("Kampala", "eKampala", 0.93, 1.0),
        ("Mandela", "nakwaMandela", 0.8, 0.95),
        ("Ankara", "Ankara'dan", 0.8, 0.95),
        ("European Union", "EU", 0.9, 0.9),
        ("EU", "European Union", 0.9, 0.9),
        ("Boeing 747", "Boeing 777", 0.0, 0.0),
        ("Covid 19", "covid19", 0.9, 1.0),
        ("Rome", "Paris", 0.0, 0.3),
        ("", "", 0.0, 1.0),
        ("Иван", "иван", 1.0, 1.0),
    ],
)
def test_similarity(left, right, least, most):
    assert least <= similarity(left, right) <= most
    assert similarity(left, right) == similarity(right, left)


def test_fold_keeps_other_scripts():
    assert fold("ÉTÉ") == "ete"
    assert fold("東京") == "東京"
    assert fold("") == ""


def similar(mention, length, text):
    tokens = Tokens.tokenize(text)
    return sorted(similar_ngrams(mention, length, tokens, FoldedTokens(tokens), 0.75))[::-1]


def test_runs_that_read_like_a_mention():
    assert similar("Nelson Mandela", 2, "Yena uNelson Mandela ufike .")[0][1:] == (1, 3)
    assert similar("Mandela", 1, "Bakhuluma nakwaMandela namhlanje")[0][1:] == (1, 2)
    assert similar("European Union", 2, "Sheria ya EU mpya") == [(0.9, 2, 3)]
    assert similar("Anna", 1, "") == []
    # Decomposed letters fold like composed ones, and offsets of tokens stay those of the text.
    assert similar("Zürich", 1, "in Zu\u0308rich .")[0] == (1.0, 1, 2)
