"""A spaCy pipeline that cuts words as the tagger beside it does, and finds its entities.

pip install path/to/the/folder/of/pyproject.toml
nlp = spacy.load("NAME")
[(entity.text, entity.label_) for entity in nlp("Amina anaishi Arusha.").ents]
"""

from itertools import pairwise
from pathlib import Path
from typing import Any

from xner_label.training.bundled_tagger import Tagger, word_spans

ENTITIES = f"{__name__}_entities".replace(".", "_")
WORDS = f"{__name__}.words.v1"
_PIPELINE = Path(__file__).parent / "pipeline"


class Words:
    """The tokenizer. What stands between words and isn't a single space becomes a token of its own, so that the
    text comes back."""

    def __init__(self, vocab: Any) -> None:
        self.vocab = vocab

    def __call__(self, text: str) -> Any:
        """A Doc of the text."""
        from spacy.tokens import Doc

        cuts = sorted({0, len(text), *(border for span in word_spans(text) for border in span)})
        words: list[str] = []
        spaces: list[bool] = []
        for start, end in pairwise(cuts):
            if text[start] == " " and words and not spaces[-1]:
                spaces[-1] = True
                start += 1
            if start < end:
                words.append(text[start:end])
                spaces.append(False)
        return Doc(self.vocab, words=words, spaces=spaces)

    def to_bytes(self, **_: Any) -> bytes:
        """Nothing: the rules are this code."""
        return b""

    def from_bytes(self, data: bytes, **_: Any) -> "Words":
        """The tokenizer itself."""
        return self

    def to_disk(self, path: Any, **_: Any) -> None:
        """Write nothing: the rules are this code."""

    def from_disk(self, path: Any, **_: Any) -> "Words":
        """The tokenizer itself."""
        return self


class Entities:
    """The component: sets the entities of a Doc from its words."""

    def __init__(self) -> None:
        self._tagger = Tagger(Path(__file__).parent)

    def __call__(self, doc: Any) -> Any:
        """The Doc, with its entities."""
        from spacy.tokens import Span

        places = [token.i for token in doc if not token.is_space]
        spans = self._tagger.spans([doc[place].text for place in places])
        doc.set_ents(
            [Span(doc, places[first], places[last - 1] + 1, label) for first, last, label, _ in spans],
            default="outside",
        )
        return doc


def create_words() -> Any:
    """What makes the tokenizer for a pipeline."""
    return lambda nlp: Words(nlp.vocab)


def create_entities(nlp: Any, name: str) -> Entities:
    """The component for a pipeline."""
    return Entities()


def create_pipeline(language: str) -> Any:
    """A new pipeline of both."""
    import spacy

    nlp = spacy.blank(language, config={"nlp": {"tokenizer": {"@tokenizers": WORDS}}})
    nlp.add_pipe(ENTITIES)
    return nlp


def load(**overrides: Any) -> Any:
    """The pipeline; `spacy.load` calls this."""
    import spacy

    return spacy.load(_PIPELINE, **overrides)


def register() -> None:
    """Make both known to spaCy by their names."""
    import spacy
    from spacy.language import Language

    spacy.registry.tokenizers(WORDS, func=create_words)
    Language.factory(ENTITIES, func=create_entities, assigns=["doc.ents", "token.ent_iob", "token.ent_type"])


if not __name__.startswith("xner_label."):  # as a package of its own
    register()
