"""Checkpoints known by name, and fetching them from the model hub ahead of use.

Only this module reaches for the network, and only when asked to: everything else loads what is here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fnmatch import fnmatch
from types import MappingProxyType
from typing import Any

import msgspec

from xner_label.errors import ConfigurationError, MissingExtraError
from xner_label.settings.table import PRESETS, Settings

# Seconds until a hub that doesn't answer counts as unreachable.
TIMEOUT = 10.0
_TOKENIZER_FILES = ("*.json", "*.model", "*.spm", "*.txt")
_STAGES = ("translator", "tagger", "aligner")


class KnownModel(msgspec.Struct, frozen=True):
    """What there is to know about a checkpoint before fetching it; ``gigabytes`` is what fetching brings."""

    stage: str
    licence: str
    gigabytes: float
    note: str


MODELS: Mapping[str, KnownModel] = MappingProxyType(
    {
        "facebook/nllb-200-distilled-600M": KnownModel(
            "translator, aligner", "CC-BY-NC-4.0", 2.5, "202 languages; no commercial use"
        ),
        "facebook/nllb-200-3.3B": KnownModel(
            "translator, aligner", "CC-BY-NC-4.0", 17.6, "202 languages; no commercial use"
        ),
        "google/madlad400-3b-mt": KnownModel("translator", "Apache-2.0", 11.8, "400 languages; commercial use"),
        "facebook/m2m100_418M": KnownModel("translator", "MIT", 1.9, "100 languages; commercial use"),
        "FacebookAI/xlm-roberta-large-finetuned-conll03-english": KnownModel(
            "tagger", "not stated", 2.2, "PER, ORG, LOC, MISC; trained on CoNLL-2003, whose text is for research"
        ),
        "google-bert/bert-base-multilingual-cased": KnownModel("aligner", "Apache-2.0", 0.7, "104 languages"),
    }
)


class ModelEntry(msgspec.Struct, frozen=True):
    """A line of the list of models. ``folder`` is None for one that isn't on this machine."""

    name: str
    stage: str
    licence: str
    gigabytes: float | None
    presets: tuple[str, ...]
    note: str
    folder: str | None


def list_models(settings: Settings) -> list[ModelEntry]:
    """The known checkpoints and those that the settings name, each with where it is."""
    names = dict.fromkeys([*MODELS, *models_of(settings)])
    unknown = KnownModel("", "see its page", 0.0, "named in the settings")
    entries: list[ModelEntry] = []
    for name in names:
        known = MODELS.get(name, unknown)
        presets = tuple(preset for preset, values in PRESETS.items() if name in values.values())
        size = known.gigabytes or None
        entries.append(ModelEntry(name, known.stage, known.licence, size, presets, known.note, folder_of(name)))
    return entries


def models_of(settings: Settings) -> list[str]:
    """The checkpoints that the stages of these settings need, each once."""
    needed = [
        getattr(settings, f"{stage}_model")
        for stage in _STAGES
        if getattr(settings, stage) not in ("given", "none", "crf", "eflomal")
    ]
    return list(dict.fromkeys(filter(None, needed)))


def pull_model(name: str, announce: Callable[[str, float, str], None]) -> str:
    """Fetch a checkpoint into the hub's cache, unless it is there, and return its folder.

    ``announce`` is told name, gigabytes and licence, as the hub states them, before anything is fetched. Weights
    are taken as safetensors where there are any. Raises ConfigurationError when the hub can't be reached within
    seconds, refuses, or doesn't know the name.
    """
    try:
        from huggingface_hub import HfApi, snapshot_download
        from huggingface_hub.errors import (
            GatedRepoError,
            HfHubHTTPError,
            HFValidationError,
            RepositoryNotFoundError,
        )
    except ImportError:
        raise MissingExtraError("models", "fetching checkpoints") from None
    try:
        info = HfApi().model_info(name, files_metadata=True, timeout=TIMEOUT)
        patterns = _patterns([file.rfilename for file in info.siblings or ()])
        wanted = [
            file for file in info.siblings or () if any(fnmatch(file.rfilename, pattern) for pattern in patterns)
        ]
        announce(name, sum(file.size or 0 for file in wanted) / 1e9, _licence(name, info))
        return str(snapshot_download(name, revision=info.sha, allow_patterns=patterns, etag_timeout=TIMEOUT))
    except HFValidationError:
        raise ConfigurationError(
            f"{name!r} is no name on the hub", hint="write it as ORGANISATION/MODEL, see `xner-label models list`"
        ) from None
    except GatedRepoError:
        raise ConfigurationError(
            f"{name} is given only to those who accepted its terms",
            hint="accept them on its page, then run `hf auth login` or set HF_TOKEN",
        ) from None
    except RepositoryNotFoundError:
        raise ConfigurationError(
            f"the hub has no model {name}, or it is private", hint="check the name; for a private one set HF_TOKEN"
        ) from None
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise _unreachable(name, error) from None
    except Exception as error:  # the hub's client lets errors of its HTTP library through
        if "http" not in type(error).__module__:
            raise
        raise _unreachable(name, error) from None


def _unreachable(name: str, error: Exception) -> ConfigurationError:
    reason = str(error).strip().partition("\n")[0][:200] or type(error).__name__
    return ConfigurationError(
        f"{name} can't be fetched: {reason}",
        hint="check the connection (and HF_HUB_OFFLINE), name a mirror in HF_ENDPOINT, or copy the checkpoint's "
        "folder here and give its path",
    )


def _patterns(files: list[str]) -> list[str]:
    weights = "*.safetensors" if any(file.endswith(".safetensors") for file in files) else "pytorch_model*.bin"
    return [*_TOKENIZER_FILES, weights]


def _licence(name: str, info: Any) -> str:
    stated = getattr(info.card_data, "license", None) if info.card_data else None
    return str(stated or (MODELS[name].licence if name in MODELS else "not stated"))


def folder_of(name: str) -> str | None:
    """Where a checkpoint is; None where it isn't here."""
    from xner_label.checkpoints.loading import find_checkpoint

    try:
        return find_checkpoint(name)
    except (ConfigurationError, ImportError):  # without the extra there is no hub's cache to look into
        return None
