"""The code that goes with an exported CRF: beside it, or as a package with a spaCy pipeline."""

from __future__ import annotations

import importlib.util
import re
import sys
from importlib.util import find_spec
from pathlib import Path

from xner_label.errors import MissingExtraError
from xner_label.store.tables import ModelRun
from xner_label.training.crf import CrfModel
from xner_label.training.model_card import CardFacts

# The files of code, of which modules they are, and by that the names that they import each other by there.
_CODE = {
    "tagger.py": "xner_label.training.bundled_tagger",
    "features.py": "xner_label.stages.tagging.crf_features",
    "letter_case.py": "xner_label.letter_case",
}
_PIPELINE_CODE = "xner_label.training.bundled_spacy"
_PROJECT = """[build-system]
requires = ["setuptools>=61"]
build-backend = "setuptools.build_meta"

[project]
name = "{name}"
version = "{version}"
description = "A named-entity recogniser, exported from XNER-Label"
requires-python = ">=3.11"
dependencies = ["python-crfsuite>=0.9.12", "spacy>=3.8"]

[project.entry-points.spacy_factories]
{name}_entities = "{name}:create_entities"

[project.entry-points.spacy_tokenizers]
"{name}.words.v1" = "{name}:create_words"

[tool.setuptools]
packages = ["{name}"]
package-data = {{ {name} = ["**/*"] }}
"""


def write_code(folder: Path, *, package: bool = False) -> None:
    """Write the tagger's code into a folder; ``package``: as modules that import each other relatively."""
    for name, module in _CODE.items():
        (folder / name).write_text(_standing_alone(module, package=package), encoding="utf-8")


def write_package(run: ModelRun, model: CrfModel, facts: CardFacts, folder: Path) -> str:
    """Write a package whose pipeline ``spacy.load`` loads. Returns its name. Raises MissingExtraError without
    spaCy."""
    if find_spec("spacy") is None:
        raise MissingExtraError("spacy", "a spaCy pipeline")
    name = re.sub(r"[^a-z0-9]+", "_", f"xner_{facts.language or 'xx'}_{run.version}".lower())
    package = folder / name
    package.mkdir()
    model.save(package)
    write_code(package, package=True)
    code = _standing_alone(_PIPELINE_CODE, package=True).replace('"NAME"', f'"{name}"')
    (package / "__init__.py").write_text(code, encoding="utf-8")
    (folder / "pyproject.toml").write_text(
        _PROJECT.format(name=name, version=f"{run.created_at:%Y.%m.%d}"), encoding="utf-8"
    )
    spec = importlib.util.spec_from_file_location(name, package / "__init__.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
        module.create_pipeline("xx").to_disk(package / "pipeline")
    finally:
        for imported in [each for each in sys.modules if each == name or each.startswith(f"{name}.")]:
            del sys.modules[imported]
    for cache in package.rglob("__pycache__"):
        for file in cache.iterdir():
            file.unlink()
        cache.rmdir()
    return name


def _standing_alone(module: str, *, package: bool) -> str:
    """The code of a module with its imports of ours turned into those of the files beside it."""
    spec = find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    code = Path(spec.origin).read_text("utf-8")
    for name, each in _CODE.items():
        beside = f"{'.' * package}{name.removesuffix('.py')}"
        code = code.replace(f"from {each} import", f"from {beside} import")
    return code
