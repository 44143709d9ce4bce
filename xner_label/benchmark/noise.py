"""Links made worse on purpose, to see which methods stand it."""

from __future__ import annotations

import msgspec
import numpy as np

from xner_label.entities import Link, Task
from xner_label.errors import UsageError
from xner_label.pharaoh import format_links, parse_links

_SEED = 13
_KINDS = ("drop", "shuffle")


class Noise(msgspec.Struct, frozen=True):
    """``drop`` leaves each link out, ``shuffle`` gives it a random target word, with the probability ``share``."""

    kind: str
    share: float

    def __str__(self) -> str:
        return f"{self.kind}={self.share:g}"


def parse_noise(text: str) -> Noise:
    """``drop=0.2`` or ``shuffle=0.2``. Raises UsageError for anything else."""
    kind, _, share = text.partition("=")
    try:
        noise = Noise(kind, float(share))
    except ValueError:
        noise = Noise("", 0.0)
    if noise.kind not in _KINDS or not 0.0 < noise.share <= 1.0:
        raise UsageError(f"can't make links worse by {text!r}", hint="write drop=0.2 or shuffle=0.2")
    return noise


def with_noise(task: Task, noise: Noise, index: int) -> Task:
    """The task with worse links, the same ones each time for the same ``index``."""
    if not task.alignment or task.tokens is None or task.source_tokens is None:
        return task
    links = parse_links(task.alignment, len(task.source_tokens), len(task.tokens))
    generator = np.random.default_rng((_SEED, index))
    hit = generator.random(len(links)) < noise.share
    places = generator.integers(0, len(task.tokens), len(links))
    kept: dict[tuple[int, int], float] = {}
    for (source, target, weight), worse, random_place in zip(links, hit, places.tolist(), strict=True):
        if worse and noise.kind == "drop":
            continue
        place = random_place if worse else target
        kept[source, place] = max(weight, kept.get((source, place), 0.0))
    noisy: list[Link] = [(*pair, weight) for pair, weight in sorted(kept.items())]
    return msgspec.structs.replace(task, alignment=format_links(noisy))
