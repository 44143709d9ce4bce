"""The transformers tagger on tiny real checkpoints, against a plain forward pass."""

from __future__ import annotations

import logging
import random
from pathlib import Path

import numpy as np
import pytest

from tests.checkpoints import save_bert, save_xlm_roberta
from xner_label.checkpoints.devices import Placement
from xner_label.entities import Tokens
from xner_label.errors import ConfigurationError
from xner_label.stages.tagging.transformers_tagger import TransformersTagger

pytestmark = pytest.mark.models

TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-MISC", "I-MISC"]
LABELS = ("PER", "ORG", "LOC")
CPU = Placement("cpu", "float32")
SENTENCES = (
    "The president of Uganda met Amina Nabatanzi in Kampala on Monday .",
    "Amina Nabatanzi !",
    "She said that the new hospital in Jinja would open before the end of the year .",
    "",
    "Straßburg 🇺🇬 Gaborone",
)


def save_tagger(folder: Path, **options: object) -> Path:
    names = dict(enumerate(TAGS))
    return save_xlm_roberta(folder, head="XLMRobertaForTokenClassification", id2label=names, **options)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_tagger(tmp_path_factory.mktemp("tagger"), initializer_range=0.5))


@pytest.fixture(scope="module")
def tagger(checkpoint: str) -> TransformersTagger:
    return TransformersTagger(checkpoint, LABELS, placement=CPU)


def plain_forward(checkpoint: str, words: list[str]) -> np.ndarray:
    """P(tag) at each word's first subtoken, by the book."""
    import torch
    from transformers import AutoModelForTokenClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    model = AutoModelForTokenClassification.from_pretrained(checkpoint)
    encoded = tokenizer([words], is_split_into_words=True, return_tensors="pt")
    with torch.inference_mode():
        softmax = torch.softmax(model(**encoded).logits[0], -1).numpy()
    ids = encoded.word_ids()
    return np.array([softmax[ids.index(number)] for number in range(len(words))])


def test_scores_are_those_of_a_plain_forward_pass(checkpoint: str, tagger: TransformersTagger) -> None:
    texts = [Tokens.tokenize(text) for text in SENTENCES]
    for tokens, probabilities in zip(texts, tagger.token_probabilities(texts), strict=True):
        assert probabilities.shape == (len(tokens), len(tagger.tags))
        if not len(tokens):
            continue
        expected = plain_forward(checkpoint, tokens.words())
        np.testing.assert_allclose(probabilities[:, 0], expected[:, [0, 5, 6]].sum(axis=1), atol=1e-5)
        persons = probabilities[:, tagger.tags.index("B-PER")] + probabilities[:, tagger.tags.index("I-PER")]
        np.testing.assert_allclose(persons, expected[:, 1:3].sum(axis=1), atol=1e-5)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)


def test_results_do_not_depend_on_the_batch(checkpoint: str, tagger: TransformersTagger) -> None:
    texts = [Tokens.tokenize(text) for text in SENTENCES * 5]
    random.Random(3).shuffle(texts)
    alone = [tagger.token_probabilities([tokens])[0] for tokens in texts]
    for probabilities, expected in zip(tagger.token_probabilities(texts), alone, strict=True):
        np.testing.assert_allclose(probabilities, expected, atol=1e-5)


def test_a_long_text_is_read_in_windows_and_no_word_is_dropped(
    checkpoint: str, tagger: TransformersTagger
) -> None:
    words = (" ".join(SENTENCES[:3]) + " ") * 20
    tokens = Tokens.tokenize(words)
    assert len(tokens) > 500
    [probabilities] = tagger.token_probabilities([tokens])
    assert probabilities.shape[0] == len(tokens)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    # The model sees position and context: only the very first words have exactly the same of both in a short text.
    assert (probabilities[:, 0] < 1).all()
    entities = tagger.tag([tokens])[0]
    assert max(entity.end for entity in entities) > len(words) - 200


def test_entities_are_where_the_tags_are(tagger: TransformersTagger) -> None:
    texts = [Tokens.tokenize(text) for text in SENTENCES]
    for tokens, entities in zip(texts, tagger.tag(texts), strict=True):
        borders = set(tokens.starts), set(tokens.ends)
        for entity in entities:
            assert entity.start in borders[0]
            assert entity.end in borders[1]
            assert entity.label in LABELS
            assert entity.score is not None
            assert 0 < entity.score <= 1


def test_learns_and_finds_neighbouring_entities(tmp_path: Path) -> None:
    """An overfitted model must give back what it was taught, adjacent entities of one type apart."""
    import torch
    from transformers import AutoModelForTokenClassification, AutoTokenizer

    folder = save_tagger(tmp_path, layers=2, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    sentences = [
        ("Amina Nabatanzi met Naledi Molefe .", "B-PER I-PER O B-PER I-PER O"),
        ("Kampala Gaborone Jinja", "B-LOC B-LOC B-LOC"),
        ("She met Naledi in Kampala", "O O B-PER O B-LOC"),
    ]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForTokenClassification.from_pretrained(folder)
    batch = tokenizer(
        [text.split() for text, _ in sentences], is_split_into_words=True, padding=True, return_tensors="pt"
    )
    targets = torch.full(batch["input_ids"].shape, -100)
    for row, (_, tags) in enumerate(sentences):
        ids = batch.word_ids(row)
        for number, tag in enumerate(tags.split()):
            targets[row, ids.index(number)] = TAGS.index(tag)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(60):
        optimizer.zero_grad()
        model(**batch, labels=targets).loss.backward()
        optimizer.step()
    model.save_pretrained(folder)

    tagger = TransformersTagger(str(folder), LABELS, placement=CPU)
    texts = [text for text, _ in sentences]
    tagged = tagger.tag([Tokens.tokenize(text) for text in texts])
    read = [
        [(text[e.start : e.end], e.label) for e in entities] for text, entities in zip(texts, tagged, strict=True)
    ]
    assert read == [
        [("Amina Nabatanzi", "PER"), ("Naledi Molefe", "PER")],
        [("Kampala", "LOC"), ("Gaborone", "LOC"), ("Jinja", "LOC")],
        [("Naledi", "PER"), ("Kampala", "LOC")],
    ]


def test_says_which_labels_it_does_not_know(checkpoint: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        TransformersTagger(checkpoint, LABELS, placement=CPU)
    assert "doesn't know ORG" in caplog.text


def test_the_signature_names_weights_and_mapping(
    checkpoint: str, tagger: TransformersTagger, tmp_path: Path
) -> None:
    again = TransformersTagger(checkpoint, LABELS, placement=CPU)
    assert again.signature == tagger.signature
    mapped = TransformersTagger(checkpoint, LABELS, mapping={"MISC": "ORG"}, placement=CPU)
    other = TransformersTagger(str(save_tagger(tmp_path)), LABELS, placement=CPU)
    assert len({tagger.signature, mapped.signature, other.signature}) == 3


def test_wrong_checkpoints_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="AutoModelForTokenClassification"):
        TransformersTagger(str(save_bert(tmp_path / "encoder")), LABELS, placement=CPU)
    with pytest.raises(ConfigurationError, match="none of the checkpoint's labels"):
        TransformersTagger(str(save_tagger(tmp_path / "tagger")), ("GENE",), placement=CPU)
    with pytest.raises(ConfigurationError, match="no checkpoint at"):
        TransformersTagger(str(tmp_path / "absent"), LABELS, placement=CPU)


def test_scores_that_are_no_numbers_are_an_error(checkpoint: str) -> None:
    import torch

    tagger = TransformersTagger(checkpoint, ("PER", "LOC"), placement=CPU)
    broken = torch.nn.Linear(32, len(TAGS))
    torch.nn.init.constant_(broken.weight, float("nan"))
    original, tagger._model.classifier = tagger._model.classifier, broken
    try:
        with pytest.raises(ConfigurationError, match="aren't numbers"):
            tagger.tag([Tokens.tokenize("Amina")])
    finally:
        tagger._model.classifier = original
