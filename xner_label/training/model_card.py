"""The card of a model run: what it learned from, how good it is and how sure that is, what it can't do.

In the layout of Mitchell et al. 2019 (arXiv 1810.03993), with the front matter that the Hugging Face Hub reads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from xner_label.store.tables import ModelRun
from xner_label.training import crf
from xner_label.wording import counted

_UNSTATED = "not stated: ask whoever gave you this model"
_SYSTEMS = {
    "text_only": "this model, from the text alone",
    "model": "this model with the projection beside the text, inside XNER-Label",
    "silver": "the projection by itself",
}
_CRF_USE = """\
`tagger.py` needs `python-crfsuite` alone, and the files beside it:

```python
from tagger import Tagger
Tagger("path/to/this/folder").entities("...")
```

`features.py` and `letter_case.py` are the code of the features; the files ending in `.crf` are CRFsuite's own."""
_CHECKPOINT_USE = """\
```python
from transformers import pipeline
pipeline("token-classification", model="path/to/this/folder", aggregation_strategy="first")("...")
```"""

_FUSED = (
    " It was trained to read the source sentence with its marked entities, and the projection, behind the text: "
    "within XNER-Label it gives its best answers with them. By itself it answers from the text alone."
)


class CardFacts(msgspec.Struct, frozen=True):
    """What the registry doesn't know: the ``language`` (ISO 639), and the licences of model and data (SPDX names,
    empty where nobody has said)."""

    language: str = ""
    model_licence: str = ""
    data_licence: str = ""


def model_card(run: ModelRun, labels: Sequence[str], facts: CardFacts, package: str | None = None) -> str:
    """The card of a run as Markdown. ``package``: the name of the package with a spaCy pipeline that it is in."""
    is_crf = run.kind == crf.KIND
    data: Mapping[str, Any] = run.config.get("data") or {}
    sections = [
        _front_matter(run, facts, is_crf),
        f"# {run.version}\n\nA named-entity recogniser for {facts.language or 'one language'}: "
        f"{'a conditional random field' if is_crf else 'a fine-tuned checkpoint'}, "
        f"trained on {run.created_at:%Y-%m-%d} with XNER-Label. Labels: {', '.join(labels)}.",
        f"## Use\n\n{_use(package, is_crf=is_crf)}\n\nOffsets are code points, end exclusive.",
        _data_section(run, data, facts),
        _metrics_section(run.metrics),
        "## Intended use, and what it can't do\n\n"
        "Tagging texts like those it learned from, with somebody looking where much depends on it. It hasn't been "
        "measured on other kinds of text, other languages or other spellings, and will be worse there. It knows "
        "the labels above and nothing else, finds no entities inside others, and repeats what its annotators and "
        "the projection got wrong. Don't decide about people with it.",
        f"## How it was made\n\n`{run.config.get('signature', '')}`\n\n"
        "The same data, options and version make the same model."
        + (" The stage that looks at projections is left out here: it is of no use without them." * is_crf)
        + _FUSED * _is_fused(run),
    ]
    return "\n\n".join(sections) + "\n"


def _use(package: str | None, *, is_crf: bool) -> str:
    if package is not None:
        return f"`pip install path/to/this/folder`, then `spacy.load({package!r})`."
    return _CRF_USE if is_crf else _CHECKPOINT_USE


def _is_fused(run: ModelRun) -> bool:
    tuning = (run.config.get("options") or {}).get("fine_tuning") or {}
    return run.kind != crf.KIND and bool(tuning.get("fused"))


def _front_matter(run: ModelRun, facts: CardFacts, is_crf: bool) -> str:
    lines = ["---", f"license: {facts.model_licence.lower() or 'other'}"]
    if facts.language:
        lines.append(f"language: {facts.language}")
    lines += [
        f"library_name: {'python-crfsuite' if is_crf else 'transformers'}",
        "pipeline_tag: token-classification",
        "tags: [named-entity-recognition, annotation-projection, xner-label]",
        "---",
    ]
    return "\n".join(lines)


def _data_section(run: ModelRun, data: Mapping[str, Any], facts: CardFacts) -> str:
    lines = [
        "## Data\n",
        f"- {counted(run.gold_tasks, 'text')} that people annotated, "
        f"{counted(data.get('gold_entities', 0), 'entity')}",
        f"- {counted(run.silver_tasks, 'text')} that nobody reviewed, "
        f"{counted(data.get('silver_entities', 0), 'entity')} projected from a translation by "
        f"`{data.get('pipeline') or 'no pipeline'}`",
        f"- licence of the data: {facts.data_licence or _UNSTATED}",
        f"- licence of this model: {facts.model_licence or _UNSTATED}",
    ]
    learned = run.config.get("annotations") or {}
    if learned:
        lines.append(f"- {learned['annotators']} annotators, {learned['first']} to {learned['last']}")
    return "\n".join(lines)


def _metrics_section(metrics: Mapping[str, Any]) -> str:
    rows: list[str] = []
    for split in ("test", "dev"):
        scores = metrics.get(split)
        if not scores:
            continue
        for system, name in _SYSTEMS.items():
            if scores.get(system):
                rows.append(_row(split, scores["tasks"], name, scores[system]))
                rows += [
                    f"| {split} | {values['n']} entities | {label} | {values['precision']:.3f} | "
                    f"{values['recall']:.3f} | {values['f1']:.3f} | |"
                    for label, values in (scores[system]["per_label"] if system == "text_only" else {}).items()
                ]
    if not rows:
        return "## Metrics\n\nNone: there was no held-out gold to judge it by."
    return (
        "## Metrics\n\nStrict: a span counts if borders and label are right. 95 % bootstrap intervals over texts. "
        "No text of these was learned from.\n\n"
        "| split | size | system | precision | recall | F1 | interval |\n|---|---|---|---|---|---|---|\n"
        + "\n".join(rows)
    )


def _row(split: str, tasks: int, name: str, scores: Mapping[str, Any]) -> str:
    low, high = scores["ci95"]
    return (
        f"| {split} | {tasks} texts | {name} | {scores['precision']:.3f} | {scores['recall']:.3f} | "
        f"{scores['f1']:.3f} | {low:.3f} .. {high:.3f} |"
    )
