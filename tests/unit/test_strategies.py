"""Orders of review: each does what it says, on a pool small enough to follow."""

from __future__ import annotations

import numpy as np
import pytest

from xner_label.errors import UsageError
from xner_label.review.name_groups import NameKey
from xner_label.review.pool import ReviewPool
from xner_label.review.span_groups import span_groups
from xner_label.review.strategies import make_strategy
from xner_label.settings.choices import STRATEGIES


def pool(**changes):
    """Five sentences of ten tokens: sure, doubtful, doubtful with a frequent name, nothing found, taken."""
    fields = {
        "tokens": np.full(5, 10),
        "open": np.array([True, True, True, True, False]),
        "sentence": np.array([0, 1, 2, 4, 4, 4]),
        "confidence": np.array([0.95, 0.6, 0.61, 0.5, 0.5, 0.5]),
        "name": np.array([0, 1, 2, 2, 2, 2]),
        "cut": 0.4,
        "disagreement": np.array([0.9, 0.1, 0.2, 0.0, 3.0]),
    }
    return ReviewPool(**fields | changes)


def chosen(strategy, count=4, seed=0, **changes):
    return make_strategy(strategy).choose(pool(**changes), count, np.random.default_rng(seed))


def test_what_is_left_out_is_doubted_the_other_way_round():
    doubt = pool(confidence=np.array([0.95, 0.6, 0.61, 0.1, 0.4, 0.3])).doubt
    np.testing.assert_allclose(doubt, [0.05, 0.4, 0.39, 0.1, 0.6, 0.3])


def test_the_least_confident_sentence_comes_first():
    assert chosen("least-confident") == [1, 2, 0, 3]


def test_leverage_prefers_a_name_that_is_doubtful_elsewhere():
    names = np.array([0, 1, 2, 2, 2, 2])
    open_ = np.ones(5, bool)
    assert chosen("leverage", 1, open=open_, name=names) == [4]
    spread_out = {
        "sentence": np.array([0, 1, 2, 3, 3, 4]),
        "open": open_,
        "tokens": np.array([10, 10, 10, 90, 90]),
    }
    assert chosen("leverage", 1, **spread_out) == [2]
    assert chosen("diversity", 1, **spread_out) == [1]


def test_diversity_asks_about_a_name_once():
    sentence, name = np.array([0, 1, 2, 3, 4, 4]), np.array([0, 0, 1, 2, 3, 3])
    confidence = np.array([0.55, 0.56, 0.7, 0.95, 0.9, 0.9])
    fields = {"sentence": sentence, "name": name, "confidence": confidence, "open": np.ones(5, bool)}
    assert chosen("diversity", 2, **fields) == [0, 2]


def test_disagreement_needs_a_tagger():
    assert chosen("disagreement", 1) == [0]
    with pytest.raises(UsageError, match="no tagger"):
        chosen("disagreement", 1, disagreement=None)


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_keeps_to_the_open_sentences(name):
    for count in (0, 1, 3, 10):
        numbers = chosen(name, count)
        assert len(numbers) == len(set(numbers)) == min(count, 4)
        assert 4 not in numbers
    assert chosen(name, 3, seed=5) == chosen(name, 3, seed=5)


@pytest.mark.parametrize("name", STRATEGIES)
def test_an_empty_pool_is_no_error(name):
    nothing = np.zeros(0, np.int64)
    fields = {
        "tokens": nothing,
        "open": nothing > 0,
        "sentence": nothing,
        "confidence": np.zeros(0),
        "name": nothing,
    }
    assert chosen(name, 3, **fields, disagreement=np.zeros(0)) == []


def test_an_unknown_strategy_is_named():
    with pytest.raises(UsageError, match="no strategy 'best'"):
        make_strategy("best")


def test_spans_are_grouped_by_source_name_text_and_label():
    person, other_label, other_name = (
        NameKey("Asha", "asha", "PER"),
        NameKey("Asha", "asha", "LOC"),
        NameKey("Aisha", "asha", "PER"),
    )
    keys = [person, person, other_label, other_name, person]
    doubt = np.array([0.1, 0.4, 0.2, 0.45, 0.3])
    open_ = np.array([True, True, True, True, False])
    groups = span_groups(keys, 1 - doubt, doubt, open_, least=1)
    assert [(group.key, group.rows.tolist()) for group in groups] == [
        (person, [1, 0]),
        (other_name, [3]),
        (other_label, [2]),
    ]
    assert [group.key for group in span_groups(keys, 1 - doubt, doubt, open_)] == [person]
