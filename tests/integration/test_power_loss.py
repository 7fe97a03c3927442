"""The power fails at some moment of an install: all or nothing, after a reboot and a recovery.

A file system of its own holds the machines, and the journal, or not: then that loses nothing, and promises what the
other one may have lost. The install is killed, and the file system is shut down at once, without writing anything more
(``XFS_IOC_GOINGDOWN``): what was not made durable is lost, as when the power fails.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import virt_ova
from tests.build.killed import Executioner
from tests.build.small import is_installed, listing, small_ova
from virt_ova.plan.codec import to_json
from virt_ova.stories.recover import Outcome

MOMENTS = 15
"""How many moments are tried, evenly spread; with ``--long`` all."""

AT_THE_END = 8
"""So many of the last ones are tried in any case: there the install is whole already."""


class Disk:
    """An XFS in a file, mounted at `folder`."""

    def __init__(self, tmp_path: Path) -> None:
        self._images = tmp_path / "images"
        self._number = 0
        self.folder = tmp_path / "mnt"

    @property
    def _image(self) -> Path:
        return self._images / str(self._number)

    def make(self) -> None:
        """Make it, with a folder for journals."""
        self._images.mkdir()
        self._image.touch()
        os.truncate(self._image, 300 << 20)
        subprocess.run(["mkfs.xfs", "-q", self._image], check=True)
        self.folder.mkdir()
        self._mount()
        (self.folder / "state" / "virt-ova").mkdir(0o700, parents=True)
        subprocess.run(["sync", "-f", self.folder], check=True)

    def remove(self, folder: Path) -> None:
        """Remove a folder for ever."""
        subprocess.run(["rm", "-r", folder], check=True)
        subprocess.run(["sync", "-f", self.folder], check=True)

    def unmount(self) -> None:
        subprocess.run(["umount", self.folder], check=True)

    def fail(self) -> None:
        """The power fails, and comes back.

        A copy is mounted, for who has been given a mount namespace meanwhile may still hold the original.
        """
        subprocess.run(["xfs_io", "-x", "-c", "shutdown", self.folder], check=True)
        self.unmount()
        before = self._image
        self._number += 1
        subprocess.run(["cp", "--sparse=always", before, self._image], check=True)
        before.unlink()
        self._mount()

    def _mount(self) -> None:
        subprocess.run(["mount", "-o", "loop,nouuid", self._image, self.folder], check=True)


@pytest.fixture(params=["one disk", "two disks"])
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Disk]:
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    disk = Disk(tmp_path)
    disk.make()
    if request.param == "one disk":
        monkeypatch.setenv("XDG_STATE_HOME", str(disk.folder / "state"))
    yield disk
    disk.unmount()


def test_the_power_fails(disk: Disk, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    ova = small_ova(tmp_path / "a.ova")
    with virt_ova.open_package(ova) as package:
        plan = to_json(virt_ova.plan(package))
    machines, outcomes = disk.folder / "m", list[Outcome | None]()
    with Executioner(ova, f"dir:{machines}", plan=plan) as executioner:
        end = executioner.count()
        disk.remove(machines)
        step = 1 if request.config.getoption("--long") else end // MOMENTS
        for number in sorted({*range(0, end, step), *range(end - AT_THE_END, end)}):
            assert executioner.run(number)
            disk.fail()
            installs = virt_ova.recover()
            assert [(each.left, each.foreign) for each in installs] in ([], [((), ())]), (number, installs)
            outcomes.append(installs[0].outcome if installs else None)
            if machines.exists():
                assert outcomes[-1] in {Outcome.FINISHED, None}
                assert is_installed(machines)
                disk.remove(machines)
            assert listing(disk.folder) == ["state", "state/virt-ova"], number
    assert {Outcome.UNDONE, Outcome.FINISHED} <= set(outcomes)
