"""A second connection, for taking things back after the first was lost.

A line can break in the middle of an upload; and ssh, which libvirt starts for ``qemu+ssh``, gets the terminal's Ctrl-C
as well as we do, and goes. What was made then is still there, on a host that cannot be reached over the old connection.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import libvirt

from virt_ova.errors import TargetError
from virt_ova.target.libvirt.errors import translated
from virt_ova.text import quoted

_TRIES: Final = 20
_PAUSE_SECONDS: Final = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class Lifeline:
    """How to reach the host again.

    Attributes:
        uri: what to call it, without secrets.
        connect: makes a new connection.
    """

    uri: str
    connect: Callable[[], Any]

    def take_back(self, discard: Callable[[], None], discard_anew: Callable[[Any], None], *, by_hand: str) -> None:
        """Call `discard`; if the connection turns out to be lost, `discard_anew` with a new one.

        Args:
            discard: removes one thing.
            discard_anew: finds that thing again, on the connection it is given, and removes it.
            by_hand: the words behind ``virsh -c URI`` that remove it.

        Raises:
            TargetError: the thing stays; with `by_hand` as the hint.
        """
        try:
            if _is_lost(discard):
                with self._connected() as connection:
                    discard_anew(connection)
        except TargetError as exc:
            exc.hint = f"virsh -c {shlex.quote(self.uri)} {by_hand}"
            raise

    @contextmanager
    def _connected(self) -> Iterator[Any]:
        with translated(f"connecting to {quoted(self.uri)} again", otherwise="E_CONNECT"):
            connection = self.connect()
        try:
            yield connection
        finally:
            connection.close()


def _is_lost(discard: Callable[[], None]) -> bool:
    """Call `discard`, and tell whether it failed for want of a connection."""
    try:
        discard()
    except TargetError as exc:
        if exc.code == "E_CONNECT":
            return True
        raise
    return False


def when_free(act: Callable[[], None]) -> None:
    """Call `act` until the host has noticed that the old connection is gone, which keeps what it used busy.

    Raises:
        libvirtError: it stays busy, or `act` fails otherwise.
    """
    for _ in range(_TRIES - 1):
        try:
            return act()
        except libvirt.libvirtError as exc:
            if exc.get_error_code() != libvirt.VIR_ERR_OPERATION_INVALID:
                raise
        time.sleep(_PAUSE_SECONDS)
    return act()
