import pytest

from xner_label.errors import ConfigurationError
from xner_label.stages.alignment.ensemble import EnsembleAligner
from xner_label.stages.interfaces import learns


class Fixed:
    """An aligner that knows its answer."""

    learns = False

    def __init__(self, name, *links):
        self.signature = name
        self._links = sorted(links)

    def align(self, pairs):
        return [self._links for _ in pairs]


class Pupil(Fixed):
    learns = True

    def fit(self, pairs):
        self.signature = f"{self.signature}+{len(pairs)}"
        return True


A = Fixed("a", (0, 0, 0.9), (1, 1, 0.6))
B = Fixed("b", (0, 0, 0.6), (2, 2, 0.6))
C = Pupil("c", (0, 0, 0.3), (1, 1, 0.9), (3, 0, 0.9))
PAIR = (["x"] * 4, ["y"] * 3)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("union", {(0, 0): 0.6, (1, 1): 0.5, (2, 2): 0.2, (3, 0): 0.3}),
        ("vote", {(0, 0): 0.6, (1, 1): 0.5}),
        ("intersection", {(0, 0): 0.6}),
    ],
)
def test_members_decide_together(rule, expected):
    for links in EnsembleAligner([A, B, C], rule).align([PAIR, PAIR]):
        assert [link[:2] for link in links] == sorted(expected)
        assert {link[:2]: link[2] for link in links} == pytest.approx(expected)


def test_an_ensemble_learns_if_a_member_does():
    both = EnsembleAligner([A, Pupil("c")])
    assert learns(both)
    assert not learns(A)
    assert not learns(EnsembleAligner([A, B]))
    assert both.signature == "vote(a+c)"
    assert both.fit([PAIR])
    assert both.signature == "vote(a+c+1)"


def test_what_makes_no_ensemble():
    with pytest.raises(ConfigurationError, match="two aligners or more"):
        EnsembleAligner([A])
    with pytest.raises(ConfigurationError, match="no rule 'best'"):
        EnsembleAligner([A, B], "best")
