"""Threads for work that is waited for, but never in vain.

Where memory runs out, Python can lose a thread: when it begins, before it says that it runs, and later while it tells
what became of its work. Who waits by the means of `threading` and `concurrent.futures` alone waits for ever then.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from queue import SimpleQueue
from types import TracebackType
from typing import Final, ParamSpec, Self, TypeVar

from virt_ova.memory import room_for_thread

_LOST_SECONDS: Final = 30.0
"""A thread that did not say within this time that it runs never will."""

_TICK_SECONDS: Final = 1.0

P = ParamSpec("P")
T = TypeVar("T")


class Thread(threading.Thread):
    """A thread whose `start` comes back in any case."""

    def __init__(self, work: Callable[[], None]) -> None:
        """Call `work` in a thread that keeps no process alive."""
        super().__init__(target=work, daemon=True)
        self._started = _Soon()  # what `threading.Thread.start` waits for

    def start(self) -> None:
        """Run it. Raises `MemoryError` when there is no room for it."""
        room_for_thread()
        super().start()


class _Soon(threading.Event):
    """An event that comes soon or never."""

    def wait(self, timeout: float | None = None) -> bool:
        """As usual. Raises `MemoryError` when it does not come."""
        if not super().wait(_LOST_SECONDS if timeout is None else timeout):
            raise MemoryError
        return True


class Workers:
    """A context with threads that do what is submitted, the first first. When it is left, what was not begun is not."""

    def __init__(self, number: int) -> None:
        """So many threads, which all start with the context; without any, who submits does it at once."""
        self._number = number
        self._threads: list[Thread] = []
        self._tasks: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._is_over = False

    def submit(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Let a thread call `work`, or do it; see `result`."""
        future: Future[T] = Future()

        def run() -> None:
            if self._is_over:
                future.cancel()
                return
            try:
                future.set_result(work(*args, **kwargs))
            except BaseException as exc:  # noqa: BLE001 - told to who asks for the result
                future.set_exception(exc)

        if self._number:
            self._tasks.put(run)
        else:
            run()
        return future

    def result(self, future: Future[T]) -> T:
        """Wait for what was submitted; raises what it raised, and `MemoryError` when its thread was lost."""
        while not future.done():
            with suppress(TimeoutError):
                return future.result(_TICK_SECONDS)
            self.check()
        return future.result()

    def check(self) -> None:
        """Raise `MemoryError` when a thread was lost."""
        if not all(thread.is_alive() for thread in self._threads):
            raise MemoryError

    def __enter__(self) -> Self:
        try:
            for _ in range(self._number):
                thread = Thread(self._work)
                thread.start()
                self._threads.append(thread)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        self._is_over = True
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            task()
