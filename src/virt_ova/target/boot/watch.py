"""What was seen and heard of one start, and the report that is made of it.

How far the machine came is read off what it shows, by `virt_ova.target.boot.marks`.
"""

from __future__ import annotations

import ipaddress
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from virt_ova.target.base import BootReport, DiskState, Screen, ScreenState
from virt_ova.target.boot.marks import EVIDENCE_WIDTH, BootState, DiskSign, classify, disk_sign, plain
from virt_ova.text import printable

KEPT_BYTES: Final = 256 * 1024
"""How much of the console's end is kept; a boot to the login prompt writes less than half of it."""

_OVERLAP_BYTES: Final = 1024
"""How far back a mark may begin that new output completes."""

_EVIDENCE_LINES: Final = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class AgentReply:
    """What a guest agent said: the guest's own name for its system, and its addresses."""

    system: str
    addresses: tuple[str, ...] = ()


def is_of_network(address: str) -> bool:
    """Whether `address` is one by which another machine could reach this one."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return not (parsed.is_loopback or parsed.is_link_local or parsed.is_unspecified)


@dataclass(kw_only=True, slots=True)
class BootWatch:
    """Follows one start: is told what the machine shows, and remembers when the furthest state was reached.

    Attributes:
        begun: `time.monotonic` when the machine was started.
        state: furthest state so far.
        reached: `time.monotonic` when it was reached.
        sign: what was said of the guest's disk.
    """

    begun: float = field(default_factory=time.monotonic)
    state: BootState = BootState.NO_OUTPUT
    reached: float = 0.0
    sign: DiskSign | None = None
    _console: bytearray = field(default_factory=bytearray)
    _lines: tuple[str, ...] = ()
    _address: str = ""
    _agent: AgentReply | None = None
    _said: BootState = BootState.NO_OUTPUT

    @property
    def saw_both(self) -> bool:
        """Whether the guest is up, by its console or its agent, and has an address."""
        return (self._said is BootState.LOGIN or self._agent is not None) and bool(self._address)

    @property
    def has_agent(self) -> bool:
        """Whether the guest agent answered."""
        return self._agent is not None

    def feed(self, output: bytes) -> None:
        """The console wrote `output`."""
        if output:
            self._console += output
            del self._console[:-KEPT_BYTES]
            self._read(bytes(self._console[-len(output) - _OVERLAP_BYTES :]))

    def saw_lines(self, lines: Sequence[str]) -> None:
        """The screen shows `lines`."""
        self._lines = tuple(lines)
        self._read("\n".join(lines).encode())

    def saw_address(self, address: str) -> None:
        """The machine was given `address`."""
        if address:
            self._address = address
            self._advance(BootState.NETWORK)

    def saw_agent(self, reply: AgentReply | None) -> None:
        """The guest agent answered, if it did."""
        if reply is not None:
            self._agent = reply
            self._advance(BootState.AGENT)
            self.saw_address(next(iter(reply.addresses), ""))

    @property
    def disk(self) -> DiskState:
        """Whether the guest found its disk, as far as is known now."""
        if self._said is BootState.LOGIN or self._agent is not None:
            return DiskState.FOUND
        return self.sign.state if self.sign else DiskState.UNKNOWN

    @property
    def is_disk_clear(self) -> bool:
        """Whether nothing more is to be learnt of the disk."""
        return self.disk is DiskState.FOUND or (self.sign is not None and self.sign.is_final)

    @property
    def is_stuck(self) -> bool:
        """Whether the guest does not find its disk, or nothing on it, and gave up."""
        return self.is_disk_clear and self.disk is not DiskState.FOUND

    def report(self, machine: str = "", screen: Screen | None = None) -> BootReport:
        """What was seen so far."""
        seconds = (self.reached or self.begun) - self.begun
        return BootReport(
            machine=machine,
            state=self.state.word,
            seconds=round(seconds, 3),
            evidence="\n".join(self._evidence(screen)),
            address=printable(self._address),
            disk=self.disk,
            disk_sign=self.sign.line if self.sign and self.sign.state is self.disk else "",
            screen=screen,
        )

    def _read(self, text: bytes) -> None:
        self._said = max(self._said, classify(text))
        self._advance(self._said)
        sign = disk_sign(text)
        if sign is not None and (self.sign is None or sign.rank < self.sign.rank):
            self.sign = sign

    def _advance(self, state: BootState) -> None:
        if state > self.state:
            self.state, self.reached = state, time.monotonic()

    def _evidence(self, screen: Screen | None) -> list[str]:
        """The last lines of the console, else of the screen; what the agent said; the address; all escaped."""
        text = plain(bytes(self._console)).decode(errors="replace")
        lines = [line.strip() for line in re.split(r"[\r\n]+", text) if line.strip()]
        shown = [printable(line, limit=EVIDENCE_WIDTH) for line in lines[-_EVIDENCE_LINES:]]
        if not shown and screen is not None:
            shown = self._seen(screen)
        if self._agent is not None:
            shown.append(f"guest agent in {printable(self._agent.system, limit=EVIDENCE_WIDTH)}")
        return [*shown, f"address {printable(self._address)}"] if self._address else shown

    def _seen(self, screen: Screen) -> list[str]:
        """What the screen shows of a machine whose console is silent."""
        silent = "the serial console is silent; the screen"
        if screen.state is ScreenState.BLANK:
            return [f"{silent} is blank"]
        if not self._lines:
            mostly = f", most of it {screen.color}" if screen.color else ""
            return [f"{silent} shows a picture of {screen.width}x{screen.height} pixels{mostly}"]
        lines = (printable(line.strip(), limit=EVIDENCE_WIDTH) for line in self._lines[-_EVIDENCE_LINES:])
        return [f"{silent} says:", *lines]
