"""A model run as a folder that people take away: it runs without us, and its card says what it is.

A CRF comes with the code of its features and needs python-crfsuite alone; a fine-tuned checkpoint is a folder that
transformers' own pipeline loads.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec

from xner_label.errors import UsageError
from xner_label.new_folder import new_folder
from xner_label.store import projects, runs
from xner_label.store.database import Store
from xner_label.store.tables import ModelRun
from xner_label.training import crf
from xner_label.training.bundle import write_code, write_package
from xner_label.training.model_card import CardFacts, model_card
from xner_label.training.run_files import INTERNAL_FILES, run_folder
from xner_label.training.runs import load_model

# The student that looks at projections is of no use without the pipeline.
NEEDS_PIPELINE = "projected"


class ModelExport(msgspec.Struct, frozen=True):
    """What was written: the run's ``version``, its ``kind``, the ``folder`` and the names of its ``files``."""

    version: str
    kind: str
    folder: str
    files: list[str]


def export_model(
    store: Store,
    project: str,
    models: Path,
    output: Path,
    facts: CardFacts,
    version: str | None = None,
    format: str = "plain",
) -> ModelExport:
    """Write a run, the promoted one when ``version`` is None, into the new folder ``output``, whole or not at all.

    ``format``: ``plain``, or ``spacy`` for a package with a spaCy pipeline (CRFs alone). Raises UsageError for an
    unknown project or run, where ``output`` has something in it, or for a format that a run doesn't come in;
    ConfigurationError when the run's files are missing or damaged; MissingExtraError without spaCy.
    """
    with store.read() as session:
        row = projects.get_project(session, project)
        labels = tuple(row.labels)
        run = runs.find_run(session, row.id, version) if version else runs.promoted_run(session, row.id)
    if run is None:
        raise UsageError(
            f"the project has no model run {version!r}" if version else "no model run is promoted",
            hint="name one with --run, as `xner-label train` called it",
        )
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UsageError(f"{output} isn't an empty folder", hint="choose a new one")
    if format == "spacy" and run.kind != crf.KIND:
        raise UsageError(
            f"{run.version} is a checkpoint, and spaCy pipelines are written of CRFs alone",
            hint="leave --format out: transformers' pipeline loads what is written then",
        )
    load_model(run, models)  # a damaged model isn't given away
    with new_folder(output) as folder:
        package = None
        if format == "spacy":
            package = write_package(
                run, crf.CrfModel.load(run_folder(run, models)).without(NEEDS_PIPELINE), facts, folder
            )
        else:
            _write(run, models, folder)
        (folder / "README.md").write_text(model_card(run, labels, facts, package), encoding="utf-8")
    files = sorted(str(path.relative_to(output)) for path in output.rglob("*") if path.is_file())
    return ModelExport(run.version, run.kind, str(output), files)


def _write(run: ModelRun, models: Path, folder: Path) -> None:
    source = run_folder(run, models)
    if run.kind != crf.KIND:
        shutil.copytree(source, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*INTERNAL_FILES))
        return
    model = crf.CrfModel.load(source)
    model.without(NEEDS_PIPELINE).save(folder)
    write_code(folder)
