"""What more review would buy, on the sample."""

import msgspec
import pytest

from tests.sample_store import PROJECT, prepare_sample_store
from xner_label.errors import UsageError
from xner_label.store.database import open_store
from xner_label.training.data import collect
from xner_label.training.learning_curve import CurvePoint, _gain, advice, learning_curve, plot


def test_the_curve_of_the_sample(tmp_path):
    prepare_sample_store(tmp_path / "store.db", 60)
    with open_store(f"sqlite:///{tmp_path / 'store.db'}") as store, store.read() as session:
        data = collect(session, PROJECT)
    curve = learning_curve(data, draws=1)
    assert [point.gold for point in curve.points] == [15, 30, 60]
    assert all(0.2 < point.text_f1 <= 1 for point in curve.points)
    assert curve.judged_by == len(data.dev)
    low, high = curve.gain.ci95
    assert low <= curve.gain.f1 <= high
    assert "the next 100 reviewed tasks would add about" in advice(curve)
    plot(curve, tmp_path / "curve.svg")
    assert (tmp_path / "curve.svg").stat().st_size
    with pytest.raises(UsageError, match="too few for a curve"):
        learning_curve(msgspec.structs.replace(data, gold=data.gold[:19]))
    with pytest.raises(UsageError, match="0 to judge by"):
        learning_curve(msgspec.structs.replace(data, dev=[]))


def test_the_line_is_drawn_on():
    points = [CurvePoint(size, 0, 0.5 + step / 10, 0.5) for step, size in enumerate((50, 100, 200))]
    gain = _gain(points, lambda point: point.f1)
    assert gain.f1 == pytest.approx(0.0585, abs=1e-4)  # .1 a doubling, and 300 is .585 of one from 200
    assert gain.ci95 == (pytest.approx(gain.f1), pytest.approx(gain.f1))
    assert _gain(points, lambda point: point.text_f1).f1 == pytest.approx(0)
