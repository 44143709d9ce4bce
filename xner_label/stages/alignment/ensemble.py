"""Several aligners as one: the union, the intersection or the vote of their links."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from xner_label.entities import Link
from xner_label.errors import ConfigurationError
from xner_label.settings.choices import RULES
from xner_label.stages.interfaces import Aligner, SentencePair, learns


class EnsembleAligner:
    """Keeps the links that enough members have: one for ``union``, all for ``intersection``, most for ``vote``.

    A link's weight is the mean of the members' weights, 0 for those without it. Raises ConfigurationError for an
    unknown rule and for fewer than two members.
    """

    def __init__(self, members: Sequence[Aligner], rule: str = "vote") -> None:
        if len(members) < 2:
            raise ConfigurationError("an ensemble needs two aligners or more", hint="join them with +")
        if rule not in RULES:
            raise ConfigurationError(f"there is no rule {rule!r}", hint=f"choose one of {', '.join(RULES)}")
        self.members = tuple(members)
        self._rule = rule
        self._enough = {"union": 1, "vote": len(members) // 2 + 1, "intersection": len(members)}[rule]

    @property
    def learns(self) -> bool:
        """Whether a member learns."""
        return any(member.learns for member in self.members)

    @property
    def signature(self) -> str:
        """Rule and members; it changes when a member learns."""
        return f"{self._rule}({'+'.join(member.signature for member in self.members)})"

    def fit(self, pairs: Sequence[SentencePair]) -> bool:
        """Let the members that learn do so from a project's text; True when that changed the signature."""
        changed = [member.fit(pairs) for member in self.members if learns(member)]
        return any(changed)

    def align(self, pairs: Sequence[SentencePair]) -> list[list[Link]]:
        """The links of each pair."""
        by_member = [member.align(pairs) for member in self.members]
        return [self._combine(of_pair) for of_pair in zip(*by_member, strict=True)]

    def _combine(self, by_member: Sequence[Sequence[Link]]) -> list[Link]:
        weights: defaultdict[tuple[int, int], list[float]] = defaultdict(list)
        for links in by_member:
            for source, target, weight in links:
                weights[source, target].append(weight)
        return [
            (source, target, sum(votes) / len(by_member))
            for (source, target), votes in sorted(weights.items())
            if len(votes) >= self._enough
        ]
