"""The house in docs/development.md, held against the imports of the code."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "xner_label"
GROUND = {
    "errors",
    "entities",
    "tokenization",
    "letter_case",
    "word_forms",
    "writing_systems",
    "segmentation",
    "iob2",
    "pharaoh",
    "jsonl",
    "new_file",
    "new_folder",
    "settings",
    "sample",
    "progress",
    "logs",
    "tracing",
    "wording",
}
# Inside the projection: each subject with those it may import. The files beside them belong to all.
PROJECTION = {
    "exact": set(),
    "handmade": {"exact"},
    "loglinear": {"exact"},
    "corpus": {"exact", "loglinear"},
    "fitting": {"exact", "loglinear", "corpus"},
}
# Imported inside the function that needs them: each takes long, or belongs to an extra.
HEAVY = {
    "accelerate",
    "ctranslate2",
    "eflomal",
    "gliner",
    "huggingface_hub",
    "label_studio_sdk",
    "matplotlib",
    "openai",
    "ray",
    "simalign",
    "spacy",
    "torch",
    "transformers",
}


def arrows():
    """{room: the rooms its arrows lead to} in the picture of docs/development.md."""
    picture = re.search(r"```mermaid\n(.*?)```", (ROOT / "docs/development.md").read_text("utf-8"), re.S)[1]
    return {
        room: set(targets.replace(" ", "").split("&"))
        for room, targets in re.findall(r"^  (\w+) --> (.+)$", picture, re.M)
    }


def below(room, picture):
    """Every room that can be reached from one."""
    reached, waiting = set(), [room]
    while waiting:
        for target in picture.get(waiting.pop(), ()):
            if target not in reached:
                reached.add(target)
                waiting.append(target)
    return reached


def imports(file, *, top_level=False):
    """The absolute names of the modules that a file imports, in functions too unless ``top_level``."""
    tree = ast.parse(file.read_text("utf-8"))
    for node in tree.body if top_level else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room_of(module):
    """The room of a module, ``ground`` for those that all build on, None for the package's face and others."""
    package, _, rest = module.partition(".")
    if package == "xner_label_backend":
        return "backend"
    name = rest.partition(".")[0]
    if package != "xner_label" or name.startswith("__"):
        return None
    return "ground" if name in GROUND else name


def files():
    for folder in (PACKAGE, ROOT / "backend"):
        yield from folder.rglob("*.py")


def module_of(file):
    base = PACKAGE.parent if PACKAGE in file.parents else ROOT / "backend"
    return ".".join(file.relative_to(base).with_suffix("").parts)


def test_the_picture_shows_the_folders():
    shown = set(arrows()) | set().union(*arrows().values())
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")} - GROUND
    assert shown == folders | {"api", "backend", "ground"}
    assert {path.parent.name for path in (PACKAGE / "projection").glob("*/__init__.py")} == set(PROJECTION)


def test_the_picture_has_no_circle():
    picture = arrows()
    assert not [room for room in picture if room in below(room, picture)]


def test_imports_lead_down():
    picture = arrows()
    wrong = []
    for file in files():
        room = room_of(module_of(file))
        if room is None:
            continue
        allowed = below(room, picture) | {room}
        wrong += [
            f"{module_of(file)} -> {name}"
            for name in imports(file)
            if room_of(name) and room_of(name) not in allowed
        ]
    assert not wrong


@pytest.mark.parametrize("subject", PROJECTION)
def test_the_projection_is_built_upwards(subject):
    wrong = [
        f"{module_of(file)} -> {name}"
        for file in (PACKAGE / "projection" / subject).rglob("*.py")
        for name in imports(file)
        if name.startswith("xner_label.projection.")
        and (target := name.split(".")[2]) in PROJECTION
        and target not in PROJECTION[subject] | {subject}
    ]
    assert not wrong


def modules():
    return {module_of(file).removesuffix(".__init__"): file for file in files()}


def test_modules_import_each_other_in_no_circle():
    names = modules()
    graph = {}
    for name, file in names.items():
        targets = set()
        for imported in imports(file):
            owner = imported if imported in names else imported.rpartition(".")[0]
            # the package's face names modules for those who ask, and holds the version that modules sign with
            if owner in names and owner not in (name, "xner_label"):
                targets.add(owner)
        graph[name] = targets
    circles = [name for name in graph if name in below(name, graph)]
    assert not circles


def test_heavy_packages_wait_for_the_function_that_needs_them():
    wrong = [
        f"{module_of(file)} -> {name}"
        for file in files()
        for name in imports(file, top_level=True)
        if name.split(".")[0] in HEAVY
    ]
    assert not wrong
