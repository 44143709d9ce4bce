"""Word alignment from the vectors of an encoder, for many sentence pairs at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from xner_label.entities import Link
from xner_label.errors import ConfigurationError
from xner_label.settings.choices import METHODS, TOKEN_TYPES
from xner_label.stages.alignment import link_extraction as extraction
from xner_label.stages.alignment.encoder import Encoder, Indices, Vectors
from xner_label.stages.interfaces import SentencePair

Tensor = Any
Pieces = list[tuple[int, ...]]

_EXTRACT = {
    "inter": extraction.intersection,
    "itermax": extraction.itermax,
    "mwmf": extraction.maximum_matching,
    "fwd": extraction.forward_argmax,
    "rev": extraction.backward_argmax,
}
# The four decimals of the text format must not round a weight to 0.
_LEAST_WEIGHT = 1e-4
# The norm that a vector of zeros is taken to have.
_TINY = 1e-12
# Numbers in one batch of similarities, and of the vectors they are made of.
_CELLS = {"cpu": 1 << 16, "cuda": 1 << 22}


class EmbeddingAligner:
    """Links words whose contextual vectors are similar.

    ``method`` is one of inter, itermax, mwmf, fwd, rev (cosine similarity; SimAlign, Jalili Sabet et al. 2020) or
    softmax (inner products; AWESoME, Dou & Neubig 2021). ``token_type`` bpe links subtokens and takes the words
    they belong to; word links the means of each word's subtokens. ``distortion`` lowers similarity off the
    diagonal, ``null_align`` leaves out links whose row and column are both less certain than it (1: none).
    ``threshold`` is softmax's least probability, in both directions.

    A link's weight is what the method decides by: ``(1 + cosine) / 2`` after distortion, or the smaller of the two
    probabilities; of several subtoken links between two words the largest. Weights lie in [0.0001, 1].

    Links don't depend on the batch: vectors of one sentence differ between batches by rounding alone. An empty
    side has no links; neither has a word for which the tokenizer has no subtoken.
    """

    learns = False

    def __init__(
        self,
        name: str,
        encoder: Encoder,
        *,
        method: str = "itermax",
        token_type: str = "bpe",
        distortion: float = 0.0,
        null_align: float = 1.0,
        threshold: float = 1e-3,
        dtype: str = "",
    ) -> None:
        if method not in METHODS:
            raise ConfigurationError(
                f"there is no alignment method {method!r}", hint=f"choose one of {', '.join(METHODS)}"
            )
        if token_type not in TOKEN_TYPES:
            raise ConfigurationError(
                f"there is no token type {token_type!r}", hint=f"choose one of {', '.join(TOKEN_TYPES)}"
            )
        for option, value in (("distortion", distortion), ("null_align", null_align), ("threshold", threshold)):
            if not 0.0 <= value <= 1.0:
                raise ConfigurationError(f"{option} must lie in 0..1, not {value}", hint="correct the value")
        self._encoder = encoder
        self._method = method
        self._softmax = method not in _EXTRACT
        self._by_word = token_type == "word"
        self._distortion = distortion
        self._null_align = null_align
        self._threshold = threshold
        self._cells = _CELLS.get(encoder.device.partition(":")[0], _CELLS["cpu"])
        options = [method, token_type, f"layer{encoder.layer}"]
        options += [f"threshold{threshold:g}"] * self._softmax
        options += [f"distortion{distortion:g}"] * bool(distortion)
        options += [f"null{null_align:g}"] * (null_align < 1.0)
        options += [dtype] * bool(dtype)
        self.signature = f"{name}:{':'.join(options)}"

    def align(self, pairs: Sequence[SentencePair]) -> list[list[Link]]:
        """The links of each pair. Raises ConfigurationError when the encoder gives numbers that aren't finite."""
        links: list[list[Link]] = [[] for _ in pairs]
        for members, sources, targets in self._pools(pairs):
            vectors = self._encoder.encode((sources, targets))
            if self._by_word:
                vectors = _word_means(vectors)
            for member, of_pair in zip(members, self._pool_links(vectors, len(members)), strict=True):
                links[member] = of_pair
        return links

    def _pools(self, pairs: Sequence[SentencePair]) -> Iterator[tuple[list[int], list[Pieces], list[Pieces]]]:
        """The pairs without an empty side, as many at a time as are encoded together."""
        limit = self._encoder.pool_subtokens
        members: list[int] = []
        sides: tuple[list[Pieces], list[Pieces]] = ([], [])
        size = 0
        for start in range(0, len(pairs), 256):
            chunk = [index for index in range(start, min(start + 256, len(pairs))) if all(pairs[index])]
            split = self._encoder.split([pairs[index][side] for side in (0, 1) for index in chunk])
            for index, source, target in zip(chunk, split, split[len(chunk) :], strict=False):
                subtokens = sum(map(len, source)) + sum(map(len, target))
                if size + subtokens > limit and members:
                    yield members, *sides
                    members, sides, size = [], ([], []), 0
                members.append(index)
                sides[0].append(source)
                sides[1].append(target)
                size += subtokens
        if members:
            yield members, *sides

    def _pool_links(self, vectors: Vectors, count: int) -> list[list[Link]]:
        """The links of ``count`` pairs; ``vectors`` holds their sources, then their targets."""
        import torch

        sizes = np.diff(vectors.bounds)
        heights, widths = sizes[:count], sizes[count:]
        links_of: dict[int, list[Link]] = {}
        with torch.inference_mode():
            states = vectors.states
            if not self._softmax:
                # In place: nothing else reads these states, and a copy would double most of the memory in use.
                states /= torch.linalg.vector_norm(states, dim=1, keepdim=True).clamp_(min=_TINY)
            for batch in self._batches(heights, widths):
                rows, columns = batch, batch + count
                scores, links = self._link_batch(
                    _gather(states, vectors.bounds, rows),
                    _gather(states, vectors.bounds, columns),
                    heights[rows],
                    widths[rows],
                )
                links_of |= self._links_of_words(vectors, batch, count, scores, links)
        return [links_of.get(pair, []) for pair in range(count)]

    def _batches(self, heights: Indices, widths: Indices) -> Iterator[Indices]:
        """Pairs of similar size, as many at a time as fit; those with an empty side are left out."""
        order = np.lexsort((widths, heights))
        order = order[(heights[order] > 0) & (widths[order] > 0)]
        start = 0
        while start < len(order):
            # Every pair is padded to the batch's tallest and widest. Pairs are sorted by height, so the widest of
            # the first n may be any of them: cells[n - 1] is what one of these n pairs would take.
            ahead = order[start : start + 4096]
            cells = np.maximum.accumulate(heights[ahead]) * np.maximum.accumulate(widths[ahead])
            fits = cells * np.arange(1, len(ahead) + 1) <= self._cells
            taken = max(len(ahead) if fits.all() else int(np.argmin(fits)), 1)
            yield ahead[:taken]
            start += taken

    def _link_batch(
        self, sources: Tensor, targets: Tensor, heights: Indices, widths: Indices
    ) -> tuple[Tensor, Tensor]:
        """Scores and links of one batch, both ``(pairs, rows, columns)``."""
        import torch

        device = sources.device
        rows, columns = torch.from_numpy(heights).to(device), torch.from_numpy(widths).to(device)
        down = torch.arange(sources.shape[1], device=device) < rows[:, None]
        across = torch.arange(targets.shape[1], device=device) < columns[:, None]
        inside = down[:, :, None] & across[:, None, :]
        products = torch.bmm(sources, targets.transpose(1, 2))
        if not torch.isfinite(products.sum()):
            raise ConfigurationError(
                "the encoder gave vectors that aren't finite",
                hint="check the checkpoint, or compute in float32 (--dtype float32)",
            )
        similarity = (products + 1.0) / 2.0
        if self._softmax:
            scores = extraction.mutual_softmax(products, inside)
            links = scores > self._threshold
        else:
            if self._distortion:
                similarity = extraction.distort(similarity, rows, columns, self._distortion)
            scores = similarity.masked_fill_(~inside, -1.0)
            links = _EXTRACT[self._method](scores, inside)
        if self._null_align < 1.0:
            # Null alignment is defined on cosine similarities; the softmax method has only its probabilities.
            basis = scores if self._softmax else similarity
            links = links & extraction.certain(basis, inside, self._null_align)
        return scores, links

    def _links_of_words(
        self, vectors: Vectors, batch: Indices, count: int, scores: Tensor, links: Tensor
    ) -> dict[int, list[Link]]:
        """The links of a batch between words, by the number of the pair; none for a pair without any."""
        pair, row, column = (place.cpu().numpy() for place in links.nonzero(as_tuple=True))
        weight = scores[links].double().clamp_(_LEAST_WEIGHT, 1.0).cpu().numpy()
        number = batch[pair]
        source = vectors.word[vectors.bounds[number] + row]
        target = vectors.word[vectors.bounds[number + count] + column]
        if not self._by_word:
            # Strongest first within each pair of words, then only the first of each.
            order = np.lexsort((-weight, target, source, pair))
            number, source, target, weight = number[order], source[order], target[order], weight[order]
            changed = (np.diff(number) != 0) | (np.diff(source) != 0) | (np.diff(target) != 0)
            first = np.concatenate(([True], changed)) if len(number) else np.zeros(0, dtype=bool)
            number, source, target, weight = number[first], source[first], target[first], weight[first]
        borders = [0, *(np.flatnonzero(np.diff(number)) + 1).tolist(), len(number)]
        numbers = number.tolist()
        triples = list(zip(source.tolist(), target.tolist(), weight.tolist(), strict=True))
        return {numbers[start]: triples[start:end] for start, end in pairwise(borders) if start < end}


def _word_means(vectors: Vectors) -> Vectors:
    """One vector per word: the mean of its subtokens' vectors."""
    import torch

    word, bounds = vectors.word, vectors.bounds
    if not len(word):
        return vectors
    begins = np.concatenate(([True], np.diff(word) != 0))
    begins[bounds[:-1][bounds[:-1] < len(word)]] = True
    starts = np.flatnonzero(begins)
    # The row of zeros behind the last subtoken becomes the one behind the last word.
    lengths = torch.from_numpy(np.diff([*starts, len(word), len(word) + 1])).to(vectors.states.device)
    with torch.inference_mode():
        means = torch.segment_reduce(vectors.states, "mean", lengths=lengths, unsafe=True)
    counts = np.concatenate(([0], np.cumsum(begins)))
    return Vectors(means, word[starts], counts[bounds])


def _gather(states: Tensor, bounds: Indices, sentences: Indices) -> Tensor:
    """The vectors of some sentences, ``(sentences, longest, width)``, zeros beyond the end of each."""
    import torch

    start, size = bounds[sentences], bounds[sentences + 1] - bounds[sentences]
    places: npt.NDArray[np.int64] = np.arange(size.max())[None] + start[:, None]
    places[np.arange(size.max())[None] >= size[:, None]] = len(states) - 1
    return torch.nn.functional.embedding(torch.from_numpy(places).to(states.device), states)
