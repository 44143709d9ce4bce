"""What asking a model behind an endpoint takes: requests, tokens, money."""

from __future__ import annotations

import threading

import msgspec


class Usage(msgspec.Struct):
    """Counts of one stage since it was made.

    ``requests`` were answered, after ``retries`` that weren't; ``uncounted`` of them came without token counts.
    ``cost`` is in the currency of the prices, None where no price is known. ``kept`` answers were there from
    before. ``dropped`` counts entities that don't stand in their text or have no label of the project,
    ``unreadable`` texts that got no answer of use.
    """

    requests: int = 0
    retries: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    uncounted: int = 0
    cost: float | None = None
    kept: int = 0
    dropped: int = 0
    unreadable: int = 0

    def add(self, other: Usage, times: int = 1) -> None:
        """The counts of another stage, or of more of the same work."""
        for name in self.__struct_fields__:
            more = getattr(other, name)
            if more is not None:
                setattr(self, name, (getattr(self, name) or 0) + times * more)

    def since(self, before: Usage) -> Usage:
        """What was added since these counts were ``before``."""
        new = msgspec.structs.replace(self)
        new.add(before, -1)
        return new

    def words(self) -> str:
        """One line for people."""
        repeated = f", {self.retries:,} more tried again" if self.retries else ""
        parts = [
            f"{self.requests:,} requests{repeated}",
            f"{self.input_tokens:,} tokens in and {self.output_tokens:,} out"
            + (f" ({self.uncounted:,} requests came without counts)" if self.uncounted else ""),
        ]
        if self.cost is not None:
            parts.append(f"cost {self.cost:.4f}")
        if self.kept:
            parts.append(f"{self.kept:,} answers kept from before")
        if self.dropped:
            parts.append(f"{self.dropped:,} entities dropped that aren't in the text or have another label")
        if self.unreadable:
            parts.append(f"{self.unreadable:,} texts without a usable answer")
        return ", ".join(parts)


class Meter:
    """A usage that several threads count into, with prices per million tokens (0: unknown)."""

    def __init__(self, input_price: float = 0.0, output_price: float = 0.0) -> None:
        self.usage = Usage(cost=0.0 if input_price or output_price else None)
        self._prices = input_price, output_price
        self._lock = threading.Lock()

    def request(self, tokens: tuple[int, int] | None, retries: int) -> None:
        """A request was answered, with so many tokens in and out (None: the endpoint doesn't say)."""
        with self._lock:
            self.usage.requests += 1
            self.usage.retries += retries
            if tokens is None:
                self.usage.uncounted += 1
                return
            self.usage.input_tokens += tokens[0]
            self.usage.output_tokens += tokens[1]
            if self.usage.cost is not None:
                price = sum(count * per for count, per in zip(tokens, self._prices, strict=True))
                self.usage.cost += price / 1_000_000

    def count(self, **more: int) -> None:
        """Add to counts by name."""
        with self._lock:
            for name, number in more.items():
                setattr(self.usage, name, getattr(self.usage, name) + number)


def usage_of(*stages: object) -> Usage | None:
    """What stages that ask an endpoint took together; None where none of them does."""
    counted = [usage for stage in stages if isinstance(usage := getattr(stage, "usage", None), Usage)]
    if not counted:
        return None
    total = Usage()
    for usage in counted:
        total.add(usage)
    return total
