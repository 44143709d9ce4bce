"""Ours after people reviewed so many sentences: the product's own loop of review, judged where nobody reviewed.

The tasks are halved at random. The gold of one half plays the people, who review the least confident sentences
first and whose answers are learned from after every hundred; what is then projected into the other half is judged.
The halves then change places, so that every task is judged once and never by what people said about it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xner_label.entities import Entity, Task
from xner_label.errors import RecordError, UsageError
from xner_label.projection.fitting.examples import read_example
from xner_label.projection.loglinear.weights_file import Weights
from xner_label.settings.choices import DEFAULT_STRATEGY
from xner_label.simulation.loop import Simulation

# Of the halves and of every draw.
SEED = 13
# Sentences after which the answers so far are learned from, and what is most doubtful is chosen anew.
ROUND = 100


def entities_after_reviews(tasks: Sequence[Task], reviews: int, weights: str) -> list[list[Entity]]:
    """What is projected into each task once people have reviewed ``reviews`` sentences of the other half.

    ``tasks`` have passed all stages and have gold. A task that can't be projected gets nothing. Raises UsageError
    where a half holds fewer sentences than are to be reviewed, ConfigurationError for weights without corpus mode.
    """
    usable = [number for number, task in enumerate(tasks) if _is_usable(task)]
    order = np.random.default_rng(SEED).permutation(len(usable)).tolist()
    halves = [[usable[place] for place in sorted(order[half::2])] for half in (0, 1)]
    smallest = min(map(len, halves))
    if smallest < reviews or not smallest:
        raise UsageError(
            f"half of the tasks, {smallest}, are fewer than the {reviews} to review", hint="give more gold"
        )
    entities: list[list[Entity]] = [[] for _ in tasks]
    for pool, judged in (halves, halves[::-1]):
        simulation = Simulation(
            [tasks[number] for number in pool],
            [tasks[number] for number in judged],
            Weights.load(weights or None),
        )
        budgets = [*range(ROUND, reviews, ROUND), reviews]
        *_, labels = simulation.test_labels(DEFAULT_STRATEGY, budgets, seed=SEED)
        for number, spans in zip(judged, labels, strict=True):
            tokens = read_example(tasks[number]).instance.target
            for first, last, label in sorted(spans):
                span = tokens.span(first, last)
                entities[number].append(Entity(span.start, span.end, label))
    return entities


def _is_usable(task: Task) -> bool:
    try:
        read_example(task)
    except RecordError:
        return False
    return True
