"""Entities to Label Studio's regions and back."""

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xner_label.errors import ConfigurationError, ContractError
from xner_label.store.tables import PipelineVersion, Prediction, ProjectedEntity
from xner_label.studio.labelling import Control, find_control, labelling_config, our_control
from xner_label.studio.reasons import reasons
from xner_label.studio.regions import ReviewedEntity, from_studio, to_studio

LABELS = ("PER", "LOC")
CONTROL = our_control(LABELS)
TEXT = "👩🏽‍🌾 Wanjikũ alifika Nairobi"


def stored(start, end, label, text, **source):
    return ProjectedEntity(
        region="p1-0", start=start, end=end, label=label, text=text, score=1.5, confidence=0.75, **source
    )


def prediction(*entities):
    return Prediction(
        id=1, pipeline=PipelineVersion(name="p", signature="p"), confidence=0.5, entities=list(entities)
    )


def region(start, end, label="LOC", text=None, **more):
    value = {"start": start, "end": end, "labels": [label]} | ({} if text is None else {"text": text})
    return {"id": "r", "from_name": "label", "to_name": "text", "type": "labels", "value": value} | more


def test_a_prediction_becomes_a_result_with_provenance():
    start = TEXT.index("Nairobi")
    entity = stored(start, start + 7, "LOC", "Nairobi", source_text="Nairobi", source_label="LOC")
    assert to_studio(TEXT, prediction(entity), CONTROL) == {
        "model_version": "p",
        "score": 0.5,
        "result": [
            {
                "id": "p1-0",
                "from_name": "label",
                "to_name": "text",
                "type": "labels",
                "score": 0.75,
                "meta": {"text": ["<- Nairobi (LOC); fairly sure (0.75)"]},
                "value": {"start": start, "end": start + 7, "text": "Nairobi", "labels": ["LOC"]},
            }
        ],
    }


def test_every_entity_says_where_it_comes_from_and_what_speaks_for_it():
    learned = stored(
        0, 4, "PER", TEXT[:4], provenance={"names": 5.0, "votes": 4.1, "tagger": 0.93, "settled_count": 3}
    )
    assert reasons(learned) == (
        "not from the source text: the name was learned from other texts or found by a model; fairly sure (0.75); "
        "4 of 5 other places of the name agree; a model of the language says 0.93; people settled it so 3 times"
    )


@given(st.text(min_size=1), st.data())
def test_what_goes_out_comes_back(text, data):
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    covered = text[start:end]
    if covered != covered.strip():
        return
    entity = stored(start, end, "PER", covered)
    result = to_studio(text, prediction(entity), CONTROL)["result"]
    assert from_studio(text, result, CONTROL) == [ReviewedEntity("p1-0", start, end, "PER")]


@pytest.mark.parametrize(
    ("entity", "message"),
    [
        (stored(0, 99, "LOC", TEXT), "don't lie inside"),
        (stored(0, 4, "LOC", "Nair"), "hold"),
        (stored(0, 4, "ORG", TEXT[:4]), "isn't one of PER, LOC"),
    ],
)
def test_nothing_wrong_leaves(entity, message):
    with pytest.raises(ContractError, match=message):
        to_studio(TEXT, prediction(entity), CONTROL)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (region(3, 3), "don't lie inside"),
        (region(0, 2.0), "don't lie inside"),
        (region(0, True), "don't lie inside"),
        (region(0, 4, text="Wanj"), "hold"),
        (region(0, 4, "MISC"), "isn't one of"),
        (region(4, 5), "white space"),
        ({"id": "r", "from_name": "label", "type": "labels"}, "no value"),
        (region(0, 4) | {"value": {"start": 0, "end": 4, "labels": ["PER", "LOC"]}}, "exactly one label"),
    ],
)
def test_nothing_wrong_enters(bad, message):
    with pytest.raises(ContractError, match=message):
        from_studio(TEXT, [bad], CONTROL)


@pytest.mark.parametrize(
    ("text", "start", "end", "covered", "words"),
    [
        ("Kwa  Mji  mkuu wa Nairobi", 5, 14, "Mji mkuu", "Mji  mkuu"),
        ("na one\nNairobi two", 3, 14, "one\\nNairobi", "one\nNairobi"),
        ("ya kwanza\r\nNairobi ya pili", 3, 18, "kwanza\\n\\nNairobi", "kwanza\r\nNairobi"),
        ("Jina\tNairobi\t\tMji", 0, 17, "Jina Nairobi Mji", "Jina\tNairobi\t\tMji"),
        ("Jina\tNairobi\t\tMji", 4, 13, " Nairobi ", "Nairobi"),
        (r"C:\name na Nairobi", 0, 7, r"C:\name", r"C:\name"),
    ],
)
def test_white_space_as_label_studio_writes_it_in_a_region(text, start, end, covered, words):
    (entity,) = from_studio(text, [region(start, end, text=covered)], CONTROL)
    assert text[entity.start : entity.end] == words


def as_label_studio_writes(text):
    """How Label Studio 1.23 writes a region's words: what was measured in the browser."""
    return re.sub(r"[ \t]+", " ", text.replace("\r", "\\n").replace("\n", "\\n"))


@given(st.text(alphabet=" \t\r\n\\nabé👩🏽\u200d\u00a0\u2028ن", min_size=1), st.data())
def test_every_selection_enters_with_its_own_offsets(text, data):
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    words = text[start:end]
    if not words.strip():
        return
    (entity,) = from_studio(text, [region(start, end, text=as_label_studio_writes(words))], CONTROL)
    assert (entity.start, entity.end) == (
        start + len(words) - len(words.lstrip()),
        end - len(words) + len(words.rstrip()),
    )


def test_other_controls_repetitions_and_outer_white_space():
    comment = {"from_name": "comment", "type": "textarea", "value": {"text": ["?"]}}
    relation = {"type": "relation", "from_id": "a", "to_id": "b"}
    result = [region(4, 12, "PER"), region(5, 12, "PER"), comment, relation]
    assert from_studio(TEXT, result, CONTROL) == [ReviewedEntity("r", 5, 12, "PER")]


def test_our_configuration_has_our_control_and_distinct_colours():
    labels = ("PER", "ORG", "LOC", "DATE", *(f"X{n}" for n in range(7)), 'A<&"B')
    config = labelling_config(labels, "en")
    assert find_control(config, labels) == our_control(labels)
    colours = [label.get("background") for label in ElementTree.fromstring(config).iter("Label")]
    assert len(set(colours)) == len(labels)


def test_a_configuration_of_somebody_else():
    config = (
        '<View><Choices name="ok" toName="body"><Choice value="yes"/></Choices><Text name="body" value="$t"/>'
        '<Labels name="ner" toName="body"><Label value="Person" alias="PER"/><Label value="LOC"/></Labels></View>'
    )
    assert find_control(config, ["LOC", "PER"]) == Control("ner", "body", "t", ("PER", "LOC"))
    with pytest.raises(ConfigurationError, match="lacks the label ORG"):
        find_control(config, ["PER", "ORG"])
    with pytest.raises(ConfigurationError, match="no <Labels>"):
        find_control("<View/>", ["PER"])
    with pytest.raises(ConfigurationError, match="valid XML"):
        find_control("<View>", ["PER"])
