"""Machines that never come up are told apart by what they show; on libvirt and in a folder alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Final

import libvirt
import pytest

from tests.build.disks import SECTOR
from tests.build.plans import machine, plan, talking_boot_sector, transfer
from tests.build.sectors import PAINTED, blank, painted, restless, showing
from tests.build.targets import open_plain
from tests.integration.libvirt.conftest import Daemon
from virt_ova.plan.machine import FirmwareKind, Machine
from virt_ova.target.base import BootReport, DiskState, ScreenState, Target
from virt_ova.target.boot.picture import read_picture
from virt_ova.target.libvirt.errors import silence
from virt_ova.target.libvirt.target import LibvirtTarget

SIZE: Final = 1 << 20
ENOUGH_SECONDS: Final = 250
"""For those whose end is seen: a busy machine must not decide."""

LEAST_SECONDS: Final = 12
SHARE: Final = 6
"""The others are watched for so many times as long as a firmware takes to find nothing."""

SECTORS: Final[Mapping[str, bytes]] = {
    "blank": blank(),
    "showing": showing(b"Please insert the installation disk"),
    "restless": restless(),
    "painted": painted(),
    "empty": b"",
    "talking": talking_boot_sector(b"Welcome to GRUB!\r\n"),
    "bare": talking_boot_sector(b"no screen\r\n"),
    "efi": b"",
}

CLEARING: Final = ("blank", "painted")
"""What the firmware wrote is gone with their first deed."""

ENDING: Final = ("empty", "efi")
STAYING: Final = tuple(name for name in SECTORS if name not in ENDING)


def described(name: str) -> Machine:
    if name == "efi":
        return replace(machine(name, chipset="q35", firmware=FirmwareKind.EFI), video="vga", memory_bytes=256 << 20)
    return replace(machine(name), video="" if name == "bare" else "vga")


def watched(open_one: Callable[[], Target], name: str, seconds: float = ENOUGH_SECONDS) -> BootReport:
    """What is seen of a machine that boots from that sector, which is gone again then."""
    image = transfer(f"{name}-disk1.raw")
    with closing(open_one()) as target, ExitStack() as made:
        target.check(plan(described(name), image), {"disk1": SIZE})
        volume = target.create_volume(image, SIZE)
        made.callback(volume.discard)
        volume.sink.write_at(0, [SECTORS[name].ljust(SECTOR, b"\0")])
        volume.sink.finish(SIZE)
        domain = target.define(described(name), {"disk1": volume})
        made.callback(domain.discard)
        return domain.watch(seconds)


def seen(
    open_one: Callable[[], Target], names: Sequence[str], seconds: float = ENOUGH_SECONDS
) -> dict[str, BootReport]:
    """What is seen of several machines that run side by side."""
    with ThreadPoolExecutor(len(names)) as pool:
        return dict(zip(names, pool.map(lambda name: watched(open_one, name, seconds), names), strict=True))


@pytest.fixture(params=["dir", "libvirt"])
def open_one(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Target]:
    if request.param == "dir":
        return lambda: open_plain(f"dir:{tmp_path / 'machines'}")
    daemon: Daemon = request.getfixturevalue("daemon")
    daemon.add_pool("images")
    silence()
    return lambda: LibvirtTarget(libvirt.open(daemon.uri), uri=daemon.uri, in_place=True)


@pytest.mark.timeout(900)
def test_machines_are_told_apart_by_what_they_show(open_one: Callable[[], Target]) -> None:
    with closing(open_one()) as first:
        first.capabilities  # noqa: B018 - with libvirt, starts what would be started eight times at once
    reports = seen(open_one, ENDING)
    reports |= seen(open_one, STAYING, max(LEAST_SECONDS, SHARE * reports["empty"].seconds))
    for name in CLEARING:
        assert (reports[name].state in {"no-output", "firmware"}, reports[name].disk) == (True, DiskState.UNKNOWN)
    assert {name: (report.state, report.disk) for name, report in reports.items() if name not in CLEARING} == {
        "showing": ("firmware", DiskState.UNKNOWN),
        "restless": ("firmware", DiskState.UNKNOWN),
        "empty": ("firmware", DiskState.EMPTY),
        "talking": ("bootloader", DiskState.UNKNOWN),
        "bare": ("firmware", DiskState.UNKNOWN),
        "efi": ("firmware", DiskState.EMPTY),
    }
    assert {name: report.screen and report.screen.state for name, report in reports.items() if name != "efi"} == {
        "blank": ScreenState.BLANK,
        "showing": ScreenState.STILL,
        "restless": ScreenState.CHANGING,
        "painted": ScreenState.STILL,
        "empty": ScreenState.STILL,
        "talking": ScreenState.STILL,
        "bare": None,
    }
    silent = "the serial console is silent; the screen"
    assert reports["blank"].evidence == f"{silent} is blank"
    assert reports["showing"].evidence.startswith(f"{silent} says:\n")
    assert reports["showing"].evidence.endswith("\nPlease insert the installation disk")
    assert reports["painted"].evidence == f"{silent} shows a picture of 800x600 pixels, most of it {PAINTED}"
    assert reports["restless"].evidence.rsplit("\n", 1)[-1].startswith("aaa")
    assert reports["empty"].disk_sign == "Boot failed: not a bootable disk"
    assert reports["empty"].evidence.endswith("No bootable device.")
    assert reports["talking"].evidence == "Welcome to GRUB!"
    assert (reports["bare"].evidence, reports["bare"].screen) == ("no screen", None)
    assert reports["efi"].disk_sign.startswith("BdsDxe: failed to load Boot")
    for name, report in reports.items():
        assert report.machine == name
        assert report.screen is None or picture_size(report) == (report.screen.width, report.screen.height)


def picture_size(report: BootReport) -> tuple[int, int]:
    assert report.screen is not None
    picture = read_picture(report.screen.png)
    assert picture is not None
    return picture.width, picture.height
