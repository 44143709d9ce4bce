"""Offsets are code points of the very text, whatever it is made of."""

from __future__ import annotations

import io
import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.soak import rounds
from xner_label.entities import Entity, Task, Tokens
from xner_label.errors import RecordError
from xner_label.pipeline.json_stream import project_stream
from xner_label.pipeline.pipeline import Pipeline
from xner_label.projection.problem import build_instance
from xner_label.projection.projectors import make_projector

PIECES = st.sampled_from(
    ["Anna", "e\u0301te\u0301", "👩‍👩‍👧", "🇰🇪", "\u200fمحمد\u200f",
     "ירושלים", "東京", "ภาษา", "a\u0308", "x" * 40, "'s", "-", "ﷺ", "\u00adsoft", "0-0"]
)  # fmt: skip
GAPS = st.sampled_from([" ", "  ", "\r\n", "\u00a0", "\u3000", "\t", "\u2028"])


@st.composite
def texts(draw):
    """A text and its tokens with their offsets."""
    text, tokens, spans = draw(st.sampled_from(["", " ", "\r\n"])), [], []
    for piece in draw(st.lists(PIECES, min_size=1, max_size=8)):
        tokens.append(piece)
        spans.append((len(text), len(text) + len(piece)))
        text += piece + draw(GAPS)
    return text, tuple(tokens), spans


@pytest.mark.soak
@settings(max_examples=rounds(200), deadline=None)
@given(texts())
def test_located_tokens_are_those_of_the_text(case):
    text, tokens, spans = case
    located = Tokens.locate(text, tokens)
    assert list(located) == list(tokens)
    assert list(zip(located.starts, located.ends, strict=True)) == spans


@pytest.mark.soak
@settings(max_examples=rounds(200), deadline=None)
@given(texts(), texts(), st.data())
def test_projected_entities_lie_on_the_linked_tokens(source, target, data):
    first = data.draw(st.integers(0, len(source[1]) - 1))
    goal = data.draw(st.integers(0, len(target[1]) - 1))
    start, end = source[2][first]
    task = Task(
        id="x",
        text=target[0],
        tokens=target[1],
        source=source[0],
        source_tokens=source[1],
        source_entities=(Entity(start, end, "PER"),),
        alignment=f"{first}-{goal}",
    )
    for name in ("link-dice", "align", "heuristic", "default"):
        (prediction,) = Pipeline(make_projector(name), min_confidence=0.0).predict([task])
        for entity in prediction.entities:
            assert entity.text == target[0][entity.start : entity.end]
            assert entity.source.text == source[0][start:end]
        if name != "default":
            assert [(entity.start, entity.end) for entity in prediction.entities] == [target[2][goal]]


@pytest.mark.soak
@settings(max_examples=rounds(200), deadline=None)
@given(st.text(max_size=60), st.data())
def test_any_text_survives_the_built_in_tokeniser(text, data):
    """Entities anywhere in any text: no error but the documented one, and exact offsets in the output line."""
    text = text.encode("utf-8", "ignore").decode()
    entities = ()
    if text:
        start = data.draw(st.integers(0, len(text) - 1))
        entities = (Entity(start, data.draw(st.integers(start + 1, len(text))), "LOC"),)
    line = json.dumps(
        {"id": 1, "text": text, "source": text, "source_entities": [msgspec.to_builtins(e) for e in entities]},
        ensure_ascii=False,
    )  # fmt: skip
    sink = io.BytesIO()
    summary = project_stream(
        io.BytesIO(line.encode()), sink, Pipeline(make_projector("string")), report=pytest.fail
    )
    assert summary.predicted == 1
    (row,) = [json.loads(out) for out in sink.getvalue().split(b"\n") if out]
    assert row["text"] == text
    for entity in row["entities"]:
        assert entity["text"] == text[entity["start"] : entity["end"]]


@pytest.mark.soak
@settings(max_examples=rounds(200), deadline=None)
@given(texts(), st.data())
def test_a_note_is_given_exactly_when_a_border_lies_inside_a_token(case, data):
    text, tokens, spans = case
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    instance, notes = build_instance(
        Task(id=1, text="x", source=text, source_tokens=tokens, source_entities=(Entity(start, end, "PER"),))
    )
    inside = any(left < border < right for left, right in spans for border in (start, end))
    touched = any(left < end and start < right for left, right in spans)
    assert len(notes) == (1 if inside or not touched else 0)
    assert len(instance.mentions) == (1 if touched else 0)


@pytest.mark.parametrize(
    "tokens", [("Anna", "Anna"), ("anna",), ("Anna", ""), ("nna",), ("Anna", "in", "Rome", "Rome")]
)
def test_tokens_that_are_not_there(tokens):
    with pytest.raises(RecordError, match=r"^tokens: "):
        Tokens.locate("Anna in Rome", tokens)
