"""That bulk prediction reads what `import` reads: each record of each format is predicted, or named."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_bulk import lines, run, task
from xner_label.exchange.importing import ImportOptions, import_file
from xner_label.store import migrating, tasks
from xner_label.store.database import open_store

SENTENCES = [task(number) for number in range(12)]


def written(folder: Path, name: str) -> Path:
    """Twelve records in a format."""
    path = folder / name
    texts = [record["text"] for record in SENTENCES]
    if name == "data-set":
        datasets = pytest.importorskip("datasets")
        datasets.Dataset.from_list(SENTENCES).save_to_disk(path)
    elif name == "splits":
        datasets = pytest.importorskip("datasets")
        half = {"train": SENTENCES[:5], "test": SENTENCES[5:]}
        datasets.DatasetDict({key: datasets.Dataset.from_list(rows) for key, rows in half.items()}).save_to_disk(
            path
        )
    elif name == "tasks.parquet":
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        parquet.write_table(pyarrow.Table.from_pylist(SENTENCES), path)
    elif name == "tasks.jsonl.zst":
        path.write_bytes(pytest.importorskip("zstandard").compress(lines(SENTENCES)))
    elif name == "tasks.jsonl.gz":
        path.write_bytes(gzip.compress(lines(SENTENCES)))
    elif name == "tasks.jsonl":
        path.write_bytes(lines(SENTENCES))
    elif name == "tasks.csv":
        path.write_text("id,text,source\n" + "".join(f'{n},"{text}",a source\n' for n, text in enumerate(texts)))
    elif name == "tasks.conll":
        path.write_text("\n\n".join("\n".join(f"{word} O" for word in text.split()) for text in texts) + "\n")
    else:
        path.write_text("\n".join(texts) + "\n")
    return path


@pytest.mark.parametrize(
    ("name", "lacking"),
    [
        ("tasks.jsonl", None),
        ("tasks.jsonl.gz", None),
        ("tasks.jsonl.zst", None),
        ("tasks.parquet", None),
        ("data-set", None),
        ("splits", None),
        ("tasks.csv", "source_entities"),
        ("tasks.conll", "source"),
        ("tasks.txt", "source"),
    ],
)
def test_every_record_is_predicted_or_named(tmp_path: Path, name: str, lacking: str | None) -> None:
    report = run([written(tmp_path, name)], tmp_path / "out", size=5)
    assert report.predicted + report.rejected == 12
    assert report.rejected == (0 if lacking is None else 12)
    if lacking is not None:
        rejected = (tmp_path / "out" / "_rejected.jsonl").read_bytes().splitlines()
        assert {json.loads(row)["field"] for row in rejected} == {lacking}


def test_a_data_set_brings_the_names_of_its_tags_and_its_splits(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    names = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
    tags = datasets.Sequence(datasets.ClassLabel(names=names))
    features = datasets.Features({"tokens": datasets.Sequence(datasets.Value("string")), "ner_tags": tags})
    rows: list[dict[str, Any]] = [{"tokens": ["Amina", "yuko", "Lamu"], "ner_tags": [1, 0, 3]}]
    split = datasets.Dataset.from_list(rows, features=features)
    datasets.DatasetDict({"dev": split}).save_to_disk(tmp_path / "set")
    with open_store(f"sqlite:///{tmp_path}/store.db", check=False) as store:
        migrating.upgrade(store)
        report = import_file(store, "default", ("PER", "LOC"), tmp_path / "set", ImportOptions(gold=True))
        assert (report.added, report.gold, report.bad) == (1, 1, 0)
        with store.read() as session:
            (stored,) = tasks.iterate_tasks(session, 1)
            assert (stored.split, stored.text) == ("dev", "Amina yuko Lamu")
    (tmp_path / "set" / "dev" / "state.json").write_text("{}")
    with pytest.raises(Exception, match="can't be read"):
        run([tmp_path / "set"], tmp_path / "out")
