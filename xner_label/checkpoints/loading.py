"""Reading checkpoints.

Nothing here reaches for a model hub. A checkpoint is a folder, or a hub name that `xner-label models pull` has
fetched before; anything else is a ConfigurationError, at once. Weights come from safetensors or are unpickled with
``weights_only``, and a checkpoint's own code is never run.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from xner_label.checkpoints.devices import Placement, is_out_of_memory, require_models
from xner_label.errors import ConfigurationError, XnerLabelError

# Models in use, so that two stages with one checkpoint (translator and mt-encoder) hold its weights once.
_models: WeakValueDictionary[tuple[str, str, str, str], Any] = WeakValueDictionary()
_loading = threading.RLock()


def load_checkpoint(auto_class: str, name: str, placement: Placement) -> Any:
    """Load a checkpoint for inference through one of transformers' Auto classes (``AutoModel``, ...).

    The same call returns the same object for as long as somebody holds it: treat it as read-only. Raises
    ConfigurationError for a checkpoint that isn't there, can't be read, is of another architecture, or lacks
    weights that the Auto class needs (they would be random).
    """
    require_models()
    import torch
    import transformers

    folder = find_checkpoint(name)
    key = (auto_class, folder, placement.device, placement.dtype)
    with _loading:
        model = _models.get(key)
        if model is not None:
            return model
        with quiet_reading(name, f"a checkpoint for {auto_class}"):
            model, info = getattr(transformers, auto_class).from_pretrained(
                folder,
                local_files_only=True,
                trust_remote_code=False,
                weights_only=True,
                output_loading_info=True,
                dtype=getattr(torch, placement.dtype),
            )
        missing = sorted(key for key in info["missing_keys"] if "pooler" not in key.split("."))
        if missing:
            shown = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
            raise ConfigurationError(
                f"{name} lacks weights that {auto_class} needs ({shown})",
                hint="choose a checkpoint that was trained for this stage",
            )
        try:
            model = model.to(placement.device).eval().requires_grad_(False)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise ConfigurationError(
                f"{name} doesn't fit into the memory of {placement.device}",
                hint="choose a smaller checkpoint, another device, or bfloat16",
            ) from None
        _models[key] = model
        return model


def load_tokenizer(name: str, *, fast: bool = True, **options: Any) -> Any:
    """Load a checkpoint's tokenizer. Raises ConfigurationError where there is none, or no ``fast`` one."""
    require_models()
    import transformers

    folder = find_checkpoint(name)
    with _loading, quiet_reading(name, "a tokenizer"):
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, **options
        )
    if fast and not tokenizer.is_fast:
        raise ConfigurationError(
            f"{name} has no fast tokenizer",
            hint="choose a checkpoint with a tokenizer.json, or convert its tokenizer",
        )
    return tokenizer


# What a folder must hold to be a checkpoint: transformers' description of it, or GLiNER's.
_DESCRIPTIONS = ("config.json", "gliner_config.json")


def find_checkpoint(name: str) -> str:
    """The folder of a checkpoint: ``name`` itself, or where the hub's cache keeps the checkpoint of that name.

    Raises ConfigurationError when neither is there.
    """
    if not name:
        raise ConfigurationError(
            "no checkpoint is named", hint="give --model, or set the stage's model in the settings"
        )
    path = Path(name).expanduser()
    if path.is_dir():
        if not any((path / description).is_file() for description in _DESCRIPTIONS):
            raise ConfigurationError(
                f"{name} is no checkpoint: it holds no config.json",
                hint="give the folder that save_pretrained() wrote",
            )
        return str(path)
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise ConfigurationError(f"there is no checkpoint at {name}", hint="check the path")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return str(snapshot_download(name, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError, OSError):
        raise ConfigurationError(
            f"the checkpoint {name} isn't on this machine",
            hint=f"run `xner-label models pull {name}` where the hub can be reached, or give the path of a folder",
        ) from None


@contextmanager
def quiet_reading(name: str, what: str) -> Iterator[None]:
    """Turn what goes wrong while a checkpoint is read into a ConfigurationError; keep the libraries quiet."""
    from transformers.utils import logging as transformers_logging

    verbosity = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    except XnerLabelError:
        raise
    except Exception as error:  # each architecture and file format fails in its own way
        reason = str(error).strip().partition("\n")[0][:300] or type(error).__name__
        raise ConfigurationError(
            f"{name} can't be read as {what}: {reason}",
            hint="check that the checkpoint is whole and fits the stage",
        ) from error
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()
