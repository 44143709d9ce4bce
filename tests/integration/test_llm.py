"""Tagging and translating by a language model, on a loopback server that speaks the recorded protocol."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.chat_server import KEY, Answer, ChatServer, Fault, named, text_of
from tests.processes import LIMIT
from xner_label.cli.main import cli
from xner_label.entities import Entity, Span, Tokens
from xner_label.errors import ConfigurationError, PartialError, RecordError
from xner_label.pipeline.assembly import make_tagger, make_translator
from xner_label.pipeline.memory_cache import MemoryCache
from xner_label.settings.loading import load_settings
from xner_label.settings.table import Settings
from xner_label.stages.tagging.llm_tagger import SCORE, LlmTagger, place_entities
from xner_label.stages.translation.llm_translator import LlmTranslator

pytest.importorskip("openai")
TEXT = "In Nairobi 🎉 Amina met Ann of the United Nations; Amina left Nairobi."


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        tagger="llm",
        tagger_model="tiny-chat",
        translator="llm",
        translator_model="tiny-chat",
        target_language="sw",
        labels=("PER", "ORG", "LOC"),
        llm_api_key=KEY,
        llm_retries=2,
        llm_timeout=20.0,
        model_cache=str(tmp_path / "cache"),
    )


def tagger_of(settings: Settings) -> LlmTagger:
    tagger = make_tagger(settings, cache=MemoryCache())
    assert isinstance(tagger, LlmTagger)
    return tagger


def translator_of(settings: Settings) -> LlmTranslator:
    translator = make_translator(settings, cache=MemoryCache())
    assert isinstance(translator, LlmTranslator)
    return translator


def spans(text: str, answer: list[Entity] | RecordError) -> list[tuple[str, str]]:
    assert not isinstance(answer, RecordError), answer
    assert all(entity.score == SCORE for entity in answer)
    return [(text[entity.start : entity.end], entity.label) for entity in answer]


def in_turn(*answers: Answer) -> Callable[[dict[str, Any]], Answer]:
    """Answers one after the other; the last one again and again."""
    left: Iterator[Answer] = iter(answers)
    return lambda _: next(left, answers[-1])


def test_it_tags_texts_and_asks_for_each_once(settings: Settings) -> None:
    server = ChatServer(
        lambda body: named(
            *(
                (name, label)
                for name, label in (("Nairobi", "LOC"), ("Amina", "PERSON"), ("Amina", "PER"))
                if name in text_of(body)
            )
        )
    )
    with server.open() as url:
        asked = replace(settings, llm_url=url, llm_input_price=2.0, llm_output_price=10.0)
        tagger = tagger_of(asked)
        assert tagger.tag([]) == []
        assert tagger.tag([Tokens.tokenize("")]) == [[]]
        texts = [TEXT, "nothing here", TEXT, " "]
        answers = tagger.tag([Tokens.tokenize(text) for text in texts])
        assert spans(TEXT, answers[0]) == [("Nairobi", "LOC"), ("Amina", "PER"), ("Amina", "PER")]
        assert [entity.start for entity in answers[0]] == [3, 13, 50]
        assert (answers[1], answers[2], answers[3]) == ([], answers[0], [])
        assert len(server.seen) == 2
        body = server.seen[0]
        assert (body["temperature"], body["model"]) == (0, "tiny-chat")
        assert body["response_format"]["json_schema"]["strict"] is True
        usage = tagger.usage
        assert (usage.requests, usage.input_tokens, usage.output_tokens, usage.kept) == (2, 200, 20, 0)
        assert usage.cost == pytest.approx((200 * 2 + 20 * 10) / 1e6)
        assert "cost 0.0006" in usage.words()
        # another process finds them, another prompt, label set, model or place doesn't
        again = tagger_of(asked)
        assert again.tag([Tokens.tokenize(TEXT)]) == [answers[0]]
        assert (again.usage.requests, again.usage.kept, again.usage.cost) == (0, 1, 0.0)
        assert again.signature == tagger.signature
        for other in (
            replace(asked, tagger_prompts=("PER=a ship's captain",)),
            replace(asked, labels=("PER",)),
            replace(asked, tagger_model="other"),
            replace(asked, llm_url=f"{url}/"),
            replace(asked, source_language="de"),
            replace(asked, tagger_map=("X=PER",)),
        ):
            same = other.llm_url != url  # a stroke at the end is no other place
            assert (tagger_of(other).signature == tagger.signature) is same
        assert KEY not in tagger.signature
        assert KEY not in repr(asked)


def test_hallucinated_entities_are_dropped_and_counted(settings: Settings) -> None:
    server = ChatServer(
        in_turn(named(("Kampala", "LOC"), ("Nairobi", "SHIP"), ("Amina", "PER"), ("", "PER"), ("Ann", "PER")))
    )
    with server.open() as url:
        tagger = tagger_of(replace(settings, llm_url=url))
        (answer,) = tagger.tag([Tokens.tokenize(TEXT)])
        assert spans(TEXT, answer) == [("Amina", "PER"), ("Ann", "PER")]
        assert tagger.usage.dropped == 3
        assert "3 entities dropped" in tagger.usage.words()


@pytest.mark.parametrize(
    ("text", "names", "expected"),
    [
        ("York and New York", ["New York", "York"], [(0, 4), (9, 17)]),
        ("Uganda, Bank of Uganda", ["Bank of Uganda", "Uganda"], [(0, 6), (8, 22)]),
        ("Bank of Uganda", ["Uganda", "Bank of Uganda"], [(0, 14)]),  # the longer one has its place first
        ("Annual report of Ann", ["Ann"], [(17, 20)]),  # a whole word before a part of one
        ("Annual", ["Ann"], [(0, 3)]),
        ("aaa", ["a", "a", "a", "a"], [(0, 1), (1, 2), (2, 3)]),
        ("the UNITED\n Nations", ["United Nations"], [(4, 19)]),
        ("Ng’ang’a came", ["Ng'ang'a"], [(0, 8)]),
        ("🎉🎉 Ann", ["Ann"], [(3, 6)]),
        ("a (b", ["(b", "(b"], [(2, 4)]),
        ("", ["x"], []),
        ("在北京大学", ["北京"], [(1, 3)]),
    ],
)
def test_names_get_their_places_in_order(text: str, names: list[str], expected: list[tuple[int, int]]) -> None:
    tokens = Tokens.tokenize(text)
    entities, dropped = place_entities(tokens, Span(0, len(text)), [(name, "PER") for name in names])
    assert [(entity.start, entity.end) for entity in entities] == expected
    assert dropped == len(names) - len(expected)


def test_placing_agrees_with_trying_everything() -> None:
    """Against an obvious way: for each name, longest first, the first free whole-word place by counting words."""
    import random

    generator = random.Random(5)
    for _ in range(300):
        words = generator.choices("abc", k=generator.randint(0, 8))
        text = " ".join(words)
        names = [" ".join(generator.choices("abc", k=generator.randint(1, 2))) for _ in range(3)]
        taken = [False] * len(words)
        expected = []
        for name in sorted(names, key=lambda name: -len(name)):
            size = len(name.split())
            for first in range(len(words) - size + 1):
                if words[first : first + size] == name.split() and not any(taken[first : first + size]):
                    taken[first : first + size] = [True] * size
                    expected.append((2 * first, 2 * first + len(name)))
                    break
        entities, dropped = place_entities(
            Tokens.tokenize(text), Span(0, len(text)), [(name, "PER") for name in names]
        )
        assert [(entity.start, entity.end) for entity in entities] == sorted(expected)
        assert dropped == 3 - len(expected)


def test_long_texts_are_asked_about_in_parts(settings: Settings) -> None:
    sentence = "Amina went to Nairobi to see the river there. "
    server = ChatServer(lambda body: named(*[("Amina", "PER"), ("Nairobi", "LOC")] * text_of(body).count("Amina")))
    with server.open() as url:
        tagger = tagger_of(replace(settings, llm_url=url))
        text = sentence * 200
        (answer,) = tagger.tag([Tokens.tokenize(text)])
        assert len(spans(text, answer)) == 400
        assert all(len(text_of(body)) <= 3000 for body in server.seen)


@pytest.mark.parametrize(
    ("formats", "expected"),
    [
        (("json_schema", "json_object"), ["json_schema"]),
        (("json_object",), ["json_schema", "json_object"]),
        ((), ["json_schema", "json_object", None]),
    ],
)
def test_servers_that_know_less_are_asked_for_less(
    settings: Settings, formats: tuple[str, ...], expected: list[str | None]
) -> None:
    content = 'Here you are:\n```json\n{"entities": [{"text": "Nairobi", "label": "LOC"}]}\n```'
    server = ChatServer(in_turn(content), formats=formats, temperature=bool(formats), usage=bool(formats))
    with server.open() as url:
        tagger = tagger_of(replace(settings, llm_url=url, llm_parallel=1))
        (answer,) = tagger.tag([Tokens.tokenize(TEXT)])
        assert spans(TEXT, answer) == [("Nairobi", "LOC")]
        tagger.tag([Tokens.tokenize("Nairobi again")])  # which remembers what the server knows
        asked = [body.get("response_format", {}).get("type") for body in server.seen]
        assert list(dict.fromkeys(asked)) == expected
        assert asked[-1] == expected[-1]
        assert ("temperature" in server.seen[-1]) == bool(formats)
        assert tagger.usage.uncounted == (0 if formats else 2)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(429, "Rate limit reached", {"Retry-After": "0.05"}),
        Fault(500, "The server had an error", {"retry-after-ms": "20"}),
        Fault(503, "Overloaded", {"retry-after-ms": "20"}),
        Fault(cut_connection=True),
        "",
        '{"entities": [{"text": "Nai',
        '{"names": []}',
        "I can't tell.",
        Fault(200, "not what the protocol says"),
        {"message": {"role": "assistant", "content": '{"entities": ['}, "finish_reason": "length"},
        {"message": {"role": "assistant", "content": None}},
    ],
    ids=str,
)
def test_a_fault_that_passes_does_no_harm(settings: Settings, fault: Answer) -> None:
    server = ChatServer(in_turn(fault, named(("Nairobi", "LOC"))))
    with server.open() as url:
        tagger = tagger_of(replace(settings, llm_url=url))
        (answer,) = tagger.tag([Tokens.tokenize(TEXT)])
        assert spans(TEXT, answer) == [("Nairobi", "LOC")]
        assert len(server.seen) == 2
        assert tagger.usage.requests + tagger.usage.retries == 2


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        ("", "empty"),
        ('{"entities": [{"te', "isn't the JSON"),
        ({"message": {"role": "assistant", "content": "{"}, "finish_reason": "length"}, "cut"),
        ({"message": {"role": "assistant", "content": None, "refusal": "I won't."}}, "refused it: I won't"),
        ({"message": {"role": "assistant", "content": ""}, "finish_reason": "content_filter"}, "refused"),
    ],
    ids=str,
)
def test_a_text_without_an_answer_is_named_and_the_others_are_tagged(
    settings: Settings, fault: Answer, problem: str
) -> None:
    server = ChatServer(lambda body: fault if "bad" in text_of(body) else named(("Nairobi", "LOC")))
    with server.open() as url:
        tagger = tagger_of(replace(settings, llm_url=url))
        good, bad = tagger.tag([Tokens.tokenize("Nairobi"), Tokens.tokenize("bad Nairobi")])
        assert spans("Nairobi", good) == [("Nairobi", "LOC")]
        assert isinstance(bad, RecordError)
        assert problem in str(bad)
        assert tagger.usage.unreadable == 1
        fault = named()  # it is asked again next time, and now it goes well
        assert tagger.tag([Tokens.tokenize("bad Nairobi")]) == [[]]


def test_a_text_that_is_too_long_for_the_model_is_named(settings: Settings) -> None:
    server = ChatServer(
        lambda body: (
            Fault(400, "This model's maximum context length is 16 tokens.")
            if "long" in text_of(body)
            else named(("Nairobi", "LOC"))
        )
    )
    with server.open() as url:
        tagger = tagger_of(replace(settings, llm_url=url, llm_parallel=1))
        good, bad = tagger.tag([Tokens.tokenize("Nairobi"), Tokens.tokenize("long Nairobi")])
        assert spans("Nairobi", good) == [("Nairobi", "LOC")]
        assert isinstance(bad, RecordError)
        assert "maximum context length" in str(bad)


@pytest.mark.parametrize(
    ("fault", "timeout", "problem"),
    [
        (Fault(429, "You exceeded your quota", {"retry-after-ms": "5"}), LIMIT, "rate limit"),
        (Fault(500, "broken", {"retry-after-ms": "5"}), LIMIT, "HTTP 500"),
        (Fault(seconds=LIMIT), 2.0, "no answer within 2 s"),
    ],
    ids=str,
)
def test_a_fault_that_stays_ends_the_run_and_keeps_what_was_answered(
    settings: Settings, fault: Fault, timeout: float, problem: str
) -> None:
    answers: list[Answer] = [named(("Nairobi", "LOC")), fault]
    server = ChatServer(lambda body: answers[1] if "bad" in text_of(body) else answers[0])
    with server.open() as url:
        asked = replace(settings, llm_url=url, llm_parallel=1, llm_timeout=timeout, llm_retries=1)
        with pytest.raises(PartialError, match=problem) as caught:
            tagger_of(asked).tag([Tokens.tokenize("Nairobi"), Tokens.tokenize("bad")])
        assert "2 times" in str(caught.value)
        assert KEY not in str(caught.value)
        answers[1] = named()
        before = len(server.seen)
        tagger = tagger_of(replace(asked, llm_timeout=LIMIT))
        good, late = tagger.tag([Tokens.tokenize("Nairobi"), Tokens.tokenize("bad")])
        assert (spans("Nairobi", good), late) == ([("Nairobi", "LOC")], [])
        assert (len(server.seen), tagger.usage.kept) == (before + 1, 1)


def test_what_is_configured_wrongly_is_said(settings: Settings, tmp_path: Path) -> None:
    texts = [Tokens.tokenize(TEXT)]
    with ChatServer(in_turn(named())).open() as url:
        for wrong, problem in (
            (replace(settings, llm_url=url, llm_api_key="sk-wrong-one"), "refused the key"),
            (replace(settings, llm_url=url, llm_api_key=""), "asks for a key"),
            (replace(settings, llm_url=url, tagger_model="nobody"), "doesn't know the model 'nobody'"),
            (replace(settings, llm_url=url.replace("/v1", "/v2")), "check llm.url"),
        ):
            with pytest.raises(ConfigurationError, match=problem) as caught:
                tagger_of(wrong).tag(texts)
            assert "sk-" not in str(caught.value)
    with pytest.raises(PartialError, match="can't be reached"):
        tagger_of(replace(settings, llm_url=url, llm_retries=0)).tag(texts)
    with pytest.raises(ConfigurationError, match="no endpoint"):
        tagger_of(settings)
    with pytest.raises(ConfigurationError, match="no language model"):
        tagger_of(replace(settings, llm_url=url, tagger_model=""))
    with pytest.raises(ConfigurationError, match="describes SHIP"):
        tagger_of(replace(settings, llm_url=url, tagger_prompts=("SHIP=a ship",)))
    server = ChatServer(in_turn(Fault(400, "no chat here")), formats=())
    with server.open() as url, pytest.raises(ConfigurationError, match="refuses what it is asked: no chat here"):
        tagger_of(replace(settings, llm_url=url)).tag(texts)
    (tmp_path / "key").write_text(f"{KEY}\n")
    loaded = load_settings(None, {"XNER_LABEL_LLM_API_KEY_FILE": str(tmp_path / "key")})
    assert loaded.llm_api_key == KEY
    file = tmp_path / "xner-label.toml"
    file.write_text(f'[llm]\napi_key = "{KEY}"\n')
    with pytest.raises(ConfigurationError, match="secret") as caught:
        load_settings(file, {})
    assert KEY not in str(caught.value)


def test_a_folder_that_cannot_be_written_only_costs_asking_again(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    server = ChatServer(in_turn(named(("Nairobi", "LOC"))))
    with server.open() as url:
        asked = replace(settings, llm_url=url, model_cache=str(tmp_path / "file"))
        for expected in (1, 2):
            assert tagger_of(asked).tag([Tokens.tokenize(TEXT)])[0]
            assert len(server.seen) == expected


def test_many_texts_are_asked_about_side_by_side(settings: Settings) -> None:
    together = threading.Barrier(4, timeout=LIMIT)

    def answer(body: dict[str, Any]) -> str:
        together.wait()
        return named(("Amina", "PER"))

    with ChatServer(answer).open() as url:
        tagger = tagger_of(replace(settings, llm_url=url, llm_parallel=4))
        texts = [f"{number} Amina" for number in range(80)]
        answers = tagger.tag([Tokens.tokenize(text) for text in texts])
        assert [spans(text, answer) for text, answer in zip(texts, answers, strict=True)] == [
            [("Amina", "PER")]
        ] * 80
        assert tagger.usage.requests == 80


def test_it_translates(settings: Settings) -> None:
    server = ChatServer(lambda body: json.dumps({"translation": f"{text_of(body)} in English "}))
    with server.open() as url:
        translator = translator_of(replace(settings, llm_url=url))
        answers = translator.translate(["Habari", "", "  ", " Habari\n", "Jina"])
        assert [getattr(answer, "text", "") for answer in answers] == [
            "Habari in English",
            "",
            "  ",
            "Habari in English",
            "Jina in English",
        ]
        assert translator.translate([]) == []
        assert len(server.seen) == 2
        assert "code sw into the one with the code en" in server.seen[0]["messages"][0]["content"]
        assert translator.signature.endswith(":sw>en")
    with ChatServer(in_turn('{"translation": " "}')).open() as url:
        (bad,) = translator_of(replace(settings, llm_url=url)).translate(["Tatu"])
        assert isinstance(bad, RecordError)


def test_the_commands_say_what_it_took_and_name_what_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XNER_LABEL_LLM_API_KEY", KEY)
    monkeypatch.setenv("XNER_LABEL_MODELS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XNER_LABEL_LLM_RETRIES", "0")
    file, out = tmp_path / "tasks.jsonl", tmp_path / "out.jsonl"
    rows = [{"id": 1, "text": "a", "source": TEXT}, {"id": 2, "text": "b", "source": "bad"}]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def run(command: str, url: str, *more: str, code: int = 0) -> tuple[str, str]:
        call = [command, str(file), "-o", str(out), "--model", "tiny", "--llm-url", url, *more]
        done = CliRunner().invoke(cli, call)
        exit_code = getattr(done.exception, "exit_code", None) or done.exit_code
        assert exit_code == code, done.output
        assert KEY not in done.output
        return done.stdout, done.stderr

    server = ChatServer(lambda body: "?" if "bad" in text_of(body) else named(("Nairobi", "LOC")))
    with server.open() as url:
        stdout, stderr = run("tag", url, "--tagger", "llm", "--json", code=5)
        document = json.loads(stdout)
        assert (document["written"], document["bad"], document["usage"]["requests"]) == (1, 1, 3)
        assert "line 2: source: the model's answer isn't the JSON" in stderr
        assert "llm: 3 requests" in stderr
        (row,) = map(json.loads, out.read_text().splitlines())
        assert [entity["label"] for entity in row["source_entities"]] == ["LOC"]
        monkeypatch.setenv("XNER_LABEL_LLM_API_KEY", "sk-wrong")
        run("tag", url, "--tagger", "llm", code=3)  # the first answer is kept, the second asks and says why not
    monkeypatch.setenv("XNER_LABEL_LLM_API_KEY", KEY)
    with ChatServer(in_turn('{"translation": "Hello"}')).open() as url:
        more = ("--translator", "llm", "--target-language", "sw", "--again", "--json")
        document = json.loads(run("translate", url, *more)[0])
        assert document["usage"]["input_tokens"] == 200
        assert [json.loads(line)["source"] for line in out.read_text().splitlines()] == ["Hello"] * 2
    run("translate", "http://127.0.0.1:9", *more[:-1], "--model", "other", code=5)


def test_the_benchmark_counts_what_it_took(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XNER_LABEL_LLM_API_KEY", KEY)
    monkeypatch.setenv("XNER_LABEL_MODELS_CACHE", str(tmp_path / "models"))
    file = tmp_path / "sw.jsonl"
    row = {"text": "Amina aliondoka", "source": "Amina left"}
    gold = [{"start": 0, "end": 5, "label": "PER"}]
    file.write_text("".join(json.dumps({"id": n, **row, "entities": gold}) + "\n" for n in range(5)))

    def answer(body: dict[str, Any]) -> str:
        translates = "translate" in body["messages"][0]["content"]
        return json.dumps({"translation": "Amina left"}) if translates else named(("Amina", "PER"), ("Ann", "PER"))

    server = ChatServer(answer)
    with server.open() as url:
        call = ["benchmark", str(file), "--methods", "string", "--taggers", "llm:tiny", "--aligners", "none"]
        call += ["--translators", "given,llm:tiny", "--llm-url", url, "--cache", str(tmp_path / "kept"), "--json"]
        done = CliRunner().invoke(cli, call)
        assert done.exit_code == 0, done.output
        assert len(server.seen) == 2  # five equal texts, translated once and tagged once
        rows = [row for row in json.loads(done.stdout)["rows"] if not row["published"]]
        assert [row["f1"] for row in rows] == [1.0, 1.0]
        translated = next(row for row in rows if row["translator"] == "llm:tiny")
        assert translated["stages"]["translator"]["usage"]["input_tokens"] == 100
        assert translated["stages"]["tagger"]["usage"]["dropped"] >= 1
        again = CliRunner().invoke(cli, call)
        assert json.loads(again.stdout)["rows"] == json.loads(done.stdout)["rows"]
        assert len(server.seen) == 2
        assert "100 tokens in" in CliRunner().invoke(cli, call[:-1]).stdout
