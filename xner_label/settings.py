"""ONE table of settings: each field of Settings with its TOML key, environment variable, default and help.

The command line builds its flags from the table, `docs/settings.md` is generated from it, and a test holds them
together. A value is taken from the flag, else the environment, else the file, else the preset, else the default.
Secrets come only from the environment or from a file that an environment variable names; they are refused in
the TOML and never shown.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar, get_args, get_type_hints

from xner_label.errors import ConfigurationError, UsageError

T = TypeVar("T")

FILE_NAME = "xner-label.toml"


def setting(default: T, toml: str, help: str, *, env: str | tuple[str, ...] = (), secret: bool = False) -> T:
    """Describe one setting. ``toml`` is its dotted key; ``env`` the variables that set it, first wins."""
    names = (env,) if isinstance(env, str) else env
    if not names and not secret:
        names = ("XNER_LABEL_" + toml.upper().replace(".", "_"),)
    metadata = {"toml": toml, "help": help, "env": names, "secret": secret}
    return field(default=default, metadata=metadata)  # type: ignore[no-any-return, call-overload]


@dataclass(frozen=True)
class Settings:
    """Everything that can be configured. See the module's docstring for where values come from."""

    project: str = setting("default", "project", "Name of the project in the store")
    labels: tuple[str, ...] = setting(("PER", "ORG", "LOC", "DATE"), "labels", "The label set of the project")
    preset: str = setting("offline", "preset", "Pipeline preset: offline, fast or paper")
    source_language: str = setting("en", "source_language", "ISO 639 code of the language that is tagged")
    target_language: str = setting("", "target_language", "ISO 639 code of the language that is annotated")

    database_url: str = setting(
        "sqlite:///xner-label.db", "database.url", "SQLAlchemy URL of the store: SQLite or PostgreSQL"
    )

    studio_url: str = setting(
        "http://127.0.0.1:8080",
        "studio.url",
        "Address of Label Studio",
        env=("LABEL_STUDIO_URL", "LABEL_STUDIO_HOST"),
    )
    studio_api_key: str = setting(
        "",
        "studio.api_key",
        "Label Studio token, legacy or personal access",
        env="LABEL_STUDIO_API_KEY",
        secret=True,
    )

    translator: str = setting("given", "pipeline.translator", "Translator: given, transformers or ctranslate2")
    translator_model: str = setting("", "pipeline.translator_model", "Checkpoint of the translator")
    translator_beams: int = setting(4, "pipeline.translator_beams", "Beams of the translator's search")
    tagger: str = setting("given", "pipeline.tagger", "Source tagger: given, crf or transformers")
    tagger_model: str = setting("", "pipeline.tagger_model", "Checkpoint of the source tagger")
    tagger_map: tuple[str, ...] = setting(
        (), "pipeline.tagger_map", "How labels of the tagger's checkpoint translate, for example GPE=LOC"
    )
    aligner: str = setting(
        "given",
        "pipeline.aligner",
        "Word aligner: given, none, eflomal, simalign, mt-encoder, simalign-package, or several joined by +",
    )
    aligner_model: str = setting("", "pipeline.aligner_model", "Checkpoint of the aligner")
    aligner_method: str = setting(
        "", "pipeline.aligner_method", "inter, itermax, mwmf, fwd, rev or softmax; empty: the aligner's own"
    )
    aligner_token_type: str = setting(
        "bpe", "pipeline.aligner_token_type", "What the aligner compares: bpe (subtokens) or word"
    )
    aligner_layer: int = setting(
        -1, "pipeline.aligner_layer", "Layer of the aligner's encoder; below 0: the aligner's own"
    )
    projector: str = setting("default", "pipeline.projector", "Projector, see `xner-label project --help`")
    projector_weights: str = setting(
        "", "pipeline.projector_weights", "Weights file of the projector; empty: shipped"
    )
    corpus_limit: int = setting(
        50_000,
        "pipeline.corpus_limit",
        "Up to this many tasks of a project inform each other in `predict` (default projector); 0: none do",
    )

    training_folder: str = setting("models", "training.folder", "Folder that trained models are written to")
    min_silver_confidence: float = setting(
        0.3, "training.min_silver_confidence", "Projected entities below it are unknown text to training"
    )
    dev_share: float = setting(
        0.2, "training.dev_share", "Share of the gold to hold out where no split but test has gold"
    )

    device: str = setting("auto", "models.device", "Where models run: auto, cpu, cuda, cuda:N or mps")
    model_cache: str = setting("~/.cache/xner-label", "models.cache", "Folder for converted models")
    dtype: str = setting(
        "auto", "models.dtype", "Number format of models: auto, float32, bfloat16 or float16 (GPU only)"
    )

    backend_host: str = setting("127.0.0.1", "backend.host", "Address the ML backend listens on")
    backend_port: int = setting(9090, "backend.port", "Port the ML backend listens on; 0 picks a free one")
    backend_url: str = setting("", "backend.url", "Address at which Label Studio reaches the ML backend")
    backend_user: str = setting("", "backend.user", "Basic-auth user that the ML backend asks for; empty: none")
    backend_password: str = setting(
        "", "backend.password", "Basic-auth password", env="XNER_LABEL_BACKEND_PASSWORD", secret=True
    )
    webhook_secret: str = setting(
        "",
        "backend.webhook_secret",
        "Header secret that webhooks must carry",
        env="XNER_LABEL_WEBHOOK_SECRET",
        secret=True,
    )
    backend_batch: int = setting(64, "backend.batch", "Tasks that the ML backend predicts at once, at most")
    backend_sync_after: float = setting(
        0.0,
        "backend.sync_after",
        "Seconds without a webhook after which the backend takes annotations over; 0: it leaves that to `sync`",
    )


# What each preset changes; everything else keeps its default.
PRESETS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "offline": {"translator": "given", "tagger": "crf", "aligner": "eflomal"},
        "fast": {
            "translator": "ctranslate2",
            "translator_model": "facebook/nllb-200-distilled-600M",
            "tagger": "transformers",
            "tagger_model": "FacebookAI/xlm-roberta-large-finetuned-conll03-english",
            "aligner": "mt-encoder",
            "aligner_model": "facebook/nllb-200-distilled-600M",
        },
        "paper": {
            "translator": "transformers",
            "translator_model": "facebook/nllb-200-3.3B",
            "tagger": "transformers",
            "tagger_model": "FacebookAI/xlm-roberta-large-finetuned-conll03-english",
            "aligner": "simalign",
            "aligner_model": "google-bert/bert-base-multilingual-cased",
        },
    }
)

_TYPES = get_type_hints(Settings)


def load_settings(
    file: Path | None, environment: Mapping[str, str], flags: Mapping[str, Any] | None = None
) -> Settings:
    """Combine flags, environment, file, preset and defaults.

    ``file`` is an ``xner-label.toml`` or a ``pyproject.toml`` with ``[tool.xner-label]``; None reads none.
    ``flags`` holds field names; None values are taken as not given. Raises ConfigurationError for a file that
    can't be read or parsed, an unknown key, a value of the wrong type, a secret in the file and an unknown preset.
    """
    values = _from_file(file) if file is not None else {}
    values |= _from_environment(environment)
    values |= {name: value for name, value in (flags or {}).items() if value is not None}
    preset = values.get("preset", Settings.preset)
    if preset not in PRESETS:
        raise ConfigurationError(f"unknown preset {preset!r}", hint=f"choose one of {', '.join(PRESETS)}")
    return Settings(**{**PRESETS[preset], **values})


def write_file(file: Path, values: Mapping[str, Any]) -> bool:
    """Write a settings file with these fields and the defaults of what every project decides.

    Returns False, and changes nothing, when the file exists. Raises UsageError when it can't be written.
    """
    named = {entry.name: entry for entry in table()}
    shown = {name: default_of(named[name]) for name in ("labels", "preset", "target_language", "studio_url")}
    sections: dict[str, list[str]] = {}
    for name, value in {**shown, **values}.items():
        section, _, key = named[name].metadata["toml"].rpartition(".")
        # a JSON string or list of strings is TOML too
        text = json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
        sections.setdefault(section, []).append(f"# {named[name].metadata['help']}\n{key} = {text}")
    blocks = [
        (f"[{section}]\n" if section else "") + "\n".join(lines) for section, lines in sorted(sections.items())
    ]
    try:
        with open(file, "x", encoding="utf-8") as stream:
            stream.write(
                "# Settings of XNER-Label. Secrets stay in the environment.\n" + "\n\n".join(blocks) + "\n"
            )
    except FileExistsError:
        return False
    except OSError as error:
        raise UsageError(f"can't write {file}: {error.strerror}", hint="check the folder") from None
    return True


def find_file(folder: Path) -> Path | None:
    """The settings file of a folder: ``xner-label.toml``, else a ``pyproject.toml`` that holds our table."""
    own = folder / FILE_NAME
    if own.is_file():
        return own
    shared = folder / "pyproject.toml"
    if shared.is_file() and "[tool.xner-label" in shared.read_text(encoding="utf-8", errors="replace"):
        return shared
    return None


def table() -> tuple[Field[Any], ...]:
    """The settings as dataclass fields: name, default, and ``metadata`` with toml, env, help and secret."""
    return fields(Settings)


def default_of(entry: Field[Any]) -> Any:
    """The default of a table entry."""
    return None if entry.default is MISSING else entry.default


def _from_file(file: Path) -> dict[str, Any]:
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"can't read {file}: {error}", hint="check the path, or run `xner-label init`"
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{file} isn't valid TOML: {error}", hint="correct the line it names") from None
    if file.name == "pyproject.toml":
        document = document.get("tool", {}).get("xner-label", {})
    by_key = {entry.metadata["toml"]: entry for entry in table()}
    values: dict[str, Any] = {}
    for key, value in _flatten(document):
        entry = by_key.get(key)
        if entry is None:
            raise ConfigurationError(f"{file}: unknown setting {key!r}", hint="docs/settings.md lists them all")
        if entry.metadata["secret"]:
            names = " or ".join(entry.metadata["env"])
            raise ConfigurationError(
                f"{file}: {key} is a secret and doesn't belong in a file that gets shared",
                hint=f"set {names} instead",
            )
        values[entry.name] = _checked(entry.name, value, f"{file}: {key}")
    return values


def _flatten(document: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    items: list[tuple[str, Any]] = []
    for key, value in document.items():
        if isinstance(value, Mapping):
            items += _flatten(value, f"{prefix}{key}.")
        else:
            items.append((prefix + key, value))
    return items


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for entry in table():
        for name in entry.metadata["env"]:
            text = environment.get(name)
            if text is None and entry.metadata["secret"] and f"{name}_FILE" in environment:
                text = _read_secret(name + "_FILE", environment[f"{name}_FILE"])
            if text:
                values[entry.name] = _parsed(entry.name, text, name)
                break
    return values


def _read_secret(variable: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigurationError(
            f"{variable}: can't read the file it names: {error.strerror}", hint="check the path"
        ) from None


def _parsed(name: str, text: str, where: str) -> Any:
    """A value given as text, in the type of its field."""
    kind = _TYPES[name]
    if kind is str:
        return text
    if get_args(kind):
        return tuple(item.strip() for item in text.split(",") if item.strip())
    try:
        return kind(text)
    except ValueError:
        raise ConfigurationError(f"{where}: {text!r} is not a {kind.__name__}", hint="correct the value") from None


def _checked(name: str, value: Any, where: str) -> Any:
    """A value from TOML, checked against the type of its field."""
    kind = _TYPES[name]
    if get_args(kind):
        if not (isinstance(value, list) and all(isinstance(item, str) for item in value)):
            raise ConfigurationError(f"{where}: expected a list of strings", hint='for example ["PER", "ORG"]')
        return tuple(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ConfigurationError(
            f"{where}: expected {kind.__name__}, found {type(value).__name__}", hint="correct the value"
        )
    return value
