"""The parts of training that need no database."""

from datetime import UTC, datetime
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xner_label.entities import Entity, ProjectedEntity, Tokens
from xner_label.errors import ConfigurationError, UsageError
from xner_label.store.tables import ModelRun
from xner_label.training.crf import CrfModel, projection_hints
from xner_label.training.data import DataReport, TrainingData
from xner_label.training.evaluation import score, score_split, span_counts
from xner_label.training.model_card import CardFacts, model_card
from xner_label.training.recipes.choice import share_better, train_crf
from xner_label.training.recipes.material import CrfOptions
from xner_label.training.rules import MergeRules, silver_tags
from xner_label.training.sentences import GoldSentence, Sentence

NAMES = ["Amina", "Juma", "Neema", "Baraka", "Zawadi", "Rehema", "Salma", "Tatu"]
TOWNS = ["Arusha", "Dodoma", "Mwanza", "Tanga", "Lindi"]


def projected(text, start, end, label, confidence):
    return ProjectedEntity(start, end, label, text[start:end], 1.0, confidence)


def sentence(name, town, *, confidence=None, number=0):
    text = f"{name} anaishi {town} ."
    start = len(name) + 9
    silver = None
    if confidence is not None:
        silver = (
            projected(text, 0, len(name), "PER", confidence),
            projected(text, start, start + len(town), "LOC", confidence),
        )
    gold = (Entity(0, len(name), "PER"), Entity(start, start + len(town), "LOC"))
    return GoldSentence(Sentence(number, str(number), Tokens.tokenize(text), silver), gold)


def data_of(gold, silver=()):
    return TrainingData(("PER", "LOC"), gold, [item.sentence for item in silver], (), (), DataReport())


ALL = [
    sentence(name, town, confidence=0.9, number=number)
    for number, (name, town) in enumerate((name, town) for name in NAMES for town in TOWNS)
]


def test_doubtful_and_foreign_entities_are_unknown_text():
    text = "Amina anaishi Lindi leo"
    silver = (
        projected(text, 0, 5, "PER", 0.9),
        projected(text, 14, 19, "LOC", 0.1),
        projected(text, 20, 23, "DATE", 0.9),
    )
    tags = silver_tags(Sentence(1, "1", Tokens.tokenize(text), silver), ("PER", "LOC"), MergeRules())
    assert tags == ["B-PER", "O", None, None]


@given(
    st.lists(st.tuples(st.integers(0, 22), st.integers(1, 23), st.sampled_from(["PER", "X"]), st.floats(0, 1))),
    st.floats(0, 1),
)
def test_silver_tags_are_valid_whatever_is_projected(spans, cut):
    text = "Amina anaishi Lindi leo"
    silver = tuple(
        projected(text, start, end, label, confidence) for start, end, label, confidence in spans if start < end
    )
    item = Sentence(1, "1", Tokens.tokenize(text), silver)
    tags = silver_tags(item, ("PER",), MergeRules(min_silver_confidence=cut))
    assert len(tags) == len(item.tokens) == len(projection_hints(item))
    for before, tag in pairwise([None, *tags]):
        assert tag != "I-PER" or before in ("B-PER", "I-PER")


def test_students_learn_from_gold_and_survive_a_file(tmp_path):
    model = train_crf(data_of(ALL[:30], ALL[30:]), options=CrfOptions(min_better_by_few=0))
    assert set(model.stages) in ({"teacher", "text", "projected"}, {"teacher", "gold", "projected"})
    model.save(tmp_path)
    unseen = sentence("Farida", "Iringa").sentence
    (tagged,) = model.predict([unseen])
    assert [(item.start, item.end, item.label) for item in tagged.entities] == [(0, 6, "PER"), (15, 21, "LOC")]
    assert CrfModel.load(tmp_path).predict([unseen]) == [tagged]


def test_a_student_that_is_no_better_than_the_projection_is_not_kept():
    noisy = [GoldSentence(item.sentence, ()) if number % 2 else item for number, item in enumerate(ALL)]
    assert "projected" not in train_crf(data_of(noisy[:21])).stages
    assert "projected" in train_crf(data_of(noisy[:21]), options=CrfOptions(min_better_by_few=0)).stages


def test_gold_and_good_silver_are_mixed_and_worthless_silver_is_left_alone():
    assert train_crf(data_of(ALL[:22], ALL[22:])).stages == ("mixed",)
    text_of = {item.sentence.text: item for item in ALL}
    silver = [item.sentence for item in text_of.values()]
    upside_down = [
        msgspec.structs.replace(
            item,
            silver=tuple(
                msgspec.structs.replace(entity, label={"PER": "LOC", "LOC": "PER"}[entity.label])
                for entity in item.silver
            ),
        )
        for item in silver * 5
    ]
    data = msgspec.structs.replace(data_of(ALL), silver=upside_down)
    assert "mixed" not in train_crf(data).stages
    assert train_crf(data_of(ALL[:22])).stages[0] == "gold"
    assert train_crf(data_of((), ALL)).stages == ("teacher",)


@pytest.mark.parametrize(
    ("share", "sentences", "clear"), [(0.98, 199, False), (0.99, 199, True), (0.9, 200, True), (0.89, 5000, False)]
)
def test_few_sentences_have_to_agree(share, sentences, clear):
    assert CrfOptions().is_clear(share, sentences) is clear


def test_the_share_of_resamples_that_favour_one_of_two():
    gold = [["B-PER", "O"], ["O", "B-LOC"]] * 10
    nothing = [["O", "O"]] * 20
    assert share_better(gold, nothing, gold) == 1
    assert share_better(nothing, gold, gold) == 0
    assert share_better(gold, gold, gold) == 0


def test_the_card_says_how_a_model_is_used_and_what_it_reads():
    facts = CardFacts("sw")
    options = {"options": {"fine_tuning": {"fused": True}}}
    made = datetime(2026, 11, 26, tzinfo=UTC)
    run = ModelRun(
        version="v1",
        kind="transformers",
        config=options,
        metrics={},
        gold_tasks=1,
        silver_tasks=0,
        created_at=made,
    )
    assert "from the text alone" in model_card(run, ["PER"], facts).split("## How it was made")[1]
    run.kind = "crf"
    assert "tagger.py" in model_card(run, ["PER"], facts)
    assert "spacy.load('xner_v1')" in model_card(run, ["PER"], facts, "xner_v1")
    assert "source sentence" not in model_card(run, ["PER"], facts)


def test_nothing_to_learn_from_is_explained():
    with pytest.raises(UsageError, match="nothing to train on"):
        train_crf(data_of(()))


def test_a_model_of_other_features_is_refused(tmp_path):
    train_crf(data_of(ALL)).save(tmp_path)
    (tmp_path / "crf.json").write_text('{"features_version": 0, "stages": ["text"]}')
    with pytest.raises(ConfigurationError, match="features of version 0"):
        CrfModel.load(tmp_path)


def test_scores_of_a_split():
    model = train_crf(data_of(ALL))
    assert score_split(model, ()) is None
    scores = score_split(model, ALL[:5])
    assert scores.tasks == 5
    assert scores.silver.f1 == scores.model.f1 == 1
    assert score(ALL[:2], [[], ALL[1].entities]).recall == 0.5
    assert span_counts(ALL[0], [Entity(0, 5, "PER"), Entity(0, 5, "LOC")]) == (1, 2, 2)
