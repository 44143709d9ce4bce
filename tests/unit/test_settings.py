import stat

import pytest
from click.testing import CliRunner
from sqlalchemy import create_engine

from xner_label.cli.main import cli
from xner_label.errors import ConfigurationError
from xner_label.settings.files import find_file, set_values
from xner_label.settings.loading import load_settings
from xner_label.settings.rules import problem_of
from xner_label.settings.table import PRESETS, Settings, default_of, table
from xner_label.store.database import Store


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
        ("preset = 'none'", "preset: 'none' is unknown .*offline, fast, paper"),
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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[training]\ndev_share = 20", "training.dev_share: 20.0 is not 0 to 0.9"),
        ("[training]\nmin_silver_confidence = nan", "nan is not 0 to 1"),
        ("[pipeline]\ntranslator_beams = 0", "0 is not 1 or more"),
        ("[pipeline]\ntranslator = 'nonsense'", "'nonsense' is unknown .*ctranslate2"),
        ("[pipeline]\naligner = 'eflomal+nonsense'", "'eflomal\\+nonsense' is unknown"),
        ("[pipeline]\naligner = 'eflomal+given'", "is unknown"),
        ("[pipeline]\nprojector = 'nonsense'", "'nonsense' is unknown .*link-dice"),
        ("[pipeline]\naligner_method = 'nonsense'", "'nonsense' is unknown"),
        ("[pipeline]\ntagger_map = ['GPE']", "each is of the form GPE=LOC"),
        ("[models]\ndevice = 'gpu'", "'gpu' is not auto, cpu, cuda"),
        ("[backend]\nport = 65536", "65536 is not 0 to 65535"),
        ("[studio]\nurl = 'localhost:8080'", "is not an address"),
        ("target_language = 'Swahili'", "'Swahili' is not an ISO 639 code"),
        ("labels = []", "labels: it is empty"),
        ("labels = ['PER', 'PER']", "'PER' is there twice"),
        ("labels = ['PER,ORG']", "'PER,ORG' doesn't fit"),
        ("labels = ['PER ']", "'PER ' doesn't fit"),
        ("project = ' '", "is not a name"),
    ],
)
def test_values_follow_their_rules_wherever_they_come_from(tmp_path, text, message):
    file = tmp_path / "xner-label.toml"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=message):
        load_settings(file, {})


@pytest.mark.parametrize(
    ("projector", "fits"),
    [
        ("0.5*align+0.1*casing", True),
        ("1*string", True),
        (".5*ner-spans + 2*nmt", True),
        ("0.5*nonsense", False),
        ("0*align", False),
        ("align+casing", False),
        ("0.5*align+0.5*align", False),
        ("-1*align", False),
    ],
)
def test_projectors_may_be_weighted_sums_of_scores(projector, fits):
    if fits:
        assert load_settings(None, {}, {"projector": projector}).projector == projector
    else:
        with pytest.raises(ConfigurationError, match="projector"):
            load_settings(None, {}, {"projector": projector})


@pytest.mark.parametrize("aligner", ["given", "none", "eflomal", "eflomal+simalign", "simalign + mt-encoder"])
def test_aligners_may_be_joined(aligner):
    assert load_settings(None, {"XNER_LABEL_PIPELINE_ALIGNER": aligner}).aligner == aligner


@pytest.mark.parametrize("code", ["sw", "swh", "zho_Hant", "pt-BR", ""])
def test_languages_are_written_as_codes(code):
    assert load_settings(None, {}, {"target_language": code}).target_language == code


def test_values_from_the_environment_and_from_flags_follow_the_same_rules():
    with pytest.raises(ConfigurationError, match=r"^XNER_LABEL_TRAINING_DEV_SHARE: 20.0 is not"):
        load_settings(None, {"XNER_LABEL_TRAINING_DEV_SHARE": "20"})
    with pytest.raises(ConfigurationError, match=r"^--dev-share: 20 is not"):
        load_settings(None, {}, {"dev_share": 20})
    with pytest.raises(ConfigurationError, match=r"^--labels: it is empty"):
        load_settings(None, {}, {"labels": ","})


def test_a_flag_is_read_as_the_environment_is():
    assert load_settings(None, {}, {"labels": "PER, ORG"}).labels == ("PER", "ORG")
    assert load_settings(None, {}, {"dev_share": "0.5"}).dev_share == 0.5


def test_the_defaults_and_presets_follow_the_rules():
    for entry in table():
        assert problem_of(entry.metadata["rule"], default_of(entry)) == ""
    for preset in PRESETS.values():
        for name, value in preset.items():
            assert problem_of({entry.name: entry for entry in table()}[name].metadata["rule"], value) == ""


def test_an_empty_variable_does_not_hide_the_file(tmp_path):
    secret = tmp_path / "token"
    secret.write_text("abc\n")
    environment = {"LABEL_STUDIO_API_KEY": "", "LABEL_STUDIO_API_KEY_FILE": str(secret)}
    assert load_settings(None, environment).studio_api_key == "abc"
    assert load_settings(None, {"LABEL_STUDIO_API_KEY": "", "LABEL_STUDIO_API_KEY_FILE": ""}).studio_api_key == ""
    secret.write_text("\n")
    with pytest.raises(ConfigurationError, match="LABEL_STUDIO_API_KEY_FILE: the file it names is empty"):
        load_settings(None, environment)


def test_nothing_secret_is_shown():
    secrets = {"studio_api_key": "s1", "backend_password": "s2", "webhook_secret": "s3"}
    shown = repr(Settings(**secrets, database_url="postgresql://me:s4@host/db"))
    assert [secret for secret in ("s1", "s2", "s3", "s4") if secret in shown] == []
    assert "dev_share=0.2" in shown


URLS = [
    "postgresql://me:hidden@host/db",
    "postgresql+psycopg://host/db?user=me&password=hidden",
    "postgresql://host/db?sslpassword=hidden",
]


@pytest.mark.parametrize("url", URLS)
def test_the_password_of_the_database_stays_in_the_environment(tmp_path, url):
    file = tmp_path / "xner-label.toml"
    file.write_text(f'[database]\nurl = "{url}"\n')
    for arguments in [(file, {}), (None, {}, {"database_url": url})]:
        with pytest.raises(ConfigurationError, match="XNER_LABEL_DATABASE_URL_FILE") as caught:
            load_settings(*arguments)
        assert "hidden" not in str(caught.value)
    secret = tmp_path / "url"
    secret.write_text(url + "\n")
    assert load_settings(None, {"XNER_LABEL_DATABASE_URL": url}).database_url == url
    assert load_settings(None, {"XNER_LABEL_DATABASE_URL_FILE": str(secret)}).database_url == url


@pytest.mark.parametrize("url", URLS)
def test_init_writes_no_password(tmp_path, monkeypatch, url):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli, ["init", "--database-url", url])
    assert done.exit_code == 2
    assert "XNER_LABEL_DATABASE_URL_FILE" in done.output
    assert "hidden" not in done.output
    assert list(tmp_path.iterdir()) == []


def test_init_writes_what_its_flags_say(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flags = ["--labels", "PER, ORG", "--target-language", "sw", "--preset", "paper"]
    flags += ["--database-url", "postgresql:///x", "--studio-url", "http://studio:8080"]
    assert CliRunner().invoke(cli, ["init", *flags]).exit_code == 0
    written = load_settings(tmp_path / "xner-label.toml", {})
    assert (written.labels, written.target_language, written.preset) == (("PER", "ORG"), "sw", "paper")
    assert (written.database_url, written.studio_url) == ("postgresql:///x", "http://studio:8080")


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("xner-label.toml", "", '[pipeline]\nprojector = "string"\n'),
        ("xner-label.toml", "[pipeline]\nprojector = 'x' # y\n", '[pipeline]\nprojector = "string" # y\n'),
        (
            "xner-label.toml",
            "[pipeline]\r\n# \u2028 here\r\n",
            '[pipeline]\r\n# \u2028 here\r\nprojector = "string"\r\n',
        ),
        ("xner-label.toml", "pipeline = {projector = 'x'}\n", 'pipeline = {projector = "string"}\n'),
        ("xner-label.toml", 'pipeline.projector = "x"\n', 'pipeline.projector = "string"\n'),
        (
            "pyproject.toml",
            '[tool.other]\nx = 1\n\n[tool.xner-label]\nlabels = ["A"]\n',
            '[tool.other]\nx = 1\n\n[tool.xner-label]\nlabels = ["A"]\n'
            '\n[tool.xner-label.pipeline]\nprojector = "string"\n',
        ),
    ],
)
def test_a_value_is_set_and_all_else_stays(tmp_path, name, before, after):
    file = tmp_path / name
    file.write_bytes(before.encode())
    set_values(file, {"projector": "string"})
    assert file.read_bytes().decode() == after


def test_a_settings_file_keeps_its_permissions_and_its_link(tmp_path):
    (tmp_path / "shared").mkdir()
    file = tmp_path / "shared" / "settings.toml"
    file.write_text("")
    file.chmod(0o600)
    link = tmp_path / "xner-label.toml"
    link.symlink_to(file)
    set_values(link, {"projector": "string"})
    assert link.is_symlink()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert load_settings(link, {}).projector == "string"


@pytest.mark.parametrize("text", ["pipeline = 3\n", "=\n", "colour = 1\n"])
def test_a_file_that_cannot_be_changed_is_left_alone(tmp_path, text):
    file = tmp_path / "xner-label.toml"
    file.write_text(text)
    with pytest.raises(ConfigurationError):
        set_values(file, {"projector": "string"})
    assert file.read_text() == text
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("url", URLS)
def test_the_store_shows_no_password(url):
    pytest.importorskip("psycopg")
    shown = Store(create_engine(url.replace("postgresql:", "postgresql+psycopg:"))).url
    assert "hidden" not in shown


def test_a_settings_file_may_begin_with_a_byte_order_mark(tmp_path):
    file = tmp_path / "xner-label.toml"
    file.write_bytes(b'\xef\xbb\xbflabels = ["PER"]\r\n')
    assert load_settings(file, {}).labels == ("PER",)
    set_values(file, {"projector": "string"})
    assert file.read_bytes().startswith(b'\xef\xbb\xbflabels = ["PER"]\r\n')
    assert load_settings(file, {}).projector == "string"
