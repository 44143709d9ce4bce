"""The default projector: a fitted log-linear score with a "not projected" option.

For mention m with candidates t, features f(m,t) of a candidate and g(m) of the mention itself,

    s(m,t) = w . f(m,t) - u . g(m)

are the log-odds of m landing on t against its not being projected, and a matching x without overlaps has the
probability exp(sum s(m,t) x[m,t]) / Z (see :mod:`marginals`). A mention that competes with nobody has
P(t) = exp(s(t)) / (1 + sum exp(s)). Spans are chosen to maximise the expected number of right ones: the matching
with the largest sum of marginals. Weights differ for source entities that a person gave and that a tagger gave;
only the latter may change their label (see :mod:`labelling`). The confidence is

    sigmoid(a + b logit P(span) + c logit P(label))

with a, b, c fitted too; the default cut on it maximised F1 on the data that the weights were fitted on.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from importlib.resources import files
from pathlib import Path

import msgspec
import numpy as np

from xner_label.errors import ConfigurationError
from xner_label.projection.columns import Bools, Columns, Floats, Ints, Vocabulary
from xner_label.projection.features import CANDIDATE_FEATURES, MENTION_FEATURES, build_features
from xner_label.projection.instance import Instance, Projection
from xner_label.projection.labelling import BUCKETS, label_observations, label_probabilities
from xner_label.projection.marginals import marginals
from xner_label.projection.matching import match, rank
from xner_label.projection.windows import Candidates, build_candidates, build_grid

# Candidates less probable than this on their own don't take part in the competition for tokens.
NEGLIGIBLE = 1e-4
BATCH = 256  # sentences
MAX_TYPES = 200_000  # a vocabulary that outgrows this starts afresh: flat memory on endless streams
_ROUND = float(2**30)  # scores are rounded, so that the order of summation can't show
_LOGIT_LIMIT = 12.0


class ScoreWeights(msgspec.Struct, frozen=True):
    """Weights by feature name, for candidates (w) and for mentions (u); absent ones are 0."""

    candidate: dict[str, float]
    mention: dict[str, float]
    calibration: tuple[float, float, float]


class LabelWeights(msgspec.Struct, frozen=True):
    """The label regression: ``weights`` has BUCKETS rows of one number per label."""

    labels: tuple[str, ...]
    weights: list[list[float]]


class Weights(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the projector has learned, and from what.

    ``given`` serves source entities without a score, ``tagged`` those with one; ``cut`` is the default cut on the
    confidence.
    """

    format: int = 1
    fitted_on: str
    given: ScoreWeights
    tagged: ScoreWeights
    label: LabelWeights
    cut: float

    @classmethod
    def load(cls, path: Path | str | None = None) -> Weights:
        """Read a weights file; None: the one that is shipped. Raises ConfigurationError when it isn't one."""
        try:
            if path is None:
                data = files("xner_label.projection").joinpath("weights/default.json").read_bytes()
            else:
                data = Path(path).read_bytes()
            weights = msgspec.json.decode(data, type=cls)
        except (OSError, msgspec.DecodeError) as error:
            raise ConfigurationError(
                f"can't read the weights {path or 'shipped with the package'}: {error}",
                hint="fit them with `xner-label fit-projector`",
            ) from None
        if weights.format != 1 or len(weights.label.weights) not in (0, BUCKETS):
            raise ConfigurationError(
                f"the weights {path} are of another version", hint="fit them with `xner-label fit-projector`"
            )
        return weights

    def dump(self) -> bytes:
        """The file's content."""
        return msgspec.json.encode(self) + b"\n"

    @property
    def digest(self) -> str:
        """A short hash of all numbers."""
        return sha256(self.dump()).hexdigest()[:10]


class Model:
    """Weights as arrays.

    candidate: (len(CANDIDATE_FEATURES), 2), mention: (len(MENTION_FEATURES), 2), calibration: (2, 3),
    where the twos are given and tagged; label: (BUCKETS, len(known))
    """

    def __init__(self, weights: Weights) -> None:
        both = (weights.given, weights.tagged)
        self.candidate: Floats = np.array([[w.candidate.get(k, 0.0) for w in both] for k in CANDIDATE_FEATURES])
        self.mention: Floats = np.array([[w.mention.get(k, 0.0) for w in both] for k in MENTION_FEATURES])
        self.calibration: Floats = np.array([w.calibration for w in both])
        self.known = weights.label.labels if weights.label.weights else ()
        self.label: Floats = np.array(weights.label.weights, np.float64).reshape(-1, len(self.known))


class Batch:
    """Columns, candidates and features of a batch, and what weights make of them."""

    def __init__(self, instances: Sequence[Instance], vocabulary: Vocabulary) -> None:
        self.columns = Columns(instances, vocabulary)
        grid = build_grid(self.columns)
        self.found: Candidates = build_candidates(self.columns, grid)
        self.features = build_features(self.columns, grid, self.found)

    def log_odds(self, model: Model) -> Floats:
        """(C,) s(m,t), multiples of 2**-30."""
        tagged = self.columns.scored
        own = self.features.candidate @ model.candidate
        null = self.features.mention @ model.mention
        mention = self.found.mention
        scores = (
            np.where(tagged[mention], own[:, 1], own[:, 0]) - np.where(tagged, null[:, 1], null[:, 0])[mention]
        )
        result: Floats = np.rint(scores * _ROUND) / _ROUND
        return result

    def posteriors(self, scores: Floats) -> tuple[Floats, list[Ints]]:
        """(C,) marginals of the candidates, and the groups of mentions that compete for tokens."""
        mention, at = self.found.mention, self.found.at
        count = len(at) - 1
        peak = np.zeros(count)
        np.maximum.at(peak, mention, scores)
        powers = np.exp(scores - peak[mention])
        total = np.exp(-peak) + np.bincount(mention, powers, count)
        probability: Floats = powers / total[mention]
        groups = self._competing(probability)
        for group in groups:
            members = [np.arange(at[m], at[m + 1]) for m in group.tolist()]
            kept = [own[probability[own] >= NEGLIGIBLE] for own in members]
            answer = marginals([self._candidates(own, scores) for own in kept])
            for own, some, values in zip(members, kept, answer.projected, strict=True):
                probability[own] = 0.0
                probability[some] = values
        return probability, groups

    def _candidates(self, which: Ints, scores: Floats) -> list[tuple[float, int, int]]:
        found = self.found
        return list(
            zip(scores[which].tolist(), found.first[which].tolist(), found.last[which].tolist(), strict=True)
        )

    def _competing(self, probability: Floats) -> list[Ints]:
        """Groups of mentions whose windows meet."""
        kept = np.flatnonzero(probability >= NEGLIGIBLE)
        mention = self.found.mention[kept]
        count = len(self.found.at) - 1
        low = np.full(count, np.iinfo(np.int64).max)
        high = np.full(count, -1)
        np.minimum.at(low, mention, self.found.first[kept])
        np.maximum.at(high, mention, self.found.last[kept])
        order = np.flatnonzero(high >= 0)
        order = order[np.argsort(low[order], kind="stable")]
        if len(order) < 2:
            return []
        apart = low[order][1:] >= np.maximum.accumulate(high[order])[:-1]
        parts = np.split(order, np.flatnonzero(apart) + 1)
        return [np.sort(part) for part in parts if len(part) > 1]

    def choose(self, probability: Floats, groups: Sequence[Ints]) -> Ints:
        """(M,) the candidate of each mention that maximises the sum of marginals without overlaps, or -1."""
        found = self.found
        chosen = np.full(len(found.at) - 1, -1)
        order = np.lexsort((found.first, found.last - found.first, -probability, found.mention))
        filled = np.flatnonzero(np.diff(found.at))
        chosen[filled] = order[found.at[filled]]
        for group in groups:
            ranked = [rank(self._candidates(np.arange(found.at[m], found.at[m + 1]), probability)) for m in group]
            places = [
                {(first, last): number for number, (first, last) in enumerate(zip(*self._spans(m), strict=True))}
                for m in group
            ]
            choices, _ = match(ranked)
            for mention, own, place, choice in zip(group.tolist(), ranked, places, choices, strict=True):
                chosen[mention] = found.at[mention] + place[own[choice][1:]] if choice >= 0 else -1
        return chosen

    def _spans(self, mention: int) -> tuple[list[int], list[int]]:
        own = slice(self.found.at[mention], self.found.at[mention + 1])
        return self.found.first[own].tolist(), self.found.last[own].tolist()

    def labels(self, model: Model) -> tuple[list[str], Floats]:
        """The label of each mention and its probability, shape (M,); 1 where labels aren't touched."""
        columns, known = self.columns, model.known
        names = [columns.labels[number] for number in columns.label.tolist()]
        probability = np.ones(len(names))
        open_ = np.flatnonzero(self.relabelled(known))
        if not len(open_):
            return names, probability
        answers = label_probabilities(label_observations(columns, known)[open_], model.label)
        answers = np.rint(answers * _ROUND) / _ROUND
        for mention, choice in zip(open_.tolist(), answers.argmax(axis=1).tolist(), strict=True):
            names[mention] = known[choice]
        probability[open_] = answers.max(axis=1)
        return names, probability

    def relabelled(self, known: Sequence[str]) -> Bools:
        """(M,) whether the label regression speaks: tagged mentions with a label it knows."""
        inside = np.array([name in known for name in self.columns.labels], bool)
        result: Bools = self.columns.scored & inside[self.columns.label]
        return result


def logit(probability: Floats) -> Floats:
    """Log-odds, limited to +-12."""
    with np.errstate(divide="ignore"):
        result: Floats = np.clip(np.log(probability) - np.log1p(-probability), -_LOGIT_LIMIT, _LOGIT_LIMIT)
    return result


def confidence(span: Floats, label: Floats, tagged: Bools, model: Model) -> Floats:
    """P(exactly right) from P(span) and P(label), each of shape (n,)."""
    numbers = model.calibration[tagged.astype(np.int64)]
    odds = numbers[:, 0] + numbers[:, 1] * logit(span) + numbers[:, 2] * logit(label) * tagged
    result: Floats = 1.0 / (1.0 + np.exp(-odds))
    return result


class LogLinearProjector:
    """The projector of this module's docstring; ``cut`` is the confidence below which it would leave out."""

    needs: frozenset[str] = frozenset()

    def __init__(self, weights: Weights) -> None:
        self.cut = weights.cut
        self.signature = f"log-linear:{weights.digest}"
        self._model = Model(weights)
        self._vocabulary = Vocabulary()

    def project(self, instances: Sequence[Instance]) -> list[list[Projection]]:
        """See :class:`xner_label.projection.instance.Projector`. Nothing is cut here."""
        results: list[list[Projection]] = [[] for _ in instances]
        busy = [number for number, own in enumerate(instances) if own.mentions and len(own.target)]
        for start in range(0, len(busy), BATCH):
            numbers = busy[start : start + BATCH]
            if len(self._vocabulary) > MAX_TYPES:
                self._vocabulary = Vocabulary()
            batch = Batch([instances[number] for number in numbers], self._vocabulary)
            for number, own in zip(numbers, self._projections(batch), strict=True):
                results[number] = own
        return results

    def _projections(self, batch: Batch) -> list[list[Projection]]:
        columns, found = batch.columns, batch.found
        results: list[list[Projection]] = [[] for _ in range(len(columns.target_at) - 1)]
        scores = batch.log_odds(self._model)
        probability, groups = batch.posteriors(scores)
        chosen = batch.choose(probability, groups)
        labels, label_probability = batch.labels(self._model)
        mentions = np.flatnonzero(chosen >= 0)
        picked = chosen[mentions]
        sure = confidence(probability[picked], label_probability[mentions], columns.scored[mentions], self._model)
        sentence = columns.sentence[mentions]
        start = columns.target_at[sentence]
        within = mentions - np.searchsorted(columns.sentence, sentence)
        rows = zip(
            sentence.tolist(),
            within.tolist(),
            (found.first[picked] - start).tolist(),
            (found.last[picked] - start).tolist(),
            [labels[mention] for mention in mentions.tolist()],
            scores[picked].tolist(),
            sure.tolist(),
            strict=True,
        )
        for number, mention, first, last, label, score, sureness in rows:
            results[number].append(Projection(mention, first, last, label, score, sureness))
        for own in results:
            if len(own) > 1:
                own.sort(key=_first)
        return results


def _first(projection: Projection) -> int:
    return projection.first
