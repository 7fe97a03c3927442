"""What a QEMU of ours lets us see and hear of its machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from virt_ova.target.boot.watch import AgentReply
from virt_ova.target.directory.agent import AgentPort
from virt_ova.target.directory.qmp import Qmp

SERIAL_LOG: Final = "serial.log"

_MOST_BYTES: Final = 256 << 10
"""Read of the console at once."""


class FolderSenses:
    """See `virt_ova.target.boot.observer.Senses`; use `senses_of`."""

    may_lease = False

    def __init__(self, console: BinaryIO, qmp: Qmp, port: AgentPort, is_running: Callable[[], bool]) -> None:
        """Use these, and own none of them."""
        self._console, self._port = console, port
        self.is_running = is_running
        self.screenshot, self.text_memory = qmp.screenshot, qmp.text_memory

    def console(self) -> bytes:
        """What is new in ``serial.log``."""
        return self._console.read(_MOST_BYTES)

    def address(self) -> str:
        """QEMU tells none: see `agent`."""
        return ""

    def agent(self) -> AgentReply | None:
        """What the agent has answered."""
        return self._port.reply()


@contextmanager
def senses_of(folder: Path, is_running: Callable[[], bool]) -> Iterator[FolderSenses]:
    """Those of the machine that was just started in `folder`."""
    with (folder / SERIAL_LOG).open("rb") as console, closing(Qmp(folder)) as qmp, closing(AgentPort(folder)) as port:
        yield FolderSenses(console, qmp, port, is_running)
