"""Choosing sentences one by one where each choice makes the names in it less worth asking about again."""

from __future__ import annotations

import heapq

import numpy as np

from xner_label.review.pool import ReviewPool

# What an answer about a name does to the others of that name: the share of their doubt that it removes in
# expectation, how much less a second question is worth, and what is left of the doubt after one.
REMOVES, AGAIN, LEFT = 0.5, 0.5, 0.75


def choose_greedily(pool: ReviewPool, count: int, *, spreads: bool) -> list[int]:
    """The sentences of the largest gain per second, each given those before.

    With ``spreads`` a span with doubt u gains u + d min(1, 2u) (doubt of the same name elsewhere) / 2, where d
    halves with each question about the name; without it u d.
    """
    doubt, name = pool.doubt, pool.name
    asked = pool.open[pool.sentence]
    size = int(name.max(initial=-1)) + 1
    elsewhere = np.bincount(name[asked], doubt[asked], size)
    worth = np.ones(size)
    rows: dict[int, list[int]] = {number: [] for number in pool.candidates.tolist()}
    for row in np.flatnonzero(asked).tolist():
        rows[int(pool.sentence[row])].append(row)
    seconds = pool.seconds

    def gain(number: int) -> float:
        total = 0.0
        counted = set()
        for row in rows[number]:
            code, of_span = int(name[row]), float(doubt[row])
            if not spreads:
                total += of_span * worth[code]
            else:
                total += of_span
                if code not in counted:
                    rest = max(elsewhere[code] - of_span, 0.0)
                    total += REMOVES * worth[code] * min(1.0, 2.0 * of_span) * rest
            counted.add(code)
        return float(total / seconds[number])

    heap = [(-gain(number), number) for number in rows]
    heapq.heapify(heap)
    chosen: list[int] = []
    while heap and len(chosen) < count:
        _, number = heapq.heappop(heap)
        now = gain(number)
        if heap and now < -heap[0][0] - 1e-12:
            heapq.heappush(heap, (-now, number))
            continue
        chosen.append(number)
        for code in {int(name[row]) for row in rows[number]}:
            worth[code] *= AGAIN
            elsewhere[code] *= LEFT
    return chosen
