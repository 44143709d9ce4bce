"""What `doctor` says about the pipeline and the database, without a Label Studio."""

from __future__ import annotations

from pathlib import Path

import pytest

from xner_label.errors import ConfigurationError
from xner_label.pipeline.checking import check_stages, require_stages
from xner_label.reporting.check import Check
from xner_label.reporting.diagnosis import diagnose
from xner_label.settings.loading import load_settings
from xner_label.settings.table import Settings
from xner_label.store import migrating
from xner_label.store.database import open_store

# Nothing listens there, so asking takes no time.
NOWHERE = "http://127.0.0.1:1"


def _check(name: str, settings: Settings) -> Check:
    return next(check for check in diagnose(settings).checks if check.name == name)


def test_every_refusal_has_a_remedy(tmp_path: Path) -> None:
    diagnosis = diagnose(Settings(studio_url=NOWHERE, database_url=f"sqlite:///{tmp_path}/absent.db"))
    assert {check.name for check in diagnosis.failed} == {"database", "Label Studio"}
    assert all(check.remedy for check in diagnosis.failed)
    assert not (tmp_path / "absent.db").exists()


@pytest.mark.parametrize("url", ["", "localhost:8080", "ftp://localhost", "http://[", "http://localhost:x"])
def test_an_address_that_is_none(url: str, tmp_path: Path) -> None:
    check = _check("Label Studio", Settings(studio_url=url, database_url=f"sqlite:///{tmp_path}/absent.db"))
    assert check.verdict == "no"


def test_a_database_before_and_after_its_migration(tmp_path: Path) -> None:
    settings = Settings(studio_url=NOWHERE, database_url=f"sqlite:///{tmp_path}/store.db")
    (tmp_path / "store.db").touch()
    assert "db upgrade" in _check("database", settings).remedy
    with open_store(settings.database_url, check=False) as store:
        migrating.upgrade(store)
    assert _check("database", settings).verdict == "ok"


@pytest.mark.parametrize("url", ["nonsense", "mysql://user:secret@host/name"])
def test_a_database_url_that_cannot_be_used(url: str) -> None:
    check = _check("database", Settings(studio_url=NOWHERE, database_url=url))
    assert check.verdict == "no"
    assert check.remedy
    assert "secret" not in check.found


@pytest.mark.models
def test_checkpoints(tmp_path: Path) -> None:
    def tagger(model: str) -> Check:
        flags = {"studio_url": NOWHERE, "tagger": "transformers", "tagger_model": model}
        return _check("tagger", load_settings(None, {}, flags))

    (tmp_path / "config.json").write_text("{}")
    assert tagger(str(tmp_path)).verdict == "ok"
    for absent in (str(tmp_path / "absent"), "", "nobody/has-downloaded-this"):
        assert tagger(absent).verdict == "no"
        assert tagger(absent).remedy
    assert "models pull" in tagger("nobody/has-downloaded-this").remedy


@pytest.mark.parametrize(
    ("flags", "stage", "problem"),
    [
        ({"translator": "transformers"}, "translator", "no checkpoint is named"),
        ({"tagger": "crf", "tagger_model": "absent.crf"}, "tagger", "absent.crf"),
        ({"aligner": "eflomal+simalign"}, "aligner", "no checkpoint is named"),
        ({"aligner": "simalign-package", "aligner_method": "softmax"}, "aligner", "no method 'softmax'"),
        ({"projector_weights": "absent.json"}, "projector", "absent.json"),
        ({"projector": "nmt"}, "projector", "no checkpoint is named"),
        ({"training_folder": "/dev/null/models"}, "training folder", "can't be written"),
    ],
)
@pytest.mark.models
def test_what_a_stage_lacks_is_found_before_it_works(
    flags: dict[str, str], stage: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load_settings(None, {}, {"studio_url": NOWHERE, "tagger": "given", "aligner": "none", **flags})
    check = _check(stage, settings)
    assert check.verdict == "no"
    assert problem in check.found
    assert check.remedy


@pytest.mark.models
def test_the_labels_of_a_tagger_must_fit_and_the_language_must_be_known(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"id2label": {"0": "O", "1": "B-SHIP"}}')
    flags = {"tagger": "transformers", "tagger_model": str(tmp_path), "aligner": "none"}
    check = {check.stage: check for check in check_stages(load_settings(None, {}, flags))}["tagger"]
    assert "none of the checkpoint's labels (SHIP) fits" in str(check.problem)
    assert (
        require_error({**flags, "labels": "SHIP", "device": "cuda:63"})
        == "the device 'cuda:63' can't be used here"
    )


def require_error(flags: dict[str, str]) -> str:
    with pytest.raises(ConfigurationError) as caught:
        require_stages(load_settings(None, {}, flags))
    return str(caught.value.args[0])
