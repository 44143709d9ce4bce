"""A fine-tuning as a job that one or several processes do, and that goes on where it was killed.

The job's folder holds, for each round, transformers' own checkpoints and, when it is done, the model. A checkpoint
is whole once its last file, the trainer's state, can be read. Rounds begin with the seed, so that a job that was
interrupted makes the same model as one that wasn't.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from xner_label.checkpoints.devices import Placement, is_out_of_memory
from xner_label.checkpoints.loading import quiet_reading
from xner_label.errors import ConfigurationError, MissingExtraError
from xner_label.iob2 import decode
from xner_label.progress import SILENCE, Progress
from xner_label.training.token_rows import IGNORED, Row

_JOB = "job.msgpack"
_DONE = "done"
# Ends a process of several that ran out of memory.
_OUT_OF_MEMORY = 77


class FineTuningOptions(msgspec.Struct, frozen=True):
    """``epochs`` are passes over the gold, ``silver_epochs`` over the silver before it; ``learning_rate`` is the
    peak of a linear decay (None: 5e-5, with adapters 5e-4). ``batch_size``: sentences a step, ``accumulate``: into
    how many parts a step is divided, ``processes``: among how many processes, a GPU each. ``patience``: passes
    over the gold without a better F1 on dev after which it ends, the best one being kept (0: all are made, the
    last one is kept). ``class_weights``: ``balanced`` lets all tags count alike. ``lora_rank``: train adapters of
    this rank in place of all weights (0). ``fused``: the source and its entities are read behind the text.
    """

    epochs: int = 10
    silver_epochs: int = 2
    learning_rate: float | None = None
    batch_size: int = 16
    accumulate: int = 1
    processes: int = 1
    patience: int = 3
    class_weights: str = "none"
    lora_rank: int = 0
    fused: bool = False
    seed: int = 13


class Round(msgspec.Struct, frozen=True):
    """A part of the data, and how many passes are made over it; ``judged``: whether dev chooses among them."""

    name: str
    rows: list[Row]
    epochs: int
    judged: bool


class Job(msgspec.Struct, frozen=True):
    """Everything that the processes need. ``checkpoint`` is a folder, ``tags`` are the model's in their order."""

    checkpoint: str
    tags: list[str]
    pad_id: int
    rounds: list[Round]
    dev: list[Row]
    options: FineTuningOptions
    placement: Placement


def run_job(job: Job, folder: Path, progress: Progress = SILENCE) -> Path:
    """Do a job in its ``folder``, which may hold the beginnings of the same job. Returns the model's folder.

    Raises ConfigurationError when memory runs out, or one of several processes fails.
    """
    if job.options.processes == 1:
        try:
            return _run(job, folder, progress)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise _out_of_memory() from error
    progress.begin(f"fine-tuning in {job.options.processes} processes")
    file = folder / _JOB
    file.write_bytes(msgspec.msgpack.encode(job))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [f"--nproc-per-node={job.options.processes}", "-m", __name__, str(folder)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)  # noqa: S603
    if done.returncode:
        if f"exitcode: {_OUT_OF_MEMORY}" in done.stderr or f"exitcode  : {_OUT_OF_MEMORY}" in done.stderr:
            raise _out_of_memory()
        raise ConfigurationError(
            f"fine-tuning in {job.options.processes} processes failed: {done.stderr.strip()[-600:]}",
            hint="try one process (--processes 1)",
        )
    return _model_of(folder, job.rounds[-1])


def _out_of_memory() -> ConfigurationError:
    return ConfigurationError(
        "fine-tuning ran out of memory",
        hint="divide steps (--accumulate), train adapters (--lora-rank 16), or choose a smaller checkpoint",
    )


def _model_of(folder: Path, done: Round) -> Path:
    return folder / done.name / "model"


def _run(job: Job, folder: Path, progress: Progress) -> Path:
    """Do what is left of a job, alone or as one process of several."""
    start = Path(job.checkpoint)
    for each in job.rounds:
        model = _model_of(folder, each)
        if not (folder / each.name / _DONE).exists():
            progress.begin(f"fine-tuning on {each.name}, {each.epochs} epochs", len(each.rows) * each.epochs)
            _train(job, each, start, folder / each.name, progress)
        start = model
    return start


def _train(job: Job, each: Round, start: Path, folder: Path, progress: Progress) -> None:
    import torch
    import transformers

    options = job.options
    transformers.set_seed(options.seed)
    model = load_for_training(start, job.tags)
    if options.lora_rank:
        model = _with_adapters(model, options)
    judged = each.judged and bool(job.dev) and options.patience > 0
    arguments = _arguments(job, each, folder, judged)
    if job.placement.device.startswith("cuda:") and options.processes == 1:
        torch.cuda.set_device(int(job.placement.device.partition(":")[2]))
    arguments._n_gpu = min(arguments.n_gpu, 1)  # several GPUs are for several processes
    trainer = _trainer_class(progress)(
        model=model,
        args=arguments,
        train_dataset=[msgspec.to_builtins(row) for row in each.rows],
        eval_dataset=[msgspec.to_builtins(row) for row in job.dev] if judged else None,
        data_collator=lambda batch: _collated(batch, job.pad_id),
        compute_metrics=(lambda evaluated: {"f1": _span_f1(evaluated, job.tags)}) if judged else None,
        preprocess_logits_for_metrics=lambda logits, _: logits.argmax(-1),
        callbacks=[transformers.EarlyStoppingCallback(options.patience)] if judged else [],
    )
    trainer.remove_callback(transformers.PrinterCallback)  # standard output isn't its to write to
    trainer.train(resume_from_checkpoint=_whole_checkpoint(folder))
    if trainer.is_world_process_zero():
        best = trainer.model.merge_and_unload() if options.lora_rank else trainer.accelerator.unwrap_model(model)
        best.save_pretrained(folder / "model", safe_serialization=True)
        (folder / _DONE).touch()
        for checkpoint in folder.glob("checkpoint-*"):
            shutil.rmtree(checkpoint, ignore_errors=True)
    if options.processes > 1:
        torch.distributed.barrier()


def _arguments(job: Job, each: Round, folder: Path, judged: bool) -> Any:
    import torch
    import transformers

    options = job.options
    rate = options.learning_rate or (5e-4 if options.lora_rank else 5e-5)
    strategy = "epoch" if judged else "no"
    return transformers.TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=each.epochs,
        learning_rate=rate,
        per_device_train_batch_size=max(options.batch_size // (options.accumulate * options.processes), 1),
        per_device_eval_batch_size=options.batch_size,
        gradient_accumulation_steps=options.accumulate,
        train_sampling_strategy="group_by_length",
        seed=options.seed,
        data_seed=options.seed,
        eval_strategy=strategy,
        save_strategy="epoch",
        save_total_limit=1,
        load_best_model_at_end=judged,
        metric_for_best_model="f1" if judged else None,
        greater_is_better=True,
        logging_strategy="no",
        logging_nan_inf_filter=False,  # it waits for the device at every step
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=torch.cuda.is_available(),
        remove_unused_columns=False,
        label_names=["labels"],
        use_cpu=job.placement.device == "cpu",
        ddp_backend="gloo" if job.placement.device == "cpu" and options.processes > 1 else None,
        bf16=job.placement.dtype == "bfloat16",
        fp16=job.placement.dtype == "float16",
    )


def _trainer_class(progress: Progress) -> Any:
    import torch
    import transformers

    class WeightedTrainer(transformers.Trainer):  # type: ignore[misc]
        """Cross-entropy by token weight, divided by the total weight of the step: all its parts, all processes."""

        loss_is_scaled_for_ga = True

        def _get_num_items_in_batch(self, batch_samples: list[dict[str, Any]], device: Any) -> Any:
            weights = [(batch["weights"] * (batch["labels"] != IGNORED)).sum() for batch in batch_samples]
            total = torch.stack(weights).sum().to(device)
            if self.args.world_size > 1:  # processes' gradients are averaged
                total = self.accelerator.gather(total).sum() / self.args.world_size
            return total.clamp(min=1e-6)

        def compute_loss(
            self,
            model: Any,
            inputs: dict[str, Any],
            return_outputs: bool = False,
            num_items_in_batch: Any = None,
        ) -> Any:
            weights, labels = inputs.pop("weights").flatten(), inputs.pop("labels").flatten()
            outputs = model(**inputs)
            losses = torch.nn.functional.cross_entropy(
                outputs.logits.flatten(0, 1).float(), labels, ignore_index=IGNORED, reduction="none"
            )
            if model.training:
                progress.advance(len(inputs["input_ids"]))
            loss = (losses * weights).sum()
            if num_items_in_batch is not None:
                loss = loss / num_items_in_batch
            return (loss, outputs) if return_outputs else loss

        def floating_point_ops(self, inputs: dict[str, Any]) -> int:
            """Not counted: it would go through all parameters at every step."""
            return 0

    return WeightedTrainer


def _collated(batch: Sequence[dict[str, list[Any]]], pad_id: int) -> dict[str, Any]:
    import torch

    longest = max(len(row["input_ids"]) for row in batch)

    def padded(field: str, filler: float) -> Any:
        return torch.tensor([row[field] + [filler] * (longest - len(row[field])) for row in batch])

    lengths = torch.tensor([[len(row["input_ids"])] for row in batch])
    return {
        "input_ids": padded("input_ids", pad_id),
        "attention_mask": (torch.arange(longest)[None] < lengths).long(),
        "labels": padded("labels", IGNORED),
        "weights": padded("weights", 0.0),
    }


def _span_f1(evaluated: Any, tags: Sequence[str]) -> float:
    """Strict span F1 of predicted label ids (rows, subtokens)."""
    right = total = 0
    for said, true in zip(evaluated.predictions, evaluated.label_ids, strict=True):
        kept = true != IGNORED
        predicted, gold = (set(decode([tags[number] for number in row[kept]])) for row in (said, true))
        right, total = right + len(predicted & gold), total + len(predicted) + len(gold)
    return 2 * right / max(total, 1)


def _whole_checkpoint(folder: Path) -> str | None:
    """The newest checkpoint that was written to its end."""
    checkpoints = sorted(
        folder.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]), reverse=True
    )
    for checkpoint in checkpoints:
        try:
            json.loads((checkpoint / "trainer_state.json").read_bytes())
        except (OSError, ValueError):
            continue
        return str(checkpoint)
    return None


def load_for_training(checkpoint: Path, tags: Sequence[str]) -> Any:
    """The weights of a checkpoint with a head for these tags, which is new unless it has learned exactly them.

    Raises ConfigurationError where it can't be read for token classification.
    """
    import transformers

    with quiet_reading(str(checkpoint), "a checkpoint for token classification"):
        return transformers.AutoModelForTokenClassification.from_pretrained(
            checkpoint,
            local_files_only=True,
            trust_remote_code=False,
            weights_only=True,
            num_labels=len(tags),
            id2label=dict(enumerate(tags)),
            label2id={tag: index for index, tag in enumerate(tags)},
            ignore_mismatched_sizes=True,
        )


def _with_adapters(model: Any, options: FineTuningOptions) -> Any:
    """The model with LoRA adapters (Hu et al. 2022, arXiv 2106.09685) in all linear layers of its encoder; the
    head is learned whole."""
    require_adapters()
    import peft
    import torch

    encoder = model.base_model.named_modules()
    config = peft.LoraConfig(
        task_type=peft.TaskType.TOKEN_CLS,
        r=options.lora_rank,
        lora_alpha=2 * options.lora_rank,
        target_modules=[name for name, module in encoder if isinstance(module, torch.nn.Linear)],
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks for a name that transformers has changed
        return peft.get_peft_model(model, config)


def require_adapters() -> None:
    """Raise MissingExtraError without peft."""
    try:
        import peft  # noqa: F401
    except ImportError:
        raise MissingExtraError("lora", "training adapters") from None


def _main() -> None:
    """One process of several, started by :func:`run_job`."""
    folder = Path(sys.argv[1])
    job = msgspec.msgpack.decode((folder / _JOB).read_bytes(), type=Job)
    try:
        _run(job, folder, SILENCE)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        os._exit(_OUT_OF_MEMORY)


if __name__ == "__main__":
    _main()
