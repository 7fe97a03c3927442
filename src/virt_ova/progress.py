"""Progress as events: the library tells a `Monitor`, and never prints."""

from __future__ import annotations

from typing import Protocol


class Monitor(Protocol):
    """Receives what happens, from one thread.

    A step is one named piece of work (``Copying disk1.vmdk``); its size is in bytes, or None when it has none.
    """

    def begin(self, step: str, total_bytes: int | None = None) -> None:
        """A step starts."""

    def advance(self, step: str, done_bytes: int) -> None:
        """`done_bytes` more of the step are done."""

    def end(self, step: str) -> None:
        """The step is done. A step that fails never ends."""

    def note(self, message: str) -> None:
        """Something worth saying that is not a step."""


class SilentMonitor:
    """The default: hears everything, says nothing."""

    def begin(self, step: str, total_bytes: int | None = None) -> None:
        """Ignore."""

    def advance(self, step: str, done_bytes: int) -> None:
        """Ignore."""

    def end(self, step: str) -> None:
        """Ignore."""

    def note(self, message: str) -> None:
        """Ignore."""
