import logging

import pytest

from tests.checkpoints import save_bert, save_nllb, save_xlm_roberta
from xner_label.checkpoints.batches import TokenBatches
from xner_label.checkpoints.devices import Placement, choose_placement
from xner_label.checkpoints.loading import find_checkpoint, load_checkpoint, load_tokenizer
from xner_label.errors import ConfigurationError

pytestmark = pytest.mark.models
CPU = Placement("cpu", "float32")


def test_batches_cover_every_item_once_and_stay_within_the_budget():
    lengths = [3, 50, 7, 7, 120, 1, 0, 33, 20]
    seen = []
    for batch, answer in TokenBatches(100).run(lengths, lambda batch: len(batch)):
        longest = max(lengths[index] for index in batch)
        assert answer == len(batch) == 1 or longest * len(batch) <= 100
        seen += batch
    assert sorted(seen) == list(range(len(lengths)))


def test_batches_without_padding_are_filled_by_the_sum_of_lengths():
    batches = [batch for batch, _ in TokenBatches(20, padded=False).run([30, 3, 9, 8, 5, 4], len)]
    assert batches == [[0], [2, 3], [4, 5, 1]]


def test_a_batch_that_does_not_fit_is_halved_and_said_so(caplog):
    import torch

    def forward(batch):
        if len(batch) * 10 > 40:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return len(batch)

    batches = TokenBatches(160)
    with caplog.at_level(logging.WARNING):
        assert [size for _, size in batches.run([10] * 20, forward)] == [4] * 5
    assert batches.max_tokens == 40
    assert "going on with 80" in caplog.text
    assert "going on with 40" in caplog.text


def test_a_single_text_that_does_not_fit_is_an_error():
    def forward(batch):
        raise MemoryError

    with pytest.raises(ConfigurationError, match="single text of 10 subtokens"):
        list(TokenBatches(40).run([10] * 4, forward))


def test_other_errors_of_the_model_pass_through():
    def forward(batch):
        raise RuntimeError("shapes don't match")

    with pytest.raises(RuntimeError, match="shapes"):
        list(TokenBatches(40).run([10], forward))


def test_placements():
    assert choose_placement("cpu") == CPU
    assert CPU.signature == ""
    assert Placement("cuda:1", "bfloat16").signature == "bfloat16"
    assert Placement("cuda:1", "bfloat16").batch_tokens > CPU.batch_tokens
    for device, dtype in (("cuda:99", "auto"), ("abacus", "auto"), ("cpu", "float16"), ("cpu", "int3")):
        with pytest.raises(ConfigurationError, match="can't be used"):
            choose_placement(device, dtype)


def test_two_stages_share_one_set_of_weights(tmp_path):
    folder = str(save_nllb(tmp_path / "nllb"))
    translator = load_checkpoint("AutoModelForSeq2SeqLM", folder, CPU)
    assert load_checkpoint("AutoModelForSeq2SeqLM", folder, CPU) is translator
    assert not translator.training
    assert load_tokenizer(folder, src_lang="lug_Latn").src_lang == "lug_Latn"


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("", "no checkpoint is named"),
        ("./absent", "there is no checkpoint at"),
        ("/absent/too", "there is no checkpoint at"),
        ("someone/never-fetched", "isn't on this machine"),
        ("not a name!", "isn't on this machine"),
    ],
)
def test_a_checkpoint_that_is_not_here_is_a_configuration_error_at_once(name, problem):
    with pytest.raises(ConfigurationError, match=problem):
        find_checkpoint(name)


def test_a_folder_without_a_checkpoint(tmp_path):
    with pytest.raises(ConfigurationError, match=r"no config\.json"):
        find_checkpoint(str(tmp_path))


def test_a_checkpoint_of_another_kind_or_in_pieces(tmp_path):
    bert = str(save_bert(tmp_path / "bert"))
    with pytest.raises(ConfigurationError, match="can't be read as a checkpoint for AutoModelForSeq2SeqLM"):
        load_checkpoint("AutoModelForSeq2SeqLM", bert, CPU)
    with pytest.raises(ConfigurationError, match="lacks weights that AutoModelForTokenClassification needs"):
        load_checkpoint("AutoModelForTokenClassification", bert, CPU)
    weights = tmp_path / "bert" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ConfigurationError, match="can't be read"):
        load_checkpoint("AutoModel", bert, CPU)


def test_the_encoder_of_a_masked_language_model_needs_no_pooler(tmp_path):
    folder = save_xlm_roberta(tmp_path / "xlmr", head="XLMRobertaForMaskedLM")
    assert load_checkpoint("AutoModel", str(folder), CPU).config.num_hidden_layers == 3
