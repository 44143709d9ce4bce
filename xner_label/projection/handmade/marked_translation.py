"""Translations that carry markers along: the systems EasyProject and LabelPigeon, in either direction.

Translate-test: the source is translated back into the target language with its mentions marked; what comes back
between the markers is looked for in the original text (:class:`MarkerProjector`). Translate-train: a labelled
source is translated forward, and what comes back between the markers are the entities of the new text
(:class:`MarkedTranslator` by itself).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec
import numpy as np

from xner_label.entities import Span
from xner_label.errors import RecordError
from xner_label.projection.exact.matching import Candidate
from xner_label.projection.handmade.matching_projector import MatchingProjector, Solver
from xner_label.projection.problem import Instance, Projections
from xner_label.projection.similarity import FoldedTokens, similar_ngrams, similarity
from xner_label.stages.interfaces import Translation, Translator
from xner_label.stages.translation.markers import (
    MarkedText,
    MarkerStyle,
    Unmarked,
    layers,
    mark,
    relative_place,
    tally,
    unmark,
)

# EasyProject's threshold of fuzzy matching: what is less alike is no rendering of the same name.
LEAST_SIMILARITY = 0.5
# What the place in the text adds to a similarity at most: it only orders what reads the same.
_PLACE_WORTH = 1e-6

# A text and the spans to mark in it, in code points.
Request = tuple[str, Sequence[Span]]


class CarriedText(msgspec.Struct, frozen=True):
    """The translation of a marked text, without the markers.

    For each span of the request: ``spans`` is where it is in ``text``, in code points; ``renderings`` what it has
    become, known too for spans that cross others and so were marked in a translation of their own; ``places``
    where in its translation that stood, from 0 to 1. None where the marker was lost or couldn't be set.
    ``counts``: see
    :func:`~xner_label.stages.translation.markers.tally`. ``score`` is the translation's.
    """

    text: str
    score: float | None
    spans: tuple[Span | None, ...]
    renderings: tuple[str | None, ...]
    places: tuple[float, ...]
    counts: Counter[str]


class MarkedTranslator:
    """Translates texts with markers around spans and finds the spans again.

    Brackets don't say which of several spans came back as which: spans are translated alone as well, and matched
    with what came back by string similarity, the largest sum over all pairs, of which those of at least
    ``LEAST_SIMILARITY`` count (EasyProject's fuzzy matching); what is left over alone on each side is a pair.
    """

    def __init__(self, translator: Translator, style: MarkerStyle) -> None:
        self._translator = translator
        self._style = style
        self.signature = f"{style}({translator.signature})"

    def translate(self, requests: Sequence[Request]) -> list[CarriedText]:
        """The translation of each text, in order, and its spans there."""
        marked: list[list[tuple[list[int], MarkedText]]] = []
        wanted: list[str] = []
        for text, spans in requests:
            groups = layers(spans) or [[]]
            marked.append([(group, mark(text, [spans[i] for i in group], self._style)) for group in groups])
            for group, of_group in marked[-1]:
                wanted.append(of_group.text)
                if self._style == "brackets" and len({spans[i] for i in group}) > 1:
                    wanted += [text[spans[i].start : spans[i].end] for i in group]
        translated = self._translator.translate(wanted) if wanted else ()
        # A text that got no translation carries nothing over.
        answers = iter([Translation("") if isinstance(each, RecordError) else each for each in translated])
        return [
            self._carried(text, spans, groups, answers)
            for (text, spans), groups in zip(requests, marked, strict=True)
        ]

    def _carried(
        self,
        text: str,
        spans: Sequence[Span],
        groups: Sequence[tuple[list[int], MarkedText]],
        answers: Iterator[Translation],
    ) -> CarriedText:
        in_first: list[Span | None] = [None] * len(spans)
        renderings: list[str | None] = [None] * len(spans)
        places = [0.0] * len(spans)
        counts: Counter[str] = Counter()
        first: tuple[str, float | None] | None = None
        for group, marked in groups:
            translation = next(answers)
            names = [text[spans[i].start : spans[i].end] for i in group]
            alone = list(names)
            if self._style == "brackets" and len({spans[i] for i in group}) > 1:
                alone = [next(answers).text for _ in group]
            result = unmark(translation.text, marked)
            came_back = result.named or _assigned(text, [spans[i] for i in group], names, alone, marked, result)
            for index, span in zip(group, came_back, strict=True):
                if span is None:
                    continue
                renderings[index] = result.text[span.start : span.end]
                places[index] = relative_place(span, result.text)
                if first is None:
                    in_first[index] = span
            counts += tally(result, marked, sum(span is not None for span in came_back))
            first = first or (result.text, translation.score)
        assert first is not None  # there is always one group
        return CarriedText(*first, tuple(in_first), tuple(renderings), tuple(places), counts)


def _assigned(
    text: str,
    spans: Sequence[Span],
    names: Sequence[str],
    alone: Sequence[str],
    marked: MarkedText,
    result: Unmarked,
) -> list[Span | None]:
    """Which of the spans that came back in brackets is which; equal spans share one."""
    from scipy.optimize import linear_sum_assignment

    distinct = list(dict.fromkeys(span for span, name in zip(spans, marked.names, strict=True) if name))
    came = list(result.spans)
    if not (distinct and came):
        return [None] * len(spans)
    alike = np.zeros((len(distinct), len(came)))
    near = np.zeros_like(alike)
    for row, span in enumerate(distinct):
        index = spans.index(span)
        for column, other in enumerate(came):
            rendering = result.text[other.start : other.end]
            alike[row, column] = max(similarity(alone[index], rendering), similarity(names[index], rendering))
            near[row, column] = 1.0 - abs(relative_place(span, text) - relative_place(other, result.text))
    rows, columns = linear_sum_assignment(alike + 1e-3 * near, maximize=True)
    of_span = {
        distinct[row]: came[column]
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True)
        if alike[row, column] >= LEAST_SIMILARITY
    }
    lacking = [span for span in distinct if span not in of_span]
    spare = [span for span in came if span not in of_span.values()]
    if len(lacking) == len(spare) == 1:
        of_span[lacking[0]] = spare[0]
    return [of_span.get(span) for span in spans]


class MarkerProjector(MatchingProjector):
    """Translates the source back with its mentions marked, and matches what they became with the target text.

    c[p,t] = similarity of t's text to what stood between p's markers, 0 below ``LEAST_SIMILARITY``; of runs that
    read the same the one whose place in the text is nearer comes first. ``translator`` translates from the source
    into the target language.
    """

    def __init__(self, name: str, translator: Translator, style: MarkerStyle, solver: Solver = "<=") -> None:
        self._marked = MarkedTranslator(translator, style)
        super().__init__(f"{name}({self._marked.signature})", _no_candidates, solver=solver)

    def project(self, instances: Sequence[Instance]) -> list[Projections]:
        """See :class:`xner_label.projection.problem.Projector`."""
        asked = [instance for instance in instances if instance.mentions and len(instance.target)]
        carried = iter(self._marked.translate([_request(instance) for instance in asked]))
        return [
            self._projected(instance, next(carried))
            if instance.mentions and len(instance.target)
            else Projections()
            for instance in instances
        ]

    def _projected(self, instance: Instance, carried: CarriedText) -> Projections:
        projections = self._choose(instance, rendering_candidates(instance, carried))
        lacking = carried.counts["lost"] + carried.counts["unmarkable"]
        if lacking:
            projections.notes = (f"{lacking} of {len(instance.mentions)} markers didn't come back",)
        return projections


def _no_candidates(instance: Instance) -> list[list[Candidate]]:
    return [[] for _ in instance.mentions]


def _request(instance: Instance) -> Request:
    source = instance.source
    return source.text, [source.span(mention.first, mention.last) for mention in instance.mentions]


def rendering_candidates(instance: Instance, carried: CarriedText) -> list[list[Candidate]]:
    """For each mention the runs of the target that read like its rendering, with their similarity."""
    folded = FoldedTokens(instance.target)
    target = instance.target
    result: list[list[Candidate]] = []
    for rendering, place in zip(carried.renderings, carried.places, strict=True):
        if rendering is None:
            result.append([])
            continue
        candidates: list[Candidate] = []
        length = len(rendering.split())
        for score, first, last in similar_ngrams(rendering, length, target, folded, LEAST_SIMILARITY):
            distance = abs(place - relative_place(target.span(first, last), target.text))
            candidates.append((score + _PLACE_WORTH * (1.0 - distance), first, last))
        result.append(candidates)
    return result
