"""The readers of `import`: tables, long fields, encodings and ends of lines."""

from __future__ import annotations

import codecs
from typing import Any

import click
import pytest

from tests.reading import CASES, Read, json_lines
from tests.reading import read as read
from xner_label.cli import export, import_
from xner_label.errors import UsageError
from xner_label.exchange.exporting import FOLDER_WRITERS
from xner_label.exchange.readers.formats import FORMATS
from xner_label.exchange.writers import WRITERS

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


@pytest.mark.parametrize("text", ["Ami\0na\nJuma\n", "Amina\0yuko\nJuma\n", "ab\0\n" + "他在北京。" * 8])
def test_a_nul_that_has_strayed_into_a_short_file_makes_no_wide_encoding(read: Any, text: str) -> None:
    result = read("a.txt", text)
    assert result.texts == text.splitlines()[1:]
    assert "NUL" in str(result.errors[1])


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
        (b"\x1f\x8b\x08", "gzip file that can't be unpacked"),
        (b"PK\x03\x04", "zip"),
        (b"PAR1", "Parquet file that can't be read"),
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
    missing = {"csv": "column", "brat": r"a\.txt isn't there", "spacy": "isn't a DocBin"}
    if format in missing:
        with pytest.raises(UsageError, match=missing[format]):
            read("a", "", format=format)
    else:
        assert read("a", "", format=format).tasks == {}


def test_the_commands_offer_every_format() -> None:
    def offered(command: click.Command) -> list[str]:
        return next(list(option.type.choices) for option in command.params if option.name == "format")

    assert offered(import_.command) == list(FORMATS)
    assert sorted(offered(export.command)) == sorted({*WRITERS, *FOLDER_WRITERS})
