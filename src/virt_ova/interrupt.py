"""Signals that stop a run: raised at safe points, held back where half a step would leave something behind."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_ECHO_SECONDS: Final = 1.0
"""A signal that follows another so soon is the same wish, said twice by a wrapper or an impatient finger."""


class Interrupted(KeyboardInterrupt):
    """A stop signal arrived; `signum` says which."""

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.signum = signum


class _Stop:
    """The handler of all stop signals.

    One that follows another at once is passed over, so that it cannot strike between the first one's `Interrupted` and
    the place that holds signals back while it takes things back.
    """

    def __init__(self) -> None:
        self.is_armed = True
        self._last = float("-inf")

    def __call__(self, signum: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.is_armed and now - self._last >= _ECHO_SECONDS:
            self._last = now
            raise Interrupted(signum)


def raise_on_stop_signals() -> None:
    """From now on every stop signal raises `Interrupted` in the main thread; for the command line alone."""
    stop = _Stop()
    for signum in STOP_SIGNALS:
        if signal.getsignal(signum) is not signal.SIG_IGN:
            signal.signal(signum, stop)


def let_pass() -> None:
    """From now on stop signals raise nothing: what was to be done is done. Without `raise_on_stop_signals`, nothing."""
    for signum in STOP_SIGNALS:
        if isinstance(stop := signal.getsignal(signum), _Stop):
            stop.is_armed = False


@contextmanager
def held_back() -> Iterator[None]:
    """Hold stop signals back until the block is done, then deliver the first of them.

    Does nothing outside of the main thread, which alone receives them.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []
    before = {signum: signal.getsignal(signum) for signum in STOP_SIGNALS}
    for signum, handler in before.items():
        if callable(handler):
            signal.signal(signum, lambda number, _frame: held.append(number))
    try:
        yield
    finally:
        for signum, handler in before.items():
            if callable(handler):
                signal.signal(signum, handler)
    if held:
        signal.raise_signal(held[0])
