"""CODEC's constrained scores against one forward pass for each candidate, through the real Auto classes."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from tests.checkpoints import SENTENCES, save_m2m100, save_madlad, save_nllb
from xner_label.checkpoints.devices import Placement
from xner_label.entities import Entity, Task, Tokens
from xner_label.errors import ConfigurationError
from xner_label.pipeline.assembly import assemble_projector
from xner_label.projection.handmade.codec import LEAST_RATIO, CodecScore
from xner_label.projection.problem import Instance, build_instance
from xner_label.projection.projectors import make_projector
from xner_label.projection.spans import ngrams
from xner_label.settings.table import Settings
from xner_label.stages.translation.variant_scores import TransformersVariantScorer

pytestmark = pytest.mark.models

CPU = Placement("cpu", "float32")
BRACKETED = [*SENTENCES, *(f"[ {sentence} ]" for sentence in SENTENCES)]


def save(kind: str, folder: Path) -> str:
    if kind == "nllb":
        return str(save_nllb(folder, texts=BRACKETED, dropout=0.0))
    if kind == "m2m100":
        return str(save_m2m100(folder, dropout=0.0))
    return str(save_madlad(folder, dropout_rate=0.0))


@lru_cache(maxsize=1)
def loaded(folder: str) -> tuple[Any, Any]:
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    return AutoModelForSeq2SeqLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)


def by_the_book(folder: str, kind: str, source: str, target: str) -> float:
    """log P(target | source), one forward pass over the whole."""
    import torch

    model, tokenizer = loaded(folder)
    skipped = 1
    if kind == "madlad":
        source, skipped = f"<2lg> {source}", 0
    else:
        tokenizer.src_lang, tokenizer.tgt_lang = {"nllb": ("eng_Latn", "lug_Latn"), "m2m100": ("en", "lg")}[kind]
    batch = tokenizer([source], text_target=[target], return_tensors="pt")
    with torch.inference_mode():
        logits = model(**batch).logits[0].double().log_softmax(-1)
    labels = batch["labels"][0]
    return float(logits[range(skipped, len(labels)), labels[skipped:]].sum())


def variants_of(text: str) -> list[str]:
    words = text.split()
    return [
        " ".join([*words[:first], "[", *words[first:last], "]", *words[last:]])
        for first in range(len(words))
        for last in range(first + 1, len(words) + 1)
    ]


@pytest.mark.parametrize("kind", ["nllb", "m2m100", "madlad"])
def test_every_variant_by_the_book(tmp_path: Path, kind: str) -> None:
    folder = save(kind, tmp_path / kind)
    scorer = TransformersVariantScorer(folder, "en", "lg", CPU)
    text = "Amina akolera mu Kampala ."
    sources = ["[ Amina ] works in Kampala .", "Amina works in [ Kampala ] ."]
    variants = [*variants_of(text), variants_of(text)[3]]
    expected = [[by_the_book(folder, kind, source, variant) for variant in variants] for source in sources]
    assert scorer.log_probabilities(sources, text, variants) == pytest.approx(np.array(expected), abs=2e-3)
    assert scorer.positions_run < 0.9 * scorer.positions_asked  # by sharing alone: nothing was given up
    assert scorer.log_probabilities([], text, variants).shape == (0, len(variants))
    assert scorer.log_probabilities(sources, text, []).shape == (2, 0)
    assert scorer.signature != TransformersVariantScorer(folder, "en", "tn", CPU).signature


def test_what_is_given_up_is_less_probable_than_asked(taught_nllb: str) -> None:
    scorer = TransformersVariantScorer(taught_nllb, "en", "lg", CPU)
    text = "Okello yalaba Bbanka ne Mbale ."
    sources = ["Okello saw [ the Bank of Uganda ] and Mbale .", "Okello saw the Bank of Uganda and [ Mbale ] ."]
    variants = variants_of(text)
    everything = scorer.log_probabilities(sources, text, variants)
    assert np.isfinite(everything).all()
    asked = scorer.positions_asked
    for ratio in (1e-9, 0.5, 1e-3):
        before = scorer.positions_run
        kept = scorer.log_probabilities(sources, text, variants, ratio)
        wanted = everything >= everything.max(axis=1, keepdims=True) + math.log(ratio)
        assert (np.isfinite(kept) == wanted).all()
        assert kept[wanted] == pytest.approx(everything[wanted], abs=1e-3)
    # A model that knows where markers belong leaves little to look at.
    assert scorer.positions_run - before < 0.4 * asked
    best = [variants[row.argmax()] for row in everything]
    assert best == ["Okello yalaba [ Bbanka ] ne Mbale .", "Okello yalaba Bbanka ne [ Mbale ] ."]


def test_variants_of_any_kind(tmp_path: Path) -> None:
    """Whatever is inserted, and however subtokens fall together."""
    folder = save("nllb", tmp_path / "nllb")
    scorer = TransformersVariantScorer(folder, "en", "lg", CPU)
    generator = random.Random(4)
    text = "Tautona ya Botswana o kopane"
    variants = [text, text + "!", "", "[" + text, text.replace(" ", " ] ")]
    for _ in range(8):
        place = generator.randrange(len(text))
        variants.append(text[:place] + generator.choice(["[", "]", " x ", "é"]) + text[place:])
    expected = [[by_the_book(folder, "nllb", "The president", variant) for variant in variants]]
    answer = scorer.log_probabilities(["The president"], text, variants)
    assert answer == pytest.approx(np.array(expected), abs=2e-3)
    too_long = " ".join(["Botswana"] * 80)
    assert np.isneginf(scorer.log_probabilities(["a"], too_long, [f"[ {too_long} ]"])).all()


def instance(text: str, source: str, *entities: tuple[str, str]) -> Instance:
    spans = tuple(Entity(source.index(name), source.index(name) + len(name), label) for name, label in entities)
    return build_instance(Task(id=1, text=text, source=source, source_entities=spans))[0]


def posterior(logs: Sequence[float], least_ratio: float) -> list[float]:
    kept = [log if log >= max(logs) + math.log(least_ratio) else -math.inf for log in logs]
    total = sum(math.exp(log - max(kept)) for log in kept)
    return [math.exp(log - max(kept)) / total for log in kept]


def test_the_score_is_the_probability_of_a_place(taught_nllb: str) -> None:
    problem = instance(
        "Amina akolera mu Kampala .", "Amina works in Kampala .", ("Amina", "PER"), ("Kampala", "LOC")
    )
    scorer = TransformersVariantScorer(taught_nllb, "en", "lg", CPU)
    spans = ngrams(0, len(problem.target))
    matrix = CodecScore(scorer).matrix(problem, np.array(spans))
    sources = ["[ Amina ] works in Kampala .", "Amina works in [ Kampala ] ."]
    for row, source in zip(matrix, sources, strict=True):
        variants = []
        for first, last in spans:
            words = problem.target.words()
            variants.append(" ".join([*words[:first], "[", *words[first:last], "]", *words[last:]]))
        logs = [by_the_book(taught_nllb, "nllb", source, variant) for variant in variants]
        assert row == pytest.approx(np.array(posterior(logs, LEAST_RATIO)), abs=1e-3)
        assert row.sum() == pytest.approx(1.0)
    (projections,) = make_projector("codec", variant_scorer=scorer).project([problem])
    words = problem.target.words()
    assert [(p.label, words[p.first : p.last]) for p in projections] == [("PER", ["Amina"]), ("LOC", ["Kampala"])]
    assert all(0.5 < p.confidence <= 1.0 for p in projections)
    fused = make_projector("0.5*string+0.5*codec", variant_scorer=scorer).project([problem])[0]
    assert fused[0].score == pytest.approx(0.5 + 0.5 * projections[0].score)


def test_brackets_in_the_texts_nested_and_equal_mentions(taught_nllb: str) -> None:
    scorer = TransformersVariantScorer(taught_nllb, "en", "lg", CPU)
    texts = "Amina ku Bbanka", "Amina at the Bank of Uganda"
    mentions = ("the Bank of Uganda", "ORG"), ("Uganda", "LOC"), ("Uganda", "LOC")
    spans = np.array(ngrams(0, 3))
    matrix = CodecScore(scorer).matrix(instance(*texts, *mentions), spans)
    assert (matrix[1] == matrix[2]).all()
    assert matrix.sum(axis=1) == pytest.approx(1.0)
    alone = [CodecScore(scorer).matrix(instance(*texts, mention), spans)[0] for mention in mentions]
    assert matrix == pytest.approx(np.array(alone), abs=1e-4)
    other_pair = instance("[1] Amina", "Amina", ("Amina", "PER"))
    assert CodecScore(scorer).matrix(other_pair, np.array([(0, 1), (3, 4)])).sum() == pytest.approx(1.0)
    every_pair = instance("[{<«⟦ Amina", "Amina", ("Amina", "PER"))
    spans = np.array(ngrams(0, len(every_pair.target)))
    assert not CodecScore(scorer).matrix(every_pair, spans).any()
    assert Tokens.tokenize("Amina").words() == ["Amina"]


def test_codec_by_name_and_from_the_command_line(taught_nllb: str, tmp_path: Path) -> None:
    import json

    from xner_label.cli.main import cli

    settings = Settings(
        projector="codec", marker_model=taught_nllb, source_language="en", target_language="lg", device="cpu"
    )
    assert assemble_projector(settings).signature.startswith("codec(1*codec(nllb@")
    with pytest.raises(ConfigurationError, match="--marker-model"):
        assemble_projector(Settings(projector="0.5*codec+0.5*align"))
    task = {
        "id": 1, "text": "Naledi yava e Jinja .", "source": "Naledi came from Jinja .",
        "source_entities": [{"start": 17, "end": 22, "label": "LOC"}],
        "entities": [{"start": 14, "end": 19, "label": "LOC"}],
    }  # fmt: skip
    data = tmp_path / "lg.jsonl"
    data.write_text(json.dumps(task) + "\n")
    (tmp_path / "none.toml").write_text("")
    common = ["--source-language", "en", "--target-language", "lg", "--device", "cpu"]
    common += ["--marker-model", taught_nllb, "--config", str(tmp_path / "none.toml")]
    done = CliRunner().invoke(cli, ["project", str(data), "--projector", "codec@greedy", *common])
    assert done.exit_code == 0, done.output
    assert [entity["text"] for entity in json.loads(done.stdout)["entities"]] == ["Jinja"]
    arguments = ["--methods", "codec,1*codec+0.2*string", "--cache", str(tmp_path / "c"), "--json"]
    done = CliRunner().invoke(cli, ["benchmark", str(data), *arguments, *common])
    assert done.exit_code == 0, done.output
    rows = [row for row in json.loads(done.stdout)["rows"] if not row["published"]]
    assert [row["f1"] for row in rows] == [1.0, 1.0]
