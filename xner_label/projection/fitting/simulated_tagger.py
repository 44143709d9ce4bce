"""A tagger's errors where a corpus has only source entities that people gave.

Weights for tagged source entities need to see what taggers do: miss names, cut them short, mistake a label. A CRF
trained on the given ones of the other sentences does the same, which multiplies the languages to learn that from.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from xner_label.entities import Entity
from xner_label.iob2 import decode, encode
from xner_label.projection.corpus.evidence import span_probability
from xner_label.projection.corpus.out_of_fold_tagger import Tagged, tag_out_of_fold
from xner_label.projection.fitting.examples import Example
from xner_label.projection.loglinear.mentions import is_tagged
from xner_label.projection.problem import Mention

_LEAST = 0.001  # a score of 0 or 1 would be a certainty that no tagger has


def simulate_tagger(files: Sequence[Sequence[Example]]) -> list[list[Example]]:
    """Copies of the files that have no tagged source entity, with the source entities of a simulated tagger.

    A copy keeps only the labels that the gold of every file with a tagger has, too, or of every file where none
    has one: taggers seldom know rarer ones. Files too small to train a CRF on have no copy; files with the same
    source share what the CRF says.
    """
    labels_of_files = [{label for example in examples for _, _, label in example.gold} for examples in files]
    with_tagger = [any(is_tagged(example.instance) for example in examples) for examples in files]
    of_tagged = [labels for labels, tagged in zip(labels_of_files, with_tagger, strict=True) if tagged]
    common = set.intersection(*(of_tagged or labels_of_files))
    result: list[list[Example]] = []
    tagged_by_source: dict[tuple[object, ...], Tagged | None] = {}
    for examples, own_labels, has_tagger in zip(files, labels_of_files, with_tagger, strict=True):
        labels = sorted(common & own_labels)
        if has_tagger or not labels:
            continue
        sentences = [example.instance.source.words() for example in examples]
        spans = [
            [(mention.first, mention.last, mention.label) for mention in mentions if mention.label in labels]
            for mentions in (example.instance.mentions for example in examples)
        ]
        key = tuple((tuple(words), tuple(entities)) for words, entities in zip(sentences, spans, strict=True))
        if key not in tagged_by_source:
            tags = [encode(entities, len(words)) for entities, words in zip(spans, sentences, strict=True)]
            tagged_by_source[key] = tag_out_of_fold(sentences, tags, labels)
        tagged = tagged_by_source[key]
        if tagged is not None:
            result.append(_retagged(examples, tagged, labels))
    return result


def _retagged(examples: Sequence[Example], tagged: Tagged, labels: Sequence[str]) -> list[Example]:
    result = []
    for example, marginals, tags in zip(examples, tagged.marginals, tagged.best, strict=True):
        source = example.instance.source
        mentions = []
        if marginals is not None:
            for first, last, label in decode(tags):
                probability = float(span_probability(marginals, first, last)[labels.index(label)])
                score = min(max(probability, _LEAST), 1 - _LEAST)
                span = source.span(first, last)
                mentions.append(Mention(first, last, label, score, Entity(span.start, span.end, label, score)))
        instance = msgspec.structs.replace(example.instance, mentions=tuple(mentions), translations=None)
        result.append(Example(instance, tuple(entity for entity in example.gold if entity[2] in labels)))
    return result
