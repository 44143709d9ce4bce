"""How a fine-tuning goes: in parts and processes, with adapters and fused input, ended early, killed, resumed."""

import os
import shutil
import sys
import time
from pathlib import Path

import msgspec
import pytest

from tests.checkpoints import save_xlm_roberta
from tests.processes import begin
from tests.sample_store import PROJECT, prepare_sample_store
from xner_label import sample
from xner_label.checkpoints.devices import Placement, PlacementRequest
from xner_label.entities import Entity, ProjectedEntity, Tokens
from xner_label.store import projects, runs
from xner_label.store.database import open_store
from xner_label.training import fine_tuning_job
from xner_label.training.data import DataReport, TrainingData
from xner_label.training.evaluation import entities_by, score, without_projection
from xner_label.training.fine_tuning import TransformersModel, fine_tune
from xner_label.training.fine_tuning_job import FineTuningOptions, Job, Round, run_job
from xner_label.training.rules import MergeRules
from xner_label.training.runs import TrainOptions, train
from xner_label.training.sentences import GoldSentence, Sentence
from xner_label.training.token_rows import Row, balanced_tag_weights, fused_context, weighted_gold

pytestmark = pytest.mark.models
RULES = MergeRules()
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    sizes = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return str(save_xlm_roberta(folder, layers=2, hidden=64, **sizes))


def data_of(gold, silver=(), dev=()):
    return TrainingData(sample.LABELS, gold, silver, dev, (), DataReport())


@pytest.fixture(scope="module")
def gold():
    tasks = sample.read_sample()[:100]
    return [
        GoldSentence(Sentence(number, str(task.id), Tokens.tokenize(task.text)), task.entities)
        for number, task in enumerate(tasks)
    ]


def rows(count):
    """Rows of different lengths and weights."""
    return [
        Row(
            [0, *(5 + (number + place) % 90 for place in range(3 + number)), 2],
            [-100, *((number + place) % 3 for place in range(3 + number)), -100],
            [0.0, *(1.0 / (1 + number) for _ in range(3 + number)), 0.0],
        )
        for number in range(count)
    ]


def job_of(checkpoint, count=8, **options):
    chosen = FineTuningOptions(learning_rate=1e-3, batch_size=8, **options)
    each = Round("gold", rows(count), 1, judged=True)
    return Job(checkpoint, ["O", "B-PER", "I-PER"], 1, [each], [], chosen, Placement("cpu", "float32"))


def gradients(job, folder):
    """The gradients of the only step of a job, by name."""
    import transformers

    kept = {}

    class Keep(transformers.TrainerCallback):
        def on_pre_optimizer_step(self, args, state, control, model=None, **_):
            kept.update({name: value.grad.clone() for name, value in model.named_parameters()})

    transformers.set_seed(job.options.seed)
    arguments = fine_tuning_job._arguments(job, job.rounds[0], folder, judged=False)
    arguments.max_grad_norm = 0  # which would hide a wrong scale
    fine_tuning_job._trainer_class(fine_tuning_job.SILENCE)(
        model=fine_tuning_job.load_for_training(Path(job.checkpoint), job.tags),
        args=arguments,
        train_dataset=[msgspec.to_builtins(row) for row in job.rounds[0].rows],
        data_collator=lambda batch: fine_tuning_job._collated(batch, job.pad_id),
        callbacks=[Keep],
    ).train()
    return kept


def test_parts_of_a_step_add_up_to_the_gradients_of_the_whole(checkpoint, tmp_path):
    import torch

    whole = gradients(job_of(checkpoint), tmp_path / "1")
    parts = gradients(job_of(checkpoint, accumulate=4), tmp_path / "4")
    assert whole.keys() == parts.keys()
    assert max(float(value.abs().max()) for value in whole.values()) > 1e-2
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, rtol=1e-3, atol=1e-6)


def test_two_processes_take_the_step_of_one(checkpoint, tmp_path):
    from safetensors.torch import load_file

    models = []
    for count in (1, 2):
        folder = tmp_path / str(count)
        folder.mkdir()
        models.append(load_file(run_job(job_of(checkpoint, processes=count), folder) / "model.safetensors"))
    began = load_file(Path(checkpoint) / "model.safetensors")
    name = next(name for name in models[0] if name.endswith("query.weight"))
    assert (models[0][name] - began[name.removeprefix("roberta.")]).abs().max() > 1e-4
    for name, value in models[0].items():
        # where a gradient is nearly nothing Adam takes its sign, which rounding decides
        assert ((models[1][name] - value).abs() > 1e-4).float().mean() < 0.01


class Counted:
    """What a training said that it began, and how many sentences it has passed."""

    def __init__(self):
        self.begun, self.done = [], 0

    def begin(self, stage, *_):
        self.begun.append(stage)

    def advance(self, count):
        self.done += count


def test_it_ends_where_dev_gets_no_better_and_keeps_the_best(gold, checkpoint, tmp_path):
    progress = Counted()
    never = FineTuningOptions(epochs=9, learning_rate=1e-12, patience=2, batch_size=50)
    fine_tune(data_of(gold, dev=gold[:20]), checkpoint, tmp_path / "model", RULES, never, progress)
    assert 300 <= progress.done < 400  # one pass that is the best for want of another, and two more


def test_adapters_are_merged_into_what_is_saved(gold, checkpoint, tmp_path):
    from safetensors.torch import load_file

    options = FineTuningOptions(epochs=2, lora_rank=4, learning_rate=1e-2, patience=0)
    model = fine_tune(data_of(gold), checkpoint, tmp_path / "model", RULES, options)
    assert len(model.predict([gold[0].sentence])) == 1
    assert not list((tmp_path / "model").glob("adapter*"))
    saved, began = (
        load_file(tmp_path / "model" / "model.safetensors"),
        load_file(f"{checkpoint}/model.safetensors"),
    )
    moved = {
        name.rpartition("layer.")[2]
        for name, value in began.items()
        if f"roberta.{name}" in saved and (saved[f"roberta.{name}"] - value).abs().max() > 1e-4
    }
    assert "0.attention.self.query.weight" in moved
    assert not [name for name in moved if "embeddings" in name or "LayerNorm" in name]
    assert not [name for name in saved if "lora" in name]


def test_class_weights_let_all_tags_count_alike(gold):
    sentences = weighted_gold(gold)
    weights = balanced_tag_weights(sentences)
    totals = dict.fromkeys(weights, 0.0)
    for sentence in sentences:
        for tag in sentence.tags:
            totals[tag] += weights[tag]
    assert max(totals.values()) == pytest.approx(min(totals.values()))
    assert weights["O"] < 1 < weights["B-PER"]


PEOPLE, PLACES = ["Amina", "Naledi", "Nabatanzi", "Molefe"], ["Kampala", "Jinja", "Gaborone", "Uganda"]


def told(number, *, silver=False):
    """A sentence whose name could be anything, but for what its source says."""
    name, label = (PEOPLE + PLACES)[number % 8], ("PER", "LOC")[number // 8 % 2]
    text, source = f"{name} ya omwaka", f"the year of {name}"
    entity = (Entity(0, len(name), label),)
    projected = (ProjectedEntity(0, len(name), label, name, 1.0, 0.9),) if silver else None
    marked = (Entity(12, len(source), label),)
    return GoldSentence(Sentence(number, str(number), Tokens.tokenize(text), projected, source, marked), entity)


def test_a_fused_model_reads_the_source_and_answers_without_it(checkpoint, tmp_path):
    assert fused_context(told(0).sentence) == ["the", "year", "of", "<PER>", "Amina", "</PER>"]
    assert fused_context(told(0, silver=True).sentence)[6:] == ["|", "<PER>", "Amina", "4", "</PER>"]
    assert fused_context(without_projection(told(0, silver=True)).sentence) == []
    gold = [told(number) for number in range(64)]
    options = FineTuningOptions(epochs=20, learning_rate=5e-3, batch_size=16, patience=0, fused=True)
    fused = fine_tune(data_of(gold), checkpoint, tmp_path / "fused", RULES, options)
    assert fused.needs_projection
    assert score(gold, entities_by(fused, gold)).f1 > 0.9
    bare = [without_projection(item) for item in gold]
    alone = score(gold, entities_by(fused, bare)).f1
    assert 0 < alone < 0.8  # half of them can't be known
    again = TransformersModel.load(tmp_path / "fused")
    assert again.needs_projection
    sentences = [item.sentence for item in gold[:9]]
    assert again.predict(sentences) == fused.predict(sentences)


def test_a_checkpoint_that_was_cut_off_is_passed_over(tmp_path):
    for step, state in ((9, "{}"), (10, "{}"), (11, '{"epoch"')):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text(state)
    (tmp_path / "checkpoint-12").mkdir()
    assert fine_tuning_job._whole_checkpoint(tmp_path) == str(tmp_path / "checkpoint-10")
    assert fine_tuning_job._whole_checkpoint(tmp_path / "none") is None


def test_a_killed_fine_tuning_goes_on_and_ends_the_same(checkpoint, tmp_path):
    prepare_sample_store(tmp_path / "store.db", 60)
    shutil.copy(tmp_path / "store.db", tmp_path / "again.db")
    line = [sys.executable, "-m", "xner_label", "train", "--project", PROJECT, "--model", checkpoint]
    line += ["--epochs", "4", "--silver-epochs", "1", "--learning-rate", "1e-3", "--device", "cpu"]
    line += ["--database-url", f"sqlite:///{tmp_path / 'store.db'}", "--training-folder", "models"]
    killed = begin(line, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)})
    deadline = time.monotonic() + 300
    try:
        while not list(tmp_path.glob("models/.resumable-*/gold/checkpoint-*/trainer_state.json")):
            assert killed.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        killed.kill()
        killed.wait()
    tuning = FineTuningOptions(epochs=4, silver_epochs=1, learning_rate=1e-3)
    options = TrainOptions(checkpoint=checkpoint, fine_tuning=tuning)
    reports, artefacts, begun = [], [], []
    for store, models in (("store.db", "models"), ("again.db", "other")):
        with open_store(f"sqlite:///{tmp_path / store}") as opened:
            progress, where = Counted(), PlacementRequest("cpu")
            reports.append(train(opened, PROJECT, tmp_path / models, options, progress, where))
            begun.append(progress.begun)
            with opened.read() as session:
                (run,) = runs.model_runs(session, projects.get_project(session, PROJECT).id)
            artefacts.append(run.artefact)
    assert not any("silver," in each for each in begun[0])  # it went on
    assert any("silver," in each for each in begun[1])
    assert reports[0].dev == reports[1].dev
    assert artefacts[0] == artefacts[1]
    assert not list((tmp_path / "models").glob(".resumable-*"))
