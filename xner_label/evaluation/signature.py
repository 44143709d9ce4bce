"""What a figure depends on, in one line that travels with it."""

from __future__ import annotations

import hashlib

import msgspec

from xner_label import __version__


def signature(**depends_on: object) -> str:
    """The software's version and the named values, ``xner-label/0.1.0 data=0a1b2c3d4e5f labels=all``."""
    return " ".join([f"xner-label/{__version__}", *(f"{name}={value}" for name, value in depends_on.items())])


def data_hash(data: object) -> str:
    """Twelve hexadecimal digits of anything that can be written as JSON."""
    return hashlib.sha256(msgspec.json.encode(data, order="sorted")).hexdigest()[:12]
