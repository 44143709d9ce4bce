"""A named-entity tagger: a CRF that needs nothing but `pip install python-crfsuite` and this folder.

    from tagger import Tagger
    tagger = Tagger("path/to/this/folder")
    tagger.tag(["Amina", "anaishi", "Arusha", "."])  # ["B-PER", "O", "B-LOC", "O"]
    tagger.entities("Amina anaishi Arusha.")         # [{"start": 0, "end": 5, "label": "PER", ...}, ...]

From a shell, `python tagger.py FILE` writes the entities of each line of a file as JSON Lines.
"""

import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from xner_label.stages.tagging.crf_features import features, tag_observations

# Words with inner apostrophes and hyphens, numbers with their separators, a final 's, single characters. Texts
# whose script writes no spaces, or vowels as combining marks, should come as words to `Tagger.tag`.
_POSSESSIVE = r"['’][sS](?!\w)"
_INNER = r"(?:['’ʼ‐‑-]|(?<=\d)[.,:/](?=\d))"
_WORD = re.compile(rf"(?<=\w){_POSSESSIVE}|\w+(?:(?!{_POSSESSIVE}){_INNER}\w+)*|[^\w\s]")


# Stages that answer without another stage's word, the first there is.
_WITHOUT_HINTS = ("gold", "mixed", "teacher")


class Tagger:
    """The stages of a folder; ``words`` below are those of one sentence."""

    def __init__(self, folder: str | Path = Path(__file__).parent) -> None:
        import pycrfsuite

        stages = json.loads((Path(folder) / "crf.json").read_text("utf-8"))["stages"]
        self._opened = {name: pycrfsuite.Tagger() for name in stages}
        for name, tagger in self._opened.items():
            tagger.open(str(Path(folder) / f"{name}.crf"))

    def tag(self, words: Sequence[str]) -> list[str]:
        """The IOB2 tag of each word."""
        return [tag for tag, _ in self._tagged(words)]

    def entities(self, text: str) -> list[dict[str, Any]]:
        """The entities of a text: ``start`` and ``end`` in code points (end exclusive), ``label``, ``text`` and
        ``score``, the lowest probability among its words' tags."""
        words = word_spans(text)
        return [
            {
                "start": words[first][0],
                "end": words[last - 1][1],
                "label": label,
                "text": text[words[first][0] : words[last - 1][1]],
                "score": score,
            }
            for first, last, label, score in self.spans([text[start:end] for start, end in words])
        ]

    def spans(self, words: Sequence[str]) -> list[tuple[int, int, str, float]]:
        """The entities among words: the first, one past the last, the label and the score."""
        tagged = self._tagged(words)
        return [
            (first, last, label, min(probability for _, probability in tagged[first:last]))
            for first, last, label in _spans([tag for tag, _ in tagged])
        ]

    def _tagged(self, words: Sequence[str]) -> list[tuple[str, float]]:
        if not words:
            return []
        tagger, extra = next((self._opened[name] for name in _WITHOUT_HINTS if name in self._opened), None), None
        if "text" in self._opened:
            tagger, teacher = self._opened["text"], self._opened.get("teacher")
            if teacher is not None:  # what it says is a feature of the model that learned from people
                extra = tag_observations("teacher", teacher.tag(features(words)))
        if tagger is None:
            return [("O", 1.0) for _ in words]
        tags = tagger.tag(features(words, extra))
        return [(tag, tagger.marginal(tag, place)) for place, tag in enumerate(tags)]


def word_spans(text: str) -> list[tuple[int, int]]:
    """Where the words of a text begin and end."""
    return [match.span() for match in _WORD.finditer(text)]


def _spans(tags: Sequence[str]) -> Iterator[tuple[int, int, str]]:
    """First word, one past the last, label."""
    first, label = 0, ""
    for place, tag in enumerate([*tags, "O"]):
        if label and tag != f"I-{label}":
            yield first, place, label
            label = ""
        if tag != "O" and not label:
            first, label = place, tag[2:]


if __name__ == "__main__":
    loaded = Tagger()
    with open(sys.argv[1], encoding="utf-8") as lines:
        for line in lines:
            row = {"text": line.rstrip("\n"), "entities": loaded.entities(line.rstrip("\n"))}
            sys.stdout.write(json.dumps(row, ensure_ascii=False) + "\n")
