"""Statistical word alignment with eflomal (Östling & Tiedemann 2016), fitted on the project's own parallel text.

It needs no pre-trained model, so it works for languages that no encoder covers. One Gibbs run is noisy and can't
be seeded: links are voted over several runs and both directions, a link's weight is its share of the votes.
eflomal is GPL-3.0 and therefore an optional extra that is imported only here, and only when it is used.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from io import StringIO
from pathlib import Path
from typing import Any

import msgspec

from xner_label.entities import Link
from xner_label.errors import MissingExtraError, XnerLabelError
from xner_label.pharaoh import format_links, parse_links
from xner_label.stages.interfaces import Cache, SentencePair
from xner_label.tokenization import tokenize
from xner_label.word_forms import fold
from xner_label.writing_systems import is_romanisable, is_unspaced, romanise

# What a run needs to know beforehand: lines in eflomal's priors format.
Priors = str

# eflomal leaves sentences of 1,024 words and more without links.
MAX_WORDS = 1000
# A fit is kept until the text it hasn't seen exceeds this share of the text it has.
GROWTH = 0.25
# The least weight of a link into a script without spaces, as a share of the least elsewhere.
UNSPACED_SHARE = 0.4
# What eflomal learns of words, by the place in its priors: their translations and fertilities. The rest is about
# jumps, which are others between letters.
_LEARNED_OF_WORDS = (0, 3, 4)
# Learned lexical counts below this are noise and only make the priors large.
MIN_PRIOR = 0.3


class Fit(msgspec.Struct, frozen=True):
    """What is kept of a fit: its name, the keys of the pairs it was made on (8 bytes each) and its priors."""

    name: str
    keys: bytes
    priors: Priors


class EflomalAligner:
    """Aligner that learns from the text it is given.

    ``fit`` learns from a project's parallel text and keeps its priors and links in ``cache`` under ``scope`` (one
    per project); ``align`` then also links single new pairs. Without a fit ``align`` learns from the pairs of that
    one call. ``runs`` independent samplings vote; words are cut to ``prefix`` characters (0: left whole), which
    pools the forms of inflecting and agglutinating languages; ``cognates`` is the prior count of word pairs that
    look alike (0: none). Links below ``min_weight`` are left out. ``iterations`` is far below eflomal's default
    for small corpora, which overfits them (docs/measurements.md).

    The signature names options and fit. Raises MissingExtraError when eflomal isn't installed.
    """

    learns = True

    def __init__(
        self,
        cache: Cache,
        *,
        scope: str = "",
        runs: int = 6,
        prefix: int = 5,
        cognates: float = 1.0,
        min_weight: float = 0.5,
        iterations: int = 18,
    ) -> None:
        _eflomal()
        self._cache = cache
        self._runs = runs
        self._prefix = prefix
        self._cognates = cognates
        self._min_weight = min_weight
        self._iterations = iterations
        self._options = f"eflomal4:{runs}x2:p{prefix}:c{cognates:g}:w{min_weight:g}:i{iterations}"
        self._key = f"{scope}\n{self._options}"
        stored = cache.get_many("eflomal-fit", [self._key]).get(self._key)
        self._fit = None if stored is None else msgspec.json.decode(stored, type=Fit)
        self.signature = self._signature()

    def fit(self, pairs: Sequence[SentencePair]) -> bool:
        """Learn from all of a project's parallel text; True when that changed the signature.

        An earlier fit is kept as long as the text has grown by less than a quarter since: new pairs are aligned
        with its priors. After that everything is learned again, starting from the earlier priors.
        """
        usable = {_pair_key(pair): pair for pair in pairs if pair[0] and pair[1]}
        if self._fit is not None:
            known = _unpack(self._fit.keys)
            if len(usable.keys() - known) <= GROWTH * len(known):
                return False
        if not usable:
            return False
        votes, priors = self._vote(list(usable.values()), "" if self._fit is None else self._fit.priors)
        keys = b"".join(sorted(usable))
        earlier = "" if self._fit is None else self._fit.name
        name = hashlib.sha256(f"{self._options}{earlier}".encode() + keys).hexdigest()[:12]
        self._fit = Fit(name, keys, priors)
        self.signature = self._signature()
        self._remember(dict(zip(usable, votes, strict=True)))
        # Last, so that an interrupted fit leaves the earlier one in force.
        self._cache.put_many("eflomal-fit", {self._key: msgspec.json.encode(self._fit)})
        return True

    def align(self, pairs: Sequence[SentencePair]) -> list[list[Link]]:
        """The links of each pair; an empty side has none.

        Pairs of the fit get the links found then. A lone pair without any fit only gets links between words that
        look alike, there being nothing else to learn from.
        """
        keys = [_pair_key(pair) for pair in pairs]
        known = self._recall(pairs, keys) if self._fit is not None else {}
        missing = {
            key: pair for key, pair in zip(keys, pairs, strict=True) if key not in known and pair[0] and pair[1]
        }
        if missing:
            priors = "" if self._fit is None else self._fit.priors
            votes, _ = self._vote(list(missing.values()), priors)
            links = dict(zip(missing, votes, strict=True))
            if self._fit is not None:
                self._remember(links)
            known |= links
        return [known.get(key, []) for key in keys]

    def _signature(self) -> str:
        return f"{self._options}:{'unfitted' if self._fit is None else self._fit.name}"

    def _recall(self, pairs: Sequence[SentencePair], keys: Sequence[bytes]) -> dict[bytes, list[Link]]:
        stored = self._cache.get_many(f"links:{self.signature}", [key.hex() for key in keys])
        return {
            key: parse_links(stored[key.hex()].decode(), len(pair[0]), len(pair[1]))
            for key, pair in zip(keys, pairs, strict=True)
            if key.hex() in stored
        }

    def _remember(self, links: dict[bytes, list[Link]]) -> None:
        entries = {key.hex(): format_links(of_pair).encode() for key, of_pair in links.items()}
        self._cache.put_many(f"links:{self.signature}", entries)

    def _vote(self, pairs: Sequence[SentencePair], priors: Priors) -> tuple[list[list[Link]], Priors]:
        """Links of non-empty pairs by vote, and the priors that this text teaches.

        Words of scripts without spaces are never all cut right, so that letters have half of the votes there: a
        word has those of its best linked letter. Both seldom agree on rare names, hence the lower bar.
        """
        votes, learned = self._sample(pairs, priors)
        lettered = {place: letters for place, pair in enumerate(pairs) if (letters := _letters(pair[1]))}
        least = dict.fromkeys(lettered, UNSPACED_SHARE * self._min_weight)
        if lettered:
            split = [(pairs[place][0], [letter for letter, _ in letters]) for place, letters in lettered.items()]
            by_letter, more = self._sample(split, priors)
            for of in _LEARNED_OF_WORDS:
                learned[of].update(more[of])
            for (place, letters), counts in zip(lettered.items(), by_letter, strict=True):
                best: dict[tuple[int, int], float] = {}
                for (i, j), count in counts.items():
                    link = i, letters[j][1]
                    best[link] = max(best.get(link, 0.0), count)
                of_words = votes[place]
                votes[place] = {
                    link: (of_words.get(link, 0.0) + best.get(link, 0.0)) / 2 for link in {**of_words, **best}
                }
        ballots = 2 * self._runs
        links = [
            [
                (i, j, count / ballots)
                for (i, j), count in sorted(counter.items())
                if count / ballots >= least.get(place, self._min_weight)
            ]
            for place, counter in enumerate(votes)
        ]
        return links, self._written(learned)

    def _sample(
        self, pairs: Sequence[SentencePair], priors: Priors
    ) -> tuple[list[dict[tuple[int, int], float]], list[Counter[Any]]]:
        """How often each link of non-empty pairs was drawn in all runs, both ways, and what the runs learned."""
        pieces = [piece for index, pair in enumerate(pairs) for piece in _pieces(index, pair)]
        source = [self._line(pairs[piece.pair][0], piece.source) for piece in pieces]
        target = [self._line(pairs[piece.pair][1], piece.target) for piece in pieces]
        all_priors = priors + self._cognate_priors(pairs)
        votes: list[Counter[Any]] = [Counter() for _ in pairs]
        learned = [Counter[Any]() for _ in range(5)]
        for _ in range(self._runs):
            forward, reverse = _run(source, target, all_priors, self._iterations)
            for lines in (forward, reverse):
                for piece, line in zip(pieces, lines, strict=True):
                    votes[piece.pair].update(
                        (i + piece.source.start, j + piece.target.start) for i, j in _pharaoh(line)
                    )
            for counter, counts in zip(
                learned, _eflomal().calculate_priors(source, target, forward, reverse), strict=True
            ):
                counter.update(counts)
        return [dict(counter) for counter in votes], learned

    def _written(self, learned: Sequence[Counter[Any]]) -> Priors:
        averaged = [
            {key: count / self._runs for key, count in counter.items() if count / self._runs >= MIN_PRIOR}
            for counter in learned
        ]
        text = StringIO()
        _eflomal().write_priors(text, *averaged)
        return text.getvalue()

    def _line(self, words: Sequence[str], indices: range) -> str:
        return " ".join(self._stem(words[index]) for index in indices)

    def _stem(self, word: str) -> str:
        # str.split() is how eflomal finds the words again: any white space inside one would shift its links.
        joined = "_".join(word.lower().split()) or "_"
        return joined[: self._prefix] if self._prefix else joined

    def _cognate_priors(self, pairs: Sequence[SentencePair]) -> Priors:
        """A prior count for each pair of words that occur in the same sentence pair and look alike."""
        if not self._cognates:
            return ""
        best: dict[tuple[str, str], float] = {}
        for source, target in pairs:
            for left, right, similarity in _lookalikes(source, target):
                key = self._stem(left), self._stem(right)
                if similarity > best.get(key, 0.0):
                    best[key] = similarity
        return "".join(
            f"LEX\t{left}\t{right}\t{self._cognates * similarity:g}\n"
            for (left, right), similarity in sorted(best.items())
        )


class _Piece(msgspec.Struct, frozen=True):
    """Part of a sentence pair that is short enough for eflomal."""

    pair: int
    source: range
    target: range


def _pieces(index: int, pair: SentencePair) -> list[_Piece]:
    """The pair itself, or, where a side is too long, equally many consecutive parts of both sides.

    Links between parts that don't correspond are lost; in a text of a thousand words they are rare.
    """
    sides = len(pair[0]), len(pair[1])
    count = min(-(-max(sides) // MAX_WORDS), *sides)
    return [
        _Piece(index, *(range(size * piece // count, size * (piece + 1) // count) for size in sides))
        for piece in range(count)
    ]


# Shorter words look alike by chance.
_MIN_LENGTH = 4
_MIN_SIMILARITY = 75.0


def _lookalikes(source: Sequence[str], target: Sequence[str]) -> Iterable[tuple[str, str, float]]:
    """Word pairs with their similarity in (0, 1]: equal strings of any kind, and longer words nearly equal.

    Words of other scripts are compared in Latin letters.
    """
    from rapidfuzz import fuzz, process

    left, right = sorted({word.lower() for word in source}), sorted({word.lower() for word in target})
    for word in set(left) & set(right):
        yield word, word, 1.0
    left, right = _long_enough(left), _long_enough(right)
    if left and right:
        forms = [[_compared(word) for word in side] for side in (left, right)]
        scores = process.cdist(*forms, scorer=fuzz.ratio, score_cutoff=_MIN_SIMILARITY)
        for row, column in zip(*scores.nonzero(), strict=True):
            yield left[row], right[column], float(scores[row, column]) / 100


def _long_enough(words: Sequence[str]) -> list[str]:
    return [word for word in words if len(_compared(word)) >= _MIN_LENGTH]


def _compared(word: str) -> str:
    return romanise(fold(word)) if is_romanisable(word) else word


def _letters(words: Sequence[str]) -> list[tuple[str, int]]:
    """The words with those of scripts without spaces in letters, each with its word's place; empty where that
    changes nothing."""
    if not any(len(word) > 1 and is_unspaced(word) for word in words):
        return []
    letters = [
        (word[start:end], place)
        for place, word in enumerate(words)
        for start, end in (tokenize(word, letters=True) if is_unspaced(word) else [(0, len(word))])
    ]
    return letters if len(letters) > len(words) else []


def _pair_key(pair: SentencePair) -> bytes:
    text = "\0".join(("\x1f".join(pair[0]), "\x1f".join(pair[1])))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8]


def _unpack(keys: bytes) -> set[bytes]:
    return {keys[start : start + 8] for start in range(0, len(keys), 8)}


def _pharaoh(line: str) -> Iterable[tuple[int, int]]:
    for item in line.split():
        left, _, right = item.partition("-")
        yield int(left), int(right)


def _eflomal() -> Any:
    try:
        import eflomal
    except ImportError:
        raise MissingExtraError(
            "eflomal", "the aligner 'eflomal' (compiled when installed, so a C compiler too)"
        ) from None
    return eflomal


def _run(
    source: Sequence[str], target: Sequence[str], priors: Priors, iterations: int
) -> tuple[list[str], list[str]]:
    """One sampling: the links of every pair in the forward and in the reverse model, a Pharaoh line each."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        forward, reverse = folder / "forward", folder / "reverse"
        try:
            _eflomal().Aligner(n_iterations=(max(iterations // 4, 1), iterations, iterations)).align(
                source,
                target,
                links_filename_fwd=str(forward),
                links_filename_rev=str(reverse),
                priors_input=StringIO(priors) if priors else None,
            )
            lines = [path.read_text().splitlines() for path in (forward, reverse)]
        except (OSError, RuntimeError) as error:
            raise _failed(str(error)) from error
    if any(len(links) != len(source) for links in lines):
        raise _failed("its output is incomplete")
    return lines[0], lines[1]


def _failed(reason: str) -> XnerLabelError:
    return XnerLabelError(
        f"eflomal failed: {reason}",
        hint="it is compiled for one machine's processor; reinstall it here: "
        "pip install --force-reinstall --no-cache-dir eflomal",
    )
