"""Sums by hash are those of a dictionary, in whatever order they come; a run of words has the hash of its text."""

from __future__ import annotations

from collections import defaultdict
from hashlib import blake2b

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xner_label.projection.corpus import counts as counts_module
from xner_label.projection.corpus.counts import Counts, from_document, to_document
from xner_label.projection.corpus.text_hashes import (
    HashedWords,
    halves,
    hash_ngrams,
    hash_pairs,
    hash_texts,
)

WORD = st.text(st.characters(codec=None), max_size=4)
ROWS = st.lists(st.tuples(st.integers(0, 2**64 - 1) | st.integers(0, 5), st.integers(0, 2**20)), max_size=12)


@given(st.lists(ROWS, max_size=8), st.integers(0, 8))
def test_sums_are_those_of_a_dictionary(batches: list[list[tuple[int, int]]], waiting: int) -> None:
    expected: dict[int, float] = defaultdict(float)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counts_module, "_WAITING", waiting)
        counts, reverse = Counts(2), Counts(2)
        for table, order in ((counts, batches), (reverse, batches[::-1])):
            for batch in order:
                keys = np.array([key for key, _ in batch], np.uint64)
                steps = np.array([value for _, value in batch], np.float64) / 2**20
                table.add(keys, np.column_stack([steps, 2 * steps]))
        for batch in batches:
            for key, value in batch:
                expected[key] += value / 2**20
        assert counts == reverse
        assert counts.keys.tolist() == sorted(expected)
        assert counts.values.tolist() == [[expected[key], 2 * expected[key]] for key in sorted(expected)]
        asked = np.array([*expected, 7, *expected], np.uint64)
        assert counts.of(asked)[:, 0].tolist() == [expected.get(int(key), 0.0) for key in asked]
        assert counts.have(asked).tolist() == [int(key) in expected for key in asked]
        again = msgspec.msgpack.decode(
            msgspec.msgpack.encode(counts, enc_hook=to_document), type=Counts, dec_hook=from_document
        )
        assert again == counts
        again.add(asked, np.ones((len(asked), 2)))  # also of what was read
        assert again.of(asked[:1])[0, 0] >= 1
        assert counts == reverse


@pytest.mark.parametrize("document", [{"joe": 1.0}, [1, b"12345678", b""], [1, b"123", b""], "x", [1, 2, 3], []])
def test_other_documents_are_refused(document: object) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.msgpack.decode(msgspec.msgpack.encode(document), type=Counts, dec_hook=from_document)


@given(st.lists(WORD, min_size=1, max_size=8))
def test_a_run_has_the_hash_of_its_text(words: list[str]) -> None:
    hashed = HashedWords.of(words)
    spans = [(first, last) for first in range(len(words)) for last in range(first + 1, len(words) + 1)]
    first, last = np.array(spans).T
    texts = [" ".join(words[start:end]) for start, end in spans]
    expected = hash_texts(texts)
    assert np.array_equal(hashed.runs(first, last), expected)
    assert sorted(hashed.all_runs()) == sorted(expected)
    assert len({*texts}) == len({*expected.tolist()})


def test_ngrams_stay_in_their_text() -> None:
    ngrams = hash_ngrams([["a", "b", "a"], [], ["b"]], 2)
    assert sorted(ngrams) == sorted(hash_texts(["a", "b", "a", "a b", "b a", "b"]))
    assert not len(hash_ngrams([], 3))


def test_hashes_are_stored_and_never_change() -> None:
    digest = int.from_bytes(blake2b(b"Kampala", digest_size=8).digest(), "little")
    mixed = ((digest ^ (digest >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) % 2**64
    assert hash_texts(["Kampala"]).tolist() == [mixed ^ (mixed >> 31)]
    assert hash_texts(["joe blue", "blue joe"]).tolist() == [12942045834207035956, 7941235804601146101]
    names, texts = hash_texts(["joe", "joe", "jim"]), hash_texts(["yoe", "jo", "yoe"])
    pairs = hash_pairs(names, texts)
    assert np.array_equal(halves(pairs), halves(names))
    assert len({*pairs.tolist()}) == 3
