"""The real eflomal, on a small made-up language: English words turned around, the verb moved to the end."""

from __future__ import annotations

import random
import sys

import pytest

from xner_label.errors import MissingExtraError
from xner_label.pipeline.memory_cache import MemoryCache
from xner_label.stages.alignment.eflomal import EflomalAligner

WORDS = ["river", "market", "teacher", "garden", "window", "bread", "doctor", "village", "letter", "morning"]
VERBS = ["sees", "wants", "finds", "keeps", "brings"]
SentencePair = tuple[list[str], list[str]]


def sentence_pair(rng: random.Random) -> SentencePair:
    subject, object_ = rng.sample(WORDS, 2)
    verb = rng.choice(VERBS)
    return [subject, verb, object_, "."], [subject[::-1], object_[::-1], verb[::-1], "."]


@pytest.fixture(scope="module")
def pairs() -> list[SentencePair]:
    rng = random.Random(7)
    return [sentence_pair(rng) for _ in range(200)]


@pytest.fixture(scope="module")
def eflomal() -> None:
    pytest.importorskip("eflomal", reason="the extra 'eflomal' isn't installed")


pytestmark = pytest.mark.usefixtures("eflomal")
EXPECTED = {(0, 0), (1, 2), (2, 1), (3, 3)}


def share_right(links: list[list[tuple[int, int, float]]]) -> float:
    link_sets = [{(i, j) for i, j, _ in line} for line in links]
    return sum(len(line & EXPECTED) for line in link_sets) / (len(EXPECTED) * len(link_sets))


def test_learns_the_words_of_a_text_and_weighs_links_by_votes(pairs: list[SentencePair]) -> None:
    links = EflomalAligner(MemoryCache(), runs=3).align(pairs)
    assert share_right(links) > 0.9
    assert all(0.5 <= weight <= 1 for line in links for _, _, weight in line)
    assert all(line == sorted(line) for line in links)


def test_priors_align_a_single_new_pair_also_in_another_process(pairs: list[SentencePair]) -> None:
    cache = MemoryCache()
    fitted = EflomalAligner(cache, scope="project", runs=3)
    assert fitted.fit(pairs)
    resumed = EflomalAligner(cache, scope="project", runs=3)
    assert resumed.signature == fitted.signature
    new = sentence_pair(random.Random(99))
    assert share_right(resumed.align([new])) >= 0.75
    assert EflomalAligner(cache, scope="another", runs=3).signature.endswith("unfitted")


def test_the_same_pair_gets_the_same_links_under_one_signature(pairs: list[SentencePair]) -> None:
    cache = MemoryCache()
    aligner = EflomalAligner(cache, runs=1)
    aligner.fit(pairs[:100])
    first_links = aligner.align(pairs[:120])
    assert aligner.align(list(reversed(pairs[:120]))) == first_links[::-1]
    assert EflomalAligner(cache, runs=1).align(pairs[:120]) == first_links


def test_fits_again_only_when_the_text_has_grown_by_a_quarter(pairs: list[SentencePair]) -> None:
    aligner = EflomalAligner(MemoryCache(), runs=1)
    distinct = [
        (source, target) for source, target in map(list, dict.fromkeys((tuple(s), tuple(t)) for s, t in pairs))
    ]
    aligner.fit(distinct[:80])
    first = aligner.signature
    assert not aligner.fit(distinct[:80])
    assert not aligner.fit(distinct[:100])
    assert aligner.signature == first
    assert aligner.fit(distinct[:101])
    assert aligner.signature != first


@pytest.mark.parametrize("space", ["\u00a0", "\u2009", "\u3000", "\x1f", "\u0085"])
def test_a_space_inside_a_token_shifts_no_link(pairs: list[SentencePair], space: str) -> None:
    odd = (
        [f"10{space}000", "teacher", "sees", "bread", "."],
        [f"10{space}000", "rehcaet", "daerb", "sees"[::-1], "."],
    )
    [links] = EflomalAligner(MemoryCache(), runs=3).align([*pairs, odd])[-1:]
    assert (0, 0) in {(i, j) for i, j, _ in links}
    assert (4, 4) in {(i, j) for i, j, _ in links}


def test_an_empty_side_has_no_links(pairs: list[SentencePair]) -> None:
    links = EflomalAligner(MemoryCache(), runs=1).align([([], ["a"]), *pairs[:50], (["a"], []), ([], [])])
    assert links[0] == links[-1] == links[-2] == []
    assert all(links[1:51])


def test_a_sentence_longer_than_eflomal_takes_is_aligned_in_parts(pairs: list[SentencePair]) -> None:
    source = [word for pair in pairs * 2 for word in pair[0]]
    target = [word for pair in pairs * 2 for word in pair[1]]
    assert len(source) == 1600
    links = EflomalAligner(MemoryCache(), runs=1).align([*pairs, (source, target)])[-1]
    assert max(i for i, _, _ in links) > 1500
    assert max(j for _, j, _ in links) > 1500


def test_a_lone_pair_without_a_fit_links_what_looks_alike() -> None:
    source, target = ["Angela", "Merkel", "visited", "Kampala"], ["Angela", "Merkel", "yakyalidde", "Kampala"]
    [links] = EflomalAligner(MemoryCache(), runs=3).align([(source, target)])
    assert {(0, 0), (1, 1), (3, 3)} <= {(i, j) for i, j, _ in links}


def test_letters_vote_where_words_are_cut_in_many_ways() -> None:
    characters = "天地玄黃宇宙洪荒日月盈昃辰宿列張寒來暑往秋收冬藏閏餘成歲律呂調陽雲騰致雨"
    names = {word: characters[2 * place : 2 * place + 2] for place, word in enumerate((*WORDS, *VERBS))}
    rng = random.Random(3)
    pairs = []
    for _ in range(200):
        words, _ = sentence_pair(rng)
        written = "".join(names[word] for word in words[:3])
        ends = sorted(rng.sample(range(1, 6), 2))
        pairs.append((words[:3], [written[: ends[0]], written[ends[0] : ends[1]], written[ends[1] :]]))
    aligner = EflomalAligner(MemoryCache(), runs=3)
    assert aligner.fit(pairs)
    links = aligner.align(pairs)
    assert all(0.2 <= weight <= 1 for line in links for _, _, weight in line)
    right = total = 0
    for (words, target), line in zip(pairs, links, strict=True):
        total += len(words)
        right += sum(
            any(i == place and set(names[words[i]]) & set(target[j]) for i, j, _ in line)
            for place in range(len(words))
        )
    assert right > 0.9 * total
    words = [WORDS[0], VERBS[1], WORDS[2]]
    new = aligner.align([(words, [names[word] for word in words])])
    assert {(0, 0), (1, 1), (2, 2)} <= {(i, j) for i, j, _ in new[0]}


def test_nothing_to_align_or_to_learn_from() -> None:
    aligner = EflomalAligner(MemoryCache())
    assert aligner.align([]) == []
    assert not aligner.fit([([], ["a"])])
    assert aligner.signature.endswith("unfitted")


def test_names_the_extra_when_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "eflomal", None)
    with pytest.raises(MissingExtraError, match=r"xner-label\[eflomal\]"):
        EflomalAligner(MemoryCache())
