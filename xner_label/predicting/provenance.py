"""Why an entity was projected as it was: what other sentences say, and which of them people have settled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from xner_label.entities import Provenance
from xner_label.iob2 import TokenSpan
from xner_label.projection.corpus.consistency import (
    Elsewhere,
    SpokenSums,
    counted_spans,
    elsewhere_in_corpus,
)
from xner_label.projection.corpus.evidence import Observations, Sums, span_probability
from xner_label.projection.corpus.out_of_fold_tagger import Tagged
from xner_label.projection.corpus.rounds import ChosenSpans, text_of
from xner_label.projection.corpus.settled import Settled

# Task ids that are named of those that speak for an entity, and of those that speak against it.
_NAMED = 5
# What stands for the label of a name that people left out.
_NOTHING = ""


class Witnesses(msgspec.Struct):
    """What people settled about names (source side) and texts (target side), folded: [task id, text, label] for
    each sentence that has them; text and label are empty where people left the name out."""

    names: dict[str, list[tuple[str, str, str]]]
    texts: dict[str, list[tuple[str, str, str]]]

    @classmethod
    def of(
        cls,
        observations: Observations,
        settled: Settled,
        gold: Mapping[int, Sequence[TokenSpan]],
        ids: Sequence[str],
    ) -> Witnesses:
        """All that people settled in a corpus whose tasks have these ids."""
        result = cls({}, {})
        texts, labels = observations.texts, observations.labels
        for mention in np.flatnonzero(settled.reviewed[observations.sentence]).tolist():
            candidate = int(settled.candidate[mention])
            text = texts[observations.text[candidate]] if candidate >= 0 else _NOTHING
            label = labels[settled.label[mention]] if candidate >= 0 else _NOTHING
            name = texts[observations.name[mention]]
            result.names.setdefault(name, []).append((ids[observations.sentence[mention]], text, label))
        for number, spans in gold.items():
            start = int(observations.target_at[number])
            for first, last, label in spans:
                text = " ".join(texts[word] for word in observations.word[start + first : start + last].tolist())
                result.texts.setdefault(text, []).append((ids[number], text, label))
        return result


def said_elsewhere(
    observations: Observations,
    chosen: ChosenSpans,
    spoken: SpokenSums | None,
    settled: Settled | None = None,
    gold: Mapping[int, Sequence[TokenSpan]] | None = None,
) -> Elsewhere | None:
    """What other sentences say of the texts of spans, where a state looks at that: those of the corpus itself with
    what people ``settled`` in it, or those that a state has counted, for sentences that came later."""
    if spoken is None:
        return None
    if settled is None:
        return spoken.elsewhere(observations, text_of(observations, chosen))
    return elsewhere_in_corpus(observations, counted_spans(observations, chosen, settled, gold or {}), chosen)


def provenances(
    observations: Observations,
    chosen: ChosenSpans,
    sums: Sums,
    tagged: Tagged | None,
    witnesses: Witnesses,
    ids: Sequence[str],
    elsewhere: Elsewhere | None = None,
) -> list[Provenance]:
    """The provenance of each span, from what the other sentences say. ``ids`` (S,) are those of the tasks, which
    don't bear witness for themselves; ``elsewhere``: what a last stage was told of the spans' texts."""
    texts = observations.texts
    candidates = observations.candidates
    provenances = []
    for row, text in enumerate(text_of(observations, chosen)):
        number, mention = int(chosen.sentence[row]), int(chosen.mention[row])
        first, last = int(chosen.first[row]), int(chosen.last[row])
        label = observations.labels[chosen.label[row]]
        names = votes = 0.0
        spoken = list(witnesses.texts.get(text, ()))
        if mention >= 0:
            names = round(float(sums.names[mention]), 2)
            rows = np.arange(candidates.at[mention], candidates.at[mention + 1])
            start = observations.target_at[number]
            at = rows[(candidates.first[rows] == first + start) & (candidates.last[rows] == last + start)]
            votes = round(float(sums.votes[at[0]]), 2) if len(at) else 0.0
            spoken += witnesses.names.get(texts[observations.name[mention]], ())
        in_others = {witness for witness in spoken if witness[0] != ids[number]}
        agreeing = sorted({task for task, where, named in in_others if (where, named) == (text, label)})
        # a task whose name was linked to nothing, but whose text was marked, isn't against
        against = sorted({task for task, _, _ in in_others}.difference(agreeing))
        marginals = None if tagged is None else tagged.marginals[number]
        tagger = rather = None
        if marginals is not None:
            probabilities = span_probability(marginals, first, last)
            tagger = round(float(probabilities[chosen.label[row]]), 4)
            best = int(probabilities.argmax())
            rather = observations.labels[best] if probabilities[best] > probabilities[chosen.label[row]] else None
        alike = rivals = None
        if elsewhere is not None:
            of_text = elsewhere.probability[0, row]
            alike = round(float(of_text[chosen.label[row]]), 2)
            rivals = round(float(of_text.sum() - of_text[chosen.label[row]]), 2)
        provenances.append(
            Provenance(
                names=names,
                votes=votes,
                tagger=tagger,
                tagger_label=rather,
                alike=alike,
                rivals=rivals,
                settled=tuple(agreeing[:_NAMED]),
                settled_count=len(agreeing),
                against=tuple(against[:_NAMED]),
                against_count=len(against),
            )
        )
    return provenances
