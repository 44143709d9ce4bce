"""Completing tasks: what each stage before the projection adds to a task that lacks it.

Written once for every path. ``xner-label translate | tag | align`` write what a stage adds to the task's line
(:func:`additions`); the stored path goes on with the completed tasks (:func:`completed`) and keeps what was
added, so that no stage runs twice for the same input (:class:`StageResults`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any, Protocol, TypeVar

import msgspec

from xner_label.entities import Task, Tokens
from xner_label.errors import RecordError
from xner_label.pharaoh import format_links
from xner_label.stages.interfaces import Aligner, SentencePair, Tagger, Translator, learns
from xner_label.stages.usage import Usage, usage_of
from xner_label.tracing import span

# The fields that a stage adds to a task, by name, as JSON can hold them. Those that a Task doesn't have are for
# whoever reads the line.
Added = Mapping[str, Any]

# What a task says that is about another of its fields, and no longer is when that one is replaced.
_ABOUT = {
    "source": ("source_tokens", "source_entities", "alignment", "back_translations"),
    "source_entities": ("back_translations",),
}


# Fields of tokens, and what they are tokens of.
_TOKENISED = {"tokens": "text", "source_tokens": "source"}


class Stage(Protocol):
    """Adds fields to tasks.

    ``role`` is what the stage is called in a pipeline's signature: ``translator``, ``tagger``, ``aligner``.
    ``reads`` names the fields of a task that the answer depends on, and nothing else may.
    """

    role: str
    reads: tuple[str, ...]

    @property
    def signature(self) -> str:
        """Names method, model and options; that of a stage that learns changes when it has."""
        ...

    @property
    def learns(self) -> bool:
        """Whether the stage wants to see all tasks before it is run on the first."""
        ...

    def learn(self, tasks: Sequence[Task]) -> None:
        """See all tasks; those that the stage can't be run on teach nothing."""
        ...

    def lacks(self, task: Task) -> bool:
        """Whether the task doesn't have what the stage adds."""
        ...

    def run(self, tasks: Sequence[Task]) -> list[Added | RecordError]:
        """What the stage adds to each task, in order, or the error that keeps a task from getting it."""
        ...


class StageResults(Protocol):
    """Where what stages added is kept: by task, stage signature and :func:`fingerprint` of the stage's input."""

    def known(self, stage: Stage, tasks: Sequence[Task]) -> list[Added | None]:
        """What the stage added to each task before; None where it hasn't."""
        ...

    def keep(self, stage: Stage, results: Sequence[tuple[Task, Added]]) -> None:
        """Remember what a stage has added."""
        ...


def fingerprint(stage: Stage, task: Task) -> str:
    """32 hexadecimal digits of what the stage reads of a task: other input, other fingerprint.

    Where a task brings no tokens, those of the built-in tokeniser count: links of another version's tokens are
    links of another input.
    """
    values = [_read(task, field) for field in stage.reads]
    return sha256(msgspec.json.encode(values)).hexdigest()[:32]


def _read(task: Task, field: str) -> object:
    value = getattr(task, field)
    text = getattr(task, _TOKENISED[field]) if field in _TOKENISED else None
    return Tokens.tokenize(text).words() if value is None and text is not None else value


def additions(
    stage: Stage, tasks: Sequence[Task], *, again: bool = False, results: StageResults | None = None
) -> list[Added | RecordError]:
    """What a stage adds to each task, in order: nothing to one that lacks nothing, unless ``again``.

    ``results`` answers what is known and keeps what is new, in one go at the end. What a task says about a field
    that is replaced is set to null along with it.
    """
    added_to: list[Added | RecordError] = [{} for _ in tasks]
    wanted = [place for place, task in enumerate(tasks) if again or stage.lacks(task)]
    if results is not None:
        known = results.known(stage, [tasks[place] for place in wanted])
        missing = []
        for place, added in zip(wanted, known, strict=True):
            if added is None:
                missing.append(place)
            else:
                added_to[place] = {**_outdated(tasks[place], added), **added}
        wanted = missing
    new: list[tuple[Task, Added]] = []
    with span(f"stage {stage.role}", tasks=len(wanted)):
        results_of_run = stage.run([tasks[place] for place in wanted])
    for place, result in zip(wanted, results_of_run, strict=True):
        if isinstance(result, RecordError):
            added_to[place] = result
        else:
            added_to[place] = {**_outdated(tasks[place], result), **result}
            new.append((tasks[place], result))
    if results is not None and new:
        results.keep(stage, new)
    return added_to


def completed(
    stage: Stage, tasks: Sequence[Task | RecordError], *, results: StageResults | None = None
) -> list[Task | RecordError]:
    """Each task with what the stage adds, in order, or what keeps it from that; errors stay what they are."""
    good = [task for task in tasks if not isinstance(task, RecordError)]
    added = iter(additions(stage, good, results=results))
    return [task if isinstance(task, RecordError) else _with(task, next(added)) for task in tasks]


def completed_by_all(stages: Iterable[Stage], tasks: Sequence[Task]) -> list[Task | RecordError]:
    """Each task with what every stage adds, one after the other; a stage that reads the source passes over tasks
    that have none."""
    done: list[Task | RecordError] = list(tasks)
    for stage in stages:
        places = [
            place
            for place, task in enumerate(done)
            if isinstance(task, Task) and ("source" not in stage.reads or task.source is not None)
        ]
        for place, task in zip(places, completed(stage, [done[place] for place in places]), strict=True):
            done[place] = task
    return done


def _with(task: Task, added: Added | RecordError) -> Task | RecordError:
    if isinstance(added, RecordError):
        return added
    fields = {name: value for name, value in added.items() if name in Task.__struct_fields__}
    patch = msgspec.convert({"id": task.id, "text": task.text, **msgspec.to_builtins(fields)}, Task)
    return msgspec.structs.replace(task, **{name: getattr(patch, name) for name in fields})


def _outdated(task: Task, added: Added) -> dict[str, None]:
    """The fields of a task that are about others which it gets anew, as null."""
    names = [name for field, about in _ABOUT.items() if field in added for name in about]
    return {name: None for name in names if getattr(task, name) is not None}


class FixedStage:
    """A stage that has nothing to learn from a corpus."""

    learns = False

    def learn(self, tasks: Sequence[Task]) -> None:
        """Nothing is learned."""


class TranslationStage(FixedStage):
    """Adds ``source``, the text's translation, and ``source_score``, the mean log-probability of a subtoken."""

    role = "translator"
    reads: tuple[str, ...] = ("text",)

    def __init__(self, translator: Translator) -> None:
        self._translator = translator

    @property
    def signature(self) -> str:
        """The translator's."""
        return self._translator.signature

    @property
    def usage(self) -> Usage | None:
        """What a translator that asks an endpoint took so far."""
        return usage_of(self._translator)

    def lacks(self, task: Task) -> bool:
        """Whether there is no source."""
        return task.source is None

    def run(self, tasks: Sequence[Task]) -> list[Added | RecordError]:
        """Translate each text."""
        translations = self._translator.translate([task.text for task in tasks]) if tasks else []
        return [
            translation
            if isinstance(translation, RecordError)
            else {"source": translation.text, "source_score": translation.score}
            for translation in translations
        ]


class TaggingStage(FixedStage):
    """Adds ``source_entities``, each with its probability; source tokens that a task brings are used."""

    role = "tagger"
    reads: tuple[str, ...] = ("source", "source_tokens")

    def __init__(self, tagger: Tagger) -> None:
        self._tagger = tagger

    @property
    def signature(self) -> str:
        """The tagger's."""
        return self._tagger.signature

    @property
    def usage(self) -> Usage | None:
        """What a tagger that asks an endpoint took so far."""
        return usage_of(self._tagger)

    def lacks(self, task: Task) -> bool:
        """Whether it isn't known which entities the source has."""
        return task.source_entities is None

    def run(self, tasks: Sequence[Task]) -> list[Added | RecordError]:
        """Tag each source."""
        sources = [_or_error(_source, task) for task in tasks]
        texts = [source for source in sources if not isinstance(source, RecordError)]
        entities = iter(self._tagger.tag(texts) if texts else ())
        answers = [source if isinstance(source, RecordError) else next(entities) for source in sources]
        return [answer if isinstance(answer, RecordError) else {"source_entities": answer} for answer in answers]


class AlignmentStage:
    """Adds ``alignment`` with the ``tokens`` and ``source_tokens`` that it counts; those a task has are used."""

    role = "aligner"
    reads: tuple[str, ...] = ("text", "source", "tokens", "source_tokens")

    def __init__(self, aligner: Aligner) -> None:
        self._aligner = aligner

    @property
    def signature(self) -> str:
        """The aligner's."""
        return self._aligner.signature

    @property
    def learns(self) -> bool:
        """Whether the aligner does."""
        return learns(self._aligner)

    def learn(self, tasks: Sequence[Task]) -> None:
        """Fit an aligner that learns."""
        if learns(self._aligner):
            pairs = [_or_error(_pair, task) for task in tasks]
            self._aligner.fit([pair for pair in pairs if not isinstance(pair, RecordError)])

    def lacks(self, task: Task) -> bool:
        """Whether there are no links."""
        return task.alignment is None

    def run(self, tasks: Sequence[Task]) -> list[Added | RecordError]:
        """Align each text with its source."""
        pairs = [_or_error(_pair, task) for task in tasks]
        good = [pair for pair in pairs if not isinstance(pair, RecordError)]
        links = iter(self._aligner.align(good) if good else ())
        return [
            pair
            if isinstance(pair, RecordError)
            else {"tokens": pair[1], "source_tokens": pair[0], "alignment": format_links(next(links))}
            for pair in pairs
        ]


_T = TypeVar("_T")


def _or_error(read: Callable[[Task], _T], task: Task) -> _T | RecordError:
    try:
        return read(task)
    except RecordError as error:
        return error


def _source(task: Task) -> Tokens:
    if task.source is None:
        raise RecordError("source", "missing; give the source text, or run `xner-label translate` first")
    return Tokens.of(task.source, task.source_tokens, "source_tokens")


def _pair(task: Task) -> SentencePair:
    return _source(task).words(), Tokens.of(task.text, task.tokens).words()
