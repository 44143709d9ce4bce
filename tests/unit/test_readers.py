"""The readers of `import`: every kind of file, well-formed and not, as numbered tasks and errors."""

from __future__ import annotations

import codecs
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xner_label.cli import export, import_
from xner_label.errors import RecordError, UsageError
from xner_label.exchange.checking import checked_task
from xner_label.exchange.readers.formats import FORMATS, open_records
from xner_label.exchange.readers.interface import ImportedTask, ReadOptions
from xner_label.exchange.tag_schemes import decode_tags
from xner_label.exchange.writers import WRITERS

CASES = Path(__file__).parents[1] / "cases"
LABELS = {"PER", "LOC", "ORG"}


class Read:
    """What a file gives: its format, the tasks by line, the errors by line."""

    def __init__(self, path: Path, **options: Any) -> None:
        self.tasks: dict[int, ImportedTask] = {}
        self.records: list[ImportedTask] = []
        self.errors: dict[int, RecordError] = {}
        with open_records(path, ReadOptions(**options)) as (self.format, records):
            for number, record in records:
                try:
                    if isinstance(record, RecordError):
                        raise record
                    checked_task(record, LABELS, drop=False, needs_entities=False)
                    self.tasks[number] = record
                    self.records.append(record)
                except RecordError as error:
                    self.errors[number] = error

    @property
    def texts(self) -> list[str]:
        return [record.task.text for record in self.records]

    @property
    def entities(self) -> list[list[tuple[str, str]]]:
        return [
            [(record.task.text[entity.start : entity.end], entity.label) for entity in record.task.entities or ()]
            for record in self.records
        ]


@pytest.fixture
def read(tmp_path: Path) -> Any:
    def call(name: str, content: bytes | str, **options: Any) -> Read:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return Read(path, **options)

    return call


def json_lines(*records: object) -> str:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


AMINA = [[("Amina Juma", "PER"), ("Kisumu", "LOC")], [("Baraka", "PER"), ("Lamu", "LOC")]]


@pytest.mark.parametrize(
    ("name", "format", "entities"),
    [
        ("tokens.txt", "conll", AMINA),
        ("hf-strings.jsonl", "hf", [[("Juma", "PER"), ("Lamu", "LOC")]]),
        ("studio-export.json", "label-studio", [[("Amina", "PER")]]),
        ("doccano.jsonl", "doccano", [[("Amina", "PER"), ("Kisumu", "LOC")]]),
        ("bom.jsonl", "jsonl", [[("Amina", "PER")]]),
    ],
)
def test_formats_are_told_by_their_content(name: str, format: str, entities: object) -> None:
    result = Read(CASES / name)
    assert (result.format, result.entities, result.errors) == (format, entities, {})
    assert Read(CASES / name, format=format).entities == entities


# CoNLL columns


@pytest.mark.parametrize(
    "tags",
    [
        "B-PER I-PER O B-LOC",  # IOB2
        "I-PER I-PER O I-LOC",  # IOB1
        "B-PER E-PER O S-LOC",  # BIOES
        "B-PER L-PER O U-LOC",  # BILOU
        "B-PER M-PER O S-LOC",  # BMES, cut off
        "I-PER E-PER O E-LOC",  # IOE2
        "PER PER O LOC",  # IO
        "B_PER I_PER O B_LOC",
        "PER-B PER-I O LOC-B",
        "b-PER i-PER o b-LOC",
    ],
)
def test_every_tag_scheme_gives_the_same_entities(tags: str) -> None:
    assert decode_tags(tags.split()) == [(0, 2, "PER"), (3, 4, "LOC")]


def test_neighbours_of_one_label_stay_apart() -> None:
    assert decode_tags(["B-PER", "B-PER", "I-PER"]) == [(0, 1, "PER"), (1, 3, "PER")]
    assert decode_tags(["I-PER", "B-PER"]) == [(0, 1, "PER"), (1, 2, "PER")]
    assert decode_tags(["S-PER", "S-PER", "U-PER"]) == [(0, 1, "PER"), (1, 2, "PER"), (2, 3, "PER")]
    assert decode_tags(["B-PER", "M-PER", "E-PER", "E-PER"]) == [(0, 3, "PER"), (3, 4, "PER")]
    assert decode_tags(["B-PER", "I-LOC", "O", "I-ORG"]) == [(0, 1, "PER"), (1, 2, "LOC"), (3, 4, "ORG")]


@given(st.lists(st.sampled_from(["O", *(f"{p}-{label}" for p in "BIESLUM" for label in ("PER", "LOC"))])))
def test_decoded_spans_are_in_order_apart_and_cover_every_tagged_token(tags: list[str]) -> None:
    spans = decode_tags(tags)
    assert all(first < last for first, last, _ in spans)
    assert all(before[1] <= after[0] for before, after in pairwise(spans))
    covered = {index: label for first, last, label in spans for index in range(first, last)}
    assert covered == {index: tag[2:] for index, tag in enumerate(tags) if tag != "O"}


SENTENCES = [["Amina Juma anaishi Kisumu .", "B-PER I-PER O B-LOC O"], ["Baraka yuko Lamu .", "B-PER O B-LOC O"]]


def conll(*columns: str, separator: str = "\t", blank: str = "\n", between: str = "") -> str:
    result = ""
    for number, (words, tags) in enumerate(SENTENCES, start=1):
        for index, (word, tag) in enumerate(zip(words.split(), tags.split(), strict=True), start=1):
            cells = {"word": word, "tag": tag, "n": str(index), "pos": "NNP", "chunk": "B-NP", "x": "_"}
            result += separator.join(cells[column] for column in columns) + "\n"
        result += blank + between.format(number)
    return result


@pytest.mark.parametrize("separator", ["\t", " ", "   ", ",", ";", "|"])
@pytest.mark.parametrize(
    "columns",
    [
        "word tag",
        "tag word",
        "word pos chunk tag",
        "n word tag",
        "word x x tag",
        "n word pos tag",
        "tag n word pos",
    ],
)
def test_columns_in_any_order(read: Any, columns: str, separator: str) -> None:
    for name in ("a.conll", "a.txt", "a.tsv", "a.bio", "a"):
        result = read(name, conll(*columns.split(), separator=separator))
        assert (result.format, result.entities, result.errors) == ("conll", AMINA, {}), name


@pytest.mark.parametrize("name", ["a.conll", "a.txt"])
@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("\n", "\r"),
        lambda text: text.rstrip("\n"),
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\n\n", "\n\n\n \n"),
        lambda text: "-DOCSTART- O\n\n" + text + "-DOCSTART- -X- O O\n\n",
        lambda text: "# global.columns = FORM NER\n" + text,
        lambda text: text.encode("utf-16"),
        lambda text: codecs.BOM_UTF32_BE + text.encode("utf-32-be"),
    ],
)
def test_conll_with_the_usual_oddities(read: Any, name: str, change: Any) -> None:
    result = read(name, change(conll("word", "tag")))
    assert (result.format, result.entities, result.errors) == ("conll", AMINA, {})


def test_conll_comments_give_ids_and_text(read: Any) -> None:
    content = "# id = 7\n# text = Amina anaishi  Kisumu.\nAmina\tB-PER\nanaishi\tO\nKisumu\tB-LOC\n.\tO\n"
    result = read("a.conll", content + "\n# sent_id = s-2\n#\tO\n1\tO\nLamu\tB-LOC\n")
    assert [record.task.id for record in result.tasks.values()] == ["7", "s-2"]
    assert result.texts == ["Amina anaishi  Kisumu.", "# 1 Lamu"]
    assert result.entities == [[("Amina", "PER"), ("Kisumu", "LOC")], [("Lamu", "LOC")]]
    assert list(result.tasks) == [3, 9]


def test_a_bad_conll_line_spoils_its_sentence_alone(read: Any) -> None:
    result = read("a.conll", conll("word", "tag") + "New\nYork\tB-LOC\n\n" + conll("word", "tag"))
    assert result.entities == AMINA * 2
    assert str(result.errors[12]) == "line 12: columns: 1 columns, 2 in the lines before; the sentence is left out"


def test_conll_that_could_be_read_in_two_ways_is_refused(read: Any) -> None:
    content = conll("word", "tag", "tag")
    with pytest.raises(UsageError, match=r"columns 2 and 3 both hold tags.*--columns"):
        read("a.conll", content)
    assert read("a.conll", content, columns=("token", "tag", "_")).entities == AMINA
    with pytest.raises(UsageError, match="one column 'tag'"):
        read("a.conll", content, columns=("token", "_", "_"))
    with pytest.raises(UsageError, match=r"which column holds the tags.*--columns"):
        read("a.conll", "just text\nnot this\n")


def test_conll_without_blank_lines_is_no_sentence(read: Any) -> None:
    result = read("a.conll", "neno\tO\n" * 10_001 + "\n" + conll("word", "tag"))
    assert result.entities == AMINA
    assert "no blank line in 10,000 tokens" in str(result.errors[10_001])


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("他 在 北 京 。", "他在北京。"),
        ("นาย สมชาย ใจดี", "นายสมชายใจดี"),
        ("东京 Tower 2020 年 は", "东京 Tower 2020 年は"),
        ("서울 에서 Amina", "서울 에서 Amina"),
    ],
)
def test_tokens_become_text_as_their_script_writes_it(read: Any, words: str, text: str) -> None:
    content = "".join(f"{word}\t{'B-LOC' if number == 0 else 'O'}\n" for number, word in enumerate(words.split()))
    result = read("a.conll", content)
    assert result.texts == [text]
    assert result.entities == [[(words.split()[0], "LOC")]]


def test_a_header_above_columns_is_named(read: Any) -> None:
    with pytest.raises(UsageError, match=r"first line .'word.*'. isn't a token with its tag"):
        read("a.conll", "word\tlabel\n" + conll("word", "tag") * 9)


def test_mistyped_tags_are_named(read: Any) -> None:
    content = conll("word", "tag") * 5 + "Lamu\tB-PLACE\n"
    assert "'PLACE' isn't in the project's set" in str(named_error(read, "a.txt", content))


def named_error(read: Any, name: str, content: str) -> RecordError:
    result = read(name, content)
    with pytest.raises(RecordError) as caught:
        for record in result.tasks.values():
            checked_task(record, LABELS, drop=False, needs_entities=True)
    return caught.value


@pytest.mark.parametrize(
    "content",
    [
        "Habari za leo\nJuma yuko Lamu .\n",
        "Vitamin O\nVitamin B\nVitamin C\n",
        "O\nO\nO\n",
        "[Amina] alikuja\n",
        "{haya} maneno\n",
        '{"text": "a"}\nsentensi\n',
        "a,b\n",
        "Text, kwa mfano.\n",
    ],
)
def test_sentences_are_text(read: Any, content: str) -> None:
    result = read("a.txt", content)
    assert (result.format, result.texts) == ("text", content.splitlines())


def test_what_only_looks_like_text_is_refused(read: Any) -> None:
    with pytest.raises(UsageError, match=r"looks like a table.*--format csv"):
        read("a.txt", "id\ttext\tsource\n1\tAmina\tAmina\n")
    with pytest.raises(UsageError, match=r"words with their tags.*--format conll"):
        read("a.txt", "Amina/B-PER Juma/I-PER anaishi/O Kisumu/B-LOC\n")
    assert read("a.txt", "Amina/B-PER Juma/I-PER\n", format="text").texts == ["Amina/B-PER Juma/I-PER"]
    with pytest.raises(UsageError, match="can't tell the format"):
        read("a.dat", "Amina\n")


# Hugging Face


@pytest.mark.parametrize("tokens", ["tokens", "words"])
@pytest.mark.parametrize("tags", ["ner_tags", "tags", "labels", "ner"])
def test_hugging_face_names_of_fields(read: Any, tokens: str, tags: str) -> None:
    record = {tokens: ["Amina", "Juma", "yuko", "Lamu"], tags: ["B-PER", "I-PER", "O", "B-LOC"]}
    for content in (json_lines(record), json.dumps([record]), json.dumps([record], indent=2)):
        for name in ("a.jsonl", "a.json", "a.txt"):
            result = read(name, content)
            assert (result.format, result.entities) == ("hf", [[("Amina Juma", "PER"), ("Lamu", "LOC")]])


def test_hugging_face_tokens_alone_are_texts(read: Any) -> None:
    result = read("a.jsonl", json_lines({"id": "0", "tokens": ["Amina", "yuko"]}))
    assert (result.format, result.texts, result.records[0].task.entities) == ("hf", ["Amina yuko"], None)
    assert "gold needs them" in str(named_error(read, "a.jsonl", json_lines({"tokens": ["Amina"]})))


def test_hugging_face_numbers_need_names(read: Any) -> None:
    content = json_lines({"id": "0", "tokens": ["Juma", "yuko", "Lamu"], "ner_tags": [1, 0, 5]})
    with pytest.raises(UsageError, match=r"`ner_tags` holds numbers.*--tag-names"):
        read("a.jsonl", content)
    names = ("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC")
    assert read("a.jsonl", content, tag_names=names).entities == [[("Juma", "PER"), ("Lamu", "LOC")]]
    assert "tag 5 has no name" in str(read("a.jsonl", content, tag_names=names[:3]).errors[1])


def test_hugging_face_bad_records_are_named(read: Any) -> None:
    result = read(
        "a.jsonl",
        json_lines(
            {
                "tokens": ["Juma", "\u200b", " ", "Lamu"],
                "ner_tags": ["B-PER", "O", "O", "B-LOC"],
                "pos_tags": [1, 2],
            },
            {"tokens": ["Juma"], "ner_tags": ["B-PER", "O"]},
            {"tokens": ["Juma"], "ner_tags": [None]},
            {"tokens": [], "ner_tags": []},
            {"ner_tags": []},
            {"tokens": ["Lamu"], "ner_tags": ["B-LOC"], "text": "Mombasa"},
            {"id": 3, "tokens": ["Lamu", "!"], "ner_tags": ["B-LOC", "O"], "text": "Lamu!", "split": "test"},
        ),
        format="hf",
    )
    assert {number: error.field for number, error in result.errors.items()} == {
        2: "ner_tags",
        3: "ner_tags[0]",
        4: "tokens",
        5: "tokens",
        6: "tokens",
    }
    assert result.entities == [[("Juma", "PER"), ("Lamu", "LOC")], [("Lamu", "LOC")]]
    assert result.tasks[1].notes == ("field `pos_tags` isn't read",)
    assert (result.tasks[7].task.id, result.tasks[7].task.text, result.tasks[7].split) == (3, "Lamu!", "test")


# doccano, Prodigy


@pytest.mark.parametrize(
    "record",
    [
        {"id": 1, "text": "Amina Lamu", "label": [[0, 5, "PER"], [6, 10, "LOC"]]},
        {"id": 1, "text": "Amina Lamu", "labels": [[0, 5, "PER"], [6, 10, "LOC"]]},
        {"id": 1, "data": "Amina Lamu", "label": [[0, 5, "PER"], [6, 10, "LOC"]]},
        {
            "id": 1,
            "text": "Amina Lamu",
            "entities": [
                {"id": 4, "start_offset": 0, "end_offset": 5, "label": "PER"},
                {"id": 5, "start_offset": 6, "end_offset": 10, "label": "LOC"},
            ],
            "relations": [],
        },
        {"text": "Amina Lamu", "entities": [[0, 5, "PER"], [6, 10, "LOC"]]},
        {
            "text": "Amina Lamu",
            "spans": [{"start": 0, "end": 5, "label": "PER"}, {"start": 6, "end": 10, "label": "LOC"}],
            "answer": "accept",
            "_input_hash": 7,
        },
    ],
)
def test_spans_by_other_names(read: Any, record: dict[str, Any]) -> None:
    for content in (json_lines(record), json.dumps([record, record])):
        result = read("a.jsonl", content)
        assert result.entities[0] == [("Amina", "PER"), ("Lamu", "LOC")]
        assert result.format == ("prodigy" if "spans" in record else "doccano")


def test_bad_spans_are_named(read: Any) -> None:
    good = {"id": 1, "text": "Amina", "label": []}
    result = read(
        "a.jsonl",
        json_lines(good, {"id": 2, "text": "Amina", "label": [[0, 5]]}, {"id": 3, "text": 4, "label": []}, good),
        format="doccano",
    )
    assert {number: error.field for number, error in result.errors.items()} == {2: "label[0]", 3: "text"}
    assert len(result.tasks) == 2


def test_prodigy_takes_accepted_answers_alone(read: Any) -> None:
    result = read("a.jsonl", json_lines({"text": "Amina", "spans": [], "answer": "reject"}))
    assert [(record.unlabelled, record.task.entities) for record in result.tasks.values()] == [(True, None)]


def test_unread_fields_are_noted(read: Any) -> None:
    result = read("a.jsonl", json_lines({"id": 1, "text": "Amina", "label": "positive", "meta": {}}))
    assert result.format == "jsonl"
    assert result.tasks[1].notes == ("field `label` isn't read", "field `meta` isn't read")


# Label Studio


def region(start: int, end: int, label: str, text: str | None = None, **more: Any) -> dict[str, Any]:
    value = {"start": start, "end": end, "labels": [label], **({} if text is None else {"text": text})}
    return {"id": "r", "from_name": "label", "to_name": "text", "type": "labels", "value": value, **more}


def studio_task(*results: list[dict[str, Any]], text: str = "Amina yuko Lamu", **more: Any) -> dict[str, Any]:
    annotations = [{"id": n, "was_cancelled": False, "result": result} for n, result in enumerate(results)]
    return {"id": 11, "data": {"text": text}, "annotations": annotations, **more}


def test_label_studio_takes_the_newest_annotation_that_counts(read: Any) -> None:
    older, newer = [region(0, 5, "LOC")], [region(0, 5, "PER", "Amina"), {"type": "choices"}, {"type": "relation"}]
    task = studio_task(newer, older, predictions=[{"result": [region(11, 15, "LOC")]}])
    task["annotations"][0]["updated_at"] = "2026-02-01T00:00:00Z"
    task["annotations"][1]["updated_at"] = "2026-01-01T00:00:00Z"
    skipped = studio_task([region(11, 15, "LOC")])
    skipped["annotations"][0]["was_cancelled"] = True
    predicted = {"id": 3, "data": {"text": "Lamu"}, "predictions": [{"result": [region(0, 4, "LOC")]}]}
    result = read("a.json", json.dumps([task, skipped, predicted, studio_task([])]))
    records = result.records
    assert result.entities == [[("Amina", "PER")], [], [], []]
    assert [record.unlabelled for record in records] == [False, True, True, False]
    assert "differ" in records[0].notes[0]
    assert "no gold" in records[1].notes[0]


def test_label_studio_ids_and_sources_of_our_own_come_back(read: Any) -> None:
    task = studio_task([region(0, 5, "PER")])
    task["data"] |= {"xner_id": "a-7", "source_text": "Amina is in Lamu", "min_conf": 0.4, "note": "x"}
    record = next(iter(read("a.json", json.dumps([task])).tasks.values()))
    assert (record.task.id, record.task.source) == ("a-7", "Amina is in Lamu")
    assert record.notes == ("field `note` isn't read",)


def test_label_studio_minimal_export(read: Any) -> None:
    record = {
        "text": "Amina yuko Lamu",
        "id": 11,
        "label": [{"start": 0, "end": 5, "text": "Amina", "labels": ["PER"]}],
        "annotator": 1,
        "annotation_id": 5,
        "created_at": "2026",
        "updated_at": "2026",
        "lead_time": 3.2,
    }
    result = read("a.json", json.dumps([record]))
    assert (result.format, result.entities) == ("label-studio", [[("Amina", "PER")]])
    assert result.tasks[1].notes == ()


def test_label_studio_regions_that_cannot_be_entities_are_named(read: Any) -> None:
    two = region(0, 5, "PER")
    two["value"]["labels"] = ["PER", "LOC"]
    tasks = [
        studio_task([two]),
        studio_task([region(0, 5, "PER", "Juma")]),
        studio_task([{"type": "hypertextlabels", "value": {}}]),
        studio_task([region(0, 99, "PER")]),
        studio_task([region(0, 7, "PER", "A\\nb c")], text="A\nb \tc d"),
        {"data": {"a": "x", "b": "y"}, "annotations": []},
        studio_task([{"type": "labels", "value": {"start": "0", "end": 5, "labels": ["PER"]}}]),
    ]
    result = read("a.json", "[\n" + ",\n".join(map(json.dumps, tasks)) + "\n]\n")
    assert {number: error.field for number, error in result.errors.items()} == {
        2: "[0].result[0].labels",
        3: "[1].result[0]",
        4: "[2].result[0]",
        5: "entities[0]",
        7: "[5].data.text",
        8: "[6].result[0].start",
    }
    assert list(result.tasks) == [6]


# JSON


def test_json_arrays_are_read_item_by_item(read: Any) -> None:
    task = {"id": 1, "text": 'a "[{\\" b', "source": "]}"}
    for content in (
        json.dumps([task, task]),
        json.dumps([task, task], indent=4).replace("\n", "\r\n"),
        "\ufeff [" + json.dumps(task) + "\n,\n" + json.dumps(task) + ",]\n\n",
    ):
        result = read("a.json", content)
        assert (result.texts, result.errors) == ([task["text"]] * 2, {})


def test_json_arrays_beyond_one_chunk(read: Any) -> None:
    tasks = [{"id": n, "text": 'neno [\\" ' * (n % 300 + 1)} for n in range(3_000)]
    assert read("a.json", json.dumps(tasks)).texts == [task["text"] for task in tasks]
    assert list(read("a.json", json.dumps(tasks, indent=1)).tasks) == [2 + 4 * n for n in range(3_000)]


@pytest.mark.parametrize(
    ("content", "good", "problem"),
    [
        ('[{"id": 1, "text": "a"}, {"id": 2, "te', 1, "cut off"),
        ('[{"id": 1, "text": "a"}', 0, "cut off"),
        ('[{"id": 1, "text": "a"}] {"id": 2}', 1, "after the array"),
        ('[{"id": 1, "text": "a"}}, {"id": 2, "text": "b"}]', 0, "closing brace"),
        ('[{"id": 1, "text": "a"}, 5, "x", {"id": 2, "text": "b"}]', 2, "Expected `object`"),
        ('[{"id": 1, "text": "a"}, {"id": 2 "text": "b"}, {"id": 3, "text": "c"}]', 2, "malformed"),
        ("[]", 0, ""),
    ],
)
def test_broken_arrays(read: Any, content: str, good: int, problem: str) -> None:
    result = read("a.json", content, format="jsonl")
    assert len(result.records) == good
    assert problem in "".join(map(str, result.errors.values()))


def test_an_object_over_several_lines_is_refused_in_one_sentence(read: Any) -> None:
    with pytest.raises(UsageError, match="goes over several lines"):
        read("a.json", json.dumps({"id": 1, "text": "a"}, indent=2))


# Tables


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_tables_with_any_separator(read: Any, separator: str, name: str, end: str) -> None:
    rows = [["id", "Text", "source"], ["1", '"Amina, ""Juma""; a\tb|c"', "Amina"], ["", "Lamu", ""], []]
    for mark, encoding in ((b"", "utf-8"), (codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le")):
        content = mark + end.join(separator.join(row) for row in rows).encode(encoding)
        result = read(name, content)
        assert (result.format, result.texts, result.errors) == ("csv", ['Amina, "Juma"; a\tb|c', "Lamu"], {})
        assert [record.task.source for record in result.tasks.values()] == ["Amina", None]


def test_rows_of_another_width_are_bad(read: Any) -> None:
    result = read("a.csv", "id,text,source\n1,a,b,c\n2,Juma\n\n3,Lamu,Lamu\n ,,\n4,x,\n")
    assert result.texts == ["Lamu", "x"]
    assert {number: str(error)[:25] for number, error in result.errors.items()} == {
        2: "csv: 4 cells for 3 column",
        3: "csv: 2 cells for 3 column",
    }


@pytest.mark.parametrize(
    "broken", ['1,"Amina, b\n', '1,"Amina" said,b\n', '1,"Amina\nJuma" said,b\n', '1,"a\n2,"b",c\n3,"d,e\n']
)
def test_a_broken_quote_spoils_its_row_alone(read: Any, broken: str) -> None:
    good = '7,"Lamu, ""Kenya""",x\n8,Juma,y\n'
    result = read("a.csv", "id,text,source\n" + broken + good)
    assert result.texts[-2:] == ['Lamu, "Kenya"', "Juma"]
    assert min(result.errors) == 2


def test_tables_say_what_they_lack(read: Any) -> None:
    with pytest.raises(UsageError, match=r"no column 'text'.*--columns id,text,source"):
        read("a.csv", "1;Amina;Amina\n")
    result = read("a.csv", "sep=;\n1;Amina;Amina\n2;Juma;Juma\n", columns=("id", "text", "source"))
    assert result.texts == ["Amina", "Juma"]
    assert list(result.tasks) == [2, 3]
    assert list(read("a.csv", "sep=;\nid;text\n1;Amina\n").tasks) == [3]
    with pytest.raises(UsageError, match="two columns 'text'"):
        read("a.csv", "text,text\n")
    assert read("a.csv", "id,text,topic\n1,Amina,x\n").tasks[2].notes == ("column `topic` isn't read",)


def test_fields_may_be_long_in_every_format(read: Any) -> None:
    text = "neno " * 40_000 + "."
    assert read("a.csv", f'id,text\n1,"{text}"\n2,Juma\n').texts == [text, "Juma"]
    assert read("a.jsonl", json_lines({"id": 1, "text": text})).texts == [text]
    assert read("a.txt", text + "\n").texts == [text]


# Encodings and line ends


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.csv", "a.conll"])
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("script", ["Amina anaishi Kisumu.", "አማርኛ ቋንቋ።", "他在北京。"])
def test_wide_encodings_without_a_mark_are_named(read: Any, name: str, encoding: str, script: str) -> None:
    content = {
        "a.txt": f"{script}\n{script}\n",
        "a.jsonl": json_lines({"id": 1, "text": script}),
        "a.csv": f"id,text\n1,{script}\n",
        "a.conll": f"{script.split()[0]} B-PER\n{script.split()[-1]} O\n",
    }[name]
    with pytest.raises(UsageError, match=f"{encoding.upper()} without a byte order mark.*--encoding {encoding}"):
        read(name, content.encode(encoding))
    assert len(read(name, content.encode(encoding), encoding=encoding).tasks) in (1, 2)


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.csv", "a.conll"])
def test_a_byte_that_is_not_utf8_spoils_its_record_alone(read: Any, name: str) -> None:
    texts = ["Amina", "caf\N{LATIN SMALL LETTER E WITH ACUTE}", "Lamu"]
    content = {
        "a.txt": "\n".join(texts),
        "a.jsonl": json_lines(*({"id": n, "text": text} for n, text in enumerate(texts))),
        "a.csv": "id,text\n" + "\n".join(f"{n},{text}" for n, text in enumerate(texts)),
        "a.conll": "\n\n".join(f"{text}\tB-PER\nx\tO" for text in texts),
    }[name].encode("latin-1")
    result = read(name, content)
    assert len(result.tasks) == 2
    assert "0xe9" in str(next(iter(result.errors.values()))).lower()
    assert len(read(name, content, encoding="latin-1").tasks) == 3


def test_encodings_that_do_not_fit_are_refused(read: Any) -> None:
    with pytest.raises(UsageError, match="no encoding 'latin-42'"):
        read("a.txt", "a", encoding="latin-42")
    with pytest.raises(UsageError, match="no encoding 'hex'"):
        read("a.txt", "a", encoding="hex")
    with pytest.raises(UsageError, match="isn't ascii throughout"):
        read("a.txt", "caf\N{LATIN SMALL LETTER E WITH ACUTE}", encoding="ascii")
    for content, what in (
        (b"\x1f\x8b\x08", "gzip"),
        (b"PK\x03\x04", "zip"),
        (b"PAR1", "Parquet"),
        (b"%PDF-1", "PDF"),
    ):
        with pytest.raises(UsageError, match=what):
            read("a.txt", content)


def test_lines_end_in_any_way_and_nowhere_else(read: Any) -> None:
    texts = ["a\u2028b", "c\x0bd", "e\x85f", "g\x1ch"]
    for end in ("\n", "\r\n", "\r", "\r\r\n\n"):
        assert read("a.txt", end.join(texts)).texts == texts
    content = json_lines(*({"id": n, "text": text} for n, text in enumerate(texts)))
    assert read("a.jsonl", content.replace("\n", "\r")).texts == texts
    assert Read(CASES / "cr-only.txt").texts == ["Amina anaishi Kisumu.", "Juma yuko Lamu.", "Baraka."]


@pytest.mark.parametrize("format", sorted(FORMATS))
def test_an_empty_file_is_no_error_or_says_what_is_missing(read: Any, format: str) -> None:
    if format == "csv":
        with pytest.raises(UsageError, match="column"):
            read("a", "", format=format)
    else:
        assert read("a", "", format=format).tasks == {}


def test_the_commands_offer_every_format() -> None:
    def offered(command: click.Command) -> list[str]:
        return next(list(option.type.choices) for option in command.params if option.name == "format")

    assert offered(import_.command) == list(FORMATS)
    assert offered(export.command) == list(WRITERS)
