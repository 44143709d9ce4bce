"""Systems side by side: scores, what is kept and what is computed, noise, advice, published figures."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from xner_label import sample
from xner_label.benchmark import methods as by_name
from xner_label.benchmark.data import read_dataset
from xner_label.benchmark.noise import Noise, parse_noise, with_noise
from xner_label.benchmark.published import published_figures, published_languages, published_systems
from xner_label.cli.main import cli
from xner_label.entities import Entity, Task, Tokens
from xner_label.errors import UsageError
from xner_label.exchange.readers.interface import ReadOptions
from xner_label.pharaoh import parse_links
from xner_label.projection.exact.matching import rank
from xner_label.projection.handmade.matching_projector import MatchingProjector
from xner_label.projection.problem import Instance, Mention
from xner_label.projection.projectors import make_projector, models_asked
from xner_label.settings.choices import PROJECTORS
from xner_label.settings.loading import load_settings
from xner_label.stages.tagging.crf import CrfTagger

SAMPLE = [json.loads(line) for line in sample.PAIRS.read_text(encoding="utf-8").splitlines()][:80]
CONTRACT = {"data", "method", "f1", "ci95", "precision", "recall", "n", "seconds", "published"}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The sample with links from position to position, as a file called by its language."""
    rows = []
    for row in SAMPLE:
        source, target = Tokens.tokenize(row["source"]), Tokens.tokenize(row["text"])
        links = " ".join(f"{i}-{min(i, len(target) - 1)}" for i in range(len(source)))
        rows.append({**row, "tokens": target.words(), "source_tokens": source.words(), "alignment": links})
    file = tmp_path / "sw.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def benchmark(*arguments: str | Path, cache: Path, code: int = 0) -> dict:
    done = CliRunner().invoke(cli, ["benchmark", *map(str, arguments), "--cache", str(cache), "--json"])
    assert (getattr(done.exception, "exit_code", None) or done.exit_code) == code, done.output
    return json.loads(done.stdout) if code in (0, 5) else {"error": str(done.exception)}


def measured(document: dict) -> list[dict]:
    return [row for row in document["rows"] if not row["published"]]


def test_rows_keep_the_contract_and_say_what_evaluate_says(data, tmp_path):
    document = benchmark(data, cache=tmp_path / "cache")
    assert set(document) >= {"signature", "rows", "advice", "left_out"}
    assert all(set(row) >= CONTRACT for row in document["rows"])
    assert {row["method"] for row in measured(document)} == set(by_name.ALWAYS)
    projected, scores = tmp_path / "p.jsonl", CliRunner()
    scores.invoke(cli, ["project", str(data), "-o", str(projected), "--projector", "string"])
    expected = json.loads(scores.invoke(cli, ["evaluate", str(data), str(projected), "--json"]).stdout)
    row = next(row for row in measured(document) if row["method"] == "string")
    for key in ("f1", "precision", "recall", "ci95", "n", "per_label"):
        assert row[key] == expected[key]
    best = max(measured(document), key=lambda row: row["f1"])
    assert best["to_best"] == {"f1": 0.0, "ci95": [0.0, 0.0]}
    assert all(row["kind"] == "intrinsic" for row in measured(document))  # people gave the source entities


def test_published_rows_are_marked_and_count_for_nothing(data, tmp_path):
    document = benchmark(data, "--methods", "string", cache=tmp_path / "cache")
    published = [row for row in document["rows"] if row["published"]]
    assert {row["method"] for row in published} == {system.name for system in published_systems()} - {"supervised"}
    assert all(row["ci95"] is None and row["n"] is None and row["remark"] for row in published)
    assert document["advice"]["system"] == "string"
    assert [figure.f1 for figure in published_figures("lg")] == [figure.f1 for figure in published_figures("lug")]
    assert published_figures("de") == []
    assert len(published_languages()) == 18
    best = published_figures("xho")[0]
    assert (best.system.name, best.f1) == ("supervised", 0.9)


def test_a_second_run_computes_only_what_is_new(data, tmp_path):
    cache = tmp_path / "cache"
    source = tmp_path / "source.jsonl"
    source.write_text(
        "".join(json.dumps({"text": row["source"], "entities": row["source_entities"]}) + "\n" for row in SAMPLE)
    )
    options = (data, "--taggers", "given,crf", "--labelled", source)
    first = benchmark(*options, "--methods", "string,align", cache=cache)
    assert {row["kind"] for row in measured(first)} == {"intrinsic", "extrinsic"}
    before = {file: file.stat().st_mtime_ns for file in cache.rglob("*.json")}
    assert sum(file.parent.parent.name == "stages" for file in before) == 1
    plan = benchmark(*options, "--methods", "string,align,heuristic", "--dry-run", cache=cache)
    assert (plan["methods"], plan["kept"], plan["work"]) == (2, 4, [])
    second = benchmark(*options, "--methods", "string,align,heuristic", cache=cache)
    after = {file: file.stat().st_mtime_ns for file in cache.rglob("*.json")}
    assert {file: after[file] for file in before} == before
    assert [file.parent.name for file in after.keys() - before.keys()] == ["methods"] * 2
    again = [row for row in measured(second) if row["method"] != "heuristic"]
    for row in (*again, *measured(first)):
        del row["to_best"]
    assert sorted(again, key=str) == sorted(measured(first), key=str)


def test_what_is_kept_and_broken_is_made_again(data, tmp_path):
    cache = tmp_path / "cache"
    first = benchmark(data, "--methods", "string", cache=cache)
    for file in cache.rglob("*.json"):
        file.write_bytes(file.read_bytes()[:50])
    second = benchmark(data, "--methods", "string", cache=cache)
    assert measured(first)[0]["f1"] == measured(second)[0]["f1"]


def test_a_tagger_of_the_target_language_transfers_and_scores_spans(data, tmp_path):
    texts = [Tokens.tokenize(row["text"]) for row in SAMPLE]
    from xner_label.iob2 import tags_of

    gold = [[Entity(e["start"], e["end"], e["label"]) for e in row["entities"]] for row in SAMPLE]
    tags = [tags_of(tokens, entities) for tokens, entities in zip(texts, gold, strict=True)]
    model = tmp_path / "target.crf"
    model.write_bytes(CrfTagger.train([tokens.words() for tokens in texts], tags).to_bytes())
    methods = "transfer,ner,align+ner@>=,0.5*align+0.1*casing"
    document = benchmark(data, "--methods", methods, "--target-taggers", model, cache=tmp_path / "cache")
    rows = {row["method"]: row for row in measured(document)}
    assert set(rows) == set(methods.split(","))
    assert rows["transfer"]["f1"] > 0.9  # it was trained on them
    assert rows["transfer"]["kind"] == "extrinsic"
    assert rows["ner"]["f1"] > 0.7
    assert benchmark(data, "--methods", "transfer", cache=tmp_path / "cache", code=2)


def test_any_format_of_import_will_do(tmp_path):
    file = tmp_path / "words.conll"
    file.write_text("Amina B-PER\nanaishi O\nNairobi B-LOC\n\nHabari O\n\n")
    model = tmp_path / "target.crf"
    model.write_bytes(
        CrfTagger.train(
            [["Amina", "anaishi", "Nairobi"], ["Habari"]] * 9, [["B-PER", "O", "B-LOC"], ["O"]] * 9
        ).to_bytes()
    )
    document = benchmark(f"x={file}", "--target-taggers", model, cache=tmp_path / "cache")
    assert [(row["data"], row["method"], row["f1"]) for row in document["rows"]] == [("x", "transfer", 1.0)]
    assert {item["reason"] for item in document["left_out"]} == {"the tasks bring no source; name a translator"}


def test_bad_input_is_named_and_the_rest_is_judged(data, tmp_path):
    with open(data, "a") as stream:
        stream.write('{"id": 1}\n{"id": 2, "text": "a", "entities": [{"start": 0, "end": 9, "label": "PER"}]}\n')
    document = benchmark(data, "--methods", "string", cache=tmp_path / "cache", code=5)
    assert measured(document)[0]["n"] == len(SAMPLE)
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    assert "no gold" in benchmark(empty, cache=tmp_path / "cache", code=2)["error"]
    assert "called" in benchmark(data, data, cache=tmp_path / "cache", code=2)["error"]
    for wrong in (("--methods", "magic"), ("--methods", "align@!"), ("--taggers", "x"), ("--noise", "drop=2")):
        benchmark(data, *wrong, cache=tmp_path / "cache", code=2)


def test_averages_need_every_dataset_and_limits_are_kept(data, tmp_path):
    document = benchmark(
        f"a={data}", f"b={data}", "--limit", "30", "--methods", "string,align", cache=tmp_path / "cache"
    )
    assert {row["n"] for row in measured(document)} == {30}
    by_system = {row["system"]: row["f1"] for row in measured(document)}
    assert {row["system"]: pytest.approx(row["f1"]) for row in document["averages"]} == by_system


def test_advice_keeps_the_default_unless_another_is_better_and_goes_into_the_settings(data, tmp_path):
    settings = tmp_path / "xner-label.toml"
    settings.write_text("# ours\n")
    arguments = ("--methods", "string,align,default", "--write-config", "--config", settings)
    document = benchmark(data, *arguments, cache=tmp_path / "cache")
    assert document["advice"]["system"] == "default"
    assert load_settings(settings, {}, {}).projector == "default"
    assert settings.read_text().startswith("# ours\n")
    assert "aligner" not in document["advice"]["settings"]


def test_the_page_and_the_table_stand_beside_the_document(data, tmp_path):
    output = tmp_path / "result.json"
    document = benchmark(data, "--methods", "string,align", "-o", output, cache=tmp_path / "cache")
    assert json.loads(output.read_text()) == document
    page = output.with_suffix(".html").read_text()
    assert [word for word in ("<script", "http") if word in page] == []
    assert [word for word in ("string", "(published)") if word not in page] == []
    assert "| string | intrinsic |" in output.with_suffix(".md").read_text()


def test_noise_is_reproducible_and_keeps_its_share():
    words = tuple(f"w{i}" for i in range(50))
    text = " ".join(words)
    links = " ".join(f"{i}-{i}" for i in range(50))
    task = Task(id=1, text=text, source=text, tokens=words, source_tokens=words, alignment=links)

    def noisy(noise, index=0):
        return set(parse_links(with_noise(task, noise, index).alignment, 50, 50))

    given = set(parse_links(links, 50, 50))
    assert noisy(parse_noise("drop=0.5")) < given
    assert noisy(Noise("drop", 0.2)) > noisy(Noise("drop", 0.5))
    assert noisy(Noise("shuffle", 0.5)) == noisy(Noise("shuffle", 0.5)) != noisy(Noise("shuffle", 0.5), 1)
    assert len(noisy(Noise("shuffle", 1.0))) == 50
    assert noisy(Noise("drop", 1.0)) == set()
    nothing = Task(id=1, text="a", alignment="")
    assert with_noise(nothing, Noise("drop", 0.5), 0) is nothing
    with pytest.raises(UsageError):
        parse_noise("lose=0.2")


@pytest.mark.parametrize("name", [name for name in PROJECTORS if not models_asked(name)])
def test_what_a_method_uses_is_what_its_projector_needs(name):
    needs = make_projector(name).needs
    assert by_name.uses_target_tags(name) == ("target_tags" in needs)
    assert by_name.uses_links(name) >= ("alignment" in needs)
    assert by_name.can_do_without_links(name) == ("alignment" not in needs)


def brute_force(candidates, solver):
    """All sets of candidates without overlaps that give each mention what the constraint asks; the best total."""
    variables = [(m, c) for m, spans in enumerate(candidates) for c in range(len(spans))]
    best = None
    for chosen in itertools.chain.from_iterable(
        itertools.combinations(variables, size) for size in range(len(variables) + 1)
    ):
        counts = [sum(m == mention for m, _ in chosen) for mention in range(len(candidates))]
        wanted = [min(1, len(spans)) for spans in candidates]
        pairs = list(zip(counts, wanted, strict=True))
        fits = {
            "=": all(count == least for count, least in pairs),
            ">=": all(count >= least for count, least in pairs),
            "<=": all(count <= 1 for count in counts),
        }[solver]
        spans = sorted(candidates[m][c][1:] for m, c in chosen)
        if fits and all(left[1] <= right[0] for left, right in itertools.pairwise(spans)):
            total = sum(candidates[m][c][0] for m, c in chosen)
            best = total if best is None else max(best, total)
    return best


@pytest.mark.parametrize("solver", ["<=", "=", ">="])
def test_matching_under_each_constraint_is_the_optimum(solver):
    import random

    generator = random.Random(5)
    text = " ".join("abcdefgh")
    tokens = Tokens.tokenize(text)
    mention = Mention(0, 1, "PER", None, Entity(0, 1, "PER"))
    feasible = 0
    for _ in range(60):
        candidates = []
        for _ in range(generator.randint(1, 3)):
            spans = {(first, first + generator.randint(1, 3)) for first in generator.sample(range(6), 3)}
            candidates.append(rank([(round(generator.random(), 3), *span) for span in sorted(spans)]))
        instance = Instance(tokens, tokens, (mention,) * len(candidates), ())
        projector = MatchingProjector("test", lambda _, c=candidates: [list(m) for m in c], solver=solver)
        (projections,) = projector.project([instance])
        expected = brute_force(candidates, solver)
        if expected is None:
            assert not projections.exact
            continue
        feasible += 1
        assert sum(p.score for p in projections) == pytest.approx(expected)
    assert feasible > 30


def test_reading_says_what_is_in_the_file(data):
    dataset = read_dataset(str(data), ReadOptions(), limit=3)
    assert (dataset.name, len(dataset.tasks)) == ("sw", 3)
    with pytest.raises(UsageError, match="split 'nothing'"):
        read_dataset(str(data), ReadOptions(), split="nothing")


def test_the_page_on_methods_shows_the_published_figures():
    page = (Path(__file__).parents[2] / "docs/which-method.md").read_text("utf-8")
    for language in published_languages():
        shown = {figure.system.name: f"{figure.f1 * 100:.1f}" for figure in published_figures(language)}
        cells = [shown.get(system.name, "") for system in published_systems()]
        assert f"| {language} | {' | '.join(cells)} |" in page


def test_reviews_help_and_are_judged_where_nobody_reviewed(data, tmp_path):
    options = (data, "--methods", "string", "--cache")
    document = benchmark(*options[:3], "--reviews", "30,500", cache=tmp_path / "cache")
    rows = {row["system"]: row for row in measured(document)}
    reviewed = rows["corpus after 30 reviews"]
    assert (reviewed["reviews"], reviewed["n"], reviewed["failed"]) == (30, len(SAMPLE), 0)
    assert {item["reason"] for item in document["left_out"]} == {
        "half of the tasks, 40, are fewer than the 500 to review (give more gold)"
    }
    assert document["advice"]["system"] == "string"  # what needs people's work isn't compared with what doesn't
    assert rows["string"]["to_best"]["f1"] == 0.0
    for wrong in ("0", "x", "-3"):
        benchmark(data, "--reviews", wrong, cache=tmp_path / "cache", code=2)


def test_each_half_is_projected_in_the_light_of_reviews_of_the_other(data):
    """Against the loop itself, run on each half by hand."""
    from xner_label.benchmark.reviewed import SEED, entities_after_reviews
    from xner_label.projection.loglinear.weights_file import Weights
    from xner_label.simulation.loop import Simulation

    tasks = read_dataset(str(data), ReadOptions(), limit=50).tasks
    entities = entities_after_reviews(tasks, 20, "")

    def spans_of(of_task):
        return {(entity.start, entity.end, entity.label) for entity in of_task}

    order = np.random.default_rng(SEED).permutation(len(tasks)).tolist()
    halves = [sorted(order[0::2]), sorted(order[1::2])]
    for pool, judged in (halves, halves[::-1]):
        loop = Simulation([tasks[n] for n in pool], [tasks[n] for n in judged], Weights.load(None))
        (run,) = loop.run("least-confident", [20], seed=SEED, text=False)
        right = sum(len(spans_of(entities[n]) & spans_of(tasks[n].entities)) for n in judged)
        total = sum(len(entities[n]) + len(tasks[n].entities) for n in judged)
        assert run.test_f1 == pytest.approx(2 * right / total, abs=1e-5)


def test_a_dry_run_tries_stages_on_a_few_texts_and_names_what_is_to_be_fetched(data, tmp_path):
    source = tmp_path / "source.jsonl"
    source.write_text(
        "".join(json.dumps({"text": row["source"], "entities": row["source_entities"]}) + "\n" for row in SAMPLE)
    )
    cache = tmp_path / "cache"
    options = (data, "--methods", "string,nmt", "--taggers", "crf", "--labelled", source)
    options += ("--translators", "given,transformers:facebook/nllb-200-distilled-600M", "--dry-run")
    plan = benchmark(*options, cache=cache)
    (work,) = plan["work"]
    assert (work["stage"], work["texts"]) == ("tagger crf", len(SAMPLE))
    assert 0.0 < work["seconds"] < 600.0
    assert plan["models"] == [{"name": "facebook/nllb-200-distilled-600M", "here": False, "gigabytes": 2.5}]
    assert any("nllb" in item["system"] for item in plan["left_out"])
    tried = {file for file in cache.rglob("*.json") if file.parent.parent.name == "stages"}
    assert len(tried) == 2  # one text by itself, which has the model read, and the others
    (work,) = benchmark(*options, cache=cache)["work"]
    assert work["texts"] == len(SAMPLE) - 8
    words = CliRunner().invoke(cli, ["benchmark", *map(str, options), "--cache", str(cache)]).stdout
    assert "to be fetched, about 2.5 GB: xner-label models pull" in words
    assert f"tagger crf on {len(SAMPLE) - 8} texts, about" in words


def test_known_datasets_are_found_among_their_published_files(data, tmp_path, monkeypatch):
    from xner_label.benchmark.known_data import find_data
    from xner_label.errors import ConfigurationError

    folder = tmp_path / "published"
    masakhane = folder / "MasakhaNER2.0" / "data" / "lug"
    masakhane.mkdir(parents=True)
    (masakhane / "test.txt").write_text("Amina B-PER\nagenze O\nKampala B-LOC\n. O\n\nAmina B-PER\nali O\n\n")
    (folder / "zh_pud-ud-test.iob2").write_text("# sent_id = 1\n1\t安娜\tB-PER\t-\t-\n2\t来\tO\t-\t-\n\n")
    wikiann = folder / "wikiann" / "lug"
    wikiann.mkdir(parents=True)
    row = {"tokens": ["Kampala", "."], "ner_tags": ["B-LOC", "O"]}
    (wikiann / "test.jsonl").write_text(json.dumps(row) + "\n")
    for name, language, labels in (
        ("masakhaner2", "lug", ("LOC", "PER")),
        ("uner", "zh_pud", ("PER",)),
        ("wikiann", "lug", ("LOC",)),
    ):
        (argument,) = find_data([name], [language], folder=folder)
        dataset = read_dataset(argument, ReadOptions())
        assert (dataset.name, dataset.labels) == (language, labels)
    assert find_data([str(data)], ["lug"]) == [str(data)]
    assert find_data([], []) == []
    with pytest.raises(UsageError, match="which languages of masakhaner2"):
        find_data(["masakhaner2"], [])
    with pytest.raises(UsageError, match="no train part of masakhaner2 in 'lug'"):
        find_data(["masakhaner2"], ["lug"], split="train", folder=folder)
    model = tmp_path / "target.crf"
    model.write_bytes(CrfTagger.train([["Amina", "ali"]] * 9, [["B-PER", "O"]] * 9).to_bytes())
    options = ("masakhaner2", "--languages", "lug", "--data-folder", folder, "--target-taggers", model)
    document = benchmark(*options, cache=tmp_path / "cache")
    assert [(row["data"], row["n"]) for row in measured(document)] == [("lug", 2)]
    assert any(row["published"] for row in document["rows"])
    benchmark(data, "--languages", "xx", cache=tmp_path / "cache", code=2)
    pytest.importorskip("huggingface_hub")
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigurationError, match="masakhane/masakhaner2 can't be fetched"):
        find_data(["masakhaner2"], ["lug"])
