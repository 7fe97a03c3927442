"""When a machine is watched no longer. What it shows is scripted; real ones are in ``tests/integration/libvirt``."""

from __future__ import annotations

import time

import pytest

from virt_ova.target.base import BootReport, DiskState
from virt_ova.target.boot.observer import GRACE_SECONDS, watch_boot
from virt_ova.target.boot.watch import AgentReply


class Script:
    """Senses of a machine that shows one thing after the other, and then nothing more."""

    def __init__(self, *output: bytes, address: str = "", agent: AgentReply | None = None, ends: bool = False) -> None:
        self._output, self._address, self._agent, self._ends = iter(output), address, agent, ends
        self.may_lease = bool(address)
        self._is_running = True

    def is_running(self) -> bool:
        return self._is_running

    def console(self) -> bytes:
        said = next(self._output, None)
        self._is_running = said is not None or not self._ends
        return said or b""

    def address(self) -> str:
        return self._address if self._address != "never" else ""

    def agent(self) -> AgentReply | None:
        return self._agent

    def screenshot(self) -> bytes:
        return b""

    def text_memory(self) -> bytes:
        raise AssertionError("no screen")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Sleeping takes no time, but says that it did."""
    slept = [0.0]

    def sleep(seconds: float) -> None:
        slept[0] += seconds

    begun = time.monotonic()
    monkeypatch.setattr("virt_ova.target.boot.observer.time.sleep", sleep)
    monkeypatch.setattr("virt_ova.target.boot.observer.time.monotonic", lambda: begun + slept[0])
    return slept


def seen(
    clock: list[float], senses: Script, *, seconds: float = 100, only_disk: bool = False
) -> tuple[BootReport, float]:
    report = watch_boot(senses, "box", seconds, only_disk=only_disk)
    return report, clock[0]


LOGIN = b"[    1.000000] x\nbox login: "


def test_a_login_prompt_is_enough_where_no_address_is_to_be_had(clock: list[float]) -> None:
    report, slept = seen(clock, Script(b"", LOGIN))
    assert (report.state, report.machine, report.disk) == ("login", "box", DiskState.FOUND)
    assert slept < 3


def test_an_address_is_waited_for_but_not_for_ever(clock: list[float]) -> None:
    report, slept = seen(clock, Script(LOGIN, address="192.0.2.7"))
    assert (report.state, report.address) == ("network", "192.0.2.7")
    assert slept < 3
    clock[0] = 0
    report, slept = seen(clock, Script(LOGIN, address="never"))
    assert report.state == "login"
    assert GRACE_SECONDS <= slept < GRACE_SECONDS + 5


def test_an_agent_may_tell_an_address(clock: list[float]) -> None:
    report, slept = seen(clock, Script(agent=AgentReply(system="Guest 1", addresses=("2001:db8::1",))))
    assert (report.state, report.disk, report.address) == ("network", DiskState.FOUND, "2001:db8::1")
    assert report.evidence == "guest agent in Guest 1\naddress 2001:db8::1"
    assert slept < 3
    clock[0] = 0
    report, slept = seen(clock, Script(LOGIN, agent=AgentReply(system="Guest 1")))
    assert report.state == "agent"
    assert GRACE_SECONDS <= slept < GRACE_SECONDS + 5


@pytest.mark.parametrize(
    ("said", "state", "disk"),
    [
        (b"Kernel panic - not syncing: Attempted to kill init!", "panic", DiskState.UNKNOWN),
        (b"ALERT!  /dev/sda1 does not exist.  Dropping to a shell!", "firmware", DiskState.LOST),
        (b"Boot failed: not a bootable disk\n\nNo bootable device.", "firmware", DiskState.EMPTY),
    ],
)
def test_what_is_stuck_is_not_waited_for(clock: list[float], said: bytes, state: str, disk: DiskState) -> None:
    report, slept = seen(clock, Script(b"", said))
    assert (report.state, report.disk) == (state, disk)
    assert slept < 3


def test_what_only_waits_gets_its_time(clock: list[float]) -> None:
    said = b"dracut-initqueue[1]: Warning: dracut-initqueue timeout - starting timeout scripts"
    report, slept = seen(clock, Script(said))
    assert report.disk is DiskState.LOST
    assert slept > 100


def test_a_machine_that_ends_is_not_waited_for(clock: list[float]) -> None:
    report, slept = seen(clock, Script(b"GRUB loading.", ends=True))
    assert (report.state, report.screen) == ("bootloader", None)
    assert slept < 1


def test_the_rest_of_a_line_is_taken_in(clock: list[float]) -> None:
    """A panic whose end came late still tells why."""
    panic = (b"Kernel panic - not sync", b"ing", b": VFS: Unable to mount root fs on unknown-block(0,0)\n")
    report, slept = seen(clock, Script(*panic), only_disk=True)
    assert (report.state, report.disk) == ("panic", DiskState.LOST)
    assert slept < 1


def test_for_the_disk_alone_no_more_is_waited_than_for_its_sign(clock: list[float]) -> None:
    found = b"[    4.210000] EXT4-fs (sda1): mounted filesystem with ordered data mode.\n"
    report, slept = seen(clock, Script(b"[    1.000000] x\n", found), only_disk=True)
    assert (report.state, report.disk, report.disk_sign) == ("kernel", DiskState.FOUND, found.decode().strip())
    assert slept < 1
