"""Forced decoding on a tiny real checkpoint, and the paper's best fusion with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.checkpoints import save_bert, save_madlad, save_nllb
from xner_label.checkpoints.devices import Placement
from xner_label.entities import Entity, Task
from xner_label.errors import ConfigurationError
from xner_label.pipeline.pipeline import Pipeline
from xner_label.projection.projectors import make_projector
from xner_label.settings.table import Settings
from xner_label.stages.tagging.crf import CrfTagger
from xner_label.stages.translation.forced_decoding import TransformersScorer

pytestmark = pytest.mark.models

CPU = Placement("cpu", "float32")
PAIRS = [("Kampala", "Kampala"), ("The new hospital in Jinja", "Eddwaliro eppya e Jinja"), ("Kampala", "Kampala")]


@pytest.fixture(scope="module")
def nllb(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_nllb(tmp_path_factory.mktemp("nllb"), dropout=0.0))


def by_the_book(folder: str, pair: tuple[str, str], source: str, target: str) -> float:
    import torch
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, src_lang=source, tgt_lang=target)
    model = AutoModelForSeq2SeqLM.from_pretrained(folder)
    batch = tokenizer([pair[0]], text_target=[pair[1]], return_tensors="pt")
    with torch.inference_mode():
        logits = model(**batch).logits[0].log_softmax(-1)
    labels = batch["labels"][0]
    return float(logits[range(1, len(labels)), labels[1:]].mean())


def test_both_directions_by_the_book(nllb: str) -> None:
    scorer = TransformersScorer(nllb, "en", "lg", CPU)
    expected = [by_the_book(nllb, pair, "eng_Latn", "lug_Latn") for pair in PAIRS]
    assert scorer.to_target(PAIRS) == pytest.approx(expected, abs=1e-4)
    turned = [(right, left) for left, right in PAIRS]
    expected = [by_the_book(nllb, pair, "lug_Latn", "eng_Latn") for pair in turned]
    assert scorer.to_source(PAIRS) == pytest.approx(expected, abs=1e-4)
    assert scorer.to_target([]) == []
    assert scorer.signature != TransformersScorer(nllb, "en", "tn", CPU).signature


def test_a_checkpoint_that_is_told_no_languages_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="both directions"):
        TransformersScorer(str(save_madlad(tmp_path / "madlad")), "en", "lg", CPU)
    with pytest.raises(ConfigurationError):
        TransformersScorer(str(save_bert(tmp_path / "bert")), "en", "lg", CPU)


def test_the_papers_best_fusion_from_models(nllb: str, tmp_path: Path) -> None:
    from xner_label.pipeline.assembly import make_target_tagger, make_translation_scorer

    words = ["Amina", "agenze", "Kampala"]
    crf = CrfTagger.train([words] * 5, [["B-PER", "O", "B-LOC"]] * 5)
    (tmp_path / "target.crf").write_bytes(crf.to_bytes())
    settings = Settings(translator_model=nllb, source_language="en", target_language="lg")
    scorer = make_translation_scorer(settings)
    pipeline = Pipeline(
        make_projector("align+ner-spans+nmt", translation_scorer=scorer),
        target_tagger=make_target_tagger(str(tmp_path / "target.crf"), settings),
    )
    assert "target-tagger=crf" in pipeline.signature
    assert "nmt:" in pipeline.signature
    task = Task(
        id=1,
        text="Amina agenze Kampala",
        source="Amina went to Kampala",
        source_entities=(Entity(0, 5, "PER"), Entity(14, 21, "LOC")),
        alignment="0-0 3-2",
    )
    (prediction,) = pipeline.predict([task])
    assert [(entity.text, entity.label) for entity in prediction.entities] == [
        ("Amina", "PER"),
        ("Kampala", "LOC"),
    ]
    assert all(0.0 <= entity.confidence <= 1.0 for entity in prediction.entities)
