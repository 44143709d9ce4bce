"""EasyProject and XML tags through real checkpoints, against slow, obvious implementations."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.checkpoints import MARKED_PAIRS, SENTENCES, save_nllb
from xner_label.checkpoints.devices import Placement
from xner_label.cli.main import cli
from xner_label.entities import Entity, Task
from xner_label.errors import ConfigurationError
from xner_label.pipeline.assembly import assemble_projector, make_marker_translator
from xner_label.pipeline.memory_cache import MemoryCache
from xner_label.projection.problem import Instance, build_instance
from xner_label.projection.projectors import make_projector
from xner_label.projection.similarity import similarity
from xner_label.settings.table import Settings
from xner_label.stages.translation.engines import transformers_translator

pytestmark = pytest.mark.models

CPU = Placement("cpu", "float32")
TASKS = [
    {
        "id": 1,
        "text": "Amina akolera mu Kampala .",
        "source": "Amina works in Kampala .",
        "source_entities": [{"start": 0, "end": 5, "label": "PER"}, {"start": 15, "end": 22, "label": "LOC"}],
        "entities": [{"start": 0, "end": 5, "label": "PER"}, {"start": 17, "end": 24, "label": "LOC"}],
    },
    {
        "id": 2,
        "text": "Okello ne Bbanka , e Mbale .",
        "source": "Okello saw the Bank of Uganda and Mbale .",
        "source_entities": [{"start": 11, "end": 29, "label": "ORG"}, {"start": 34, "end": 39, "label": "LOC"}],
        "entities": [{"start": 10, "end": 16, "label": "ORG"}, {"start": 21, "end": 26, "label": "LOC"}],
    },
    {
        "id": 3,
        "text": "Naledi yava e Jinja .",
        "source": "Naledi came from Jinja .",
        "source_entities": [{"start": 17, "end": 22, "label": "LOC"}],
        "entities": [{"start": 14, "end": 19, "label": "LOC"}],
    },
    {"id": 4, "text": "Amina", "source": "Amina", "source_entities": [], "entities": []},
]


def settings(model: str, **values: object) -> Settings:
    chosen = {"marker_model": model, "source_language": "en", "target_language": "lg", "device": "cpu"} | values
    return Settings(**chosen)  # type: ignore[arg-type]


def instances() -> list[Instance]:
    return [build_instance(task)[0] for task in tasks()]


def tasks() -> list[Task]:
    import msgspec

    return [msgspec.convert(row, Task) for row in TASKS]


def generated(folder: str, text: str) -> str:
    """A translation by transformers itself, of one text."""
    import torch
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, src_lang="eng_Latn")
    model = AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
    batch = tokenizer([text], return_tensors="pt")
    with torch.inference_mode():
        rows = model.generate(
            **batch,
            forced_bos_token_id=tokenizer.convert_tokens_to_ids("lug_Latn"),
            num_beams=4,
            do_sample=False,
            max_new_tokens=60,
        )
    return tokenizer.batch_decode(rows, skip_special_tokens=True)[0].strip()


def projected(text: str, renderings: dict[int, str]) -> dict[int, str]:
    """The best-scoring choice of one run of words for each rendering, no two overlapping, by trying them all."""
    words = [(match.start(), match.end()) for match in re.finditer(r"\S+", text)]
    runs = [(words[i][0], words[j][1]) for i in range(len(words)) for j in range(i, min(len(words), i + 10))]

    def best(rest: list[int], taken: list[tuple[int, int]]) -> tuple[float, dict[int, str]]:
        if not rest:
            return 0.0, {}
        options = [best(rest[1:], taken)]
        for start, end in runs:
            alike = similarity(renderings[rest[0]], text[start:end])
            if alike >= 0.5 and all(end <= other[0] or other[1] <= start for other in taken):
                total, chosen = best(rest[1:], [*taken, (start, end)])
                options.append((total + alike, {rest[0]: text[start:end], **chosen}))
        return max(options, key=lambda option: option[0])

    return best(list(renderings), [])[1]


def by_the_book(folder: str, task: Task, style: str) -> dict[int, str]:
    """EasyProject and XML tags for tasks whose source entities neither nest nor touch."""
    marked = task.source or ""
    spans = [(entity.start, entity.end) for entity in task.source_entities or ()]
    for index, (start, end) in reversed(list(enumerate(spans))):
        left, right = ("[ ", " ]") if style == "easyproject" else (f"<{'abc'[index]}>", f"</{'abc'[index]}>")
        marked = marked[:start] + left + marked[start:end] + right + marked[end:]
    translation = generated(folder, marked)
    if style == "xml":
        came_back = {match[1]: match[2].strip() for match in re.finditer(r"<(\w)>(.*?)</\1>", translation)}
        renderings = {index: came_back["abc"[index]] for index in range(len(spans)) if "abc"[index] in came_back}
    else:
        bracketed = [part.strip() for part in re.findall(r"\[(.*?)\]", translation)]
        names = [(task.source or "")[start:end] for start, end in spans]
        alone = [generated(folder, name) for name in names] if len(spans) > 1 else names
        renderings = {}
        for rendering in bracketed:
            alike = [
                max(similarity(rendering, name), similarity(rendering, other))
                for name, other in zip(names, alone, strict=True)
            ]
            if alike and (max(alike) >= 0.5 or len(bracketed) == len(spans) == 1):
                renderings[alike.index(max(alike))] = rendering
    return projected(task.text, renderings)


@pytest.mark.parametrize("style", ["easyproject", "xml"])
def test_translate_test_by_the_book(taught_nllb: str, style: str) -> None:
    projector = assemble_projector(settings(taught_nllb, projector=style))
    projections = projector.project(instances())  # type: ignore[union-attr]
    landed = 0
    for task, instance, of_task in zip(tasks(), instances(), projections, strict=True):
        texts = {p.mention: instance.target.text[slice(*_borders(instance, p))] for p in of_task}
        assert texts == by_the_book(taught_nllb, task, style)
        landed += len(texts)
    assert landed >= 4
    assert projections[3] == []
    assert projector.signature.startswith(
        f"{style}({'brackets' if style == 'easyproject' else 'xml'}(transformers:"
    )


def _borders(instance: Instance, projection) -> tuple[int, int]:
    span = instance.target.span(projection.first, projection.last)
    return span.start, span.end


def test_the_lessons_are_learned(taught_nllb: str) -> None:
    """Otherwise the tests here say little."""
    translator = transformers_translator(taught_nllb, "en", "lg", CPU)
    answers = translator.translate([pair[0] for pair in MARKED_PAIRS])
    assert [answer.text for answer in answers] == [pair[1] for pair in MARKED_PAIRS]


@pytest.mark.parametrize("style", ["easyproject", "xml"])
def test_a_checkpoint_that_knows_nothing_of_markers_loses_them_and_says_so(tmp_path: Path, style: str) -> None:
    folder = str(save_nllb(tmp_path / "nllb", texts=[*SENTENCES, "[ ] <a> </a> <b> </b>"], dropout=0.0))
    projector = assemble_projector(settings(folder, projector=style))
    projections = projector.project(instances())  # type: ignore[union-attr]
    assert [of_task.notes for of_task in projections] == [
        (f"{count} of {count} markers didn't come back",) if count else () for count in (2, 2, 1, 0)
    ]


def test_markers_are_translated_by_their_own_checkpoint_or_by_the_translator(taught_nllb: str) -> None:
    from_own = make_marker_translator(settings(taught_nllb), cache=MemoryCache())
    from_translators = make_marker_translator(
        settings("", translator="transformers", translator_model=taught_nllb), cache=MemoryCache()
    )
    assert from_own is not None
    assert from_translators is not None
    assert from_own.signature == from_translators.signature
    assert "eng_Latn>lug_Latn" in from_own.signature
    assert make_marker_translator(settings(""), cache=MemoryCache()) is None
    with pytest.raises(ConfigurationError, match="--marker-model"):
        make_projector("xml")


def write(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def invoke(*arguments: object) -> str:
    done = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_project_and_benchmark_know_both(taught_nllb: str, tmp_path: Path) -> None:
    data = write(tmp_path / "lg.jsonl", TASKS)
    options = ("--marker-model", taught_nllb, "--source-language", "en", "--target-language", "lg")
    options += ("--device", "cpu", "--config", tmp_path / "none.toml")
    (tmp_path / "none.toml").write_text("")
    lines = invoke("project", data, "--projector", "xml@=", *options).splitlines()
    assert [entity["text"] for entity in json.loads(lines[0])["entities"]] == ["Amina", "Kampala"]
    call = ("benchmark", data, "--methods", "easyproject,xml,string", *options, "--json")
    call += ("--cache", tmp_path / "c")
    document = json.loads(invoke(*call))
    rows = {row["method"]: row for row in document["rows"] if not row["published"]}
    assert rows["xml"]["f1"] > 0.8
    assert rows["easyproject"]["recall"] > 0.8
    assert rows.keys() == {"easyproject", "xml", "string"}
    assert json.loads(invoke(*call, "--dry-run"))["methods"] == 0
    call = ("benchmark", data, "--methods", "string,xml", "--cache", tmp_path / "c", *options[-2:], "--json")
    assert "--marker-model" in json.loads(invoke(*call))["left_out"][0]["reason"]


def test_many_sentences_at_once_are_what_each_is_alone(taught_nllb: str) -> None:
    generator = random.Random(1)
    projector = assemble_projector(settings(taught_nllb, projector="easyproject"))
    problems = [generator.choice(instances()) for _ in range(40)]
    together = projector.project(problems)  # type: ignore[union-attr]
    alone = [projector.project([problem])[0] for problem in problems[:8]]  # type: ignore[union-attr]
    spans = [[(p.mention, p.first, p.last) for p in of_task] for of_task in together]
    assert spans[:8] == [[(p.mention, p.first, p.last) for p in of_task] for of_task in alone]
    assert projector.project([]) == []  # type: ignore[union-attr]
    entity = Entity(0, 1, "PER")
    empty = build_instance(Task(id=1, text="", source="a", source_entities=(entity,)))[0]
    assert projector.project([empty]) == [[]]  # type: ignore[union-attr]


def test_doctor_says_which_checkpoint_a_projector_asks(taught_nllb: str) -> None:
    from xner_label.pipeline.checking import check_stages

    def checked(**values: object) -> tuple[str, str]:
        check = next(check for check in check_stages(settings("", **values)) if check.stage == "projector")
        return check.description, str(check.problem or "")

    assert checked(projector="xml") == ("xml", checked(projector="0.5*codec+1*align")[1])
    assert "no checkpoint" in checked(projector="xml")[1]
    assert checked(projector="codec", marker_model=taught_nllb) == (f"codec, {taught_nllb}", "")
    assert checked(projector="nmt", translator_model=taught_nllb) == (f"nmt, {taught_nllb}", "")
    assert "no checkpoint" in checked(projector="nmt", marker_model=taught_nllb)[1]
    by_service = {"translator": "llm", "translator_model": "any", "projector": "easyproject"}
    assert checked(**by_service) == ("easyproject, any", "")
