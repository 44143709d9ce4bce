"""A signal ends what runs until it is stopped, whatever a library makes of it."""

from __future__ import annotations

import signal

import pytest

from xner_label.jobs.interrupts import terminating_interrupts


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_error_that_a_library_makes_of_the_signal_is_an_interrupt(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), terminating_interrupts() as interrupts:
        try:
            signal.raise_signal(number)
        except KeyboardInterrupt:
            raise RuntimeError("can't be changed now") from None
    assert interrupts.received
    assert signal.getsignal(number) is before


def test_an_error_without_a_signal_stays_one_and_an_ignored_one_is_ignored() -> None:
    with pytest.raises(RuntimeError, match="of its own"), terminating_interrupts() as interrupts:
        raise RuntimeError("of its own")
    assert not interrupts.received
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with terminating_interrupts():
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
