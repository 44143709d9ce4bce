"""Bulk prediction: files in every format, nothing made twice, whatever stops it."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from tests.processes import LIMIT, begin
from tests.soak import rounds
from xner_label.bulk.options import BulkOptions
from xner_label.bulk.prediction import predict_files
from xner_label.cli.main import cli
from xner_label.errors import ConfigurationError, PartialError, StoreUnavailableError, UsageError
from xner_label.settings.table import Settings

NAMES = ("Amina", "Juma", "Baraka", "Neema", "Otieno Ouma", "Wanjiru")
PLACES = ("Kisumu", "Lamu", "Dodoma", "Nairobi")
SETTINGS = Settings(tagger="given", aligner="none")


def task(number: int) -> dict[str, Any]:
    name, place = NAMES[number % len(NAMES)], PLACES[number % len(PLACES)]
    source = f"{name} went to {place} on day {number}."
    at = source.index(place)
    return {
        "id": f"t{number}",
        "text": f"{name} alienda {place} siku ya {number}.",
        "source": source,
        "source_entities": [
            {"start": 0, "end": len(name), "label": "PER"},
            {"start": at, "end": at + len(place), "label": "LOC"},
        ],
    }


def lines(records: Sequence[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(record) + "\n" for record in records).encode()


def predicted(folder: Path) -> list[dict[str, Any]]:
    """All predictions of a folder, in the order of its manifest."""
    parts = json.loads((folder / "_manifest.json").read_bytes())["parts"]
    assert sorted(parts) == sorted(path.name for path in folder.glob("part-*"))
    return [json.loads(line) for part in parts for line in (folder / part).read_bytes().splitlines()]


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    path = tmp_path / "tasks.jsonl"
    path.write_bytes(lines([task(number) for number in range(300)]))
    return path


def run(files: Sequence[Path], folder: Path, size: int = 40, **more: Any) -> Any:
    return predict_files(SETTINGS, files, folder, BulkOptions(part_size=size, **more))


def test_it_writes_what_project_writes(tasks: Path, tmp_path: Path) -> None:
    report = run([tasks], tmp_path / "out")
    assert (report.predicted, report.rejected, report.made) == (300, 0, report.parts)
    CliRunner().invoke(cli, ["project", str(tasks), "-o", str(tmp_path / "lines.jsonl")], catch_exceptions=False)
    expected = [json.loads(line) for line in (tmp_path / "lines.jsonl").read_bytes().splitlines()]
    assert predicted(tmp_path / "out") == expected
    for options in ({"part_format": "jsonl.gz"}, {"part_format": "jsonl.zst"}, {"part_format": "parquet"}):
        assert run([tasks], tmp_path / "out", **options).made  # another format takes the place of the one before
        assert len({path.suffix for path in (tmp_path / "out").glob("part-*")}) == 1
    from pyarrow import parquet

    table = parquet.read_table(tmp_path / "out", columns=["id", "entities"])  # a folder is a data set
    assert table.num_rows == 300


def test_only_batches_whose_records_changed_are_made_again(tasks: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = run([tasks], out)
    before = {path.name.split("-")[3] for path in out.glob("part-*")}
    assert run([tasks], out).made == 0
    records = [json.loads(line) for line in tasks.read_bytes().splitlines()]
    tasks.write_bytes(lines([*records[:150], task(1000), *records[150:]]))
    assert 1 <= run([tasks], out).made <= 2 < first.parts
    tasks.write_bytes(lines([*records, task(2000)]))
    more = run([tasks], out)
    assert 1 <= more.made <= 3
    assert [record["id"] for record in predicted(out)] == [*(f"t{number}" for number in range(300)), "t2000"]
    assert len(before & {path.name.split("-")[3] for path in out.glob("part-*")}) >= len(before) - 2
    tasks.write_bytes(b"")
    assert run([tasks], out).parts == 0
    assert predicted(out) == []


def test_packed_files_and_several_formats_are_read_as_one_input(tasks: Path, tmp_path: Path) -> None:
    import pyarrow
    import zstandard
    from pyarrow import parquet

    content = tasks.read_bytes()
    packed, zipped, columns = tmp_path / "a.jsonl.gz", tmp_path / "b.jsonl.zst", tmp_path / "c.parquet"
    packed.write_bytes(gzip.compress(content))
    zipped.write_bytes(zstandard.compress(content))
    parquet.write_table(pyarrow.Table.from_pylist([task(number) for number in range(300)]), columns)
    plain = run([tasks], tmp_path / "plain")
    for path in (packed, zipped, columns):
        run([path], tmp_path / path.name.partition(".")[0])
        assert predicted(tmp_path / path.name.partition(".")[0]) == predicted(tmp_path / "plain")
    report = run([tasks, packed, zipped, columns], tmp_path / "all")
    assert report.predicted == 1200
    assert report.made == plain.parts
    packed.write_bytes(packed.read_bytes()[:-20])
    with pytest.raises(UsageError, match="can't be unpacked"):
        run([packed], tmp_path / "cut")


def test_bad_records_lie_beside_with_reasons(tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    good = [lines([task(number)]) for number in range(30)]
    path.write_bytes(b"".join([*good[:10], b"{not json\n", lines([{"id": "x", "text": "Amina."}]), *good[10:]]))
    report = run([path], tmp_path / "out", size=7)
    assert (report.predicted, report.rejected) == (30, 2)
    rejected = [json.loads(line) for line in (tmp_path / "out" / "_rejected.jsonl").read_bytes().splitlines()]
    assert [(row["line"], row["field"], row.get("id")) for row in rejected] == [
        (11, "json", None),
        (12, "source", "x"),
    ]
    assert run([path], tmp_path / "out", size=7).rejected == 2
    path.write_bytes(b"\n" + path.read_bytes())  # their lines are others now
    assert run([path], tmp_path / "out", size=7).made <= 2
    rejected = [json.loads(line) for line in (tmp_path / "out" / "_rejected.jsonl").read_bytes().splitlines()]
    assert [row["line"] for row in rejected] == [12, 13]
    outcome = CliRunner().invoke(cli, ["predict", str(path), "-o", str(tmp_path / "out")])
    assert isinstance(outcome.exception, PartialError)
    assert "_rejected.jsonl" in str(outcome.exception)
    table = tmp_path / "table.csv"
    table.write_text("id,text,source\n1,Juma yuko Lamu.,Juma is in Lamu.\n2,only two\n", encoding="utf-8")
    report = run([table], tmp_path / "csv")
    assert (report.predicted, report.rejected) == (0, 2)  # nobody tagged the first


def test_files_of_the_same_content_have_a_part_each(tasks: Path, tmp_path: Path) -> None:
    tasks.write_bytes(lines([task(number) for number in range(60)]) + b"{}\n")
    alone, out, copies = tmp_path / "alone", tmp_path / "out", [tmp_path / f"copy{number}" for number in range(2)]
    for copy in copies:
        copy.write_bytes(tasks.read_bytes())
    assert run([tasks], alone, size=20).predicted == 60
    rows = predicted(alone)
    for files, times in (([tasks, *copies], 3), ([copies[1], tasks], 2), ([tasks], 1), ([tasks, *copies], 3)):
        report = run(files, out, size=20)
        assert (report.predicted, report.rejected, report.parts % times) == (60 * times, times, 0)
        assert predicted(out) == rows * times
        again = run(files, out, size=20)
        assert (again.predicted, again.made, predicted(out)) == (60 * times, 0, rows * times)
    arguments = ["predict", *map(str, [tasks, tasks.parent / "." / tasks.name, copies[0]]), "-o", str(out)]
    outcome = CliRunner().invoke(cli, [*arguments, "--tagger", "given", "--aligner", "none", "--part-size", "20"])
    assert isinstance(outcome.exception, PartialError)
    assert "was given more than once: it is read once" in outcome.stderr
    assert predicted(out) == rows * 2


def test_what_cannot_work_is_refused_before_anything_is_written(tasks: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="isn't a folder"):
        run([tasks], tasks)
    with pytest.raises(UsageError, match="can't read"):
        run([tmp_path / "nothing.jsonl"], tmp_path / "out")
    eflomal = Settings(tagger="given", aligner="eflomal", chosen=frozenset({"aligner"}))
    with pytest.raises(ConfigurationError, match="reads all tasks"):
        predict_files(eflomal, [tasks], tmp_path / "out", BulkOptions())
    for line in ("-o out", f"{tasks}", f"{tasks} -o out --limit 3", "--engine ray"):
        outcome = CliRunner().invoke(cli, ["predict", *line.split()])
        assert isinstance(outcome.exception, UsageError)


@pytest.mark.soak
def test_a_killed_run_goes_on_where_it_stopped(tasks: Path, tmp_path: Path, command_line: list[str]) -> None:
    tasks.write_bytes(lines([task(number) for number in range(4000)]))
    out, undisturbed = tmp_path / "out", tmp_path / "undisturbed"
    arguments = [
        *command_line,
        "predict",
        str(tasks),
        "--tagger",
        "given",
        "--aligner",
        "none",
        "--part-size",
        "20",
    ]
    made: set[str] = set()
    for _ in range(rounds(2)):
        process = begin([*arguments, "-o", str(out)], stderr=subprocess.DEVNULL)
        wanted = len(made) + 3
        while process.poll() is None and len(list(out.glob("part-*"))) < wanted:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
        present = {path.name for path in out.glob("part-*")}
        assert made <= present  # nothing of before is lost, or made again
        made = present
    times = {name: (out / name).stat().st_mtime_ns for name in made}
    run([tasks], out, size=20)
    assert times == {name: (out / name).stat().st_mtime_ns for name in made}
    run([tasks], undisturbed, size=20)
    assert {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()} == {
        path.name: path.read_bytes() for path in undisturbed.iterdir() if path.is_file()
    }


def test_two_runs_do_not_write_into_one_folder(tasks: Path, tmp_path: Path) -> None:
    from xner_label.bulk.parts import PartsFolder

    with (
        PartsFolder(tmp_path / "out", "jsonl").opened(),
        pytest.raises(StoreUnavailableError, match="another run"),
    ):
        run([tasks], tmp_path / "out")


def test_ray_writes_the_same_parts_also_when_an_actor_dies(
    tasks: Path, tmp_path: Path, command_line: list[str]
) -> None:
    pytest.importorskip("ray")
    arguments = ["--part-size", "20", "--tagger", "given", "--aligner", "none", "--engine", "ray", "--actors", "2"]
    for count in (6_000, 12_000):  # on a busy machine one may have done it all before the other has started
        tasks.write_bytes(lines([task(number) for number in range(count)]) + b"{}\n")
        embedded, out = tmp_path / f"embedded{count}", tmp_path / f"ray{count}"
        command = [*command_line, "predict", str(tasks), "-o", str(out), *arguments]
        process = begin(command, stderr=subprocess.PIPE, text=True)
        busy: list[int] = []
        while process.poll() is None and len(busy) < 2:
            busy += [actor for actor in actors_of(process.pid, ".submit") if actor not in busy]
            time.sleep(0.01)
        if len(busy) == 2:
            break
        process.communicate()
    assert len(busy) == 2, "both were to get some of the file"
    with suppress(ProcessLookupError):
        os.kill(busy[0], signal.SIGKILL)
    said = process.communicate(timeout=LIMIT)[1]
    assert process.returncode == 5, said  # one record is bad
    run([tasks], embedded, size=20)
    assert {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()} == {
        path.name: path.read_bytes() for path in embedded.iterdir() if path.is_file()
    }


def test_the_job_for_kubernetes_is_a_call_that_the_command_takes() -> None:
    yaml = pytest.importorskip("yaml")
    job = yaml.safe_load((Path(__file__).parents[2] / "deploy/kubernetes/predict-rayjob.yaml").read_text("utf-8"))
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    program, command, *arguments = job["spec"]["entrypoint"].split()
    assert program == "xner-label"
    parsed = cli.get_command(click.Context(cli), command).make_context(command, arguments).params
    groups = job["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    assert (parsed["engine"], parsed["address"]) == ("ray", "auto")
    assert parsed["actors"] * parsed["gpus"] == sum(group["replicas"] for group in groups)  # one GPU in each pod


def actors_of(ancestor: int, doing: str = "") -> list[int]:
    """The processes of Ray's actors that a process started, by its children's children; with ``.submit`` those
    that have a batch."""
    parents: dict[int, int] = {}
    titles: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                titles[int(entry.name)] = (entry / "cmdline").read_bytes().decode(errors="replace")
    actors = []
    for process, title in titles.items():
        above = process
        while above in parents and above != ancestor:
            above = parents[above]
        if above == ancestor and title.startswith("ray::") and f"MapBatches(_Actor)){doing}" in title:
            actors.append(process)
    return actors
