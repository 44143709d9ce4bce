"""Correcting links by back-translation: the first enhancement of Politov et al. 2025 (arXiv 2501.18750).

A source entity is translated into the target language, alone and marked in its sentence. Where such a rendering
stands in the original target text, the entity's links are replaced by links to that place: missing ones are added,
those that lead elsewhere dropped.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from xner_label.entities import Link
from xner_label.errors import RecordError
from xner_label.projection.exact.matching import Candidate, match, rank
from xner_label.projection.problem import Instance
from xner_label.projection.similarity import FoldedTokens, similar_ngrams
from xner_label.stages.interfaces import Translator

# A rendering must read like a run of the text at least this much to move links: renderings are inflected, and
# below this they match names that merely look alike.
LEAST_SIMILARITY = 0.85
# What marks an entity in its sentence; translation models carry brackets over.
OPEN, CLOSE = "[", "]"
_MARKED = re.compile(r"\[\s*([^\[\]]+?)\s*\]")


def refine_links(instance: Instance, least: float = LEAST_SIMILARITY) -> Instance:
    """The instance with links corrected by its ``translations``; itself where there are none.

    Each mention is matched with the runs of the target that read like one of its renderings, no two mentions with
    overlapping runs. Its links then are all pairs of its tokens and that run's, with the similarity as their
    weight. Of equally similar runs the one with more mass of the present links is taken; a mention whose best
    runs can't be told apart keeps its links. Instances without links get those of the matched mentions alone.
    """
    if not instance.translations or not any(instance.translations):
        return instance
    folded = FoldedTokens(instance.target)
    links = instance.links or ()
    candidates: list[list[Candidate]] = []
    for mention, renderings in zip(instance.mentions, instance.translations, strict=True):
        present = [link for link in links if mention.first <= link[0] < mention.last]
        candidates.append(_distinct(_similar_runs(instance, folded, renderings, least), present))
    chosen, _ = match(candidates)
    refined: dict[tuple[int, int], float] = {(source, target): weight for source, target, weight in links}
    for mention, ranked, choice in zip(instance.mentions, candidates, chosen, strict=True):
        if choice < 0:
            continue
        score, first, last = ranked[choice]
        for source in range(mention.first, mention.last):
            for key in [key for key in refined if key[0] == source]:
                del refined[key]
            refined.update(dict.fromkeys(((source, target) for target in range(first, last)), min(1.0, score)))
    result: tuple[Link, ...] = tuple((*key, refined[key]) for key in sorted(refined))
    return msgspec.structs.replace(instance, links=result)


def _similar_runs(
    instance: Instance, folded: FoldedTokens, renderings: Sequence[str], least: float
) -> dict[tuple[int, int], float]:
    """The runs that read like one of the renderings, each with its best similarity."""
    best: dict[tuple[int, int], float] = {}
    for rendering in dict.fromkeys(text.strip() for text in renderings):
        length = len(rendering.split())
        if length:
            for score, first, last in similar_ngrams(rendering, length, instance.target, folded, least):
                best[first, last] = max(score, best.get((first, last), 0.0))
    return best


def _distinct(similarity_of: dict[tuple[int, int], float], links: Sequence[Link]) -> list[Candidate]:
    """Candidates in rank order, a hair better for present links; none where the two best can't be told apart."""
    total = sum(weight for _, _, weight in links) or 1.0
    candidates = rank(
        [
            (
                score + 1e-6 * sum(weight for _, target, weight in links if first <= target < last) / total,
                first,
                last,
            )
            for (first, last), score in similarity_of.items()
        ]
    )
    if len(candidates) > 1:
        (best, first, last), (second, other_first, other_last) = candidates[:2]
        if best == second and (last <= other_first or other_last <= first):
            return []
    return candidates


def back_translate(translator: Translator, instances: Sequence[Instance]) -> list[Instance]:
    """The instances with renderings of their mentions by a translator from source to target language.

    Each mention is translated alone and, in brackets, within its sentence. Given renderings stay and come first.
    """
    requests: list[str] = []
    for instance in instances:
        source = instance.source
        for mention in instance.mentions:
            start, end = source.starts[mention.first], source.ends[mention.last - 1]
            name = source.text[start:end]
            requests += [name, f"{source.text[:start]}{OPEN}{name}{CLOSE}{source.text[end:]}"]
    translations = iter(translator.translate(requests) if requests else ())
    result = []
    for instance in instances:
        renderings = []
        for known in instance.translations or ((),) * len(instance.mentions):
            alone, within = next(translations), next(translations)
            marked = None if isinstance(within, RecordError) else _MARKED.search(within.text)
            new = [] if isinstance(alone, RecordError) else [alone.text]
            new += [] if marked is None else [marked[1]]
            renderings.append((*known, *(text for text in new if text not in known)))
        result.append(msgspec.structs.replace(instance, translations=tuple(renderings)))
    return result
