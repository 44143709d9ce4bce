"""Zero-shot tagging with GLiNER (Zaratiana et al. 2024, arXiv 2311.08526): any label set, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

from xner_label.checkpoints.devices import Placement, choose_placement
from xner_label.checkpoints.loading import find_checkpoint
from xner_label.checkpoints.signatures import checkpoint_signature
from xner_label.entities import Entity, Tokens
from xner_label.errors import ConfigurationError, MissingExtraError

# How the usual labels are put to the model where nobody says otherwise; others are put in lower case.
_PROMPTS = {"PER": "person", "ORG": "organization", "LOC": "location", "DATE": "date", "MISC": "miscellaneous"}
# Spans below it are left out: GLiNER's own default.
THRESHOLD = 0.5
_BATCH = 8
_SENTENCE_ENDS = frozenset(".!?。।؟")


class GlinerTagger:
    """Finds the project's ``labels`` with a GLiNER checkpoint, a folder or a fetched hub name.

    ``prompts`` says in words what the model is to look for, by label. An entity's score is the model's probability
    of the span with that label. Raises MissingExtraError without the package gliner, ConfigurationError for a
    checkpoint that isn't here or can't be read, and for two labels with one prompt.
    """

    def __init__(
        self,
        model: str,
        labels: Sequence[str],
        *,
        prompts: Mapping[str, str] | None = None,
        placement: Placement | None = None,
    ) -> None:
        self._placement = placement or choose_placement()
        try:
            from gliner import GLiNER
        except ImportError:
            raise MissingExtraError("gliner", "the tagger gliner") from None
        asked = prompts or {}
        words = {
            label: asked.get(label) or _PROMPTS.get(label, label.lower().replace("_", " ")) for label in labels
        }
        self._labels = {prompt: label for label, prompt in words.items()}
        if len(self._labels) < len(words):
            raise ConfigurationError(
                "two labels have one prompt, and couldn't be told apart", hint="set pipeline.tagger_prompts"
            )
        self._name = model
        folder = find_checkpoint(model)
        try:
            self._model = GLiNER.from_pretrained(folder, local_files_only=True).to(self._placement.device).eval()
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise ConfigurationError(
                f"{model} can't be read as a GLiNER checkpoint: {error}",
                hint="choose one made with the package gliner",
            ) from None

    @cached_property
    def signature(self) -> str:
        """Checkpoint, labels with their prompts, and threshold."""
        named = ",".join(f"{label}={prompt}" for prompt, label in self._labels.items())
        checkpoint = checkpoint_signature(self._name, self._placement.cache)
        return f"gliner:{checkpoint}:{named}:{THRESHOLD:g}:{self._placement.signature}"

    def tag(self, texts: Sequence[Tokens]) -> list[list[Entity]]:
        """The entities of each text, none overlapping, in text order."""
        result: list[list[Entity]] = [[] for _ in texts]
        size = max(1, self._model.config.max_len * 3 // 4)  # its words are not quite our tokens
        pieces = [(place, *piece) for place, tokens in enumerate(texts) for piece in _pieces(tokens, size)]
        if not pieces:
            return result
        answers = self._model.inference(
            [texts[place].text[start:end] for place, start, end in pieces],
            list(self._labels),
            threshold=THRESHOLD,
            batch_size=_BATCH,
        )
        for (place, start, _), spans in zip(pieces, answers, strict=True):
            entities = [
                Entity(
                    start + span["start"],
                    start + span["end"],
                    self._labels[span["label"]],
                    min(1.0, float(span["score"])),
                )
                for span in spans
            ]
            result[place] += sorted(entities, key=lambda entity: (entity.start, entity.end))
        return result


def _pieces(tokens: Tokens, size: int) -> list[tuple[int, int]]:
    """Code-point spans of up to ``size`` tokens that cover a text, cut at a sentence's end where there is one: the
    model silently leaves out what is beyond its length."""
    words = tokens.words()
    pieces = []
    first = 0
    while first < len(words):
        last = min(first + size, len(words))
        if last < len(words):
            ends = [index + 1 for index in range(first, last) if words[index] in _SENTENCE_ENDS]
            last = ends[-1] if ends else last
        span = tokens.span(first, last)
        pieces.append((span.start, span.end))
        first = last
    return pieces
