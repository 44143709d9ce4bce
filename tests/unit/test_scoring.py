"""Scores against their equations, the fast generators against the matrices, and the paper's formulation."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xner_label.entities import Entity, Task
from xner_label.errors import ConfigurationError, UsageError
from xner_label.pharaoh import format_links
from xner_label.projection.exact.matching import match, match_milp, rank
from xner_label.projection.handmade.matching_projector import dense_candidates, fusion_projector
from xner_label.projection.handmade.scores import (
    AlignScore,
    CasingScore,
    FrequencyScore,
    Fusion,
    LengthScore,
    LinkDiceScore,
    NerScore,
    NmtScore,
    SourceScore,
    StringScore,
)
from xner_label.projection.handmade.sparse_scores import align_candidates, link_dice_candidates, string_candidates
from xner_label.projection.problem import build_instance, project_all
from xner_label.projection.projectors import make_fusion, make_projector
from xner_label.projection.spans import ngrams
from xner_label.settings.choices import PROJECTORS, SCORES
from xner_label.stages.interfaces import Translation


def instance(source, target, spans, links="", **fields):
    """``spans``: (first source word, last + 1, label); words are separated by one space."""
    words = source.split()
    starts = [sum(len(word) + 1 for word in words[:index]) for index in range(len(words))]
    entities = tuple(
        Entity(starts[first], starts[last - 1] + len(words[last - 1]), label, score)
        for first, last, label, score in (span if len(span) == 4 else (*span, None) for span in spans)
    )
    task = Task(
        id=1, text=target, source=source, tokens=tuple(target.split()), source_tokens=tuple(words),
        source_entities=entities, alignment=links, **fields,
    )  # fmt: skip
    return build_instance(task)[0]


def value(score, problem, first, last, mention=0):
    return score.matrix(problem, np.array([[first, last]]))[mention, 0]


@st.composite
def linked(draw):
    size = draw(st.integers(2, 7))
    words = " ".join("abcdefg"[:size])
    links = draw(
        st.lists(
            st.tuples(st.integers(0, size - 1), st.integers(0, size - 1), st.sampled_from([0.25, 0.5, 1.0])),
            max_size=12,
        )
    )
    spans = draw(
        st.lists(
            st.tuples(st.integers(0, size - 1), st.integers(1, 3)).map(lambda s: (s[0], min(size, sum(s)), "PER")),
            min_size=1,
            max_size=3,
        )
    )
    return instance(words, words, spans, format_links(links))


@settings(max_examples=300, deadline=None)
@given(linked())
def test_fast_link_dice_equals_the_matrix(problem):
    spans = ngrams(0, len(problem.target), 16)
    matrix = LinkDiceScore().matrix(problem, np.array(spans))
    for row, of_mention in zip(matrix, link_dice_candidates(problem), strict=True):
        dense = {span: score for span, score in zip(spans, row, strict=True) if score > 0}
        assert {(first, last): pytest.approx(score) for score, first, last in of_mention} == dense


@settings(max_examples=300, deadline=None)
@given(linked())
def test_the_alignment_window_keeps_an_optimum(problem):
    """Anchored windows, the paper's window and no window at all reach the same total."""

    def best(candidates):
        ranked = [rank(of_mention) for of_mention in candidates]
        chosen, _ = match(ranked)
        return sum(of_mention[choice][0] for of_mention, choice in zip(ranked, chosen, strict=True) if choice >= 0)

    spans = ngrams(0, len(problem.target))
    matrix = AlignScore().matrix(problem, np.array(spans)).tolist()
    everything = [[(score, *span) for score, span in zip(row, spans, strict=True)] for row in matrix]
    assert best(align_candidates(problem)) == pytest.approx(best(everything))
    assert best(dense_candidates(AlignScore())(problem)) == pytest.approx(best(everything))


def test_align_and_link_dice_by_hand():
    problem = instance(
        "the European Parliament met", "das Europäische Parlament tagte", [(1, 3, "ORG")], "0-0 1-1 2-2 2-3"
    )
    assert value(AlignScore(), problem, 1, 3) == pytest.approx(2 / 4)
    # A = 2, row = 1 + min(1, 2), col = 1 + 1
    assert value(LinkDiceScore(), problem, 1, 3) == pytest.approx(2 * 2 / 4)
    assert value(LinkDiceScore(), problem, 1, 4) == pytest.approx(2 * 3 / 5)
    assert value(LinkDiceScore(), problem, 0, 3) == 0.0


def test_ner_by_hand():
    tags = ({"B-LOC": 0.1}, {"B-ORG": 0.8, "B-LOC": 0.1}, {"I-ORG": 0.6, "B-LOC": 0.2}, {})
    problem = instance("a b", "x y z .", [(0, 1, "ORG")], target_tags=tags)
    assert value(NerScore(), problem, 1, 3) == pytest.approx(1.15 * 1.4 / 2)
    assert value(NerScore(any_type=True), problem, 1, 2) == pytest.approx(0.9)
    assert value(NerScore(), problem, 0, 1) == 0.0
    assert [p.first for p in make_projector("ner").project([problem])[0]] == [1]


class Table:
    """Scores translations by a table of probabilities."""

    signature = "table"

    def __init__(self, forward, backward):
        self.forward, self.backward = forward, backward

    def to_target(self, pairs):
        return [np.log(self.forward.get(pair, 1e-9)) for pair in pairs]

    def to_source(self, pairs):
        return [np.log(self.backward.get(pair, 1e-9)) for pair in pairs]


class Places:
    """Finds no place for markers."""

    signature = "places"

    def log_probabilities(self, sources, text, variants, least_ratio=0.0):
        return np.full((len(sources), len(variants)), -np.inf)


class Echo:
    """Translates nothing."""

    signature = "echo"

    def translate(self, texts):
        return [Translation(text) for text in texts]


def test_nmt_and_the_papers_best_fusion():
    scorer = Table({("cow", "ng'ombe"): 0.6}, {("cow", "ng'ombe"): 0.2})
    tags = ({}, {"B-X": 0.5}, {})
    problem = instance("the cow", "huyo ng'ombe .", [(1, 2, "X")], "1-1", target_tags=tags)
    assert value(NmtScore(scorer), problem, 1, 2) == pytest.approx(0.4)
    assert value(NmtScore(scorer), problem, 0, 1) == 0.0
    (projection,) = make_projector("align+ner-spans+nmt", translation_scorer=scorer).project([problem])[0]
    assert (projection.first, projection.last) == (1, 2)
    assert projection.score == pytest.approx(0.5 * 0.5 + 0.5 * 0.5 + 0.4)
    assert projection.confidence == pytest.approx(projection.score / 2)
    with pytest.raises(ConfigurationError, match="--translator-model"):
        make_projector("nmt")


def test_the_small_scores():
    problem = instance("Anna saw Bo", "Anna aliona wa", [(0, 1, "PER", 0.5), (2, 3, "PER")])
    assert value(SourceScore(), problem, 0, 1) == 0.5
    assert value(SourceScore(), problem, 0, 1, mention=1) == 1.0
    assert value(LengthScore(), problem, 2, 3) == pytest.approx(0.5)
    assert value(CasingScore(), problem, 0, 2) == 0.5
    assert value(CasingScore(), problem, 0, 1) == 1.0
    assert value(StringScore(), problem, 0, 1) == 1.0
    rarity = FrequencyScore([["anna", "aliona", "Zed"], ["Aliona", "áliona"]])
    assert value(rarity, problem, 1, 2) == 0.0
    assert value(rarity, problem, 0, 1) == pytest.approx(0.5)
    assert value(rarity, problem, 0, 3, mention=1) == pytest.approx(0.5)
    assert value(FrequencyScore([]), problem, 0, 3) == 1.0
    fusion = Fusion([(LengthScore(), 2.0), (CasingScore(), 0.5)])
    assert value(fusion, problem, 0, 1) == pytest.approx(2.5)
    assert fusion.signature == "2*length+0.5*casing"
    (projection,) = fusion_projector("mine", [(StringScore(0.5), 1.0), (CasingScore(), 0.1)]).project([problem])[0]
    assert (projection.mention, projection.first) == (0, 0)


def test_scores_are_reached_by_name():
    problem = instance("Anna saw Bo", "Anna aliona Anna", [(0, 1, "PER")], "0-0")
    (by_name,) = make_projector("0.5*string+.25*casing").project([problem])[0]
    (by_hand,) = fusion_projector("mine", [(StringScore(), 0.5), (CasingScore(), 0.25)]).project([problem])[0]
    assert by_name == by_hand
    assert by_name.score == pytest.approx(0.75)
    for score in SCORES:
        projector = make_projector(f"1*{score}", translation_scorer=Table({}, {}), variant_scorer=Places())
        assert projector.signature.startswith("fusion(1*")
    rare = make_fusion("rare", {"frequency": 1.0}, texts=[["Anna", "aliona"], ["Anna", "Bo"]])
    assert rare.signature == "rare(1*frequency(4/3))"
    for weights, message in (({"frequency": 1.0}, "no texts"), ({"nonsense": 1.0}, "no score")):
        with pytest.raises(UsageError, match=message):
            make_fusion("mine", weights)
    with pytest.raises(ConfigurationError, match="no model"):
        make_projector("0.5*nmt+1*align")


def test_every_projector_copes_with_nothing():
    empty = msgspec.structs.replace(instance("a", "b", []), target_tags=())
    unlinked = msgspec.structs.replace(instance("Zed a", "b", [(0, 1, "PER")]), target_tags=({},))
    nowhere = msgspec.structs.replace(instance("Zed a", "", [(0, 1, "PER")]), target_tags=())
    scorer = Table({}, {})
    for name in PROJECTORS:
        projector = make_projector(
            name, translation_scorer=scorer, variant_scorer=Places(), marker_translator=Echo()
        )
        assert project_all(projector, [empty, unlinked, nowhere]) == [[], [], []]
        assert project_all(projector, []) == []
    with pytest.raises(UsageError, match="choose one of"):
        make_projector("nonsense")


@pytest.mark.parametrize(
    "name", ["europarl/de.voted", "europarl/es.weak", "lowres/lug/projection", "lowres/tsn/projection"]
)
def test_matching_real_instances_is_optimal(bench_data, name):
    """The programme and HiGHS agree wherever two mentions of a real sentence compete."""
    decoder = msgspec.json.Decoder(Task)
    competing = 0
    for line in (bench_data / f"{name}.jsonl").read_bytes().splitlines():
        problem = build_instance(decoder.decode(line))[0]
        for generate in (align_candidates, link_dice_candidates, string_candidates):
            candidates = [rank(of_mention) for of_mention in generate(problem)]
            chosen, exact = match(candidates)
            assert exact
            if all(of_mention and choice == 0 for of_mention, choice in zip(candidates, chosen, strict=True)):
                continue  # everyone has the best candidate there is
            by_milp = [of_mention[0] if of_mention else -1 for of_mention in match_milp(candidates).chosen]
            totals = [
                sum(
                    of_mention[choice][0]
                    for of_mention, choice in zip(candidates, matching, strict=True)
                    if choice >= 0
                )
                for matching in (chosen, by_milp)
            ]
            assert totals[0] == pytest.approx(totals[1], abs=1e-9)
            taken = [
                index
                for of_mention, choice in zip(candidates, chosen, strict=True)
                if choice >= 0
                for index in range(*of_mention[choice][1:])
            ]
            assert len(taken) == len(set(taken))
            competing += 1
    assert competing > 0
