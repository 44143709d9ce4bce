"""What every neural stage shares: checkpoints, the device, and batches bounded by tokens.

Nothing here reaches for a model hub. A checkpoint is a folder, or a hub name that `xner-label models pull` has
fetched before; anything else is a ConfigurationError, at once. Weights come from safetensors or are unpickled with
``weights_only``, and a checkpoint's own code is never run.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate, islice, takewhile
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakValueDictionary

import msgspec

from xner_label.errors import ConfigurationError, MissingExtraError, XnerLabelError

R = TypeVar("R")

logger = logging.getLogger(__name__)

DTYPES = ("float32", "bfloat16", "float16")
# Subtokens per batch. On a CPU small batches stay in its cache; a GPU wants many rows at once.
_BATCH_TOKENS = {"cpu": 1024, "mps": 8192, "cuda": 32768}

# Models in use, so that two stages with one checkpoint (translator and mt-encoder) hold its weights once.
_models: WeakValueDictionary[tuple[str, str, str, str], Any] = WeakValueDictionary()
_loading = threading.RLock()


class Placement(msgspec.Struct, frozen=True):
    """Where a model runs and in which number format: a torch device and a torch dtype, by name."""

    device: str
    dtype: str

    @property
    def batch_tokens(self) -> int:
        """Subtokens per batch, padding included, that suit the device."""
        return _BATCH_TOKENS.get(self.device.partition(":")[0], 1024)

    @property
    def signature(self) -> str:
        """The number format, as far as it changes results beyond rounding in float32."""
        return "" if self.dtype == "float32" else self.dtype


def require_models() -> None:
    """Raise MissingExtraError unless torch and transformers can be imported."""
    try:
        import torch  # noqa: F401
        import transformers  # noqa: F401
    except ImportError:
        raise MissingExtraError("models", "a neural stage") from None


def choose_placement(device: str = "auto", dtype: str = "auto") -> Placement:
    """Pick a device and a number format.

    ``auto`` takes CUDA, then MPS, then the CPU; and bfloat16 where CUDA computes in it natively, else float32.
    Raises ConfigurationError for a device that isn't there and for a format that torch or the device doesn't know.
    """
    require_models()
    import torch

    if device == "auto":
        mps = torch.backends.mps.is_available()
        device = "cuda" if torch.cuda.is_available() else "mps" if mps else "cpu"
    kind = device.partition(":")[0]
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, ValueError):
        raise ConfigurationError(
            f"the device {device!r} can't be used here", hint="choose auto, cpu, cuda, cuda:N or mps"
        ) from None
    if dtype == "auto":
        dtype = (
            "bfloat16" if kind == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False) else DTYPES[0]
        )
    if dtype not in DTYPES or (dtype == "float16" and kind == "cpu"):
        raise ConfigurationError(
            f"the number format {dtype!r} can't be used on {device}",
            hint=f"choose auto or one of {', '.join(DTYPES)}",
        )
    return Placement(device, dtype)


def load_model(auto_class: str, name: str, placement: Placement) -> Any:
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
        if not (path / "config.json").is_file():
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


# A checkpoint is named by a sample of its weights: reading gigabytes to hash them would take longer than loading.
_SAMPLES, _SAMPLE_BYTES = 64, 4096


def checkpoint_signature(name: str) -> str:
    """A checkpoint's short name and a hash of its configuration and of blocks spread over its weights.

    Two folders with the same content have the same signature. Raises ConfigurationError where there is none.
    """
    folder = Path(find_checkpoint(name))
    digest = hashlib.sha256()
    patterns = ("config.json", "tokenizer.json", "*.safetensors", "*.bin", "*.model")
    for file in sorted({file for pattern in patterns for file in folder.glob(pattern)}):
        size = file.stat().st_size
        digest.update(f"{file.name}\0{size}\0".encode())
        with open(file, "rb") as stream:
            for start in sorted({size * block // _SAMPLES for block in range(_SAMPLES)}):
                stream.seek(start)
                digest.update(stream.read(_SAMPLE_BYTES))
    return f"{Path(name).name}@{digest.hexdigest()[:8]}"


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


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of torch says that memory ran out (each device says it in its own way)."""
    import torch

    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and ("out of memory" in text or "can't allocate memory" in text)


class TokenBatches:
    """Runs a model over items in batches of near-equal length, each at most ``max_tokens`` long.

    Padding to a batch's longest item counts, unless the model runs without (``padded=False``). A batch for which
    memory runs out is halved, and so are those after it; a warning says so. One instance may serve several
    threads.
    """

    def __init__(self, max_tokens: int, *, padded: bool = True) -> None:
        self.max_tokens = max_tokens
        self._padded = padded

    def run(self, lengths: Sequence[int], forward: Callable[[list[int]], R]) -> Iterator[tuple[list[int], R]]:
        """Call ``forward`` with the indices of each batch, longest items first; yields indices and answer.

        ``lengths`` holds the subtokens of each item. Every item is in exactly one batch; an item longer than
        ``max_tokens`` gets a batch of its own. Raises ConfigurationError when a single item doesn't fit in memory.
        """
        order = sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True)
        start = 0
        while start < len(order):
            longest = max(lengths[order[start]], 1)
            if self._padded:
                taken = self.max_tokens // longest
            else:
                total = accumulate(lengths[index] for index in islice(order, start, None))
                taken = sum(1 for _ in takewhile(self.max_tokens.__ge__, total))
            batch = order[start : start + max(taken, 1)]
            try:
                answer = forward(batch)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if len(batch) == 1:
                    raise ConfigurationError(
                        f"memory ran out on a single text of {longest} subtokens",
                        hint="choose a smaller model or another device, or split the text",
                    ) from None
            else:
                yield batch, answer
                start += len(batch)
                continue
            # Outside the handler: its traceback would keep the failed batch's tensors alive.
            self._halve(len(batch) * longest if self._padded else sum(lengths[index] for index in batch))

    def _halve(self, tokens: int) -> None:
        import torch

        self.max_tokens = max(tokens // 2, 1)
        logger.warning("memory ran out on %d subtokens; going on with %d per batch", tokens, self.max_tokens)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
