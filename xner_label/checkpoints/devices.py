"""Where models run: the device, the number format, and what fits there."""

from __future__ import annotations

import msgspec

from xner_label.errors import ConfigurationError, MissingExtraError
from xner_label.settings.choices import DTYPES

# Subtokens per batch. On a CPU small batches stay in its cache; a GPU wants many rows at once.
_BATCH_TOKENS = {"cpu": 1024, "mps": 8192, "cuda": 32768}


class Placement(msgspec.Struct, frozen=True):
    """Where a model runs and in which number format: a torch device and a torch dtype, by name.

    ``cache`` is the folder that keeps what is worked out about checkpoints; empty: nothing is kept.
    """

    device: str
    dtype: str
    cache: str = ""

    @property
    def batch_tokens(self) -> int:
        """Subtokens per batch, padding included, that suit the device."""
        return _BATCH_TOKENS.get(self.device.partition(":")[0], 1024)

    @property
    def signature(self) -> str:
        """The number format, as far as it changes results beyond rounding in float32."""
        return "" if self.dtype == "float32" else self.dtype


class PlacementRequest(msgspec.Struct, frozen=True):
    """Where models should run, as settings say it: ``auto`` leaves the choice to :func:`choose_placement`."""

    device: str = "auto"
    dtype: str = "auto"

    def resolve(self) -> Placement:
        """The placement here and now. Raises what :func:`choose_placement` does."""
        return choose_placement(self.device, self.dtype)


# No wish: the best device there is, in its best type.
ANYWHERE = PlacementRequest()


def require_models() -> None:
    """Raise MissingExtraError unless torch and transformers can be imported."""
    try:
        import torch  # noqa: F401
        import transformers  # noqa: F401
    except ImportError:
        raise MissingExtraError("models", "a neural stage") from None


def choose_placement(device: str = "auto", dtype: str = "auto", cache: str = "") -> Placement:
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
    return Placement(device, dtype, cache)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of torch says that memory ran out (each device says it in its own way)."""
    import torch

    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and ("out of memory" in text or "can't allocate memory" in text)
