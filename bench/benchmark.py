"""`xner-label benchmark` on real data: the table, what a second run costs, and the table after kills.

    python bench/benchmark.py [--languages lug,tsn] [--limit N] [--kills 20] [--gold N] [--tiny N]

Each language's test split, with the links of the data and eflomal's own, and a CRF trained on its gold training
split (or the first --gold sentences of it) for transfer, the ensemble and the ner scores. With --tiny the methods
that ask a translation model run on so many tasks, with a tiny checkpoint of random weights: that they run and what
they cost, not what they reach. Times are processor seconds of whole processes, start-up and children
included: wall-clock seconds on a machine that others use say little. Each kill strikes a run with nothing kept, at
a random moment; the same call is then run to its end.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from xner_label.entities import Entity, Tokens
from xner_label.iob2 import tags_of
from xner_label.stages.tagging.crf import CrfTagger

DATA = Path(os.environ.get("XNER_LABEL_BENCH_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
METHODS = "string,heuristic,align,align@greedy,align@=,default,corpus,transfer,ensemble,ner,ner-spans,align+ner"
# What asks a translation model.
NEURAL = "easyproject,xml,codec,nmt,align+ner-spans+nmt"
SEED = 7
# What differs between two runs that compute the same.
COSTS = {"seconds", "mib", "stages"}


def command(*arguments: str | Path, cache: Path) -> list[str]:
    """A call of the command."""
    return [sys.executable, "-m", "xner_label", "benchmark", *map(str, arguments), "--cache", str(cache), "--json"]


def timed(call: list[str]) -> tuple[dict[str, list[dict[str, object]]], float]:
    """What a call answered, and its processor seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(call, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return json.loads(done.stdout), after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def table(document: dict[str, list[dict[str, object]]]) -> list[dict[str, object]]:
    """The rows without what they cost."""
    return [{key: value for key, value in row.items() if key not in COSTS} for row in document["rows"]]


def train_target_tagger(language: str, folder: Path, sentences: int) -> str:
    """A CRF on the language's gold training split, or the first so many sentences of it; the name of its file."""
    lines = (DATA / "lowres" / language / "gold_train.jsonl").read_text(encoding="utf-8").splitlines()
    texts, tags = [], []
    for row in map(json.loads, lines[: sentences or None]):
        tokens = Tokens.of(row["text"], row["tokens"])
        entities = [Entity(e["start"], e["end"], e["label"]) for e in row["entities"]]
        texts.append(tokens.words())
        tags.append(tags_of(tokens, entities))
    name = f"{language}.crf"
    (folder / name).write_bytes(CrfTagger.train(texts, tags).to_bytes())
    return name


def tiny_checkpoint(folder: Path) -> str:
    """The folder of a translation checkpoint with random weights, made where it isn't there."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from tests.checkpoints import SENTENCES, save_nllb

    place = folder / "tiny-nllb"
    if not place.is_dir():
        texts = [*SENTENCES, "[ ] <a> </a> <b> </b> <c> </c>"]
        save_nllb(place, texts=texts, dropout=0.0, max_position_embeddings=512)
    return str(place)


def killed(call: list[str], cache: Path, kills: int) -> list[dict[str, list[dict[str, object]]]]:
    """What a call answers after being killed at a random moment of its work, once for each kill."""
    begun = time.perf_counter()
    timed([*call, "--cache", str(cache / "whole")])
    whole = time.perf_counter() - begun
    generator = random.Random(SEED)
    answers = []
    while len(answers) < kills:
        killed_call = [*call, "--cache", str(cache / str(generator.random()))]
        process = subprocess.Popen(killed_call, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(generator.uniform(0.0, whole))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            answers.append(timed(killed_call)[0])
    return answers


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--languages", default="lug,tsn")
    parser.add_argument("--limit", type=int, default=0)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--gold", type=int, default=0, help="gold sentences of the target tagger; 0: all")
    parser.add_argument("--tiny", type=int, default=0, help="tasks for the methods that ask a translation model")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.chdir(folder)
        for language in options.languages.split(","):
            data = f"{language}={DATA / 'lowres' / language / 'projection.jsonl'}"
            common = [
                data,
                "--split",
                "test",
                "--target-taggers",
                train_target_tagger(language, folder, options.gold),
            ]
            if options.limit:
                common += ["--limit", str(options.limit)]
            full = [*common, "--aligners", "given,eflomal", "--noise", "drop=0.2,shuffle=0.2", "--methods"]
            cache = folder / language
            document, first = timed(command(*full, METHODS, cache=cache))
            _, again = timed(command(*full, METHODS, cache=cache))
            more, second = timed(command(*full, f"{METHODS},link-dice", cache=cache))
            print(
                f"{language}: first run {first:.1f} s ({len(table(document))} rows), the same again {again:.2f} s,"
            )
            print(
                f"  one more projector {second:.2f} s: {first / again:.1f} and {first / second:.1f} times faster"
            )
            for row in more["rows"]:
                if row["published"]:
                    continue
                low, high = row["ci95"]  # type: ignore[misc]
                print(f"  {row['system']!s:<36} {row['kind']!s:<10} {row['f1']:.3f} {low:.3f} .. {high:.3f}")
            if options.tiny:
                limited = [*common, "--limit", str(options.tiny), "--methods", NEURAL]
                limited += [
                    "--marker-model",
                    tiny_checkpoint(folder),
                    "--translator-model",
                    tiny_checkpoint(folder),
                ]
                limited += ["--source-language", "en", "--target-language", language, "--device", "cpu"]
                for row in timed(command(*limited, cache=cache))[0]["rows"]:
                    if not row["published"]:
                        name = f"{row['system']!s:<36}"
                        print(f"  {name} tiny checkpoint, {options.tiny} tasks: {row['seconds']:.1f} s")
            if options.kills:
                call = command(*common, "--methods", METHODS, cache=folder / f"{language}-undisturbed")
                expected = table(timed(call)[0])
                after = killed(call, folder / f"{language}-killed", options.kills)
                same = sum(table(answer) == expected for answer in after)
                print(f"  the same table after {same} of {len(after)} kills")


if __name__ == "__main__":
    main()
