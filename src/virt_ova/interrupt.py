"""Signals that stop a run: raised at safe points, held back where half a step would leave something behind."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Handler = Callable[[int, FrameType | None], object]

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


def ignore_stop_signals() -> None:
    """From now on stop signals do nothing, even while the interpreter ends; undoes `raise_on_stop_signals`."""
    for signum in STOP_SIGNALS:
        if isinstance(signal.getsignal(signum), _Stop):
            signal.signal(signum, signal.SIG_IGN)


class Held:
    """The stop signals that wait, and the handlers that wait for them."""

    def __init__(self) -> None:
        self._waiting: list[int] = []
        self._is_open = False
        self._handlers: dict[int, Handler] = {}

    def hold(self) -> None:
        """Take the place of every handler that is a function."""
        found = {number: signal.getsignal(number) for number in STOP_SIGNALS}
        self._handlers = {number: handler for number, handler in found.items() if callable(handler)}
        for signum in self._handlers:
            signal.signal(signum, self._wait)

    def release(self) -> None:
        """Give the handlers their places back."""
        for signum, handler in self._handlers.items():
            signal.signal(signum, handler)

    def deliver(self) -> None:
        """Here and now the first signal that waits may raise what it raises, and the others are forgotten."""
        if self._waiting:
            signum = self._waiting[0]
            self._waiting.clear()
            self._handlers[signum](signum, None)

    @contextmanager
    def let_through(self) -> Iterator[None]:
        """In the block, which may wait for long, signals need not wait."""
        self._is_open = True
        try:
            self.deliver()
            yield
        finally:
            self._is_open = False

    def _wait(self, signum: int, _frame: FrameType | None) -> None:
        self._waiting.append(signum)
        if self._is_open:
            self.deliver()


@contextmanager
def held_back() -> Iterator[Held]:
    """Hold stop signals back until the block is done or calls `Held.deliver`.

    Does nothing outside of the main thread, which alone receives them.
    """
    held = Held()
    if threading.current_thread() is not threading.main_thread():
        yield held
        return
    try:
        held.hold()
        yield held
    finally:
        held.release()
    held.deliver()
