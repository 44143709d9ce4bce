"""Fine-tuning a tiny real checkpoint on gold and silver."""

import json

import pytest

from tests.checkpoints import save_xlm_roberta
from xner_label import sample
from xner_label.checkpoints.devices import Placement, PlacementRequest
from xner_label.entities import ProjectedEntity, Task, Tokens
from xner_label.errors import ConfigurationError
from xner_label.training.data import DataReport, TrainingData
from xner_label.training.evaluation import entities_by, score
from xner_label.training.fine_tuning import TransformersModel, fine_tune
from xner_label.training.fine_tuning_job import FineTuningOptions
from xner_label.training.rules import MergeRules
from xner_label.training.sentences import GoldSentence, Sentence
from xner_label.training.token_rows import weighted_gold, weighted_silver

pytestmark = pytest.mark.models
RULES = MergeRules()
OPTIONS = FineTuningOptions(epochs=15, silver_epochs=1, learning_rate=5e-3, batch_size=8)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    sizes = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return str(save_xlm_roberta(folder, layers=2, hidden=64, **sizes))


def sentence(task: Task, number: int, confidence: float | None = None) -> Sentence:
    silver = None
    if confidence is not None:
        silver = tuple(
            ProjectedEntity(item.start, item.end, item.label, task.text[item.start : item.end], 1.0, confidence)
            for item in task.entities
        )
    return Sentence(number, str(task.id), Tokens.tokenize(task.text), silver)


@pytest.fixture(scope="module")
def data():
    tasks = sample.read_sample()[:140]
    gold = [GoldSentence(sentence(task, number), task.entities) for number, task in enumerate(tasks[:100])]
    silver = [sentence(task, 100 + number, 0.8) for number, task in enumerate(tasks[100:])]
    return TrainingData(sample.LABELS, gold, silver, (), (), DataReport())


@pytest.fixture(scope="module")
def model(data, checkpoint, tmp_path_factory):
    return fine_tune(data, checkpoint, tmp_path_factory.mktemp("model") / "fine-tuned", RULES, OPTIONS)


def test_it_learns_what_it_is_shown(model, data):
    assert score(data.gold, entities_by(model, data.gold)).f1 > 0.5


def test_what_is_saved_answers_the_same(model, data, tmp_path):
    model.save(tmp_path)
    assert (tmp_path / "model.safetensors").is_file()
    sentences = [item.sentence for item in data.gold[:5]]
    assert TransformersModel.load(tmp_path).predict(sentences) == model.predict(sentences)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["label2id"]["O"] == 0


def test_training_says_nothing_on_standard_output(data, checkpoint, tmp_path, capfd):
    fine_tune(data, checkpoint, tmp_path / "model", RULES, FineTuningOptions(epochs=1, silver_epochs=0))
    assert capfd.readouterr() == ("", "")


def test_the_same_seed_gives_the_same_weights(model, data, checkpoint, tmp_path):
    fine_tune(data, checkpoint, tmp_path / "again", RULES, OPTIONS)
    model.save(tmp_path / "first")
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("first", "again")]
    assert weights[0] == weights[1]


def test_weights_say_how_far_silver_is_believed(data):
    silver, gold = weighted_silver(data, RULES), weighted_gold(data.gold)
    assert {weight for example in gold for weight in example.weights} == {1.0}
    assert {weight for example in silver for weight in example.weights} == {0.5, 0.8}
    doubtful = weighted_silver(data, MergeRules(min_silver_confidence=0.9))
    assert any(tag is None for example in doubtful for tag in example.tags)
    assert not any(tag not in (None, "O") for example in doubtful for tag in example.tags)


def test_texts_longer_than_the_model_reads_are_learned_and_tagged(data, checkpoint, tmp_path):
    long = Task(id="long", text=" ".join(item.sentence.text for item in data.gold[:12]), entities=())
    long_text = TrainingData(
        data.labels, [GoldSentence(sentence(long, 0), data.gold[0].entities)], (), (), (), DataReport()
    )
    model = fine_tune(long_text, checkpoint, tmp_path / "model", RULES, FineTuningOptions(epochs=1))
    (answer,) = model.predict([sentence(long, 0)])
    assert 0 <= answer.confidence <= 1


def test_it_trains_and_answers_where_it_is_asked_to(data, checkpoint, tmp_path, monkeypatch):
    """A device that isn't there is refused by every step; the one that is asked for is the one that is used."""
    import transformers

    nowhere, cpu = PlacementRequest("cuda:77"), PlacementRequest("cpu", "bfloat16")
    with pytest.raises(ConfigurationError, match="'cuda:77' can't be used here"):
        fine_tune(data, checkpoint, tmp_path / "none", RULES, where=nowhere)
    asked = []

    finish = transformers.TrainingArguments.__post_init__

    def noted(self):
        finish(self)
        asked.append((self.device.type, self.bf16))

    monkeypatch.setattr(transformers.TrainingArguments, "__post_init__", noted)
    once = FineTuningOptions(epochs=1, silver_epochs=0)
    model = fine_tune(data, checkpoint, tmp_path / "model", RULES, once, where=cpu)
    assert set(asked) == {("cpu", True)}
    sentences = [item.sentence for item in data.gold[:3]]
    assert len(model.predict(sentences)) == 3
    assert model._tagger._placement == Placement("cpu", "bfloat16")
    assert TransformersModel.load(tmp_path / "model", cpu)._tagger._placement.dtype == "bfloat16"
    with pytest.raises(ConfigurationError, match="'cuda:77' can't be used here"):
        TransformersModel.load(tmp_path / "model", nowhere)


def test_a_folder_that_holds_no_checkpoint_is_explained(data, tmp_path):
    with pytest.raises(ConfigurationError, match=r"config\.json"):
        fine_tune(data, str(tmp_path), tmp_path / "model", RULES)
    with pytest.raises(ConfigurationError, match="no checkpoint at"):
        fine_tune(data, str(tmp_path / "absent"), tmp_path / "model", RULES)
