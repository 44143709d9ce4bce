"""The readers of `import`: how formats are told apart, and words with tags in columns."""

from __future__ import annotations

import codecs
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.reading import CASES, Read, named_error
from tests.reading import read as read
from xner_label.errors import UsageError
from xner_label.exchange.tag_schemes import decode_tags

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
    assert str(result.errors[12]) == "line 12: columns: 1 column, 2 in the lines before; the sentence is left out"


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
