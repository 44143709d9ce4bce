from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xner_label.entities import Tokens
from xner_label.errors import ConfigurationError, UsageError
from xner_label.letter_case import shape
from xner_label.stages.tagging.crf import CrfTagger
from xner_label.stages.tagging.crf_features import features

NAMES = ["Amina", "Juma", "Neema", "Baraka", "Zawadi", "Rehema"]
TOWNS = ["Arusha", "Dodoma", "Mwanza", "Tanga"]


@pytest.fixture(scope="module")
def tagger() -> CrfTagger:
    sentences = [[name, "lives", "in", town, "."] for name in NAMES for town in TOWNS]
    return CrfTagger.train(sentences, [["B-PER", "O", "O", "B-LOC", "O"]] * len(sentences))


def test_learns_and_scores_entities(tagger: CrfTagger) -> None:
    text = "Yusuf lives in Iringa ."
    [entities] = tagger.tag([Tokens.tokenize(text)])
    assert [(text[e.start : e.end], e.label) for e in entities] == [("Yusuf", "PER"), ("Iringa", "LOC")]
    assert all(e.score is not None and 0.5 < e.score <= 1 for e in entities)


def test_marginals_are_distributions_over_the_labels(tagger: CrfTagger) -> None:
    words = ["Juma", "lives", "in", "Lindi"]
    tags, marginals = tagger.tag_with_marginals(words)
    assert tags == tagger.tag_words(words)
    assert marginals.shape == (4, len(tagger.labels))
    np.testing.assert_allclose(marginals.sum(axis=1), 1, atol=1e-6)


def test_model_survives_bytes_and_file(tagger: CrfTagger, tmp_path: Path) -> None:
    tagger.save(tmp_path / "model.crf")
    again = CrfTagger.load(tmp_path / "model.crf")
    assert again.signature == tagger.signature
    assert again.to_bytes() == tagger.to_bytes()
    assert again.labels == tagger.labels


def test_training_is_deterministic_and_repeats_count() -> None:
    sentences, labels = [["Juma", "left"], ["left", "Juma"]], [["B-PER", "O"], ["O", "B-PER"]]
    first = CrfTagger.train(sentences, labels)
    assert CrfTagger.train(sentences, labels).signature == first.signature
    assert CrfTagger.train(sentences, labels, repeats=[1, 3]).signature != first.signature


def test_extra_features_are_learned() -> None:
    sentences = [["a"], ["b"], ["c"], ["d"]] * 5
    hint = [[["hint=yes"]], [["hint=no"]]] * 10
    tagger = CrfTagger.train(sentences, [["B-PER"], ["O"]] * 10, extra=hint)
    assert tagger.tag_words(["e"], [["hint=yes"]]) == ["B-PER"]
    assert tagger.tag_words(["e"], [["hint=no"]]) == ["O"]


@pytest.mark.parametrize("model", [b"", b"lCRF", b"lCRF" + bytes(60), b"\x80\x04pickle" * 20])
def test_what_is_no_model_is_refused(model: bytes, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="isn't a CRF model"):
        CrfTagger(model)
    (tmp_path / "bad.crf").write_bytes(model)
    with pytest.raises(ConfigurationError, match=r"bad\.crf"):
        CrfTagger.load(tmp_path / "bad.crf")


def test_truncated_model_is_refused(tagger: CrfTagger) -> None:
    with pytest.raises(ConfigurationError):
        CrfTagger(tagger.to_bytes()[:-10])


def test_missing_file_and_nothing_to_learn(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="can't read"):
        CrfTagger.load(tmp_path / "absent.crf")
    with pytest.raises(UsageError, match="no labelled sentence"):
        CrfTagger.train([[]], [[]])


def test_empty_text_has_no_entities(tagger: CrfTagger) -> None:
    assert tagger.tag([Tokens.tokenize(""), Tokens.tokenize(" \n")]) == [[], []]
    assert tagger.tag_with_marginals([])[1].shape == (0, len(tagger.labels))


@given(st.lists(st.text(min_size=1, max_size=8), max_size=8))
def test_features_take_any_words(words: list[str]) -> None:
    rows = features(words)
    assert len(rows) == len(words)
    assert all(shape(word) for word in words)


def test_unknown_words_are_left_out_of_training() -> None:
    sentences, tags = [["Juma", "left", "Amina"]], [["B-PER", "O", None]]
    assert set(CrfTagger.train(sentences, tags).labels) == {"B-PER", "O"}
    whole = CrfTagger.train([["Juma", "left", "Amina"]], [["B-PER", "O", "B-PER"]])
    assert CrfTagger.train(sentences, tags).signature != whole.signature
    with pytest.raises(UsageError):
        CrfTagger.train([["Juma"]], [[None]])


def test_words_without_capitals_show_their_letters():
    latin, amharic = features(["Nairobi"])[0], features(["አዲስ"])[0]
    assert not any(name.startswith(("g=", "script=")) for name in latin)
    assert {"script=ETHIOPIC", "length=3", "g=<አ", "g=አዲስ"} <= set(amharic)
