from __future__ import annotations

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.processes import LIMIT
from xner_label.predicting.overlapping_stages import chained


@given(st.lists(st.integers()), st.integers(0, 3), st.integers(1, 3))
def test_the_same_as_one_stage_after_the_other(items: list[int], stages: int, depth: int) -> None:
    functions = [lambda x: x + 1, lambda x: x * 3, lambda x: x - 5][:stages]
    expected = items
    for function in functions:
        expected = [function(item) for item in expected]
    assert list(chained(items, functions, depth=depth)) == expected


def test_stages_work_at_the_same_time() -> None:
    meeting = threading.Barrier(2, timeout=LIMIT)

    def meet(item: int) -> int:
        if item in (0, 1):
            meeting.wait()  # the first stage with batch 1, the second with batch 0
        return item

    second = iter([0])

    def first(item: int) -> int:
        return meet(item) if item == 1 else item

    def last(item: int) -> int:
        return meet(item) if item == next(second, None) else item

    assert list(chained(range(4), [first, last])) == [0, 1, 2, 3]


def test_memory_is_bounded_by_the_depth() -> None:
    read: list[int] = []

    def batches():
        for number in range(100):
            read.append(number)
            yield number

    flow = chained(batches(), [lambda x: x], depth=2)
    assert next(flow) == 0
    time.sleep(0.3)
    assert len(read) <= 8
    flow.close()


def test_an_error_arrives_after_the_batches_before_it() -> None:
    def fail(item: int) -> int:
        if item == 2:
            raise ValueError("batch 2")
        return item

    seen = []
    with pytest.raises(ValueError, match="batch 2"):
        for item in chained(range(5), [lambda x: x, fail, lambda x: x]):
            seen.append(item)
    assert seen == [0, 1]
    with pytest.raises(ZeroDivisionError):
        list(chained((1 // (1 - number) for number in range(3)), [lambda x: x]))


def test_a_consumer_that_leaves_stops_the_threads() -> None:
    before = set(threading.enumerate())
    flow = chained(iter(int, 1), [lambda x: x, lambda x: x])
    next(flow)
    flow.close()
    assert set(threading.enumerate()) <= before
