"""The readers of `import` for JSON: Hugging Face, doccano, Prodigy, Label Studio, arrays."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.reading import json_lines, named_error
from tests.reading import read as read
from xner_label.errors import UsageError

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


def test_hugging_face_is_told_by_its_fields_where_every_record_is_bad(read: Any) -> None:
    result = read("a.jsonl", json_lines({"tokens": ["Juma", "yuko"], "ner_tags": ["B-PER"]}))
    assert "ner_tags: 1 tags for 2 tokens" in str(result.errors[1])


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


def test_lines_without_ids_are_named_by_their_texts(read: Any) -> None:
    same = {"text": "Juma yuko Lamu", "entities": [{"start": 0, "end": 4, "label": "PER"}]}
    result = read("a.jsonl", json_lines(same, {"text": "Lamu"}, same, {"text": 5}, {"id": None, "text": "Lamu"}))
    first, second, again = (record.task.id for record in result.records)
    assert (first, first == second) == (again, False)
    assert result.entities[0] == [("Juma", "PER")]
    assert sorted(result.errors) == [4, 5]


def test_a_line_that_nests_too_deeply_spoils_its_record_alone(read: Any) -> None:
    deep = '{"id": 1, "text": "Lamu", "more": ' + "[" * 100_000 + "]" * 100_000 + "}"
    result = read("a.jsonl", deep + "\n" + json_lines({"text": "Juma"}, {"id": 3, "text": "Lamu"}))
    assert result.texts == ["Juma", "Lamu"]
    assert sorted(result.errors) == [1]
