"""Which projector suits a language: a benchmark of all projectors on what a file's tasks bring along.

No projector is best for every language (Politov et al. 2025), but a little gold is noisy: the default stays unless
another one is better in the paired bootstrap, with both drawn on the same tasks. Beside what the benchmark
compares, the shipped weights are adapted to the gold and judged on tasks that they weren't adapted to.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from xner_label.benchmark.kept import Stopwatch
from xner_label.benchmark.outcome import Outcome, difference, outcome_of_predictions
from xner_label.entities import Prediction, Task
from xner_label.errors import RecordError, UsageError
from xner_label.jsonl import read_checked
from xner_label.pipeline.pipeline import Pipeline
from xner_label.projection.fitting.examples import Example, read_example
from xner_label.projection.fitting.sentence_weights import FOLDS, MIN_MENTIONS, fit_weights, fold_of
from xner_label.projection.loglinear.projector import LogLinearProjector
from xner_label.projection.loglinear.weights_file import Weights
from xner_label.projection.problem import CorpusProjector, Instance, Projector
from xner_label.projection.projectors import make_projector, models_asked
from xner_label.settings.choices import PROJECTORS
from xner_label.wording import counted

DEFAULT = "default"
ADAPTED = "default, adapted"


class Contender(msgspec.Struct, frozen=True):
    """One projector on the gold. ``over_default``: its F1 less the default's; intervals are of 95 %."""

    name: str
    f1: float
    precision: float
    recall: float
    ci95: tuple[float, float]
    over_default: float
    over_default_ci95: tuple[float, float]


class Choice(msgspec.Struct, frozen=True):
    """The comparison, best first. ``left_out`` says why a projector isn't in it, ``unjudged`` counts the tasks
    that lack what any projector needs, ``weights`` belong to ADAPTED."""

    chosen: str
    contenders: list[Contender]
    left_out: dict[str, str]
    tasks: int
    entities: int
    unjudged: int
    weights: Weights | None = None


def choose_projector(path: Path) -> Choice:
    """Compare all projectors on a file of tasks with gold ``entities``.

    Tasks that lack source, source entities or gold are left out. Raises RecordError for a bad line, UsageError for
    gold that no projector can be judged by.
    """
    read = list(read_checked(path, Task, lambda task: (task, read_example(task)) if _can_judge(task) else None))
    judged = [pair for pair in read if pair is not None]
    tasks, examples = [task for task, _ in judged], [example for _, example in judged]
    entities = sum(len(task.entities or ()) for task in tasks)
    instances = [example.instance for example in examples]
    mentions = sum(len(instance.mentions) for instance in instances)
    if not (entities and mentions):
        raise UsageError(
            f"{path} has no gold to judge projectors by: of {len(read)} tasks {len(judged)} have source, "
            f"source_entities and entities, with {mentions} source entities and {entities} settled ones in all",
            hint="`xner-label tag` adds source entities; `entities` are what people settled",
        )
    outcomes: dict[str, Outcome] = {}
    left_out: dict[str, str] = {}
    for name in PROJECTORS:
        if models_asked(name):
            left_out[name] = "needs a translation model"
            continue
        projector = make_projector(name)
        missing = [field for field in sorted(projector.needs) if not _have(instances, field)]
        if missing:
            left_out[name] = f"needs {missing[0]}"
            continue
        outcomes[name] = _outcome(tasks, _predicted(projector, tasks))
    if mentions >= 2 * MIN_MENTIONS:
        outcomes[ADAPTED] = _outcome(tasks, _adapted(tasks, examples))
    else:
        left_out[ADAPTED] = (
            f"{counted(mentions, 'source entity is', 'source entities are')} too few to adapt weights to"
        )
    contenders = sorted(
        (_contender(name, outcome, outcomes[DEFAULT]) for name, outcome in outcomes.items()),
        key=lambda contender: -contender.f1,
    )
    if not any(contender.f1 for contender in contenders):
        raise UsageError(
            f"no projector gets a single one of the {entities} entities in {path} right",
            hint="check that source entities and entities have the same labels and belong together",
        )
    better = [contender.name for contender in contenders if contender.over_default_ci95[0] > 0.0]
    chosen = better[0] if better else DEFAULT
    weights = fit_weights([examples], path.name, start=Weights.load()) if chosen == ADAPTED else None
    return Choice(chosen, contenders, left_out, len(tasks), entities, len(read) - len(tasks), weights)


def _can_judge(task: Task) -> bool:
    """Whether there is something to project, and somebody said what should come out."""
    return task.source is not None and task.source_entities is not None and task.entities is not None


def _have(instances: Sequence[Instance], field: str) -> bool:
    """Whether all instances with mentions have the field."""
    attribute = {"alignment": "links"}.get(field, field)
    return all(getattr(instance, attribute) is not None for instance in instances if instance.mentions)


def _predicted(projector: Projector | CorpusProjector, tasks: Sequence[Task]) -> list[Prediction | RecordError]:
    pipeline = Pipeline(projector)
    if pipeline.learns:
        pipeline.learn(tasks)
    return pipeline.predict(tasks)


def _adapted(tasks: Sequence[Task], examples: Sequence[Example]) -> list[Prediction | RecordError]:
    """Cross-validated: every task is judged by weights adapted to the other folds."""
    folds = fold_of(len(examples))
    shipped = Weights.load()
    answers: dict[int, Prediction | RecordError] = {}
    for fold in range(FOLDS):
        rest = [example for example, place in zip(examples, folds, strict=True) if place != fold]
        held_out = [number for number, place in enumerate(folds) if place == fold]
        projector = LogLinearProjector(fit_weights([rest], "", start=shipped))
        answers |= zip(held_out, _predicted(projector, [tasks[number] for number in held_out]), strict=True)
    return [answers[number] for number in range(len(tasks))]


def _outcome(tasks: Sequence[Task], predictions: Sequence[Prediction | RecordError]) -> Outcome:
    return outcome_of_predictions(tasks, predictions, None, Stopwatch().cost(len(tasks)), "")


def _contender(name: str, outcome: Outcome, default: Outcome) -> Contender:
    scores = outcome.scores
    return Contender(
        name,
        scores.f1,
        scores.precision,
        scores.recall,
        outcome.ci95,
        scores.f1 - default.scores.f1,
        difference(outcome, default),
    )
