"""The links of SimAlign and AWESoME, against the simalign package's own functions and the papers' definitions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.soak import rounds

pytestmark = pytest.mark.models

# Few distinct values, so that ties come up.
VALUES = st.sampled_from([0.05, 0.25, 0.5, 0.55, 0.75, 0.9])
MATRIX = st.tuples(st.integers(1, 7), st.integers(1, 7)).flatmap(
    lambda shape: st.lists(
        st.lists(VALUES, min_size=shape[1], max_size=shape[1]), min_size=shape[0], max_size=shape[0]
    )
)
BATCH = st.lists(MATRIX, min_size=1, max_size=4)
METHODS = {
    "fwd": "forward_argmax",
    "rev": "backward_argmax",
    "inter": "intersection",
    "itermax": "itermax",
}


@pytest.fixture(scope="module")
def oracle():
    return pytest.importorskip("simalign.simalign").SentenceAligner


def padded(matrices):
    import torch

    height, width = max(map(len, matrices)), max(len(matrix[0]) for matrix in matrices)
    scores = torch.full((len(matrices), height, width), -1.0)
    for place, matrix in zip(scores, matrices, strict=True):
        place[: len(matrix), : len(matrix[0])] = torch.tensor(matrix)
    return scores, scores >= 0.0


def links_by(function, matrices, *more):
    from xner_label.stages.alignment import link_extraction as extraction

    scores, inside = padded(matrices)
    links = getattr(extraction, function)(scores, inside, *more)
    assert not (links & ~inside).any()
    return [link[: len(matrix), : len(matrix[0])].numpy() for link, matrix in zip(links, matrices, strict=True)]


@settings(deadline=None)
@given(BATCH)
def test_links_are_simaligns(oracle, matrices):
    for matrix, *links in zip(matrices, *(links_by(name, matrices) for name in METHODS.values()), strict=True):
        similarity = np.array(matrix, dtype=np.float32)
        forward, backward = oracle.get_alignment_matrix(similarity)
        expected = {
            "fwd": forward,
            "rev": backward,
            "inter": forward * backward,
            "itermax": oracle.iter_max(similarity),
        }
        for result, name in zip(links, METHODS, strict=True):
            np.testing.assert_array_equal(result, expected[name] > 0, err_msg=name)


@settings(deadline=None, max_examples=rounds(50))
@given(BATCH)
def test_the_matching_has_simaligns_total(oracle, matrices):
    for matrix, links in zip(matrices, links_by("maximum_matching", matrices), strict=True):
        similarity = np.array(matrix, dtype=np.float32)
        expected = oracle.get_max_weight_match(similarity)
        assert links.sum() == expected.sum() == min(similarity.shape)
        assert links.sum(0).max() == links.sum(1).max() == 1
        assert similarity[links].sum() == pytest.approx(similarity[expected > 0].sum(), abs=1e-5)


@settings(deadline=None)
@given(BATCH, st.sampled_from([0.0, 0.3, 1.0]))
def test_distortion_is_simaligns(oracle, matrices, ratio):
    import torch

    from xner_label.stages.alignment.link_extraction import distort

    scores, _ = padded(matrices)
    sizes = torch.tensor([[len(matrix), len(matrix[0])] for matrix in matrices])
    for matrix, result in zip(matrices, distort(scores, sizes[:, 0], sizes[:, 1], ratio), strict=True):
        similarity = np.array(matrix, dtype=np.float32)
        expected = oracle.apply_distortion(similarity, ratio)
        np.testing.assert_allclose(result[: len(matrix), : len(matrix[0])], expected, rtol=1e-6)


@settings(deadline=None)
@given(BATCH, st.floats(0.5, 1.0))
def test_null_alignment_follows_the_entropies(matrices, ratio):
    from scipy.stats import entropy

    for matrix, kept in zip(matrices, found_certain(matrices, ratio), strict=True):
        similarity = np.array(matrix, dtype=np.float64)
        rows, columns = similarity.shape
        if min(rows, columns) <= 2:
            assert kept.all()
            continue
        row = np.array([entropy(similarity[i]) for i in range(rows)]) / np.log(columns)
        column = np.array([entropy(similarity[:, j]) for j in range(columns)]) / np.log(rows)
        least = np.minimum(row[:, None], column[None])
        settled = np.abs(least - ratio) > 1e-5
        np.testing.assert_array_equal(kept[settled], (least <= ratio)[settled])


def found_certain(matrices, ratio):
    from xner_label.stages.alignment import link_extraction as extraction

    scores, inside = padded(matrices)
    kept = extraction.certain(scores, inside, ratio)
    return [k[: len(m), : len(m[0])].numpy() for k, m in zip(kept, matrices, strict=True)]


@settings(deadline=None)
@given(BATCH)
def test_softmax_is_mutual(matrices):
    from scipy.special import softmax

    from xner_label.stages.alignment import link_extraction as extraction

    scores, inside = padded(matrices)
    for matrix, result in zip(matrices, extraction.mutual_softmax(scores * 5, inside), strict=True):
        products = np.array(matrix) * 5
        expected = np.minimum(softmax(products, 0), softmax(products, 1))
        np.testing.assert_allclose(result[: len(matrix), : len(matrix[0])], expected, rtol=1e-5)
        assert float(result.sum()) == pytest.approx(expected.sum(), rel=1e-5)
