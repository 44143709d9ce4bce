"""What gets lost, ranked: planted weaknesses show, chance doesn't, and small numbers aren't believed."""

from __future__ import annotations

import json
from collections import Counter
from math import comb
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.stats import binomtest

from tests.soak import rounds
from xner_label.benchmark.weaknesses import PRIOR, Occurrence, probe_tasks, weaknesses, wilson
from xner_label.cli.main import cli
from xner_label.entities import Entity, ProjectedEntity, SourceMention, Tokens
from xner_label.review.error_sources import ReviewedTask


def occurrence(*properties, stage=None):
    return Occurrence(tuple(properties), stage, "name", "a name")


def drawn(generator, count, lost_share, values=30):
    """Entities with three properties each, lost at random."""
    result = []
    for _ in range(count):
        properties = [("word", f"w{number}") for number in generator.choice(values, 3, replace=False)]
        stage = "alignment" if generator.random() < lost_share else None
        result.append(occurrence(*properties, stage=stage))
    return result


def test_a_planted_weakness_comes_first_and_is_sure():
    generator = np.random.default_rng(1)
    entities = drawn(generator, 400, 0.2)
    entities += [
        occurrence(
            ("construction", "hyphen"), ("word", f"w{number % 30}"), stage="border" if number % 10 else None
        )
        for number in range(40)
    ]
    before, way = weaknesses(entities)
    assert (before.lost, before.n, before.weaknesses) == (0, 440, ())
    assert way.n == 440
    first = way.weaknesses[0]
    assert (first.group, first.value, first.n, first.lost, first.sure) == ("construction", "hyphen", 40, 36, True)
    assert first.stages == {"border": 36}
    assert first.share == 0.9 > first.drawn_share > first.rest_share
    assert first.drawn_share == pytest.approx((36 + PRIOR * way.lost / way.n) / (40 + PRIOR))
    assert [item.sure for item in way.weaknesses].count(True) == 1
    assert len(first.examples) == 3


def test_chance_is_rarely_called_sure():
    """The share of draws with a false finding stays near the rate that is promised."""
    repetitions = rounds(60)
    wrong = sum(
        any(
            item.sure
            for phase in weaknesses(drawn(np.random.default_rng(seed), 300, 0.3))
            for item in phase.weaknesses
        )
        for seed in range(repetitions)
    )
    assert binomtest(wrong, repetitions, 0.05, alternative="greater").pvalue > 0.001


def test_small_numbers_are_drawn_in_and_not_tested():
    entities = [occurrence(("word", "once"), stage="cut")]
    entities += [occurrence(("word", "often"), stage="cut" if number < 30 else None) for number in range(40)]
    entities += [occurrence(("word", "rest"), stage="cut" if number < 20 else None) for number in range(200)]
    often, once = weaknesses(entities)[1].weaknesses[:2]
    assert (often.value, once.value) == ("often", "once")
    assert (once.p, once.sure, once.share) == (None, False, 1.0)
    assert once.drawn_share < 0.3 < often.drawn_share


def test_nothing_to_tell_apart_says_nothing():
    for entities in ([], [occurrence()], [occurrence(("label", "PER"))] * 9):
        assert all(phase.weaknesses == () for phase in weaknesses(entities))
    lost = [occurrence(("label", "PER"), stage="translation")] * 9
    before, way = weaknesses(lost)
    assert (before.lost, before.weaknesses, way.n) == (9, (), 0)


def test_p_and_interval_are_those_of_obvious_counting():
    entities = [occurrence(("label", "A"), stage="cut" if number < 6 else None) for number in range(8)]
    entities += [occurrence(("label", "B"), stage="cut" if number < 4 else None) for number in range(12)]
    (item,) = weaknesses(entities)[1].weaknesses
    p_a = sum(comb(10, k) * comb(10, 8 - k) for k in range(6, 9)) / comb(20, 8)
    p_b = sum(comb(10, k) * comb(10, 12 - k) for k in range(4, 11)) / comb(20, 12)
    assert item.p == pytest.approx(min(2 * min(p_a, p_b), max(p_a, p_b)))
    expected = binomtest(6, 8).proportion_ci(method="wilson")
    assert wilson(6, 8) == pytest.approx((expected.low, expected.high))
    assert item.rest_share == pytest.approx(4 / 12)


def task(number, text, source, gold, predicted, mentions, alignment):
    tokens, source_tokens = Tokens.tokenize(text), Tokens.tokenize(source)
    entities = tuple(
        ProjectedEntity(start, end, label, text[start:end], 1.0, 0.9, SourceMention(*mentions[0][:2], label, "x"))
        for start, end, label in predicted
    )
    return ReviewedTask(
        id=str(number),
        text=text,
        tokens=tokens,
        predicted=entities,
        gold=tuple(Entity(*span) for span in gold),
        source=source,
        source_tokens=source_tokens,
        source_entities=tuple(Entity(*span) for span in mentions),
        alignment=alignment,
    )


def test_each_entity_is_counted_where_it_was_lost():
    tasks = [
        task(n, f"Amina {n} alikuja", f"Amina {n} came", [(0, 5, "PER")], [(0, 5, "PER")], [(0, 5, "PER")], "0-0")
        for n in range(20)
    ]
    lost_in_source = [
        task(n, f"leo Juma-Ali {n}", f"today Juma-Ali {n}", [(4, 12, "PER")], [], [], "1-1") for n in range(10)
    ]
    cut = [
        task(n, f"jijini Arusha {n}", f"in Arusha {n}", [(7, 13, "LOC")], [], [(3, 9, "LOC")], "1-1")
        for n in range(10)
    ]
    probe = probe_tasks("sw", "default", [*tasks, *lost_in_source, *cut])
    before, way = probe.phases
    assert (before.n, before.lost, before.stages) == (40, 10, {"source tagger": 10})
    assert (way.n, way.lost, way.stages) == (30, 10, {"cut": 10})
    values = {item.value for item in before.weaknesses if item.sure}
    assert {"holds a hyphen or apostrophe", "leo | …"} <= values
    values = {(item.group, item.value) for item in way.weaknesses if item.sure}
    assert {("label", "LOC"), ("word", "jijini | …"), ("word", "… arusha …")} <= values
    assert way.weaknesses[0].examples[0].sentence == "jijini Arusha 0"
    twice = task(9, "Amina na Amina", "A and A", [(0, 5, "PER"), (9, 14, "PER")], [], [], "")
    assert probe_tasks("x", "y", [twice]).phases[0].n == 1  # one name, one task


def test_the_command_shows_them_in_every_form(tmp_path: Path) -> None:
    rows = []
    for number in range(60):
        name, hyphen = ("Amina", False) if number % 3 else ("Juma-Ali", True)
        row = {
            "id": number,
            "text": f"leo {name} alikuja",
            "source": f"today {'Mohammed' if hyphen else name} came",
        }
        row["source_entities"] = [{"start": 6, "end": 14 if hyphen else 6 + len(name), "label": "PER"}]
        row["alignment"] = "0-0 2-2" if hyphen else "0-0 1-1 2-2"
        row["entities"] = [{"start": 4, "end": 4 + len(name), "label": "PER"}]
        rows.append(json.dumps(row))
    file = tmp_path / "sw.jsonl"
    file.write_text("\n".join(rows))
    call = ["benchmark", str(file), "--methods", "string,align", "--probe", "--cache", str(tmp_path / "kept")]
    done = CliRunner().invoke(cli, [*call, "-o", str(tmp_path / "out.json"), "--json"])
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    (probe,) = document["probes"]
    assert probe["data"] == "sw"
    values = {item["value"] for phase in probe["phases"] for item in phase["weaknesses"] if item["sure"]}
    assert "holds a hyphen or apostrophe" in values
    for suffix in (".md", ".html"):
        text = (tmp_path / "out.json").with_suffix(suffix).read_text()
        assert "holds a hyphen or apostrophe" in text
        assert "weak at on sw" in text
    assert Counter(row["published"] for row in document["rows"])[False] == 2
    again = CliRunner().invoke(cli, [*call, "--json"])  # everything else is kept
    assert json.loads(again.stdout)["probes"] == document["probes"]
