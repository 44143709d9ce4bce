"""Datasets known by name: a language's file in a folder of published files, or fetched from the hub.

In a folder the files are looked for under the names that their authors gave them; from the hub come the Parquet
files that it makes of every dataset. Nothing is fetched where a folder is named.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from xner_label.errors import ConfigurationError, MissingExtraError, UsageError

# Where the hub keeps the Parquet files that it makes.
_PARQUET = "refs/convert/parquet"
_SPLITS = {"dev": "validation"}


class KnownDataset(msgspec.Struct, frozen=True):
    """``repository`` on the hub; ``patterns`` of files below a folder, with {language} and {split}."""

    repository: str
    patterns: tuple[str, ...]
    languages: str


KNOWN = {
    "masakhaner2": KnownDataset(
        "masakhane/masakhaner2",
        ("{language}/{split}.txt", "{language}/{split}*.parquet", "{language}/{split}/*.parquet"),
        "ISO 639-3, such as lug",
    ),
    "wikiann": KnownDataset(
        "unimelb-nlp/wikiann",
        ("{language}/{split}*.parquet", "{language}/{split}/*.parquet", "{language}/{split}.jsonl"),
        "ISO 639-1 where there is one, such as sw",
    ),
    "uner": KnownDataset(
        "universalner/universal_ner",
        ("{language}-ud-{split}.iob2", "{language}/{split}/*.parquet"),
        "language and treebank, such as zh_pud",
    ),
}


def find_data(
    arguments: Sequence[str], languages: Sequence[str], *, split: str | None = None, folder: Path | None = None
) -> list[str]:
    """Each argument as ``NAME=PATH`` or as it is; a known dataset's name becomes one for each language.

    ``split``: train, dev or test (None: test). Raises UsageError for a known name without languages and for one
    that a folder doesn't hold, ConfigurationError where the hub can't be reached, MissingExtraError without the
    extra ``models``.
    """
    paths: list[str] = []
    for argument in arguments:
        known = KNOWN.get(argument)
        if known is None or Path(argument).exists():
            paths.append(argument)
            continue
        if not languages:
            raise UsageError(
                f"which languages of {argument}?", hint=f"name them with --languages: {known.languages}"
            )
        for language in languages:
            file = (
                _fetched(known, language, split or "test")
                if folder is None
                else _below(folder, argument, known, language, split or "test")
            )
            paths.append(f"{language}={file}")
    return paths


def _below(folder: Path, name: str, known: KnownDataset, language: str, split: str) -> Path:
    for pattern in known.patterns:
        for part in dict.fromkeys((split, _SPLITS.get(split, split))):
            files = sorted(folder.rglob(pattern.format(language=language, split=part)))
            ours = [file for file in files if name in str(file).lower()] or files
            if ours:
                return ours[0]
    shown = " or ".join(pattern.format(language=language, split=split) for pattern in known.patterns)
    raise UsageError(
        f"{folder} holds no {split} part of {name} in {language!r}", hint=f"looked for {shown}, at any depth"
    )


def _fetched(known: KnownDataset, language: str, split: str) -> Path:
    try:
        from huggingface_hub import HfApi, hf_hub_download
    except ImportError:
        raise MissingExtraError("models", "fetching data from the hub") from None
    from xner_label.checkpoints.hub import TIMEOUT

    wanted = f"{language}/{_SPLITS.get(split, split)}/"
    try:
        every = HfApi().list_repo_files(known.repository, repo_type="dataset", revision=_PARQUET)
        files = sorted(file for file in every if file.startswith(wanted))
        if files:
            fetched = hf_hub_download(
                known.repository, files[0], repo_type="dataset", revision=_PARQUET, etag_timeout=TIMEOUT
            )
            return Path(fetched)
    except Exception as error:  # noqa: BLE001 - the hub's client lets errors of its HTTP library through
        reason = str(error).strip().partition("\n")[0][:200] or type(error).__name__
        raise ConfigurationError(
            f"{known.repository} can't be fetched: {reason}",
            hint="check the connection (and HF_HUB_OFFLINE), or name a folder with its files with --data-folder",
        ) from None
    raise UsageError(f"{known.repository} has no {wanted}", hint=f"languages are named by {known.languages}")
