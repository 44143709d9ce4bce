"""The sample corpora that the demo and the tests run on; see README.md beside this file.

``PAIRS`` holds English-Swahili sentence pairs with source entities and gold target entities, ``SAMPLES`` the like
by language code, Hindi being in a script without capitals. ``LABELLED_SOURCE`` holds further English sentences
with entities, to train a source tagger on. All are JSON Lines files that ``xner-label import`` reads.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from xner_label.entities import Task
from xner_label.jsonl import read_values

PAIRS = Path(__file__).with_name("en-sw.jsonl")
SAMPLES = {"sw": PAIRS, "hi": Path(__file__).with_name("en-hi.jsonl")}
LABELLED_SOURCE = Path(__file__).with_name("en-labelled.jsonl")
LABELS = ("PER", "ORG", "LOC", "DATE")

Split = Literal["pool", "dev", "test"]


class SampleTask(Task, frozen=True, omit_defaults=True, kw_only=True):
    """One line of the sample; ``split`` is None in ``LABELLED_SOURCE``."""

    split: Split | None = None


def read_sample(path: Path = PAIRS, split: Split | None = None) -> list[SampleTask]:
    """The sample's lines in file order, of one split or of all."""
    return [task for task in read_values(path, SampleTask) if split is None or task.split == split]
