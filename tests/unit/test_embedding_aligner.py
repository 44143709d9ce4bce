"""Encoders stopped at a layer, batches that change nothing, and the simalign package as the oracle."""

import logging
import random

import pytest

from tests.checkpoints import SENTENCES, mini_lm, save_bert, save_nllb, save_xlm_roberta
from xner_label.checkpoints.devices import Placement
from xner_label.checkpoints.loading import load_checkpoint, load_tokenizer
from xner_label.errors import ConfigurationError
from xner_label.sample import read_sample

pytestmark = pytest.mark.models
CPU = Placement("cpu", "float32")
WORDS = [sentence.split() for sentence in SENTENCES]
PAIRS = [(source, target) for source in WORDS for target in WORDS]


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return str(save_bert(tmp_path_factory.mktemp("bert"), initializer_range=0.3))


@pytest.fixture(scope="module")
def xlm_roberta(tmp_path_factory):
    return str(save_xlm_roberta(tmp_path_factory.mktemp("xlmr"), initializer_range=0.3))


@pytest.fixture(scope="module")
def nllb(tmp_path_factory):
    return str(save_nllb(tmp_path_factory.mktemp("nllb"), init_std=0.3))


def aligner(folder, placement=CPU, *, layer=None, packed=True, **options):
    from xner_label.stages.alignment.embedding import EmbeddingAligner
    from xner_label.stages.alignment.encoder import load_encoder

    return EmbeddingAligner("test", load_encoder(folder, placement, layer, packed=packed), **options)


def pairs_of(links):
    return [[link[:2] for link in sentence] for sentence in links]


def rows_for(tokenizer):
    return [tokenizer([words], is_split_into_words=True)["input_ids"][0] for words in WORDS]


@pytest.mark.parametrize("name", ["bert", "xlm_roberta", "nllb"])
def test_each_layer_is_the_models_own(name, request):
    import torch

    from xner_label.stages.alignment.hooked_layer import HookedLayer

    folder = request.getfixturevalue(name)
    tokenizer = load_tokenizer(folder)
    model = load_checkpoint("AutoModelForSeq2SeqLM" if name == "nllb" else "AutoModel", folder, CPU)
    encoder = model.get_encoder() if name == "nllb" else model
    rows = rows_for(tokenizer)
    for layer in range(encoder.config.num_hidden_layers + 1):
        tested = HookedLayer(encoder, layer, tokenizer.pad_token_id)(rows).split([len(row) for row in rows])
        for row, states in zip(rows, tested, strict=True):
            with torch.inference_mode():
                expected = encoder(torch.tensor([row]), output_hidden_states=True).hidden_states[layer][0]
            torch.testing.assert_close(states, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["bert", "xlm_roberta"])
def test_the_packed_encoder_is_the_models_own(name, request):
    import torch

    from xner_label.stages.alignment.hooked_layer import HookedLayer
    from xner_label.stages.alignment.packed_bert import PackedBert

    folder = request.getfixturevalue(name)
    encoder = load_checkpoint("AutoModel", folder, CPU)
    assert PackedBert.fits(encoder)
    rows = sorted(rows_for(load_tokenizer(folder)), key=len) * 2
    for layer in range(encoder.config.num_hidden_layers + 1):
        torch.testing.assert_close(
            PackedBert(encoder, layer)(rows), HookedLayer(encoder, layer, 1)(rows), atol=1e-4, rtol=1e-4
        )


def test_scores_beyond_what_an_exponential_holds(tmp_path):
    import torch

    from xner_label.stages.alignment.hooked_layer import HookedLayer
    from xner_label.stages.alignment.packed_bert import PackedBert

    folder = str(save_bert(tmp_path, initializer_range=0.3))
    encoder = load_checkpoint("AutoModel", folder, CPU)
    with torch.no_grad():
        encoder.encoder.layer[1].attention.self.query.weight.mul_(100.0)
    rows = sorted(rows_for(load_tokenizer(folder)), key=len)
    torch.testing.assert_close(
        PackedBert(encoder, 2)(rows), HookedLayer(encoder, 2, 0)(rows), atol=1e-3, rtol=1e-3
    )


def test_long_sentences_take_the_fused_attention(tmp_path):
    import torch

    from xner_label.stages.alignment.hooked_layer import HookedLayer
    from xner_label.stages.alignment.packed_bert import PackedBert

    folder = str(save_bert(tmp_path, max_position_embeddings=1024, initializer_range=0.3))
    encoder = load_checkpoint("AutoModel", folder, CPU)
    long = [5 + index % 200 for index in range(600)]
    rows = [long, long[::-1], list(range(9, 139)), [5, 6, 7]]
    torch.testing.assert_close(
        PackedBert(encoder, 3)(rows), HookedLayer(encoder, 3, 0)(rows), atol=1e-4, rtol=1e-4
    )


def test_renamed_parts_of_transformers_cost_speed_and_nothing_else(bert, monkeypatch, caplog):
    """Each of the names that the fast paths rely on is taken away once."""
    import torch
    from transformers.models.bert import modeling_bert

    from xner_label.stages.alignment.encoder import load_encoder
    from xner_label.stages.alignment.hooked_layer import HookedLayer
    from xner_label.stages.alignment.packed_bert import PackedBert

    encoder = load_encoder(bert, CPU)
    assert isinstance(encoder._runner, PackedBert)
    tokenizer = load_tokenizer(bert)
    rows = rows_for(tokenizer)
    expected = HookedLayer(load_checkpoint("AutoModel", bert, CPU), encoder.layer, tokenizer.pad_token_id)(rows)
    for owner, name in (
        (modeling_bert.BertEmbeddings, "LayerNorm"),
        (modeling_bert.BertSelfAttention, "query"),
        (modeling_bert.BertEncoder, "layer"),
    ):
        with monkeypatch.context() as patch:
            original = torch.nn.Module.__getattr__

            def renamed(self, wanted, owner=owner, name=name, original=original):
                import sys

                asking = sys._getframe(1).f_globals.get("__name__", "")
                if isinstance(self, owner) and wanted == name and asking.startswith("xner_label"):
                    raise AttributeError(f"no attribute {wanted!r}")
                return original(self, wanted)

            patch.setattr(torch.nn.Module, "__getattr__", renamed)
            fallen_back = load_encoder(bert, CPU)
            assert not isinstance(fallen_back._runner, PackedBert)
            torch.testing.assert_close(fallen_back._runner(rows), expected)
    assert "runs as transformers has it" in caplog.text


def test_a_layer_whose_input_is_called_otherwise_is_found_all_the_same(bert):
    import torch

    from xner_label.stages.alignment.hooked_layer import HookedLayer

    encoder = load_checkpoint("AutoModel", bert, CPU)
    rows = rows_for(load_tokenizer(bert))
    expected = HookedLayer(encoder, 2, 0)(rows)
    layer = encoder.encoder.layer[2]
    forward = layer.forward

    class Renamed(torch.nn.Module):
        def forward(self, *, states, **named):
            return forward(states, **named)

    class Caller(torch.nn.Module):
        """Hands the states on by another name, as a later version might."""

        def __init__(self):
            super().__init__()
            self.inner = Renamed()

        def forward(self, states, *others, **named):
            return self.inner(states=states, **named)

    caller = Caller()
    encoder.encoder.layer[2] = caller
    try:
        runner = HookedLayer(encoder, 2, 0)
        # the hook sits on what is in the list; move it to where the states have another name
        caller._forward_pre_hooks, caller.inner._forward_pre_hooks = (
            caller.inner._forward_pre_hooks,
            caller._forward_pre_hooks,
        )
        caller._forward_pre_hooks_with_kwargs, caller.inner._forward_pre_hooks_with_kwargs = (
            caller.inner._forward_pre_hooks_with_kwargs,
            caller._forward_pre_hooks_with_kwargs,
        )
        torch.testing.assert_close(runner(rows), expected)
        torch.testing.assert_close(runner(rows), expected)
    finally:
        encoder.encoder.layer[2] = layer


def test_a_model_that_is_shared_still_translates(nllb):
    from xner_label.stages.alignment.embedding import EmbeddingAligner
    from xner_label.stages.alignment.encoder import load_translation_encoder

    translator, tokenizer = load_checkpoint("AutoModelForSeq2SeqLM", nllb, CPU), load_tokenizer(nllb)
    inputs = tokenizer([SENTENCES[0]], return_tensors="pt")
    before = translator.generate(**inputs, max_new_tokens=8, do_sample=False).tolist()
    encoder = load_translation_encoder(nllb, CPU, 1, languages=("eng_Latn", "lug_Latn"))
    tested = EmbeddingAligner("mt", encoder, method="softmax")
    assert any(tested.align(PAIRS))
    assert tested.signature == "mt:softmax:bpe:layer1:threshold0.001"
    assert translator.generate(**inputs, max_new_tokens=8, do_sample=False).tolist() == before


def test_the_languages_of_a_translation_encoder_count(nllb):
    from xner_label.stages.alignment.encoder import load_translation_encoder

    encoder = load_translation_encoder(nllb, CPU, languages=("en", "lg"))
    split = encoder.split([["Uganda", "met"]])
    vectors = encoder.encode((split, split))
    half = vectors.bounds[1]
    assert not vectors.states[:half].allclose(vectors.states[half : 2 * half])
    with pytest.raises(ConfigurationError, match="doesn't know the language"):
        load_translation_encoder(nllb, CPU, languages=("en", "tlh"))


@pytest.mark.parametrize("method", ["inter", "itermax", "mwmf", "fwd", "rev", "softmax"])
@pytest.mark.parametrize("token_type", ["bpe", "word"])
def test_links_do_not_depend_on_the_batch(bert, method, token_type):
    tested = aligner(bert, method=method, token_type=token_type)
    links = tested.align(PAIRS)
    if method != "mwmf":
        assert pairs_of([tested.align([pair])[0] for pair in PAIRS]) == pairs_of(links)
    shuffled = list(range(len(PAIRS)))
    random.Random(3).shuffle(shuffled)
    tested = aligner(bert, method=method, token_type=token_type)
    tested._encoder._batches.max_tokens = 50
    for index, again in zip(shuffled, tested.align([PAIRS[index] for index in shuffled]), strict=True):
        if method == "mwmf":  # the last digit may decide between two matchings of one total
            totals = [sum(weight for *_, weight in answer) for answer in (again, links[index])]
            assert totals[0] == pytest.approx(totals[1], abs=1e-3)
        else:
            assert [link[:2] for link in again] == [link[:2] for link in links[index]]
            assert [link[2] for link in again] == pytest.approx([link[2] for link in links[index]], abs=1e-4)
        assert again == sorted(again)
        assert all(0 < weight <= 1 for _, _, weight in again)


def test_bfloat16_changes_few_links_whatever_the_batch():
    def links_of(placement, max_tokens):
        tested = aligner(mini_lm(), placement, layer=4, dtype=placement.signature)
        tested._encoder._batches.max_tokens = max_tokens
        return {(n, *link) for n, links in enumerate(pairs_of(tested.align(PAIRS))) for link in links}

    exact = links_of(CPU, 1024)
    rounded = links_of(Placement("cpu", "bfloat16"), 1024)
    batched_otherwise = links_of(Placement("cpu", "bfloat16"), 40)
    # The tolerances that docs/aligners.md states.
    assert len(exact ^ rounded) <= 0.06 * len(exact)
    assert len(rounded ^ batched_otherwise) <= 0.06 * len(exact)


def test_empty_sides_and_words_without_subtokens_have_no_links(bert):
    tested = aligner(bert, token_type="word", method="fwd")
    links = tested.align(
        [([], ["a"]), (["a"], []), ([], []), (["\u200b"], ["a"]), (["\u200b", "The"], ["The", "\u200b"])]
    )
    assert pairs_of(links) == [[], [], [], [], [(1, 0)]]
    assert tested.align([]) == []


def test_long_sentences_are_windowed_not_cut(bert):
    words = [word for sentence in WORDS for word in sentence]
    links = aligner(bert, method="inter", token_type="word").align([(words, words)])[0]
    assert len(words) > 64
    # Both sides are the same text in the same windows.
    assert [link[:2] for link in links] == [(k, k) for k in range(len(words))]


def test_memory_that_runs_out_halves_the_batch_and_changes_nothing(bert, caplog):
    import torch

    tested, small = aligner(bert), aligner(bert)
    runner = small._encoder._runner

    def scarce(rows):
        if sum(map(len, rows)) > 100:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return runner(rows)

    small._encoder._runner = scarce
    with caplog.at_level(logging.WARNING):
        assert pairs_of(small.align(PAIRS)) == pairs_of(tested.align(PAIRS))
    assert "memory ran out" in caplog.text


def test_numbers_that_are_not_finite_are_an_error(bert):
    tested = aligner(bert)
    runner = tested._encoder._runner
    tested._encoder._runner = lambda rows: runner(rows) * float("nan")
    with pytest.raises(ConfigurationError, match="aren't finite"):
        tested.align(PAIRS[:3])


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"method": "best"}, "no alignment method 'best'"),
        ({"token_type": "char"}, "no token type 'char'"),
        ({"distortion": 1.5}, "distortion must lie in 0..1"),
        ({"layer": 5}, "layer 5 was asked for, but the encoder has 4"),
    ],
)
def test_options_that_make_no_sense(bert, options, problem):
    with pytest.raises(ConfigurationError, match=problem):
        aligner(bert, **options)


@pytest.mark.parametrize("token_type", ["bpe", "word"])
@pytest.mark.parametrize("distortion", [0.0, 0.4])
def test_simalign_finds_the_same_links(token_type, distortion):
    simalign = pytest.importorskip("simalign")
    folder = mini_lm()
    pairs = [(task.source.split(), task.text.split()) for task in read_sample(split="dev")]
    oracle = simalign.SentenceAligner(
        model=folder, layer=4, token_type=token_type, matching_methods="aifr", distortion=distortion
    )
    expected = [oracle.get_word_aligns(*pair) for pair in pairs]
    for method in ("inter", "itermax", "fwd", "rev"):
        tested = aligner(folder, layer=4, token_type=token_type, method=method, distortion=distortion)
        assert pairs_of(tested.align(pairs)) == [links[method] for links in expected]
