"""Formats with more than lines of records: WebAnno TSV, brat's pairs of files, spaCy's DocBin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.reading import Read
from tests.reading import read as read
from xner_label.errors import UsageError
from xner_label.exchange.webanno import annotations_of, code_points, escape_text, escape_value, unescape, units

HEADER = "#FORMAT=WebAnno TSV 3.3\n"
ENTITIES = "#T_SP=de.tudarmstadt.ukp.dkpro.core.api.ner.type.NamedEntity|identifier|value\n"


# WebAnno TSV


def test_a_document_of_inception(read: Any) -> None:
    """As INCEpTION 3.3 exports it: several layers, numbers for what goes over tokens, stacked and nested spans."""
    content = (
        HEADER
        + "#T_SP=de.tudarmstadt.ukp.dkpro.core.api.lexmorph.type.pos.POS|PosValue|coarseValue\n"
        + ENTITIES
        + "#T_RL=webanno.custom.Relation|label|BT_webanno.custom.Span\n\n\n"
        + "#Text=Amina Juma yuko Chuo Kikuu cha Nairobi .\n"
        + "1-1\t0-5\tAmina\tPROPN\tPROPN\thttp://x/Q1[1]\tPER[1]\t_\t_\t\n"
        + "1-2\t6-10\tJuma\tPROPN\tPROPN\thttp://x/Q1[1]\tPER[1]\t_\t_\t\n"
        + "1-3\t11-15\tyuko\tV\tV\t_\t_\t_\t_\t\n"
        + "1-4\t16-20\tChuo\tN\tN\t*[2]\tORG[2]\t_\t_\t\n"
        + "1-5\t21-26\tKikuu\tN\tN\t*[2]\tORG[2]\t_\t_\t\n"
        + "1-6\t27-30\tcha\tADP\tADP\t*[2]\tORG[2]\t_\t_\t\n"
        + "1-7\t31-38\tNairobi\tPROPN\tPROPN\t*[2]|*\tORG[2]|LOC\t_\t_\t\n"
        + "1-8\t39-40\t.\tPUNCT\tPUNCT\t_\t_\t_\t_\t\n\n"
        + "#Text=Lamu\n"
        + "2-1\t41-45\tLamu\tPROPN\tPROPN\t*\tLOC\t_\t_\t\n"
    )
    result = read("a.tsv", content)
    assert (result.format, result.errors) == ("webanno", {})
    assert result.entities == [
        [("Amina Juma", "PER"), ("Chuo Kikuu cha Nairobi", "ORG"), ("Nairobi", "LOC")],
        [("Lamu", "LOC")],
    ]
    assert result.records[0].task.tokens[:3] == ("Amina", "Juma", "yuko")


def test_pieces_of_tokens_count_java_units(read: Any) -> None:
    """Two characters beyond U+FFFF come first, each two of Java's units; the name is the end of a token."""
    content = HEADER + ENTITIES + "\n#Text=𐍈𐍈 والقاهرة\n1-1\t0-4\t𐍈𐍈\t_\t_\t\n1-2\t5-13\tوالقاهرة\t_\t_\t\n"
    content += "1-2.1\t6-13\tالقاهرة\t*[1]\tLOC[1]\t\n"
    result = read("a.tsv", content)
    assert result.entities == [[("القاهرة", "LOC")]]


def test_a_feature_is_chosen_or_named(read: Any) -> None:
    body = "\n#Text=Amina\n1-1\t0-5\tAmina\tx\tPER\t\n"
    two = HEADER + "#T_SP=webanno.custom.A|f\n#T_SP=webanno.custom.B|g\n" + body
    with pytest.raises(UsageError, match=r"A\.f, B\.g"):
        read("a.tsv", two)
    for name in ("g", "B.g", "webanno.custom.B.g"):
        assert read("a.tsv", two, columns=(name,)).entities == [[("Amina", "PER")]]
    with pytest.raises(UsageError, match="names no one feature"):
        read("a.tsv", two, columns=("h",))
    only = HEADER + "#T_SP=webanno.custom.B|g\n\n#Text=Amina\n1-1\t0-5\tAmina\tPER\t\n"
    assert read("a.tsv", only).entities == [[("Amina", "PER")]]


def test_bad_lines_spoil_their_sentence_alone(read: Any) -> None:
    content = HEADER + ENTITIES + "\n#Text=Amina\n1-1 0-5 Amina\n\n#Text=Lamu\n2-1\t6-x\tLamu\t_\tLOC\t\n\n"
    content += "#Text=Juma\n3-1.1\t0-2\tJu\t_\tPER\t\n\n#Text=Juma\n4-1\t20-25\tBaraka\t_\tPER\t\n\n"
    content += "2-1\t0-1\tx\t_\t_\t\n\n#Text=Kisumu\n5-1\t26-32\tKisumu\t_\tLOC\t\n"
    result = read("a.tsv", content)
    assert sorted(result.errors) == [4, 7, 10, 13, 16]
    assert result.entities == [[("Kisumu", "LOC")]]


def test_other_versions_and_other_files_are_refused(read: Any) -> None:
    with pytest.raises(UsageError, match=r"WebAnno TSV 2 .*v3\.3"):
        read("a.tsv", "#FORMAT=WebAnno TSV 2\n")
    with pytest.raises(UsageError, match="doesn't begin"):
        read("a.tsv", "Amina\tPER\n", format="webanno")
    assert read("a.tsv", HEADER + ENTITIES).records == []


def test_a_value_that_is_missing_is_noted(read: Any) -> None:
    result = read("a.tsv", HEADER + ENTITIES + "\n#Text=Amina\n1-1\t0-5\tAmina\t_\t*\t\n")
    assert result.entities == [[]]
    assert result.records[0].notes == ("an annotation without a value isn't read",)


@given(st.text(st.characters(exclude_categories=("Cs",))), st.integers(1, 10**6))
def test_values_and_texts_come_back(value: str, number: int) -> None:
    text = value.replace("\n", " ")
    assert unescape(escape_text(text)) == text
    assert not set(escape_text(text)) & {"\t", "\r"}
    if value and value != "*" and value != "_":
        cell = f"{escape_value(value)}[{number}]"
        assert annotations_of(cell) == [(value, str(number))]
        assert annotations_of(f"{cell}|{escape_value(value)}") == [(value, str(number)), (value, "")]
    assert code_points(value, units(value)) == len(value)


# brat


def brat(folder: Path, **pairs: tuple[str, str | None]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, (text, lines) in pairs.items():
        (folder / f"{name}.txt").write_bytes(text.encode())
        if lines is not None:
            (folder / f"{name}.ann").write_bytes(lines.encode())
    return folder


def test_a_folder_of_brat(tmp_path: Path) -> None:
    text = "Amina 👩‍🌾 yuko\r\nChuo Kikuu\ncha Nairobi.\n"
    start = text.index("Chuo")
    cut = text.index("\n", start)
    annotations = (
        "T1\tPER 0 5\tAmina\n"
        f"T2\tORG {start} {cut};{cut + 1} {cut + 12}\tChuo Kikuu cha Nairobi\n"
        f"T3\tLOC 0 5;{start} {start + 4}\tAmina Chuo\n"
        "R1\tLives_In Arg1:T1 Arg2:T2\nE1\tX:T1\nA1\tNegation E1\nN1\tReference T1 W:1\tAmina\n"
        "#1\tNote T1\tsure?\n"
        "*\tEquiv T1 T2\nM1\tSure T1\n"
    )
    folder = brat(tmp_path / "corpus", b=("Lamu", None), a=(text, annotations))
    brat(folder / "sub", c=("Juma", ""))
    result = Read(folder)
    assert (result.format, result.errors) == ("brat", {})
    assert [record.task.id for record in result.records] == ["a", "b", "sub/c"]
    assert result.entities == [[("Amina", "PER"), ("Chuo Kikuu\ncha Nairobi", "ORG")], [], []]
    assert [record.unlabelled for record in result.records] == [False, True, False]
    assert "a discontinuous entity isn't read" in result.records[0].notes
    for path in (folder / "a.ann", folder / "a.txt"):
        assert Read(path, format="brat").texts == [text]


@pytest.mark.parametrize(
    ("annotations", "words"),
    [
        ("T1\tPER 0 50\tAmina\n", "doesn't fit a text of 12 code points"),
        ("T1\tPER 1 5\tAmina\n", "isn't what stands at 1 5"),
        ("T1 PER 0 5 Amina\n", "START END"),
        ("T1\tPER 5 0\tAmina\n", "doesn't fit"),
    ],
)
def test_a_bad_annotation_names_its_file_and_line(tmp_path: Path, annotations: str, words: str) -> None:
    folder = brat(
        tmp_path / "c", a=("Amina na Juma"[:12], "#1\tx\n" + annotations), b=("Lamu", "T1\tLOC 0 4\tLamu\n")
    )
    result = Read(folder)
    assert result.entities == [[("Lamu", "LOC")]]
    (error,) = result.errors.values()
    assert words in str(error)
    assert "a.ann" in str(error)
    assert error.line == 2


def test_brat_in_other_encodings(tmp_path: Path) -> None:
    folder = brat(tmp_path / "c", a=("x", "T1\tLOC 0 5\tGãmbá\n"))
    (folder / "a.txt").write_bytes("Gãmbá".encode("latin-1"))
    (folder / "a.ann").write_bytes("T1\tLOC 0 5\tGãmbá\n".encode("latin-1"))
    (error,) = Read(folder).errors.values()
    assert "byte 0xE3" in str(error)
    assert "a.txt" in str(error)
    assert Read(folder, encoding="latin-1").entities == [[("Gãmbá", "LOC")]]
    (error,) = Read(folder, encoding="ascii").errors.values()
    assert "isn't ascii throughout" in str(error)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.ann").write_text("")
    with pytest.raises(UsageError, match=r"a\.txt isn't there"):
        Read(tmp_path / "a.ann")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"holds no \.txt"):
        Read(tmp_path / "empty", format="brat")
    with pytest.raises(UsageError, match="no such file"):
        Read(tmp_path / "absent.spacy")


# spaCy


def test_a_docbin(tmp_path: Path) -> None:
    spacy = pytest.importorskip("spacy")
    from spacy.tokens import Doc, DocBin, Span

    nlp = spacy.blank("xx")
    labelled = nlp("Amina yuko  Chuo cha Nairobi.")
    labelled.set_ents([Span(labelled, 0, 1, "PER"), Span(labelled, 3, 6, "ORG")])
    overlapping = nlp("Chuo cha Nairobi")
    overlapping.spans["sc"] = [Span(overlapping, 0, 3, "ORG"), Span(overlapping, 2, 3, "LOC")]
    overlapping.set_ents([Span(overlapping, 0, 3, "ORG")])
    unlabelled = nlp("Lamu")
    nothing = nlp("Hapana.")
    nothing.set_ents([], default="outside")
    docs = [labelled, overlapping, unlabelled, nothing, Doc(nlp.vocab, words=["Juma"], spaces=[True])]
    DocBin(docs=docs, store_user_data=True).to_disk(tmp_path / "a.spacy")
    result = Read(tmp_path / "a.spacy")
    assert (result.format, result.errors) == ("spacy", {})
    assert result.entities == [
        [("Amina", "PER"), ("Chuo cha Nairobi", "ORG")],
        [("Chuo cha Nairobi", "ORG"), ("Nairobi", "LOC")],
        [],
        [],
        [],
    ]
    assert [record.unlabelled for record in result.records] == [False, False, True, False, True]
    assert result.records[0].task.tokens == ("Amina", "yuko", "Chuo", "cha", "Nairobi", ".")


@pytest.mark.parametrize("content", [b"", b"not a DocBin", b"x\x9c\x03\x00\x00\x00\x00\x01", b"\x1f\x8b\x08\x00"])
def test_what_is_no_docbin(tmp_path: Path, content: bytes) -> None:
    pytest.importorskip("spacy")
    (tmp_path / "a.spacy").write_bytes(content)
    with pytest.raises(UsageError, match="isn't a DocBin"):
        Read(tmp_path / "a.spacy")
