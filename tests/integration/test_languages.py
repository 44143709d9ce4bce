"""Language codes, against the tokenizer of a real NLLB checkpoint."""

from pathlib import Path

import pytest

from tests.checkpoints import save_nllb
from xner_label.checkpoints.languages import LanguageCodes
from xner_label.checkpoints.loading import load_tokenizer
from xner_label.errors import ConfigurationError

pytestmark = pytest.mark.models


@pytest.fixture(scope="module")
def nllb(tmp_path_factory: pytest.TempPathFactory) -> LanguageCodes:
    folder: Path = save_nllb(tmp_path_factory.mktemp("nllb"))
    return LanguageCodes(load_tokenizer(str(folder)))


@pytest.mark.parametrize(
    ("language", "token"),
    [
        ("lg", "lug_Latn"),
        ("lug", "lug_Latn"),
        ("lug_Latn", "lug_Latn"),
        ("sw", "swh_Latn"),
        ("swa", "swh_Latn"),
        ("tsn", "tsn_Latn"),
        ("tw", "twi_Latn"),
        ("ak", "aka_Latn"),
        ("ar", "arb_Arab"),
        ("fa", "pes_Arab"),
        ("zh", "zho_Hans"),
        ("zh-Hant", "zho_Hant"),
        ("yue", "yue_Hant"),
        ("no", "nob_Latn"),
        ("ff", "fuv_Latn"),
        ("ps", "pbt_Arab"),
        ("ks-Deva", "kas_Deva"),
        ("pt-BR", "por_Latn"),
        ("iw", "heb_Hebr"),
        ("om", "gaz_Latn"),
    ],
)
def test_iso_codes_become_the_checkpoints_own(nllb: LanguageCodes, language: str, token: str) -> None:
    assert nllb.family == "nllb"
    assert nllb.token(language) == token


@pytest.mark.parametrize(
    ("language", "message"),
    [
        ("pcm", "doesn't know the language pcm"),
        ("xx", "doesn't know the language xx"),
        ("Luganda language", "is no language code"),
        ("", "isn't named"),
        ("zh-Latn", "zho_Hans, zho_Hant"),
    ],
)
def test_what_it_does_not_know_is_said(nllb: LanguageCodes, language: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        nllb.token(language)
