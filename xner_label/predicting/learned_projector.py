"""Projecting single tasks in the light of what a project has learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import compress

import numpy as np

from xner_label.entities import Task
from xner_label.errors import RecordError
from xner_label.predicting.corpus_state import ENOUGH, CorpusState, key_of, short_hash
from xner_label.predicting.provenance import provenances, said_elsewhere
from xner_label.predicting.stored_spans import (
    StoredSpan,
    projections,
    stored,
)
from xner_label.projection.corpus.counts import find
from xner_label.projection.corpus.evidence import Observations
from xner_label.projection.corpus.lookup import TallyLookup
from xner_label.projection.corpus.out_of_fold_tagger import tag_by_fold
from xner_label.projection.corpus.refresh import Lookups
from xner_label.projection.corpus.rounds import (
    evidence_from,
    first_opinion,
)
from xner_label.projection.corpus.tally import Tally, countable
from xner_label.projection.corpus.text_hashes import Hashes
from xner_label.projection.fitting.adaptation import project_adapted
from xner_label.projection.loglinear.columns import Bools
from xner_label.projection.loglinear.model import Model
from xner_label.projection.loglinear.weights_file import Weights
from xner_label.projection.problem import Instance, Projections, build_instance
from xner_label.stages.tagging.crf import CrfTagger
from xner_label.word_forms import fold_word

# Tasks that are projected together by what a state has learned.
_AT_ONCE = 500


class LearnedProjector:
    """Answers what a stored state knows of tasks; implements :class:`xner_label.projection.problem.Projector`.

    ``additions`` are tallies of tasks that came after the state. ``new``: what tasks that were asked about since
    add, by :func:`key_of`.
    """

    needs: frozenset[str] = frozenset()

    def __init__(self, weights: Weights, state: CorpusState, additions: Sequence[Tally] = ()) -> None:
        self.signature = f"log-linear-corpus:{weights.digest}:{state.signature}"
        self.cut = state.adapted.round.cut
        self.new: dict[str, Tally] = {}
        self._state = state
        self._model = Model(weights)
        self._labels = state.tally.labels
        # what was counted is seen in the light of the table alone, whatever came since
        self._table = self._table_since = TallyLookup(state.tally)
        if additions:
            since = Tally.empty(self._labels)
            for tally in additions:
                since.add(tally)
            self._table_since = TallyLookup(state.tally, since)
        self._taggers = tuple(CrfTagger(model) for model in state.taggers)
        self._counted = np.frombuffer(state.counted, np.uint64)
        self.signature_before = None
        if state.refreshed is not None:
            self.signature_before = f"log-linear-corpus:{weights.digest}:{state.refreshed.before}"
            self._added = np.frombuffer(state.refreshed.added, np.uint64)
            moved = state.refreshed.names, state.refreshed.texts
            self._moved = Lookups(*(np.frombuffer(hashes, np.uint64) for hashes in moved))

    def project(self, instances: Sequence[Instance]) -> list[Projections]:
        """The projections of each instance, in order; nothing is cut."""
        keys = [key_of(instance) for instance in instances]
        known = self._state.spans
        unknown = {key: instance for key, instance in zip(keys, instances, strict=True) if key not in known}
        spans: dict[str, list[StoredSpan]] = {}
        are_counted = _are_among(self._counted, list(unknown))
        for counted in (True, False):
            keys_of_kind = list(compress(unknown, are_counted == counted))
            for start in range(0, len(keys_of_kind), _AT_ONCE):
                batch = {key: unknown[key] for key in keys_of_kind[start : start + _AT_ONCE]}
                spans |= self._project_new(batch, counted=counted)
        return [projections(known[key] if key in known else spans[key]) for key in keys]

    def covers(self, tasks: Sequence[Task]) -> bool:
        """Whether the state was made of enough of these, which may be unreadable ones."""
        known = readable = 0
        for task in tasks:
            try:
                key = key_of(build_instance(task)[0])
            except RecordError:
                continue
            readable += 1
            known += key in self._state.spans or _is_among(self._counted, key)
        return known >= ENOUGH * readable

    def answers_as_before(self, task: Task) -> bool:
        """Whether the table before this one, under ``signature_before``, gave the same answer: it had counted the
        task, and of what the task looks up no entry has moved."""
        if self.signature_before is None:
            return False
        try:
            instance = build_instance(task)[0]
        except RecordError:
            return False
        key = key_of(instance)
        if key in self._state.spans:
            return True
        if not _is_among(self._counted, key) or _is_among(self._added, key):
            return False
        source, target = (
            [fold_word(word) for word in tokens.words()] for tokens in (instance.source, instance.target)
        )
        return not self._moved.touch(source, target)

    def _project_new(self, instances: Mapping[str, Instance], *, counted: bool) -> dict[str, list[StoredSpan]]:
        """Project tasks in the light of the table; those that are ``counted`` in it don't speak for themselves."""
        state = self._state
        keys = list(instances)
        observations = Observations(
            *(list(instances.values()), [self._model], [0] * len(keys)),
            more_labels=self._labels,
            tagged=state.tagged,
        )
        belief = first_opinion(observations)
        table = self._table if counted else self._table_since
        sums = table.sums(observations, countable(belief) if counted else None)
        tagged = None
        if self._taggers:
            words = [instance.target.words() for instance in observations.instances]
            tagged = tag_by_fold(words, observations.labels, self._taggers)
        evidence = evidence_from(observations, belief, sums, tagged)
        chosen = project_adapted(observations, evidence, state.adapted)
        if not counted:
            self.new |= zip(keys, Tally.by_sentence(observations, belief), strict=True)
        elsewhere = said_elsewhere(observations, chosen, state.adapted.spoken)
        reasons = provenances(observations, chosen, sums, tagged, state.witnesses, [""] * len(keys), elsewhere)
        return stored(observations, keys, chosen, reasons)


def _is_among(hashes: Hashes, key: str) -> bool:
    return bool(_are_among(hashes, [key])[0])


def _are_among(hashes: Hashes, keys: Sequence[str]) -> Bools:
    """(n,) which keys' short hashes are among those."""
    return find(hashes, np.array([short_hash(key) for key in keys], np.uint64))[1]
