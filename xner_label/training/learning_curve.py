"""What more review would buy: the model trained on ever more of the gold there is, and the line drawn on.

F1 grows about linearly in the logarithm of the number of reviewed tasks over a few doublings (for NER: Radmard et
al. 2021). The line is fitted through sub-samples; how much it wavers between draws is its uncertainty.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np

from xner_label.entities import Entity
from xner_label.errors import MissingExtraError, UsageError
from xner_label.evaluation.metrics import f1_score
from xner_label.progress import SILENCE, Progress
from xner_label.training.data import TrainingData
from xner_label.training.evaluation import entities_by, span_counts, without_projection
from xner_label.training.recipes.choice import train_crf
from xner_label.training.rules import MergeRules
from xner_label.training.sentences import GoldSentence
from xner_label.wording import counted

SHARES = (0.25, 0.5, 1.0)
# Reviewed tasks that the advice is about.
STEP = 100
_RESAMPLES = 1_000
_SEED = 13


class CurvePoint(msgspec.Struct, frozen=True):
    """F1 of one draw of ``gold`` tasks on the held-out gold: with its projections, and from the texts alone."""

    gold: int
    draw: int
    f1: float
    text_f1: float


class Gain(msgspec.Struct, frozen=True):
    """What the next ``tasks`` reviewed tasks would add to F1, with the 95 % interval over resampled draws."""

    tasks: int
    f1: float
    ci95: tuple[float, float]


class LearningCurve(msgspec.Struct, frozen=True):
    """The points, and what the next tasks would buy with projections and from texts alone. ``judged_by``: how many
    tasks of held-out gold."""

    judged_by: int
    points: list[CurvePoint]
    gain: Gain
    text_gain: Gain


def learning_curve(
    data: TrainingData, rules: MergeRules | None = None, draws: int = 3, progress: Progress = SILENCE
) -> LearningCurve:
    """Train CRFs on draws of the gold, the other gold tasks going back to the silver, and judge each on dev.

    Raises UsageError with less than 20 gold tasks, or without held-out gold.
    """
    if len(data.gold) < 20 or not any(item.entities for item in data.dev):
        raise UsageError(
            f"{len(data.gold)} gold tasks to learn from and {len(data.dev)} to judge by are too few for a curve",
            hint="review more tasks",
        )
    sizes = sorted({max(round(share * len(data.gold)), 10) for share in SHARES})
    plan = [(size, draw) for size in sizes for draw in range(1 if size == len(data.gold) else draws)]
    progress.begin("training on parts of the gold", len(plan))
    points = []
    for size, draw in plan:
        points.append(_point(data, size, draw, rules))
        progress.advance(1)
    return LearningCurve(
        len(data.dev),
        points,
        _gain(points, lambda point: point.f1),
        _gain(points, lambda point: point.text_f1),
    )


def advice(curve: LearningCurve) -> str:
    """The curve in words."""
    lines = [f"{'gold':>6}{'F1':>8}{'text alone':>12}   judged by {counted(curve.judged_by, 'task')}"]
    for size in sorted({point.gold for point in curve.points}):
        drawn = [point for point in curve.points if point.gold == size]
        means = [float(np.mean(values)) for values in zip(*((p.f1, p.text_f1) for p in drawn), strict=True)]
        lines.append(f"{size:>6}{means[0]:>8.3f}{means[1]:>12.3f}")
    for name, gain in (("with projections", curve.gain), ("from texts alone", curve.text_gain)):
        low, high = gain.ci95
        lines.append(
            f"the next {gain.tasks} reviewed tasks would add about {gain.f1:+z.3f} F1 "
            f"({low:+z.3f} .. {high:+z.3f}) {name}"
        )
    return "\n".join(lines)


def plot(curve: LearningCurve, file: Path) -> None:
    """Draw the points. Raises MissingExtraError without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("report", "a plot") from None
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for name, value in (("with projections", "f1"), ("from texts alone", "text_f1")):
        sizes = sorted({point.gold for point in curve.points})
        means = [
            np.mean([getattr(point, value) for point in curve.points if point.gold == size]) for size in sizes
        ]
        (line,) = axes.plot(sizes, means, marker="o", label=name)
        axes.scatter(
            [point.gold for point in curve.points],
            [getattr(point, value) for point in curve.points],
            s=8,
            color=line.get_color(),
        )
    axes.set(xscale="log", xlabel="reviewed tasks", ylabel="strict span F1 on held-out gold")
    axes.legend()
    figure.savefig(file)


def _point(data: TrainingData, size: int, draw: int, rules: MergeRules | None) -> CurvePoint:
    shuffled = [data.gold[place] for place in np.random.default_rng([_SEED, draw]).permutation(len(data.gold))]
    back = [item.sentence for item in shuffled[size:] if item.sentence.silver is not None]
    part = msgspec.structs.replace(data, gold=shuffled[:size], silver=[*data.silver, *back])
    model = train_crf(part, rules)
    bare = [without_projection(item) for item in data.dev]
    return CurvePoint(size, draw, _f1(data.dev, entities_by(model, data.dev)), _f1(bare, entities_by(model, bare)))


def _f1(gold: Sequence[GoldSentence], answers: Sequence[Sequence[Entity]]) -> float:
    counts = np.array([span_counts(*pair) for pair in zip(gold, answers, strict=True)], np.float64)
    return float(f1_score(*counts.sum(axis=0)))


def _gain(points: Sequence[CurvePoint], value: Callable[[CurvePoint], float]) -> Gain:
    """The slope of a line through F1 over the logarithm of the gold, drawn on by ``STEP`` tasks."""
    sizes = np.log([point.gold for point in points])
    values = np.array([value(point) for point in points])
    most = max(point.gold for point in points)
    reach = np.log((most + STEP) / most)
    generator = np.random.default_rng(_SEED)
    slopes = []
    for _ in range(_RESAMPLES):
        chosen = generator.integers(0, len(points), len(points))
        if len(set(sizes[chosen])) > 1:
            slopes.append(np.polyfit(sizes[chosen], values[chosen], 1)[0])
    slope = float(np.polyfit(sizes, values, 1)[0])
    low, high = np.quantile(slopes, [0.025, 0.975]) * reach
    return Gain(STEP, slope * float(reach), (float(low), float(high)))
