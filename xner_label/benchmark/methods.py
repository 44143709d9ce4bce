"""The methods of a benchmark by name, and what each uses of a task."""

from __future__ import annotations

from xner_label.errors import UsageError
from xner_label.projection.projectors import models_asked
from xner_label.settings.choices import MATCHINGS, PROJECTORS, TAKING_WEIGHTS
from xner_label.settings.rules import weighted_sum

# A tagger of the target language by itself: nothing is translated or projected.
TRANSFER = "transfer"
# What is compared where nobody says otherwise: those without a model of the target language, and those with one.
ALWAYS = ("string", "heuristic", "align", "link-dice", "default", "corpus")
WITH_TARGET_TAGGER = (TRANSFER, "ner", "ner-spans", "align+ner", "align+ner-spans", "ensemble")
_LINKED = frozenset({"align", "align-greedy", "link-dice", "heuristic", *TAKING_WEIGHTS})


def check_method(name: str) -> str:
    """The name. Raises UsageError where no method has it."""
    projector, at, solver = name.partition("@")
    if (projector in PROJECTORS or weighted_sum(projector)) and (not at or solver in MATCHINGS):
        return name
    raise UsageError(
        f"there is no method {name!r}",
        hint=f"choose among {', '.join(PROJECTORS)}, or a sum such as 0.5*align+0.1*casing; "
        f"@{'|@'.join(MATCHINGS)} behind one chooses how spans are matched",
    )


def _parts(name: str) -> set[str]:
    projector = name.partition("@")[0]
    return set(weighted_sum(projector) or projector.split("+"))


def uses_links(name: str) -> bool:
    """Whether the method's answers depend on links."""
    return not _parts(name).isdisjoint(_LINKED)


def can_do_without_links(name: str) -> bool:
    """Whether the method answers tasks without links, too."""
    return not uses_links(name) or name in TAKING_WEIGHTS


def uses_target_tags(name: str) -> bool:
    """Whether the method needs a tagger of the target language."""
    return name == TRANSFER or not _parts(name).isdisjoint({"ner", "ner-spans", "ensemble"})


def uses_translation_model(name: str) -> bool:
    """Whether the method asks a translation model, beside what the stages do."""
    return bool(models_asked(name))
