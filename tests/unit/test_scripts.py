"""Projection in scripts without capitals or spaces."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xner_label.entities import Entity, Prediction, Task, Tokens
from xner_label.jsonl import read_values
from xner_label.pipeline.pipeline import Pipeline
from xner_label.projection.fitting.caseless_copies import CORPUS, caseless_copies, caseless_corpora
from xner_label.projection.fitting.examples import read_example
from xner_label.projection.fitting.sentence_weights import ALIKE, balanced_worth
from xner_label.projection.loglinear.columns import CAPITAL, Columns, Vocabulary
from xner_label.projection.loglinear.features import CANDIDATE_FEATURES, MENTION_FEATURES
from xner_label.projection.loglinear.model import SentenceBatch
from xner_label.projection.loglinear.projector import LogLinearProjector
from xner_label.projection.loglinear.weights_file import Weights
from xner_label.projection.problem import build_instance
from xner_label.projection.projectors import make_projector

CASES = Path(__file__).parents[1] / "cases"
CASE = [name for name in CANDIDATE_FEATURES if name.endswith("*") or "capital" in name]
CASE += ["upper", "lower_inside"]
CASELESS_ALONE = ["other_script", "left_joined", "right_joined", "separators", "long_ratio", "long_ratio_gap"]


def task(text, source, links, *mentions, tokens=None):
    entities = [Entity(source.index(name), source.index(name) + len(name), label) for name, label in mentions]
    return Task(
        id=1,
        text=text,
        source=source,
        source_entities=tuple(entities),
        tokens=tuple(tokens or text.split()),
        source_tokens=tuple(source.split()),
        alignment=links,
    )


def columns_of(*texts):
    tasks = [task(text, "Anna", "0-0", ("Anna", "PER")) for text in texts]
    return Columns([build_instance(task)[0] for task in tasks], Vocabulary())


def test_a_sentence_is_caseless_by_its_own_words():
    columns = columns_of(
        "Anna anaishi Nairobi .",  # capitals
        "anna anaishi nairobi .",  # none, as in chat
        "ጠቅላይ ሚኒስትሩ ነበሩ ።",  # a script without
        "تشغيل Shadowplay على Deezer .",  # names in Latin letters
        "Анна живёт здесь",
        "تم 5",
        "12 : 30",
    )
    assert columns.caseless.tolist() == [False, True, True, True, False, True, True]
    assert not columns.unspaced.any()
    assert columns_of("他 去 北京", "He went to 北京 now").unspaced.tolist() == [True, False]


def test_letters_that_texts_use_in_one_form_alone_have_no_case():
    columns = columns_of("ᲐᲜᲐ ᲗᲑᲘᲚᲘᲡᲨᲘ ცხოვრობს", "ᎠᎾ ᎠᏂ ᏣᎳᎩ", "ԱՆՆԱ ԵՐԵՎԱՆ Էստեղ")
    assert columns.caseless.tolist() == [True, True, False]
    assert columns.table[columns.target, CAPITAL].tolist() == [0, 0, 0, 0, 0, 0, 1, 1, 1]


def test_what_counts_words_is_silent_where_each_letter_is_a_token():
    words, letters = (
        ("เขา", "ไป", "กรุงเทพมหานคร"),
        tuple(Tokens.tokenize("เขาไปกรุงเทพมหานคร", letters=True).words()),
    )
    assert columns_of("他 去 北京 了", "他 去 北 京").lettered.tolist() == [False, True]
    assert columns_of("Anna a b c d", "彼 は ロサンゼルス に 行 っ た").lettered.tolist() == [False, False]
    signals = []
    for tokens, links in ((words, "0-0 1-1 3-2"), (letters, " ".join(f"3-{at}" for at in range(5, len(letters))))):
        sentence = task("".join(tokens), "He went to Bangkok", links, ("Bangkok", "LOC"), tokens=tokens)
        batch = SentenceBatch([build_instance(sentence)[0]], Vocabulary())
        signals.append(
            (features_of(sentence)["กรุงเทพมหานคร"], batch.features.mention[0, MENTION_FEATURES.index("width_gap")])
        )
    (by_word, gap), (by_letter, no_gap) = signals
    assert gap > 0
    assert no_gap == 0
    assert not any(by_letter[f"{side}_short"] for side in ("first", "last", "left", "right"))
    assert by_letter["longer"] == pytest.approx(by_word["longer"], abs=0.5)


def test_features_of_case_are_neutral_where_there_is_none():
    sentence = task(
        "अमीना दिल्ली में Google गई", "Amina went to Google in Delhi", "0-0 1-4 3-3 4-2 5-1", ("Amina", "PER")
    )
    batch = SentenceBatch([build_instance(sentence)[0]], Vocabulary())
    assert (batch.columns.table[batch.columns.target, CAPITAL]).any()
    for name in CASE:
        assert not batch.features.candidate[:, CANDIDATE_FEATURES.index(name)].any(), name


def features_of(sentence):
    """Features by name and window text of a task with one mention."""
    batch = SentenceBatch([build_instance(sentence)[0]], Vocabulary())
    spans = zip(batch.candidates.first.tolist(), batch.candidates.last.tolist(), strict=True)
    return {
        "".join(sentence.tokens[first:last]): dict(zip(CANDIDATE_FEATURES, row, strict=True))
        for (first, last), row in zip(spans, batch.features.candidate.tolist(), strict=True)
    }


def test_dots_join_names_and_brackets_are_closed():
    words = ("他", "是", "科瑞", "·", "舒爾曼", "（", "Kori", "）", "、", "王")
    sentence = task(
        "".join(words), "He is Kori Schulman", "0-0 1-1 2-2 3-4", ("Kori Schulman", "PER"), tokens=words
    )
    features = features_of(sentence)
    whole, half, other = features["科瑞·舒爾曼"], features["科瑞"], features["舒爾曼"]
    assert (whole["left_joined"], whole["right_joined"], whole["separators"]) == (0, 0, 0)
    assert (half["right_joined"], other["left_joined"]) == (1, 1)
    assert not any(window.count("（") != window.count("）") for window in features)
    assert features["科瑞·舒爾曼（Kori）"]["separators"] == 2
    assert whole["long_ratio"] > half["long_ratio"]
    assert half["long_ratio_gap"] == pytest.approx(whole["long_ratio"] - half["long_ratio"])


def test_what_only_caseless_sentences_are_asked_is_nothing_elsewhere():
    sentence = task("Kori · Schulman , kule", "Kori Schulman there", "0-0 1-2", ("Kori Schulman", "PER"))
    for features in features_of(sentence).values():
        assert not any(features[name] for name in CASELESS_ALONE)


CONSONANTS = "bcdfgkmnprst"
CASELESS_LETTERS = ("ბცდფგკმნპრსტ", "בגדזכלמנפצקר", "कगचजटडतदनपबम", "በገደዘከለመነፐጸቀረ", "بتجدرزسفكلمن")
WORDS = st.text(alphabet=CONSONANTS, min_size=4, max_size=7)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_letters_do_not_matter_where_links_are_the_only_evidence(data):
    """Mapping the target's letters one to one into a caseless script changes no span and no confidence."""
    words = data.draw(st.lists(WORDS, min_size=3, max_size=8))
    source = " ".join("Ao" + "wy" * (number + 1) for number in range(len(words)))
    count = len(words)
    links = data.draw(st.sets(st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)), min_size=1))
    first = data.draw(st.integers(0, count - 1))
    name = source.split()[first]
    alignment = " ".join(f"{i}-{j}" for i, j in sorted(links))
    letters = str.maketrans(
        CONSONANTS, "".join(data.draw(st.permutations(data.draw(st.sampled_from(CASELESS_LETTERS)))))
    )
    other = [word.translate(letters) for word in words]
    tasks = [task(" ".join(text), source, alignment, (name, "LOC")) for text in (words, other)]
    plain, mapped = LogLinearProjector(Weights.load()).project([build_instance(sentence)[0] for sentence in tasks])
    assert [(p.first, p.last) for p in plain] == [(p.first, p.last) for p in mapped]
    assert [p.confidence for p in plain] == pytest.approx([p.confidence for p in mapped])


def test_a_name_over_more_letters_than_a_window_of_words_is_a_candidate():
    letters = tuple("เขาไปกรุงเทพมหานคร")
    text = "เขาไปกรุงเทพมหานคร"
    tokens = Tokens.tokenize(text, letters=True).words()
    start = tokens.index("ก")
    links = " ".join(f"3-{place}" for place in range(start, len(tokens)))
    sentence = task(text, "He went to Bangkok", links, ("Bangkok", "LOC"), tokens=tokens)
    batch = SentenceBatch([build_instance(sentence)[0]], Vocabulary())
    spans = set(zip(batch.candidates.first.tolist(), batch.candidates.last.tolist(), strict=True))
    assert len(letters) > 10
    assert (start, len(tokens)) in spans


def originals(count):
    sentence = task(
        "Anna Mukasa anaishi Nairobi tangu 2015 .",
        "Anna Mukasa lives in Nairobi since 2015",
        "0-0 1-1 4-3",
        ("Anna Mukasa", "PER"),
        ("Nairobi", "LOC"),
    )
    gold = (Entity(0, 11, "PER"), Entity(20, 27, "LOC"))
    return [
        read_example(
            msgspec.structs.replace(
                sentence, id=number, text=f"{sentence.text} {'na ' * number}x", tokens=None, entities=gold
            )
        )
        for number in range(count)
    ]


def test_copies_have_no_capitals_and_the_same_gold():
    examples = originals(60)
    copies = caseless_copies(examples)
    assert [copy.instance.target.text for copy in copies] == [
        copy.instance.target.text for copy in caseless_copies(examples)
    ]
    batch = Columns([copy.instance for copy in copies], Vocabulary())
    assert batch.caseless.all()
    assert 0 < batch.unspaced.sum() < len(copies)
    lettered = dotted = faulty = 0
    for original, copy in zip(examples, copies, strict=True):
        instance, (person, place) = copy.instance, copy.gold
        words = instance.target.words()
        assert [label for _, _, label in copy.gold] == ["PER", "LOC"]
        assert place[1] <= instance.target.words().index("2015")
        has_dot = "·" in words[person[0] : person[1]]
        dotted += has_dot
        if len(instance.target) > len(original.instance.target) + has_dot:
            lettered += 1
        elif not has_dot:
            assert copy.gold == original.gold
            faulty += instance.links != original.instance.links
        assert all(0 <= target < len(words) for _, target, _ in instance.links)
    assert lettered
    assert dotted
    assert 0 < faulty < len(copies) / 2
    assert len({copy.instance.target.text for copy in copies}) == len(copies)
    assert np.isfinite(batch.table).all()


def test_a_corpus_is_written_in_one_way():
    """Else a name would be another one in each of its sentences."""
    for number in range(8):
        (corpus,) = caseless_corpora(originals(20), number)
        names = {
            "".join(copy.instance.target.words()[first:last])
            for copy in corpus
            for first, last, label in copy.gold
            if label == "LOC"
        }
        assert len(names) == 1
    assert caseless_corpora([], 0) == []
    assert [len(corpus) for corpus in caseless_corpora(originals(1) * (CORPUS + 1), 0)] == [CORPUS, 1]


def test_no_language_counts_for_its_size_alone():
    examples = originals(502)
    many, few, two = examples[:400], examples[400:500], examples[500:]
    worth = balanced_worth([many, many, few, two])
    counts = [400, 400, 100, 2]
    assert np.average(worth, weights=counts) == pytest.approx(ALIKE)
    assert worth[0] < worth[2]
    assert worth[3] <= worth[2] + 1e-9  # two sentences are no language


@pytest.mark.parametrize("projector", ["default", "link-dice", "align"])
@pytest.mark.parametrize("name", ["scripts", "long-names"])
def test_small_cases_in_many_scripts(projector, name):
    tasks = list(read_values(CASES / f"{name}.jsonl", Task))
    pipeline = Pipeline(make_projector(projector))
    for sentence, answer in zip(tasks, pipeline.predict(tasks), strict=True):
        assert isinstance(answer, Prediction), answer
        spans = [(entity.start, entity.end, entity.label) for entity in answer.entities]
        assert spans == [(entity.start, entity.end, entity.label) for entity in sentence.entities or ()], (
            sentence.id
        )
