import numpy as np
import pytest

from xner_label.errors import ConfigurationError
from xner_label.stages.tagging.tag_map import TagMap, parse_mapping

PROJECT = ("PER", "ORG", "LOC", "DATE")
CONLL = ["B-LOC", "B-MISC", "B-ORG", "I-LOC", "I-MISC", "I-ORG", "I-PER", "O"]
ONTONOTES = [
    "O",
    "B-PERSON",
    "I-PERSON",
    "B-GPE",
    "I-GPE",
    "B-LOC",
    "I-LOC",
    "B-NORP",
    "I-NORP",
    "B-DATE",
    "I-DATE",
]
BIOES = ["O", "B-PER", "I-PER", "E-PER", "S-PER", "B-ORG", "I-ORG", "E-ORG", "S-ORG"]


def read(tag_map: TagMap, checkpoint_tags: list[str], sequence: str) -> list[str]:
    """What the tag map makes of tags that a checkpoint is nearly certain of."""
    matrix = np.full((len(sequence.split()), len(checkpoint_tags)), 0.01)
    for row, tag in enumerate(sequence.split()):
        matrix[row, checkpoint_tags.index(tag)] = 1 - 0.01 * (len(checkpoint_tags) - 1)
    mapped = tag_map(matrix)
    np.testing.assert_allclose(mapped.sum(axis=1), 1)
    assert (mapped >= 0).all()
    return [tag_map.tags[column] for column in mapped.argmax(axis=1)]


@pytest.mark.parametrize(
    ("checkpoint_tags", "said", "meant"),
    [
        (CONLL, "I-PER I-PER O I-LOC B-LOC", "B-PER I-PER O B-LOC B-LOC"),
        (CONLL, "I-MISC I-MISC I-ORG I-PER", "O O B-ORG B-PER"),
        (ONTONOTES, "B-PERSON I-PERSON B-PERSON O B-GPE B-LOC", "B-PER I-PER B-PER O B-LOC B-LOC"),
        (ONTONOTES, "B-NORP O B-DATE I-DATE", "O O B-DATE I-DATE"),
        (BIOES, "S-PER S-PER B-ORG E-ORG S-ORG", "B-PER B-PER B-ORG I-ORG B-ORG"),
        (["O", "PER", "LOC"], "PER PER O LOC", "B-PER I-PER O B-LOC"),
    ],
)
def test_every_scheme_becomes_iob2_and_neighbours_stay_apart(checkpoint_tags, said, meant):
    assert read(TagMap(checkpoint_tags, PROJECT), checkpoint_tags, said) == meant.split()


def test_labels_that_mean_the_same_add_up():
    tag_map = TagMap(ONTONOTES, PROJECT)
    matrix = np.zeros((1, len(ONTONOTES)))
    matrix[0, [0, ONTONOTES.index("B-GPE"), ONTONOTES.index("B-LOC")]] = [0.4, 0.3, 0.3]
    assert tag_map(matrix)[0, tag_map.tags.index("B-LOC")] == pytest.approx(0.6)


def test_misc_is_kept_where_the_project_has_it():
    assert "B-MISC" in TagMap(CONLL, ("PER", "MISC")).tags
    assert TagMap(CONLL, PROJECT).tags == ("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC")
    assert TagMap(CONLL, PROJECT).unknown == ("DATE",)


def test_a_mapping_goes_before_what_is_known():
    tag_map = TagMap(ONTONOTES, ("PER", "PLACE", "LOC"), {"GPE": "PLACE"})
    assert read(tag_map, ONTONOTES, "B-GPE B-LOC") == ["B-PLACE", "B-LOC"]
    numbered = ["LABEL_0", "LABEL_1", "LABEL_2"]
    tag_map = TagMap(numbered, PROJECT, {"LABEL_0": "O", "LABEL_1": "B-PER", "LABEL_2": "I-PER"})
    assert read(tag_map, numbered, "LABEL_1 LABEL_2 LABEL_0") == ["B-PER", "I-PER", "O"]


def test_what_cannot_be_mapped_is_an_error():
    with pytest.raises(ConfigurationError, match="LABEL_0, LABEL_1"):
        TagMap(["LABEL_0", "LABEL_1"], PROJECT)
    with pytest.raises(ConfigurationError, match="which the project doesn't have"):
        TagMap(CONLL, PROJECT, {"MISC": "EVENT"})
    with pytest.raises(ConfigurationError, match="GPE=LOC"):
        parse_mapping(["GPE"])
    assert parse_mapping(["GPE=LOC", " A = B-C "]) == {"GPE": "LOC", "A": "B-C"}
