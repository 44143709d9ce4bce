"""The numbers that fitting finds, and their file."""

from __future__ import annotations

from hashlib import sha256
from importlib.resources import files
from pathlib import Path

import msgspec
import numpy as np

from xner_label.errors import ConfigurationError
from xner_label.projection.loglinear.columns import Floats
from xner_label.projection.loglinear.label_regression import BUCKETS

FORMAT = 2

Calibration = tuple[float, float, float]

# The weights that come with the package, and what binds who uses the data that they were fitted on.
DEFAULT = "default"
SHIPPED = {
    DEFAULT: "MasakhaNER 2.0 (CC-BY-NC 4.0), Europarl-NER, UNER, xSID and EA-MT (CC BY-SA)",
    "permissive": "Europarl-NER (no known copyright restriction) and the sample corpora (Apache-2.0)",
}


class ScoreWeights(msgspec.Struct, frozen=True):
    """Weights by feature name, for candidates (w) and for mentions (u); absent ones are 0."""

    candidate: dict[str, float]
    mention: dict[str, float]
    calibration: Calibration


class LabelWeights(msgspec.Struct, frozen=True):
    """The label regression: one number per label for each bucket that has any."""

    labels: tuple[str, ...]
    weights: dict[int, list[float]]

    def table(self) -> Floats:
        """(BUCKETS, len(labels))."""
        table: Floats = np.zeros((BUCKETS, len(self.labels)))
        if self.weights:
            table[list(self.weights)] = list(self.weights.values())
        return table


class ConsistencyWeights(msgspec.Struct, frozen=True):
    """What other sentences are worth after the last round: g and c of :mod:`corpus.consistency`."""

    label: tuple[float, float, float]
    confidence: tuple[float, float, float, float, float, float, float]


class SecondStage(msgspec.Struct, frozen=True):
    """The stage after the last round, of sentences whose source entities were given and of those where a tagger
    found them; None: there is no such stage."""

    given: ConsistencyWeights | None = None
    tagged: ConsistencyWeights | None = None


class Round(msgspec.Struct, frozen=True):
    """One round of corpus mode: weights by evidence name, calibrations, and the cut on the confidence.

    ``added`` calibrates spans that only the CRF finds: sigmoid(added[0] + added[1] logit p). ``caseless`` is what
    sentences without capitals get instead; None: the same as all others. ``consistency`` is what comes after the
    last round; files from before there was such a thing have none, and keep their digest.
    """

    given: dict[str, float]
    tagged: dict[str, float]
    overlooked: dict[str, float]
    label: dict[str, float]
    calibration: tuple[Calibration, Calibration, Calibration]
    added: tuple[float, float]
    cut: float
    caseless: Round | None = None
    consistency: SecondStage | msgspec.UnsetType = msgspec.UNSET


class CaselessWeights(msgspec.Struct, frozen=True, kw_only=True):
    """The like of what :class:`Weights` holds, for sentences whose capitals tell nothing."""

    given: ScoreWeights
    tagged: ScoreWeights
    overlooked: ScoreWeights


class Weights(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the projector has learned, and from what.

    ``given`` serves source entities without a score, ``tagged`` those with one, ``overlooked`` names that the
    tagger missed; ``cut`` is the default cut on the confidence; ``rounds`` are those of corpus mode, the first one
    without a CRF, none where it wasn't fitted. ``caseless`` is what sentences without capitals get instead; None:
    the same as all others.
    """

    format: int = FORMAT
    fitted_on: str
    given: ScoreWeights
    tagged: ScoreWeights
    overlooked: ScoreWeights
    label: LabelWeights
    cut: float
    rounds: tuple[Round, ...] = ()
    caseless: CaselessWeights | None = None

    @classmethod
    def load(cls, path: Path | str | None = None) -> Weights:
        """Read a weights file, one of SHIPPED by its name, or the default one (None).

        Raises ConfigurationError when it isn't one.
        """
        name = DEFAULT if path is None else str(path)
        try:
            if name in SHIPPED:
                data = files("xner_label.projection.loglinear").joinpath(f"weights/{name}.json").read_bytes()
            else:
                data = Path(name).read_bytes()
            weights = msgspec.json.decode(data, type=cls)
        except (OSError, msgspec.DecodeError) as error:
            raise ConfigurationError(
                f"can't read the weights {path or 'shipped with the package'}: {error}",
                hint=f"give {' or '.join(SHIPPED)}, or fit them with `xner-label fit-projector`",
            ) from None
        if weights.format != FORMAT or not all(0 <= bucket < BUCKETS for bucket in weights.label.weights):
            raise ConfigurationError(
                f"the weights {path} are of another version", hint="fit them with `xner-label fit-projector`"
            )
        return weights

    def dump(self) -> bytes:
        """The file's content."""
        return msgspec.json.encode(self) + b"\n"

    @property
    def script_note(self) -> str:
        """What a signature adds where caseless sentences get weights of their own."""
        return "" if self.caseless is None else ":by-script"

    @property
    def digest(self) -> str:
        """A short hash of all numbers."""
        return sha256(self.dump()).hexdigest()[:10]
