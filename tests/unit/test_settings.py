import pytest

from xner_label.errors import ConfigurationError
from xner_label.settings.files import find_file
from xner_label.settings.loading import load_settings
from xner_label.settings.table import PRESETS, Settings, table


def test_flag_beats_environment_beats_file_beats_preset(tmp_path):
    file = tmp_path / "xner-label.toml"
    file.write_text('preset = "paper"\nlabels = ["PER"]\n[backend]\nport = 1\n[pipeline]\naligner = "eflomal"\n')
    settings = load_settings(
        file, {"XNER_LABEL_BACKEND_PORT": "2", "XNER_LABEL_LABELS": "PER, ORG"}, {"backend_port": 3}
    )
    assert settings.backend_port == 3
    assert settings.labels == ("PER", "ORG")
    assert settings.aligner == "eflomal"
    assert settings.translator == PRESETS["paper"]["translator"]


def test_secrets_come_from_the_environment_or_a_file_it_names(tmp_path):
    secret = tmp_path / "token"
    secret.write_text("abc\n")
    assert load_settings(None, {"LABEL_STUDIO_API_KEY_FILE": str(secret)}).studio_api_key == "abc"
    file = tmp_path / "xner-label.toml"
    file.write_text('[studio]\napi_key = "abc"\n')
    with pytest.raises(ConfigurationError, match="LABEL_STUDIO_API_KEY"):
        load_settings(file, {})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("labels = 3", "expected a list of strings"),
        ("[backend]\nport = true", "expected int"),
        ("colour = 1", "unknown setting 'colour'"),
        ("preset = 'none'", "unknown preset"),
        ("=", "isn't valid TOML"),
    ],
)
def test_bad_files_say_what_is_wrong(tmp_path, text, message):
    file = tmp_path / "xner-label.toml"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=message):
        load_settings(file, {})


def test_pyproject_is_read_when_it_holds_our_table(tmp_path):
    (tmp_path / "pyproject.toml").write_text("[project]\nname='x'\n")
    assert find_file(tmp_path) is None
    (tmp_path / "pyproject.toml").write_text('[tool.xner-label]\ntarget_language = "sw"\n')
    assert load_settings(find_file(tmp_path), {}).target_language == "sw"


def test_table_is_complete():
    keys = [entry.metadata["toml"] for entry in table()]
    assert len(set(keys)) == len(keys)
    assert all(entry.metadata["help"] for entry in table())
    for preset in PRESETS.values():
        assert set(preset) <= {entry.name for entry in table()}
    assert isinstance(load_settings(None, {}), Settings)
