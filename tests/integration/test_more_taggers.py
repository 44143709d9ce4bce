"""Source taggers of other libraries: real spaCy pipelines and a tiny real GLiNER checkpoint, made here."""

from __future__ import annotations

import itertools
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.checkpoints import save_bert
from xner_label.cli.main import cli
from xner_label.entities import Tokens
from xner_label.errors import ConfigurationError
from xner_label.pipeline.assembly import make_tagger
from xner_label.pipeline.memory_cache import MemoryCache
from xner_label.settings.table import Settings

TEXT = "In Nairobi 🎉 Amina Wakesho met the United Nations."


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    """A spaCy pipeline with rules in OntoNotes' labels."""
    spacy = pytest.importorskip("spacy")
    nlp = spacy.blank("en")
    ruler = nlp.add_pipe("entity_ruler")
    ruler.add_patterns(
        [
            {"label": "PERSON", "pattern": "Amina Wakesho"},
            {"label": "GPE", "pattern": "Nairobi"},
            {"label": "MONEY", "pattern": "met"},
        ]
    )
    nlp.to_disk(tmp_path / "rules")
    return tmp_path / "rules"


def spans(texts: list[str], settings: Settings) -> list[list[tuple[str, str]]]:
    tagger = make_tagger(settings, cache=MemoryCache())
    assert tagger is not None
    tagged = tagger.tag([Tokens.tokenize(text) for text in texts])
    return [
        [(text[entity.start : entity.end], entity.label) for entity in entities]
        for text, entities in zip(texts, tagged, strict=True)
    ]


def test_a_spacy_pipeline_tags_in_the_labels_of_the_project(pipeline: Path) -> None:
    settings = Settings(tagger="spacy", tagger_model=str(pipeline))
    assert spans([TEXT, ""], settings) == [[("Nairobi", "LOC"), ("Amina Wakesho", "PER")], []]
    assert spans([], settings) == []
    mapped = replace(settings, labels=("CASH",), tagger_map=("MONEY=CASH",))
    assert spans([TEXT], mapped) == [[("met", "CASH")]]


def test_a_spacy_pipeline_is_known_by_its_content(pipeline: Path) -> None:
    from xner_label.stages.tagging.spacy_tagger import spacy_signature

    before = spacy_signature(str(pipeline))
    assert before == spacy_signature(str(pipeline))
    (pipeline / "meta.json").write_text((pipeline / "meta.json").read_text() + " ")
    assert before != spacy_signature(str(pipeline))


def test_a_spacy_pipeline_that_is_none_is_named(tmp_path: Path) -> None:
    spacy = pytest.importorskip("spacy")
    spacy.blank("en").to_disk(tmp_path / "blank")
    (tmp_path / "empty").mkdir()
    for model, problem in (
        ("nowhere_sm", "no spaCy pipeline"),
        ("", "needs"),
        (str(tmp_path / "blank"), "finds no"),
    ):
        with pytest.raises(ConfigurationError, match=problem):
            make_tagger(Settings(tagger="spacy", tagger_model=model), cache=MemoryCache())
    with pytest.raises(ConfigurationError, match="can't be read"):
        make_tagger(Settings(tagger="spacy", tagger_model=str(tmp_path / "empty")), cache=MemoryCache())


def test_the_command_tags_with_a_spacy_pipeline(pipeline: Path, tmp_path: Path) -> None:
    file = tmp_path / "tasks.jsonl"
    file.write_text(json.dumps({"id": 1, "text": "x", "source": TEXT}) + "\n")
    done = CliRunner().invoke(cli, ["tag", str(file), "--tagger", "spacy", "--model", str(pipeline)])
    assert done.exit_code == 0, done.output
    (first, second) = json.loads(done.stdout)["source_entities"]
    assert (first["label"], TEXT[second["start"] : second["end"]]) == ("LOC", "Amina Wakesho")
    assert 0 < first["score"] < 1


@pytest.fixture
def gliner(tmp_path: Path) -> Path:
    """A checkpoint with random weights, which finds what it finds."""
    package = pytest.importorskip("gliner")
    torch = pytest.importorskip("torch")
    encoder = save_bert(tmp_path / "bert", max_position_embeddings=512)
    config = package.GLiNERConfig(
        model_name=str(encoder), hidden_size=32, max_width=4, max_len=64, dropout=0.0, subtoken_pooling="first"
    ).to_dict()
    torch.manual_seed(0)
    del config["model_type"]
    package.GLiNER.from_config(config).save_pretrained(str(tmp_path / "gliner"))
    shutil.rmtree(encoder)  # a checkpoint is whole without what it was made from
    return tmp_path / "gliner"


@pytest.mark.models
@pytest.mark.filterwarnings("default")
def test_gliner_finds_any_labels_by_their_words(gliner: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    settings = Settings(tagger="gliner", tagger_model=str(gliner), labels=("PER", "SHIP"), device="cpu")
    tagger = make_tagger(settings, cache=MemoryCache())
    assert tagger is not None
    assert "PER=person,SHIP=ship" in tagger.signature
    texts = [Tokens.tokenize(text) for text in (TEXT, "", TEXT, "word " * 300)]
    tagged = tagger.tag(texts)
    assert tagged[0] == tagged[2]
    assert tagged[1] == []
    assert max(entity.end for entity in tagged[3]) > 1000  # nothing is left out of a long text
    for tokens, entities in zip(texts, tagged, strict=True):
        for entity in entities:
            assert 0 <= entity.start < entity.end <= len(tokens.text)
            assert entity.label in settings.labels
            assert entity.score is not None
            assert 0.5 <= entity.score <= 1.0
        assert all(left.end <= right.start for left, right in itertools.pairwise(entities))
    assert tagger.tag([]) == []
    asked = replace(settings, tagger_prompts=("SHIP=name of a ship",))
    other = make_tagger(asked, cache=MemoryCache())
    assert other is not None
    assert "SHIP=name of a ship" in other.signature
    with pytest.raises(ConfigurationError, match="one prompt"):
        make_tagger(replace(settings, tagger_prompts=("SHIP=person",)), cache=MemoryCache())
    with pytest.raises(ConfigurationError, match="no checkpoint"):
        make_tagger(replace(settings, tagger_model=str(gliner.parent)), cache=MemoryCache())
