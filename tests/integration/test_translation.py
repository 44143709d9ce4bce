"""Translators on tiny real checkpoints: one that was taught four sentences, and untrained ones of each family."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.checkpoints import save_bert, save_m2m100, save_madlad, save_nllb
from xner_label.checkpoints.devices import Placement
from xner_label.errors import ConfigurationError
from xner_label.pipeline.memory_cache import MemoryCache
from xner_label.stages.interfaces import Translation
from xner_label.stages.translation.engines import convert, ctranslate2_translator, transformers_translator
from xner_label.stages.translation.translator import CachedTranslator, NeuralTranslator

pytestmark = pytest.mark.models

CPU = Placement("cpu", "float32")
PAIRS = (
    ("Omukulembeze wa Uganda yasisinkanye Amina mu Kampala .", "The president of Uganda met Amina in Kampala ."),
    ("Eddwaliro eppya lijja kuggulwawo .", "The new hospital would open ."),
    ("Yagambye nti omwaka guno .", "She said that this year ."),
    ("Tautona ya Botswana o kopane le Naledi .", "The president met Naledi on Monday ."),
)


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A checkpoint that has learned PAIRS by heart."""
    import torch
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    folder = save_nllb(tmp_path_factory.mktemp("nllb"), dropout=0.0, attention_dropout=0.0, activation_dropout=0.0)
    tokenizer = AutoTokenizer.from_pretrained(folder, src_lang="lug_Latn", tgt_lang="eng_Latn")
    model = AutoModelForSeq2SeqLM.from_pretrained(folder)
    sources, targets = zip(*PAIRS, strict=True)
    batch = tokenizer(list(sources), text_target=list(targets), padding=True, return_tensors="pt")
    batch["labels"][batch["labels"] == tokenizer.pad_token_id] = -100
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(70):
        optimizer.zero_grad()
        model(**batch).loss.backward()
        optimizer.step()
    model.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module", params=["transformers", "ctranslate2"])
def translator(
    request: pytest.FixtureRequest, taught: str, tmp_path_factory: pytest.TempPathFactory
) -> NeuralTranslator:
    if request.param == "transformers":
        return transformers_translator(taught, "lg", "en", CPU)
    return ctranslate2_translator(taught, "lg", "en", CPU, tmp_path_factory.mktemp("converted"))


def teacher_forced(folder: str, source: str, target: str) -> float:
    """Mean log-probability of a translation's subtokens and its end, by the book."""
    import torch
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, src_lang="lug_Latn", tgt_lang="eng_Latn")
    model = AutoModelForSeq2SeqLM.from_pretrained(folder)
    batch = tokenizer([source], text_target=[target], return_tensors="pt")
    with torch.inference_mode():
        logits = model(**batch).logits[0].log_softmax(-1)
    labels = batch["labels"][0]
    return float(logits[range(1, len(labels)), labels[1:]].mean())


def test_translates_what_it_was_taught_with_a_score(translator: NeuralTranslator, taught: str) -> None:
    translations = translator.translate([source for source, _ in PAIRS])
    assert [translation.text for translation in translations] == [target for _, target in PAIRS]
    for (source, target), translation in zip(PAIRS, translations, strict=True):
        assert translation.score == pytest.approx(teacher_forced(taught, source, target), abs=1e-4)
        assert translation.segments == ()


def test_a_long_text_is_translated_by_sentences_and_offsets_are_kept(translator: NeuralTranslator) -> None:
    order = random.Random(5).choices(range(len(PAIRS)), k=20)
    text = "\n" + " ".join(PAIRS[index][0] for index in order) + "\n\n" + PAIRS[0][0]
    [translation] = translator.translate([text])
    order.append(0)
    assert [translation.text[s.translation.start : s.translation.end] for s in translation.segments] == [
        PAIRS[index][1] for index in order
    ]
    assert [text[s.text.start : s.text.end] for s in translation.segments] == [PAIRS[index][0] for index in order]
    assert translation.text.endswith(PAIRS[order[-2]][1] + "\n\n" + PAIRS[0][1])


def test_a_sentence_without_end_is_cut_to_what_the_model_reads(translator: NeuralTranslator) -> None:
    text = "omwaka guno Kampala " * 60
    [translation] = translator.translate([text])
    assert len(translation.segments) > 1
    assert translation.segments[0].text.start == 0
    assert translation.segments[-1].text.end == len(text) - 1


def test_results_do_not_depend_on_the_batch(translator: NeuralTranslator) -> None:
    texts = [source for source, _ in PAIRS] + ["Kampala", "Amina " * 12, "Uganda , Jinja !", "", "e"]
    alone = [translator.translate([text])[0] for text in texts]
    order = list(range(len(texts))) * 2
    random.Random(1).shuffle(order)
    for index, translation in zip(order, translator.translate([texts[index] for index in order]), strict=True):
        assert translation.text == alone[index].text
        assert translation.score == (
            None if alone[index].score is None else pytest.approx(alone[index].score, abs=1e-4)
        )


def test_blank_texts_stay_as_they_are(translator: NeuralTranslator) -> None:
    assert translator.translate(["", " \n"]) == [Translation(""), Translation(" \n")]
    assert translator.translate([]) == []


@pytest.mark.parametrize("save", [save_m2m100, save_madlad])
def test_other_families_are_told_their_languages_too(save, tmp_path: Path) -> None:
    folder = str(save(tmp_path / "model"))
    texts = ["Amina Nabatanzi mu Kampala .", "Jinja"]
    first = transformers_translator(folder, "lg", "en", CPU, beams=2)
    assert all(translation.score is not None for translation in first.translate(texts))
    converted = ctranslate2_translator(folder, "lg", "en", CPU, tmp_path / "converted", beams=2)
    for hypothesis, other in zip(first.translate(texts), converted.translate(texts), strict=True):
        assert hypothesis.score == pytest.approx(
            other.score, abs=0.02
        )  # CTranslate2 never proposes the start token
    assert transformers_translator(folder, "tn", "en", CPU).signature != first.signature
    with pytest.raises(ConfigurationError, match="doesn't know the language"):
        transformers_translator(folder, "tlh", "en", CPU)


def test_a_checkpoint_is_converted_once(taught: str, tmp_path: Path) -> None:
    folder = convert(taught, tmp_path, "float32")
    before = (folder / "model.bin").stat().st_mtime_ns
    assert convert(taught, tmp_path, "float32") == folder
    assert (folder / "model.bin").stat().st_mtime_ns == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".converting")] == []


def test_wrong_checkpoints_are_refused(tmp_path: Path, taught: str) -> None:
    encoder = str(save_bert(tmp_path / "encoder"))
    with pytest.raises(ConfigurationError, match="AutoModelForSeq2SeqLM"):
        transformers_translator(encoder, "lg", "en", CPU)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigurationError, match=r"models\.cache"):
        ctranslate2_translator(taught, "lg", "en", CPU, tmp_path / "file")


def test_scores_that_are_no_numbers_are_an_error(tmp_path: Path) -> None:
    folder = save_nllb(tmp_path)
    translator = transformers_translator(str(folder), "lg", "en", CPU)
    translator._engine._model.model.decoder.layer_norm.weight.fill_(float("nan"))
    with pytest.raises(ConfigurationError, match="aren't numbers"):
        translator.translate(["Amina"])


def test_each_text_is_translated_once_under_one_signature() -> None:
    asked: list[str] = []

    class Counting:
        signature = "counting"

        def translate(self, texts):
            asked.extend(texts)
            return [Translation(text.upper(), -0.5) for text in texts]

    cache = MemoryCache()
    assert [t.text for t in CachedTranslator(Counting(), cache).translate(["a", "b", "a"])] == ["A", "B", "A"]
    again = CachedTranslator(Counting(), cache).translate(["b", "c", "a"])
    assert again == [Translation("B", -0.5), Translation("C", -0.5), Translation("A", -0.5)]
    assert asked == ["a", "b", "c"]
