"""Every flag of every command, set once in calls that work: a flag that is taken in the wrong type shows here."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click
import pytest
from click.testing import CliRunner

from demo.studio_server import StudioServer
from tests.checkpoints import save_bert, save_nllb
from tests.processes import LIMIT, begin
from tools.commands_page import commands
from xner_label import sample
from xner_label.cli.main import cli

ROOT = Path(__file__).parents[2]
STORE = "--config xner-label.toml --database-url sqlite:///xner-label.db"
PROJECT = f"{STORE} --project default"
LABELS = "PER,ORG,LOC,DATE"
LANGUAGES = "--source-language en --target-language sw --device cpu --dtype float32"
STREAM = "-o out.jsonl --config xner-label.toml --strict --json"


class Call(NamedTuple):
    """A call, and the exit code with which it should end."""

    command: str
    line: str
    code: int = 0

    @property
    def arguments(self) -> list[str]:
        """The words after the command."""
        return shlex.split(self.line)


# In an order in which each finds what it needs.
CALLS = (
    Call(
        "init",
        f"--labels {LABELS} --target-language sw --preset offline --json --database-url "
        "sqlite:///xner-label.db --studio-url http://127.0.0.1:1",
    ),
    Call(
        "db upgrade",
        f"{STORE} --revision head --json",
    ),
    Call("db backup", f"copy.db {STORE} --json"),
    Call("db upgrade", f"{STORE} --backup before.db"),
    Call("db restore", f"copy.db {STORE} --yes --json"),
    Call("db check", f"{STORE} --json"),
    Call(
        "db current",
        f"{STORE} --json",
    ),
    Call(
        "doctor",
        f"{PROJECT} --preset offline --studio-url http://127.0.0.1:1 --json --backend-url http://127.0.0.1:9090",
        code=6,
    ),
    Call(
        "models list",
        "--config xner-label.toml --preset paper --json",
    ),
    Call(
        "models pull",
        "nobody/none --config xner-label.toml --preset fast --json",
        code=3,
    ),
    Call(
        "import",
        f"tasks.jsonl {PROJECT} --format jsonl --encoding utf-8 --split pool --json --labels {LABELS} "
        "--drop-unknown-labels --gold",
    ),
    Call(
        "import",
        f"words.txt {PROJECT} --columns token,tag --format conll --source-labelled",
    ),
    Call(
        "import",
        f"numbers.jsonl {PROJECT} --tag-names O,B-PER --split dev",
    ),
    Call(
        "import",
        f"documents.jsonl {STORE} --project documents --sentences --gold",
    ),
    Call(
        "export",
        f"{STORE} --project documents --gold --documents --output documents-out.jsonl --json",
    ),
    Call(
        "labels",
        f"{PROJECT} --labels {LABELS} --apply --force --json",
    ),
    Call(
        "predict",
        f"{PROJECT} --preset offline --translator given --tagger given --aligner none --projector "
        "string --limit 2 --split pool --json",
    ),
    Call(
        "predict",
        "tasks.jsonl -o parts --format jsonl --encoding utf-8 --part-format jsonl.gz --part-size 100 "
        "--engine embedded --aligner none --json",
    ),
    Call(
        "predict",
        f"tasks.jsonl {STORE} --project from-files --into-store --output rejected.jsonl --aligner none --json",
    ),
    Call(
        "predict", "tasks.jsonl --output parts --engine ray --address local --actors 1 --gpus 0 --limit 1", code=2
    ),
    Call(
        "status",
        f"{PROJECT} --json",
    ),
    Call("status", f"{PROJECT} --check", code=6),
    Call("calibrate", f"{PROJECT} --json"),
    Call("plan", f"{PROJECT} --minutes 5 --strategy random --seed 1 --split pool --dry-run --json"),
    Call("drift", f"{PROJECT} --since 2026-01-01 --exit-code --dry-run --json"),
    Call("stop", f"{PROJECT} --exit-code --min-gain 0.02 --for corpus --json", code=6),
    Call(
        "worker",
        f"{PROJECT} --preset offline --studio-url http://127.0.0.1:1 --training-folder models --once --kind sync "
        "--lease 30 --sync-every 0 --predict-every 0 --train-every 0 --train-if-new-gold 100 --log-format text "
        "--json",
    ),
    Call(
        "slips",
        f"{PROJECT} --limit 5 --json",
    ),
    Call(
        "report",
        f"{PROJECT} --output report.html --json",
    ),
    Call(
        "train",
        f"{PROJECT} --training-folder models --min-silver-confidence 0.3 --max-error 1 --dev-share 0.2 "
        "--near-duplicates 0.9 --model bert --epochs 1 --silver-epochs 0 --learning-rate 1e-4 --batch-size 4 "
        "--accumulate 2 --processes 1 --patience 0 --class-weights balanced --lora-rank 2 --fused "
        "--seed 3 --dry-run --json",
    ),
    Call(
        "train",
        f"{PROJECT} --training-folder models --dev-share 0.3 --device cpu --dtype float32",
    ),
    Call("train", f"{PROJECT} --if-new-gold 100"),
    Call(
        "curve",
        f"{PROJECT} --draws 1 --plot curve.svg --min-silver-confidence 0.3 --max-error 1 --dev-share 0.3 "
        "--near-duplicates 0.9 "
        "--json",
    ),
    Call(
        "dataset",
        f"{PROJECT} --min-silver-confidence 0.3 --max-error 1 --dev-share 0.3 --near-duplicates 0.9 "
        "--format conll --output data --json",
    ),
    Call(
        "promote",
        f"{PROJECT} --dev-share 0.3 --device cpu --dtype float32 --run NEWEST --force --reason a-test --json "
        "--by amina --no-predict",
    ),
    Call("promote", f"{PROJECT} --training-folder models --run NEWEST --predict"),
    Call("runs list", f"{PROJECT} --json"),
    Call("runs show", f"NEWEST {PROJECT} --training-folder models --json"),
    Call("runs diff", f"NEWEST NEWEST {PROJECT} --json"),
    Call(
        "rollback",
        f"{PROJECT} --reason a-test --by amina --training-folder models --device cpu --dtype float32 --json",
        code=2,  # no run was served before
    ),
    Call(
        "annotate",
        f"raw.jsonl {PROJECT} --run NEWEST --format jsonl --strict --training-folder models --device cpu "
        "--dtype float32 --output annotated.jsonl --json",
    ),
    Call("annotate", f"few.jsonl {PROJECT} --pipeline"),
    Call(
        "export-model",
        f"exported {PROJECT} --run NEWEST --training-folder models --target-language sw --model-licence MIT "
        "--data-licence CC-BY-4.0 --format plain --json",
    ),
    Call("predict", f"{PROJECT} --training-folder models --with-model"),
    Call("predict", f"{PROJECT} --aligner none --tagger crf --again tagger", code=5),  # one has no source
    Call("db prune", f"{STORE} --delete --before 2026-01-31 --archive new-archive.jsonl.gz --json"),
    Call(
        "predict",
        f"{PROJECT} --with-model",
    ),
    Call(
        "export",
        f"{PROJECT} --gold --silver --full --format jsonl --output export.jsonl --json",
    ),
    Call(
        "export",
        f"{PROJECT} --silver --max-error 0.1 --level 0.9 --per sentence --together -o promised.jsonl",
        code=6,
    ),
    Call(
        "evaluate",
        "tasks.jsonl tasks.jsonl --labels PER,LOC --json",
    ),
    Call(
        "choose-projector",
        "tasks.jsonl --config xner-label.toml --weights-output chosen.json --dry-run --json",
    ),
    Call(
        "fit-projector",
        "few.jsonl --output w.json --from-scratch --corpus --json",
    ),
    Call(
        "benchmark",
        "sw=tasks.jsonl --methods string,default,transfer --translators given --taggers given,crf --aligners none "
        "--target-taggers CRF --labelled source.jsonl --noise drop=0.2 --limit 20 --split pool --format jsonl "
        "--reviews 5 --probe --languages sw --data-folder . "
        "--encoding utf-8 --columns text --tag-names O --cache kept --output result.json "
        "--write-config "
        f"--config chosen.toml --labels {LABELS} --weights w.json --translator-model nllb --marker-model nllb "
        "--source-language en --target-language sw --device cpu --dtype float32 "
        "--llm-url http://127.0.0.1:1 --json",
    ),
    Call("benchmark", "tasks.jsonl --methods string --cache kept --dry-run"),
    Call(
        "translate",
        f"raw.jsonl {STREAM} {LANGUAGES} --translator transformers --translator-beams 2 --model nllb --again "
        "--llm-url http://127.0.0.1:1",
    ),
    Call(
        "translate-train",
        f"labelled.jsonl {STREAM} {LANGUAGES} --translator transformers --translator-beams 2 --model nllb "
        "--marker-model nllb --method markers --filter none --labels PER,LOC",
    ),
    Call(
        "translate-train",
        f"labelled.jsonl {LANGUAGES} --model nllb --method projection --filter counts --projector string "
        "--weights w.json --aligner simalign --aligner-model bert",
        code=3,
    ),
    Call("import", f"silver.jsonl {PROJECT} --silver --drop-unknown-labels"),
    Call(
        "tag",
        f"tasks.jsonl {STREAM} --tagger crf --device cpu --dtype auto --labels PER,LOC --labelled "
        "source.jsonl --map GPE=LOC --again --source-language en --llm-url http://127.0.0.1:1",
    ),
    Call(
        "tag",
        "tasks.jsonl -o out.jsonl --model nowhere.crf",
        code=3,
    ),
    Call(
        "align",
        f"tasks.jsonl {STREAM} {LANGUAGES} --aligner simalign --model bert --method itermax "
        "--token-type bpe --layer 2 --distortion 0.1 --null-align 0.9 --threshold 0.01 --combine "
        "vote",
    ),
    Call(
        "project",
        f"tasks.jsonl {STREAM} {LANGUAGES} --labels PER,LOC --projector default --projector-weights "
        "w.json --aligner simalign --aligner-model bert --corpus --translator transformers "
        "--translator-model nllb --marker-model nllb --back-translate --min-confidence 0.1 --keep split "
        "--filter aligned",
    ),
    Call(
        "project",
        "tasks.jsonl -o out.jsonl --weights w.json --target-tagger CRF",
    ),
    Call(
        "simulate",
        "tasks.jsonl few.jsonl --strategy least-confident --budgets 0,5 --names 1 --minutes 1 --seeds 1 "
        "--reviewer-error 0.1 --weights w.json --plot curves.svg --no-text --json",
    ),
    Call("exclude", f"{PROJECT} --reason a-test --json FIRST"),
    Call("exclude", f"{PROJECT} --undo FIRST"),
    Call("why", f"FIRST {PROJECT} --json"),
    Call("undo", f"--annotator me --since 2020-01-01 --dry-run {PROJECT} --json"),
    Call("conflicts", f"{PROJECT} --json"),
    Call("conflicts", f"{PROJECT} --decided"),
    Call("conflicts", f"{PROJECT} --agreement"),
    Call("conflicts", f"FIRST {PROJECT} --take 1 --by me --reason a-test", code=2),
    Call(
        "db downgrade",
        f"base {STORE} --yes --json",
    ),
)
SERVE = Call(
    "serve",
    f"{PROJECT} --training-folder models --verbose --preset offline --projector string --json --studio-url "
    "http://127.0.0.1:1 --backend-host 127.0.0.1 --backend-port 0 --backend-user me "
    "--backend-sync-after 0 --log-format json",
)
STUDIO_CALLS = (
    Call(
        "db upgrade",
        f"{STORE}",
    ),
    Call(
        "import",
        f"tasks.jsonl {PROJECT}",
    ),
    Call(
        "connect",
        f"{PROJECT} --labels {LABELS} --studio-url STUDIO --backend-url '' --new --backend "
        "--replace-config --json",
    ),
    Call(
        "connect",
        f"{PROJECT} --project-id CONNECTED --no-backend --text-field text --source-field source_text "
        "--studio-url STUDIO",
    ),
    Call(
        "predict",
        f"{PROJECT} --aligner none --tagger given",
    ),
    Call(
        "push",
        f"{PROJECT} --studio-url STUDIO --limit 3 --minutes 5 --strategy least-confident "
        "--max-confidence 1 --split pool --blind-share 0.3 --audit-share 0.3 "
        "--seed 4 --dry-run --json",
    ),
    Call("push", f"{PROJECT} --studio-url STUDIO --names 2 --dry-run --json"),
    Call("push", f"{PROJECT} --studio-url STUDIO --minutes 5 --dry-run --json"),
    Call(
        "sync",
        f"{PROJECT} --studio-url STUDIO --full --allow-deletions --json",
    ),
    Call("sync", f"{PROJECT} --watch 0", code=2),
    Call("acknowledge", f"1 {PROJECT} --studio-url STUDIO --reason a-test --json", code=2),
    Call("disconnect", f"{PROJECT} --studio-url STUDIO --json"),
)


def flags_of(call: Call) -> set[tuple[str, str]]:
    command = dict(commands())[call.command]
    spellings = {
        flag: max(option.opts, key=len) if flag in option.opts else flag
        for option in command.params
        if isinstance(option, click.Option)
        for flag in (*option.opts, *option.secondary_opts)
    }
    return {(call.command, spellings[word]) for word in call.arguments if word in spellings}


def test_every_flag_is_set_somewhere() -> None:
    wanted = {
        (name, flag)
        for name, command in commands()
        if not isinstance(command, click.Group)
        for option in command.params
        if isinstance(option, click.Option)
        for flag in (max(option.opts, key=len), *option.secondary_opts)
    }
    given = set().union(*(flags_of(call) for call in (*CALLS, *STUDIO_CALLS, SERVE)))
    assert wanted - given == set(), "add a call that sets it to this file"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a little of everything, which is the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    rows = [json.loads(line) for line in sample.PAIRS.read_text(encoding="utf-8").splitlines()][:60]
    tasks = "".join(json.dumps({**row, "split": "pool"}) + "\n" for row in rows)
    (tmp_path / "tasks.jsonl").write_text(tasks)
    (tmp_path / "few.jsonl").write_text("".join(tasks.splitlines(keepends=True)[:20]))
    raw = [{"id": row["id"], "text": row["text"]} for row in rows[:3]]
    (tmp_path / "raw.jsonl").write_text("".join(json.dumps(row) + "\n" for row in raw))
    source = [{"id": row["id"], "text": row["source"], "entities": row["source_entities"]} for row in rows]
    (tmp_path / "source.jsonl").write_text("".join(json.dumps(row) + "\n" for row in source))
    (tmp_path / "labelled.jsonl").write_text("".join(json.dumps(row) + "\n" for row in source[:2]))
    silver = {"id": "s", "text": "Anna anaishi", "entities": [], "confidence": 0.5, "pipeline": "projector=none"}
    (tmp_path / "silver.jsonl").write_text(json.dumps(silver) + "\n")
    (tmp_path / "chosen.toml").write_text("")
    (tmp_path / "words.txt").write_text("Anna B-PER\nlives O\n\n")
    (tmp_path / "documents.jsonl").write_text('{"id": "d", "text": "Anna yuko Lamu. Juma pia.", "entities": []}\n')
    (tmp_path / "numbers.jsonl").write_text('{"id": "n", "tokens": ["Anna", "anaishi"], "ner_tags": [1, 0]}\n')
    return tmp_path


def carry_out(call: Call, replaced: dict[str, str]) -> str:
    arguments = [replaced.get(word, word) for word in call.arguments]
    done = CliRunner().invoke(cli, [*call.command.split(), *arguments])
    code = getattr(done.exception, "exit_code", None) or done.exit_code
    assert code == call.code, f"{call.command} {arguments}: {done.exception!r}\n{done.output}"
    return done.stdout


@pytest.mark.models
def test_every_flag_does_what_it_should(folder: Path) -> None:
    save_bert(folder / "bert")
    save_nllb(folder / "nllb")
    _save_crf(folder / "target.crf")
    first = json.loads((folder / "few.jsonl").read_text().splitlines()[0])
    replaced = {"CRF": "target.crf", "FIRST": str(first["id"])}
    for call in CALLS:
        if "NEWEST" in call.arguments:
            replaced["NEWEST"] = max(path.name for path in (folder / "models").iterdir())
        written = carry_out(call, replaced)
        if "--json" in call.arguments and call.code in (0, 6):
            assert written or call.command == "worker"  # a line for each job, and none is waiting
            json.loads(written or "{}")
    assert (folder / "w.json").is_file()


def _save_crf(file: Path) -> None:
    from xner_label.stages.tagging.crf import CrfTagger

    tagger = CrfTagger.train([["Anna", "anaishi", "Nairobi"]], [["B-PER", "O", "B-LOC"]])
    file.write_bytes(tagger.to_bytes())


@pytest.fixture
def serving(folder: Path) -> Iterator[subprocess.Popen[str]]:
    for call in CALLS[:2]:
        carry_out(call, {})
    environment = os.environ | {
        "PYTHONPATH": f"{ROOT}:{ROOT / 'backend'}",
        "XNER_LABEL_BACKEND_PASSWORD": "a password",
    }
    process = begin(
        [sys.executable, "-m", "xner_label", "serve", *SERVE.arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    yield process
    process.send_signal(signal.SIGTERM)
    process.wait(LIMIT)


def test_every_flag_of_serve(serving: subprocess.Popen[str]) -> None:
    assert serving.stdout is not None
    with serving.stdout as output:
        document = "".join(output.readline() for _ in range(3))
        assert json.loads(document)["listening"].startswith("http://127.0.0.1:")
        serving.send_signal(signal.SIGTERM)
        assert serving.wait(LIMIT) == 0


@pytest.mark.studio
def test_every_flag_of_the_commands_that_talk_to_label_studio(
    folder: Path, label_studio: StudioServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", label_studio.token)
    carry_out(CALLS[0], {})
    replaced = {"STUDIO": label_studio.url}
    for call in STUDIO_CALLS:
        written = carry_out(call, replaced)
        if call.command == "connect" and "--json" in call.arguments:
            replaced["CONNECTED"] = str(json.loads(written)["studio_project"])
