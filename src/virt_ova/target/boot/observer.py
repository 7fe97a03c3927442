"""One start, watched: from power on until nothing better is to be expected, or the time is over.

What a driver can see and hear of a machine are its `Senses`. They are asked in turn, the cheap ones often.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Final, Protocol

from virt_ova.target.base import BootReport
from virt_ova.target.boot.marks import BootState
from virt_ova.target.boot.screen import ScreenWatch
from virt_ova.target.boot.vga import is_text_mode, screen_lines
from virt_ova.target.boot.watch import AgentReply, BootWatch

GRACE_SECONDS: Final = 15
"""How long after a login prompt an address is waited for, and after an address a login prompt."""

_POLL_SECONDS: Final = 0.1
_ADDRESS_SECONDS: Final = 0.5
_AGENT_SECONDS: Final = 2.0
_SCREEN_SECONDS: Final = 3.0
_SCREEN_SHARE: Final = 10
"""Of the time, one part in so many goes to looking at the screen, at most."""

_SETTLE_SECONDS: Final = 2.0
"""Between the two looks at the end that tell a screen that changes from one that does not."""

_SETTLE_DISK_SECONDS: Final = 0.5
"""For the rest of a line, when nothing but the disk is asked for."""

_CHANGING_SECONDS: Final = 6.0
"""A machine that is still on its way may rest so long between two changes of its screen."""


class Senses(Protocol):
    """What can be seen and heard of one machine. Each method tells what there is now, and does not wait."""

    @property
    def may_lease(self) -> bool:
        """Whether `address` may ever tell one. An agent may, too."""

    def is_running(self) -> bool:
        """Whether the machine runs."""

    def console(self) -> bytes:
        """What the serial console wrote since it was asked last."""

    def address(self) -> str:
        """The address that the machine was given; empty while it has none."""

    def agent(self) -> AgentReply | None:
        """The guest agent's answer; None while there is none."""

    def screenshot(self) -> bytes:
        """The screen as PNG or PPM; empty where there is none."""

    def text_memory(self) -> bytes:
        """The screen's memory as `virt_ova.target.boot.vga` reads it; empty where it cannot be read."""


def watch_boot(senses: Senses, machine: str, seconds: float, *, only_disk: bool = False) -> BootReport:
    """Watch the machine that `senses` belong to, which was just started.

    Args:
        senses: what can be seen of it.
        machine: its name, for the report.
        seconds: how long it may take.
        only_disk: watch no longer than until it is clear whether the guest finds its disk.
    """
    return _Observer(senses=senses, seconds=seconds, only_disk=only_disk).run(machine)


@dataclass(kw_only=True, slots=True)
class _Observer:
    """Asks the senses in turn."""

    senses: Senses
    seconds: float
    only_disk: bool
    watch: BootWatch = field(default_factory=BootWatch)
    screen: ScreenWatch = field(default_factory=ScreenWatch)
    _due: dict[str, float] = field(default_factory=dict)

    def run(self, machine: str) -> BootReport:
        """See `watch_boot`."""
        is_changing = is_settled = False
        while not is_settled:
            while self._observe() and not self._is_decided() and not self._is_over():
                time.sleep(_POLL_SECONDS)
            is_changing = self.senses.is_running() and self._settle()
            is_settled = self._is_decided() or self._is_over() or not self.senses.is_running()
        return self.watch.report(machine, self.screen.report(is_changing=is_changing))

    def _is_over(self) -> bool:
        return time.monotonic() > self.watch.begun + self.seconds

    def _is_decided(self) -> bool:
        """Whether nothing better is to be expected."""
        if self.only_disk and self.watch.is_disk_clear:
            return True
        match self.watch.state:
            case BootState.PANIC:
                return True
            case BootState.LOGIN | BootState.AGENT | BootState.NETWORK:
                is_complete = self.watch.saw_both or not (self.senses.may_lease or self.watch.has_agent)
                return is_complete or time.monotonic() > self.watch.reached + GRACE_SECONDS
            case _:
                return self.watch.is_stuck

    def _settle(self) -> bool:
        """Take in what comes late, which may reopen the case; whether the screen changes."""
        if self.only_disk:
            time.sleep(_SETTLE_DISK_SECONDS)
            self._observe(of_all=True)
            return False
        self._observe(of_all=True)
        looked = time.monotonic()
        is_on_its_way = self.watch.state < BootState.PANIC and not self.watch.is_stuck
        time.sleep(_SETTLE_SECONDS)
        self._observe(of_all=True)
        return self.screen.changed > looked - (_CHANGING_SECONDS if is_on_its_way else 0)

    def _observe(self, *, of_all: bool = False) -> bool:
        """Take in what is new, `of_all` senses if it must be; whether the machine still runs."""
        if of_all:
            self._due.clear()
        is_running = self.senses.is_running()
        self.watch.feed(self.senses.console())
        if is_running and self._is_due("address", _ADDRESS_SECONDS):
            self.watch.saw_address(self.senses.address())
        if is_running and self._is_due("agent", _AGENT_SECONDS):
            self.watch.saw_agent(self.senses.agent())
        if is_running and self._is_due("screen", _SCREEN_SECONDS):
            self._look()
        return is_running

    def _is_due(self, sense: str, pause_seconds: float) -> bool:
        now = time.monotonic()
        if now < self._due.get(sense, now):
            return False
        self._due[sense] = now + pause_seconds
        return True

    def _look(self) -> None:
        """Look at the screen, and read it when it shows text."""
        began = time.monotonic()
        self.screen.look(self.senses.screenshot())
        picture = self.screen.picture
        is_text = picture is not None and is_text_mode(picture)
        self.watch.saw_lines(screen_lines(self.senses.text_memory(), picture) if picture and is_text else ())
        took = time.monotonic() - began
        self._due["screen"] = max(self._due["screen"], began + took * _SCREEN_SHARE)
