"""The public names, and the page that shows them."""

import doctest
import subprocess
import sys
from pathlib import Path

import xner_label

PAGE = Path(__file__).parents[2] / "docs" / "api.md"


def test_the_page_is_true():
    failures, attempts = doctest.testfile(str(PAGE), module_relative=False)
    assert attempts > 10
    assert not failures


def test_every_public_name_is_there_and_on_the_page():
    for name in xner_label.__all__:
        assert getattr(xner_label, name) is not None
    assert dir(xner_label) == sorted(xner_label.__all__)
    page = PAGE.read_text("utf-8")
    assert {"project", "evaluate", "open_store", "Task", "Entity", "XnerLabelError"} <= set(xner_label.__all__)
    assert all(name in page for name in ("project", "evaluate", "open_store", "Task", "Entity", "XnerLabelError"))


def test_importing_the_package_imports_nothing_heavy():
    code = "import sys, xner_label; print({'numpy', 'sqlalchemy', 'torch', 'msgspec'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"
