"""The grid: every method on every dataset behind every choice of stages, nothing computed twice.

What a stage adds is kept by content and by the stage's signature, what a method reaches by all that it depends on
(:mod:`xner_label.benchmark.kept`). Killed at any moment, the same call goes on where it was.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product

import msgspec

from xner_label import __version__
from xner_label.benchmark import methods as by_name
from xner_label.benchmark.data import Dataset, target_tokens
from xner_label.benchmark.kept import Cost, Kept, Stopwatch
from xner_label.benchmark.noise import Noise, with_noise
from xner_label.benchmark.outcome import Outcome, outcome_of_entities, outcome_of_predictions, reviewed_tasks
from xner_label.benchmark.stages import (
    DeferredStage,
    StageChoice,
    alignment_stage,
    model_signature,
    tagging_stage,
    target_tagging_stage,
    translation_stage,
)
from xner_label.benchmark.weaknesses import Probe, probe_tasks
from xner_label.entities import Entity, Prediction, Task
from xner_label.errors import ConfigurationError, RecordError, UsageError
from xner_label.evaluation.signature import data_hash
from xner_label.pipeline import assembly
from xner_label.pipeline.assembly import LabelledText
from xner_label.pipeline.pipeline import Pipeline
from xner_label.pipeline.stage import completed
from xner_label.progress import Progress
from xner_label.projection.projectors import make_projector
from xner_label.settings.choices import TAKING_WEIGHTS
from xner_label.settings.table import Settings
from xner_label.stages.interfaces import Tagger
from xner_label.wording import counted

# Changes whenever the same input would be judged otherwise.
_JUDGED_AS = "1"
# Texts that a stage is given at a time; what was done before a kill is lost for so many at most.
_BATCH = 256
# Texts that a stage is tried on to see how fast it is.
_PROBE = 8
_GIVEN = StageChoice("given")
_NONE = StageChoice("none")
# The method that learns from reviews.
REVIEWED = "corpus"


class Grid(msgspec.Struct, frozen=True, kw_only=True):
    """What to compare. ``labels`` None: every label of a dataset's gold. ``labelled`` is what a CRF learns from.

    ``noise`` adds rows with worse links, ``reviews`` rows of ours after people reviewed so many sentences;
    ``target_taggers`` are models of the target language.
    """

    methods: tuple[str, ...]
    translators: tuple[StageChoice, ...] = (_GIVEN,)
    taggers: tuple[StageChoice, ...] = (_GIVEN,)
    aligners: tuple[StageChoice, ...] = (_GIVEN,)
    target_taggers: tuple[StageChoice, ...] = ()
    noise: tuple[Noise, ...] = ()
    reviews: tuple[int, ...] = ()
    labels: tuple[str, ...] | None = None
    labelled: tuple[LabelledText, ...] = ()


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One row to be: a method behind its stages. A stage that the method doesn't use is None."""

    method: str
    translator: StageChoice | None = None
    tagger: StageChoice | None = None
    aligner: StageChoice | None = None
    target_tagger: StageChoice | None = None
    noise: Noise | None = None
    reviews: int | None = None

    @property
    def as_it_is(self) -> bool:
        """Whether links are as they come, and nobody has reviewed anything."""
        return self.noise is None and self.reviews is None

    def __str__(self) -> str:
        """Method and stages; those that come with the tasks go without saying."""
        stages = (self.translator, self.tagger, self.aligner, self.target_tagger, self.noise)
        named = (str(stage) for stage in stages if stage is not None and stage != _GIVEN)
        after = [f"after {counted(self.reviews, 'review')}"] if self.reviews is not None else []
        return " ".join([self.method, *named, *after])


class Result(msgspec.Struct, frozen=True):
    """A cell's outcome and what its stages took, by role; or why there is none."""

    cell: Cell
    outcome: Outcome | None
    stages: dict[str, Cost]
    left_out: str = ""


class Pending(msgspec.Struct, frozen=True):
    """What a cell would still have to do: ``texts`` by stage that has no result for them yet, with the seconds
    that a text took it so far (None: unknown), and whether the method itself has to run."""

    cell: Cell
    method: bool
    texts: dict[str, tuple[int, float | None]]
    left_out: str = ""


def cells_of(grid: Grid) -> Iterator[Cell]:
    """The cells, each once: what a method doesn't use makes no further row."""
    seen = set()
    for method in grid.methods:
        if method == by_name.TRANSFER:
            yield from (Cell(method=method, target_tagger=target) for target in grid.target_taggers)
            continue
        linked = by_name.uses_links(method)
        targets: Sequence[StageChoice | None] = (None,)
        if by_name.uses_target_tags(method):
            targets = grid.target_taggers
        noises: Sequence[Noise | None] = (None, *grid.noise) if linked else (None,)
        for translator, tagger, aligner, target, noise in product(
            grid.translators, grid.taggers, grid.aligners, targets, noises
        ):
            cell = Cell(
                method=method,
                translator=translator,
                tagger=tagger,
                aligner=aligner if linked else None,
                target_tagger=target,
                noise=noise if aligner != _NONE else None,
            )
            if cell not in seen:
                seen.add(cell)
                yield cell
    for reviews, translator, tagger, aligner in product(
        grid.reviews, grid.translators, grid.taggers, grid.aligners
    ):
        yield Cell(method=REVIEWED, translator=translator, tagger=tagger, aligner=aligner, reviews=reviews)


class Runner:
    """Runs the cells of a grid on one dataset."""

    def __init__(self, grid: Grid, dataset: Dataset, settings: Settings, kept: Kept, progress: Progress) -> None:
        self._grid = grid
        self._dataset = dataset
        self._settings = settings
        self._kept = kept
        self._progress = progress
        self._labels = grid.labels or dataset.labels
        self.place = ""  # of the row that is worked on, for progress
        self.computed = False  # whether the last row wasn't kept
        self._stages: dict[tuple[str, ...], DeferredStage | None] = {}
        self._weighted: dict[str, str] = {}
        self._completed: dict[tuple[str, ...], list[Task | RecordError]] = {}

    def run(self, cell: Cell) -> Result:
        """The cell's outcome, computed where it isn't kept."""
        try:
            stages = self._stages_of(cell)
            problem = self._problem(cell)
            if problem:
                return Result(cell, None, {}, problem)
            key = self._key(cell, stages)
            outcome = self._kept.method(key, Outcome)
            self.computed = outcome is None
            if outcome is None:
                outcome = self._outcome(cell, stages)
                self._kept.keep_method(key, outcome)
        except (ConfigurationError, UsageError) as error:
            return Result(cell, None, {}, str(error))
        if outcome.failed == outcome.n:
            return Result(cell, None, {}, outcome.failure)
        costs = {stage.role: self._kept.stage(stage.signature).cost for stage in stages}
        return Result(cell, outcome, costs)

    def _begin(self, what: str, total: int | None = None) -> None:
        place = f", {self.place}" if self.place else ""
        self._progress.begin(f"{self._dataset.name}{place}: {what}", total)

    def pending(self, cell: Cell) -> Pending:
        """What running the cell would take. Stages whose speed isn't known are run on a few texts, which are kept;
        those that learn from all texts at once or cost money aren't."""
        try:
            stages = self._stages_of(cell)
            problem = self._problem(cell)
            if problem or self._kept.method(self._key(cell, stages), Outcome) is not None:
                return Pending(cell, False, {}, problem)
            texts: dict[str, tuple[int, float | None]] = {}
            cleared = self._cleared(cell)
            tasks: list[Task] | None = cleared
            few = cleared[:_PROBE]
            for stage in stages:
                results = self._kept.stage(stage.signature)
                if tasks is None:  # what the stage reads isn't there yet
                    unknown = len(self._dataset.tasks)
                else:
                    unknown = results.unknown(stage, [task for task in tasks if stage.lacks(task)])
                if unknown:
                    few, speed = self._probed(stage, few)
                    cost = results.cost
                    if speed is None and cost.texts:
                        speed = cost.seconds / cost.texts
                    texts[stage.role] = (unknown, speed)
                    tasks = None
                elif tasks is not None:
                    answers = completed(stage, tasks, results=results)
                    tasks = [answer for answer in answers if isinstance(answer, Task)]
                    few = tasks[:_PROBE]
            return Pending(cell, True, texts)
        except (ConfigurationError, UsageError) as error:
            return Pending(cell, False, {}, str(error))

    def _probed(self, stage: DeferredStage, few: Sequence[Task]) -> tuple[list[Task], float | None]:
        """A few tasks with what the stage adds, and the seconds that one took it; none where it can't be tried.

        The first task counts for nothing: it has the stage read its model.
        """
        if stage.learns or stage.costs or not few:
            return [], None
        results = self._kept.stage(stage.signature)
        lacking = [task for task in few if stage.lacks(task)]
        speed = None
        if results.unknown(stage, lacking):
            self._begin(f"trying {stage.role} {stage.signature[:60]}")
            results.begin()
            completed(stage, lacking[:1], results=results)
            results.begin()
            stopwatch = Stopwatch()
            completed(stage, lacking[1:], results=results)
            if len(lacking) > 1:
                speed = stopwatch.cost(0).seconds / (len(lacking) - 1)
        answers = completed(stage, few, results=results)
        return [answer for answer in answers if isinstance(answer, Task)], speed

    def _stages_of(self, cell: Cell) -> list[DeferredStage]:
        """The stages that have to work, in order."""
        stages: list[DeferredStage | None] = []
        translation = ""
        if cell.translator is not None:
            stages.append(self._stage("translator", cell.translator))
            translation = "" if stages[0] is None else stages[0].signature
        if cell.tagger is not None:
            stages.append(self._stage("tagger", cell.tagger))
        if cell.aligner is not None:
            stages.append(self._stage("aligner", cell.aligner, data_hash((self._dataset.digest, translation))))
        if cell.target_tagger is not None and cell.method != by_name.TRANSFER:
            stages.append(self._stage("target-tagger", cell.target_tagger))
        return [stage for stage in stages if stage is not None]

    def _stage(self, role: str, choice: StageChoice, corpus: str = "") -> DeferredStage | None:
        key = role, str(choice), corpus
        if key not in self._stages:
            if role == "translator":
                stage = translation_stage(choice, self._settings)
            elif role == "tagger":
                stage = tagging_stage(choice, self._settings, self._labels, self._grid.labelled)
            elif role == "aligner":
                stage = alignment_stage(choice, self._settings, corpus)
            else:
                stage = target_tagging_stage(choice, self._settings, self._labels)
            self._stages[key] = stage
        return self._stages[key]

    def _problem(self, cell: Cell) -> str:
        """Why the cell can't be run on this dataset; empty where it can."""
        if cell.method == by_name.TRANSFER:
            return ""
        tasks = self._dataset.tasks
        if cell.translator == _GIVEN and all(task.source is None for task in tasks):
            return "the tasks bring no source; name a translator"
        if cell.tagger == _GIVEN and (
            cell.translator != _GIVEN or all(task.source_entities is None for task in tasks)
        ):
            return "there are no source entities; name a tagger"
        can_do_without = by_name.can_do_without_links(cell.method)
        if cell.aligner == _NONE and not can_do_without:
            return "needs links"
        no_links = cell.translator != _GIVEN or all(task.alignment is None for task in tasks)
        if cell.aligner == _GIVEN and no_links and not can_do_without:
            return "the tasks bring no links; name an aligner"
        return ""

    def _key(self, cell: Cell, stages: Sequence[DeferredStage]) -> str:
        """All that the cell's outcome depends on."""
        weights = self._weights(cell.method) if cell.method in TAKING_WEIGHTS else ""
        target = ""
        if cell.method == by_name.TRANSFER and cell.target_tagger is not None:
            made = self._stage("target-tagger", cell.target_tagger)
            target = "" if made is None else made.signature
        scorer = self._asked_model(cell) if by_name.uses_translation_model(cell.method) else ""
        signatures = (f"{stage.role}={stage.signature}" for stage in stages)
        labels = ",".join(self._grid.labels) if self._grid.labels is not None else "all"
        parts = (_JUDGED_AS, __version__, self._dataset.digest, labels, repr(cell), weights, target, scorer)
        return "\n".join((*parts, *signatures))

    def _weights(self, method: str) -> str:
        """The signature of a method that has weights; reading these takes longer than all that is kept."""
        if method not in self._weighted:
            self._weighted[method] = make_projector(method, weights=self._settings.projector_weights).signature
        return self._weighted[method]

    def _projector_settings(self, cell: Cell) -> Settings:
        """The settings that a method's projector is made from: the models it asks are its translator's."""
        settings = replace(self._settings, projector=cell.method)
        if cell.method not in TAKING_WEIGHTS:
            settings = replace(settings, projector_weights="")
        if cell.translator is None or cell.translator == _GIVEN:
            return settings
        model = cell.translator.model or settings.translator_model
        return replace(settings, translator=cell.translator.kind, translator_model=model)

    def _asked_model(self, cell: Cell) -> str:
        """What names the models that a method asks beside the stages."""
        settings = self._projector_settings(cell)
        models = (settings.translator_model, settings.marker_model)
        signatures = (model_signature(settings, model) for model in models if model)
        languages = f"{settings.source_language}>{settings.target_language}"
        return ":".join((settings.translator, str(settings.translator_beams), languages, *signatures))

    def _cleared(self, cell: Cell) -> list[Task]:
        """The tasks without what the cell's stages are to make."""
        clear: list[str] = []
        if cell.translator is not None and cell.translator != _GIVEN:
            clear += ("source", "source_tokens", "source_entities", "alignment", "back_translations")
        if cell.tagger is not None and cell.tagger != _GIVEN:
            clear += ("source_entities", "back_translations")
        if cell.aligner != _GIVEN:
            clear.append("alignment")
        if cell.target_tagger is not None:
            clear.append("target_tags")
        changes = dict.fromkeys(clear)
        return [msgspec.structs.replace(task, **changes) for task in self._dataset.tasks]

    def _outcome(self, cell: Cell, stages: Sequence[DeferredStage]) -> Outcome:
        if cell.method == by_name.TRANSFER:
            return self._transferred(cell)
        if cell.reviews is not None:
            return self._reviewed(cell, cell.reviews, stages, self._complete(cell, stages))
        tasks, predictions, cost, signature = self._projected(cell, stages)
        return outcome_of_predictions(tasks, predictions, self._grid.labels, cost, signature)

    def probe(self, cell: Cell) -> Probe | None:
        """What the cell's pipeline is weak at; None for one that projects nothing. Stages aren't run again."""
        if cell.method == by_name.TRANSFER or cell.reviews is not None:
            return None
        tasks, predictions, _, _ = self._projected(cell, self._stages_of(cell))
        reviewed = reviewed_tasks(tasks, predictions, self._grid.labels)
        return probe_tasks(self._dataset.name, str(cell), reviewed)

    def _projected(
        self, cell: Cell, stages: Sequence[DeferredStage]
    ) -> tuple[list[Task], list[Prediction | RecordError], Cost, str]:
        """The tasks after the stages, what is projected into them, what that took, the pipeline's signature."""
        answers = self._complete(cell, stages)
        good = [task for task in answers if isinstance(task, Task)]
        if cell.noise is not None:
            good = [with_noise(task, cell.noise, index) for index, task in enumerate(good)]
        self._begin(str(cell))
        stopwatch = Stopwatch()
        projector = assembly.assemble_projector(self._projector_settings(cell))
        upstream = {stage.role: stage.signature for stage in stages}
        if cell.noise is not None:
            upstream["noise"] = str(cell.noise)
        pipeline = Pipeline(projector, upstream=upstream)
        if pipeline.learns:
            pipeline.learn(good)
        predicted = iter(pipeline.predict(good))
        predictions = [answer if isinstance(answer, RecordError) else next(predicted) for answer in answers]
        cost = stopwatch.cost(len(good))
        given = iter(good)
        tasks = [
            original if isinstance(answer, RecordError) else next(given)
            for answer, original in zip(answers, self._dataset.tasks, strict=True)
        ]
        return tasks, predictions, cost, pipeline.signature

    def _reviewed(
        self,
        cell: Cell,
        reviews: int,
        stages: Sequence[DeferredStage],
        answers: Sequence[Task | RecordError],
    ) -> Outcome:
        """The corpus projector after people reviewed some sentences of the other half of the tasks."""
        from xner_label.benchmark.reviewed import entities_after_reviews

        stopwatch = Stopwatch()
        good = [task for task in answers if isinstance(task, Task)]
        projected = iter(entities_after_reviews(good, reviews, self._settings.projector_weights))
        entities = [[] if isinstance(answer, RecordError) else next(projected) for answer in answers]
        upstream = " ".join(f"{stage.role}={stage.signature}" for stage in stages)
        outcome = outcome_of_entities(
            self._dataset.tasks,
            entities,
            self._grid.labels,
            stopwatch.cost(len(good)),
            f"xner-label/{__version__} {upstream} projector={self._weights(cell.method)} reviews={reviews}",
        )
        failures = [answer for answer in answers if isinstance(answer, RecordError)]
        return msgspec.structs.replace(outcome, failed=len(failures), failure=str(failures[0]) if failures else "")

    def _complete(self, cell: Cell, stages: Sequence[DeferredStage]) -> list[Task | RecordError]:
        """The dataset's tasks after the stages, in order, errors in the place of those that a stage refused."""
        tasks: list[Task | RecordError] = list(self._cleared(cell))
        done = (str(cell.translator), str(cell.tagger), str(cell.aligner), str(cell.target_tagger))
        if done in self._completed:
            return self._completed[done]
        for stage in stages:
            tasks = self._run_stage(stage, tasks)
        self._completed[done] = tasks
        return tasks

    def _run_stage(self, stage: DeferredStage, tasks: Sequence[Task | RecordError]) -> list[Task | RecordError]:
        results = self._kept.stage(stage.signature)
        good = [task for task in tasks if isinstance(task, Task) and stage.lacks(task)]
        if not results.unknown(stage, good):
            return completed(stage, tasks, results=results)
        self._begin(f"{stage.role} {stage.signature[:60]}", len(tasks))
        # What learns answers for all at once: one fit, one file, nothing half done.
        size = max(1, len(tasks)) if stage.learns else _BATCH
        answers: list[Task | RecordError] = []
        for first in range(0, len(tasks), size):
            batch = tasks[first : first + size]
            results.begin()
            stage.learn([task for task in batch if isinstance(task, Task)])
            answers += completed(stage, batch, results=results)
            self._progress.advance(len(batch))
        return answers

    def _transferred(self, cell: Cell) -> Outcome:
        """A tagger of the target language by itself."""
        assert cell.target_tagger is not None
        settings = replace(self._settings, labels=tuple(self._labels))
        tasks = self._dataset.tasks
        self._begin(str(cell), len(tasks))
        stopwatch = Stopwatch()
        tagger = assembly.make_target_tagger(cell.target_tagger.model, settings)
        entities: list[list[Entity]] = []
        for first in range(0, len(tasks), _BATCH):
            batch = tasks[first : first + _BATCH]
            answers = _as_tagger(tagger).tag([target_tokens(task) for task in batch])
            entities += [[] if isinstance(answer, RecordError) else answer for answer in answers]
            self._progress.advance(len(batch))
        cost = stopwatch.cost(len(tasks))
        return outcome_of_entities(
            tasks, entities, self._grid.labels, cost, f"xner-label/{__version__} transfer={tagger.signature}"
        )


def _as_tagger(tagger: object) -> Tagger:
    """Both kinds of tagger that a target tagger can be tag, too."""
    assert hasattr(tagger, "tag")
    return tagger  # type: ignore[return-value]
