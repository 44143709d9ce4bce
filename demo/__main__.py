"""``python -m demo``: the whole loop on the sample corpus, offline, against a real Label Studio."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import secrets
import shutil
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec

from demo.commands import PROGRAM, CommandFailedError, Commands
from demo.processes import ending_signals_unwind, free_port, running
from demo.reviewer import review
from demo.studio_server import (
    ROOT,
    StudioServer,
    StudioStartError,
    inherited_environment,
    running_studio,
    studio_executable,
)
from demo.summary import summary
from xner_label.sample import LABELLED_SOURCE, SAMPLES, SampleTask, read_sample

_INTRODUCTION = """\
The sample's {language} sentences come with their English translation. Names found in the English are
projected onto the {language}, the least certain sentences are reviewed in Label Studio, and a model
learns from what people settled and what was projected.
"""
_LANGUAGES = {"sw": "Swahili", "hi": "Hindi"}
# Exit code of a command that was carried out and whose answer is no: the promotion gate's.
_NO = 6
# Seconds within which the ML backend must answer; it takes two on an idle machine.
_SERVE_TIMEOUT = 60.0


@click.command()
@click.option("--review-in-browser", is_flag=True, help="Stop after the push and leave the review to a person")
@click.option(
    "--sample", type=click.Choice(sorted(SAMPLES)), default="sw", show_default=True, help="Language of the sample"
)
@click.option("--tasks", default=60, show_default=True, help="How many sentences to review")
@click.option(
    "--without-eflomal", is_flag=True, help="Project by string similarity, as where eflomal can't be built"
)
@click.option(
    "--json", "json_path", type=click.Path(path_type=Path), help="Write the figures to this file as well"
)
@click.option(
    "--folder", type=click.Path(path_type=Path), help="Work here and keep everything [default: temporary]"
)
def main(
    review_in_browser: bool,
    sample: str,
    tasks: int,
    without_eflomal: bool,
    json_path: Path | None,
    folder: Path | None,
) -> None:
    """Pre-annotate the sample corpus, review it in Label Studio, and train on what comes back."""
    executable = studio_executable(os.environ)
    if executable is None:
        raise click.ClickException("there is no Label Studio here: run `make setup`")
    eflomal = not without_eflomal and importlib.util.find_spec("eflomal") is not None
    try:
        with ending_signals_unwind(), _workplace(folder) as work:
            user = "reviewer@example.org" if review_in_browser else "simulated-reviewer@example.org"
            click.echo(_INTRODUCTION.format(language=_LANGUAGES[sample]))
            click.echo("Starting Label Studio (its first start takes half a minute) ...")
            with running_studio(executable, work / "label-studio", user=user) as studio:
                demonstration = Demonstration(work, studio, sample, eflomal=eflomal)
                with demonstration.until_pushed(tasks):
                    if review_in_browser:
                        demonstration.wait_for_a_person()
                        return
                    figures = demonstration.after_the_push()
    except KeyboardInterrupt:
        click.echo("\nEnded; everything that was started has been stopped.")
        sys.exit(0 if review_in_browser else 130)
    except (CommandFailedError, StudioStartError) as error:
        raise click.ClickException(str(error)) from None
    click.echo("\n" + summary(figures))
    if json_path is not None:
        json_path.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


@contextlib.contextmanager
def _workplace(folder: Path | None) -> Iterator[Path]:
    """A folder for the database, the models and the logs; a temporary one goes away."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder.resolve()
        return
    temporary = Path(tempfile.mkdtemp(prefix="xner-label-demo-"))
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


class Demonstration:
    """The steps of the loop, each a command that a person would type."""

    def __init__(self, work: Path, studio: StudioServer, sample: str, *, eflomal: bool) -> None:
        self._sample = sample
        self._studio = studio
        self._eflomal = eflomal
        self._work = work
        port = free_port()
        self._backend = f"http://127.0.0.1:{port}"
        # What a person puts into the shell's environment: where things are, and the secrets.
        self._variables = {
            "LABEL_STUDIO_URL": studio.url,
            "LABEL_STUDIO_API_KEY": studio.token,
            "XNER_LABEL_WEBHOOK_SECRET": secrets.token_urlsafe(24),
            "XNER_LABEL_BACKEND_PORT": str(port),
            "XNER_LABEL_BACKEND_URL": self._backend,
        }
        if not eflomal:
            self._variables |= {"XNER_LABEL_PIPELINE_ALIGNER": "none", "XNER_LABEL_PIPELINE_PROJECTOR": "string"}
        checkout = {"PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "backend"))), "PYTHONUNBUFFERED": "1"}
        self._commands = Commands(work, inherited_environment() | checkout | self._variables)
        self._project = 0

    @contextlib.contextmanager
    def until_pushed(self, tasks: int) -> Iterator[None]:
        """The loop up to the push; the ML backend runs until the block ends."""
        run, say = self._commands.run, self._commands.say
        say(f"Label Studio answers at {self._studio.url}")
        if not self._eflomal:
            say("The aligner eflomal is not installed: entities are projected by string similarity")
        run("init", "--target-language", self._sample)
        run("db", "upgrade")
        pool, held_out = self._split_sample()
        run("import", str(LABELLED_SOURCE), "--source-labelled")
        run("import", pool.name)
        run("import", held_out.name, "--gold")
        with self._serving():
            connection = self._commands.ask("connect")
            self._project = connection["studio_project"]
            run("predict")
            run("push", "--limit", str(tasks))
            yield

    def after_the_push(self) -> dict[str, Any]:
        """A simulated review, and what is learned from it."""
        run, ask, say = self._commands.run, self._commands.ask, self._commands.say
        run("export", "--silver", "-o", "silver.jsonl")
        silver = ask("evaluate", "pool-gold.jsonl", "silver.jsonl")
        before = ask("train")
        say("A SIMULATED reviewer submits the sample's gold through Label Studio's API")
        gold = {str(task.id): task for task in read_sample(SAMPLES[self._sample])}
        reviewed = review(self._studio.url, self._studio.token, self._project, gold)
        say(f"{reviewed} sentences reviewed")
        synced = ask("sync")
        after = ask("train")
        promoted = run("promote", accept=(0, _NO)) == 0
        served = self._served_version()
        say(f"The ML backend now answers with {served}")
        status = ask("status")
        run("status")
        return {
            "eflomal": self._eflomal,
            "silver": silver,
            "before": before["test"],
            "after": after["test"],
            "reviewed": reviewed,
            "corrections": synced["corrections"],
            "promoted": promoted,
            "served": served,
            "status": status,
        }

    def wait_for_a_person(self) -> None:
        """Leave everything running until Ctrl-C."""
        variables = self._work / "environment"
        variables.touch(mode=0o600)
        lines = [f"export {name}='{value}'" for name, value in self._variables.items()]
        variables.write_text("\n".join(lines) + "\n", encoding="utf-8")
        program = f"{PROGRAM[0]} -m xner_label"
        click.echo(
            f"""
Label Studio is ready for your review, the least confident sentences first:

    {self._studio.url}/projects/{self._project}/data
    user      {self._studio.user}
    password  {self._studio.password}

When you have submitted some, take them over in another terminal:

    cd {self._work} && source environment && alias xner-label='{program}'
    xner-label sync && xner-label train && xner-label promote; xner-label status

Ctrl-C here stops Label Studio and the ML backend and deletes their data."""
        )
        threading.Event().wait()

    def _split_sample(self) -> tuple[Path, Path]:
        """The pool without its gold, as real text would come; the rest with it, to be judged by."""
        pool, held_out = self._work / "pool.jsonl", self._work / "held-out.jsonl"
        path = SAMPLES[self._sample]
        tasks = read_sample(path, "pool")
        _write(pool, [msgspec.structs.replace(task, entities=None) for task in tasks])
        _write(self._work / "pool-gold.jsonl", tasks)
        _write(held_out, read_sample(path, "dev") + read_sample(path, "test"))
        return pool, held_out

    @contextlib.contextmanager
    def _serving(self) -> Iterator[None]:
        self._commands.say(f"{click.style('xner-label serve', bold=True)} (until the end, at {self._backend})")
        log = self._work / "serve.log"
        with (
            log.open("ab") as output,
            running(
                (*PROGRAM, "serve"), environment=self._commands.environment, folder=self._work, stdout=output
            ) as process,
        ):
            deadline = time.monotonic() + _SERVE_TIMEOUT
            while not _answers(f"{self._backend}/health"):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise CommandFailedError(f"`xner-label serve` does not answer:\n{_end(log)}")
                time.sleep(0.1)
            yield

    def _served_version(self) -> str:
        with urllib.request.urlopen(f"{self._backend}/health", timeout=10) as response:
            return str(json.load(response).get("model_version", "unknown"))


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except OSError:
        return False
    return True


def _write(path: Path, tasks: list[SampleTask]) -> None:
    path.write_bytes(b"".join(msgspec.json.encode(task) + b"\n" for task in tasks))


def _end(log: Path) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:])


if __name__ == "__main__":
    main()
