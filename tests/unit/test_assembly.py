"""Stages and projectors from settings, in the one place that reads them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.checkpoints import save_bert
from xner_label.entities import Entity
from xner_label.errors import ConfigurationError, UsageError
from xner_label.pipeline.assembly import (
    assemble_projector,
    make_aligner,
    make_back_translator,
    make_placement,
    make_tagger,
    make_translator,
)
from xner_label.pipeline.memory_cache import MemoryCache
from xner_label.projection.corpus.projector import LogLinearCorpusProjector
from xner_label.projection.loglinear.projector import LogLinearProjector
from xner_label.settings.table import Settings

GIVEN = Settings(translator="given", tagger="given", aligner="given")


def test_what_comes_with_the_tasks_needs_no_stage():
    cache = MemoryCache()
    assert make_translator(GIVEN, cache=cache) is None
    assert make_tagger(GIVEN, cache=cache) is None
    assert make_aligner(GIVEN, cache=cache) is None
    assert make_aligner(replace(GIVEN, aligner="none"), cache=cache) is None
    with pytest.raises(UsageError, match="needs a translator"):
        make_back_translator(GIVEN, cache=cache)


@pytest.mark.parametrize(
    ("make", "field"), [(make_translator, "translator"), (make_tagger, "tagger"), (make_aligner, "aligner")]
)
def test_unknown_names_are_refused_with_those_there_are(make, field):
    with pytest.raises(ConfigurationError, match=f"there is no {field} 'nonsense' \\(choose among"):
        make(replace(GIVEN, **{field: "nonsense"}), cache=MemoryCache())


def test_the_projector_of_the_settings_and_its_corpus_mode():
    assert isinstance(assemble_projector(GIVEN), LogLinearProjector)
    assert isinstance(assemble_projector(GIVEN, corpus=True), LogLinearCorpusProjector)
    assert assemble_projector(replace(GIVEN, projector="link-dice")).cut == 0.0
    with pytest.raises(UsageError, match="has no weights"):
        assemble_projector(replace(GIVEN, projector="string", projector_weights="w.json"))
    with pytest.raises(ConfigurationError, match="no model for that"):
        assemble_projector(replace(GIVEN, projector="nmt", translator_model=""))


def test_a_crf_is_trained_once_for_the_same_data_and_translates_its_labels():
    labelled = [
        (
            f"{name} saw {town}.",
            [Entity(0, len(name), "PERSON"), Entity(len(name) + 5, len(name + town) + 5, "GPE")],
        )
        for name in ("Amina", "Juma")
        for town in ("Lamu", "Kisumu")
    ]
    settings, cache = replace(GIVEN, tagger="crf"), MemoryCache()
    assert make_tagger(settings, cache=cache) is None
    first, second = (make_tagger(settings, cache=cache, labelled=labelled) for _ in range(2))
    assert first is not None
    assert second is not None
    assert first.signature == second.signature
    assert first.signature.endswith(":GPE=LOC:PERSON=PER")
    with pytest.raises(ConfigurationError, match="none of the tagger's labels"):
        make_tagger(replace(settings, labels=("SHIP",)), cache=cache, labelled=labelled)


@pytest.mark.models
def test_an_aligner_takes_the_settings_and_what_a_command_says_besides(tmp_path):
    settings = replace(
        GIVEN,
        aligner="simalign",
        aligner_model=str(save_bert(tmp_path / "bert")),
        aligner_method="mwmf",
        aligner_layer=2,
        device="cpu",
        dtype="float32",
        model_cache=str(tmp_path / "cache"),
    )
    assert make_placement(settings).cache == str(tmp_path / "cache")
    plain = make_aligner(settings, cache=MemoryCache())
    other = make_aligner(settings, cache=MemoryCache(), method="inter", layer=1, token_type=None, rule="union")
    assert plain is not None
    assert other is not None
    assert ":mwmf:bpe:layer2" in plain.signature
    assert ":inter:bpe:layer1" in other.signature
