"""Real guests: what is seen of one that boots or fails to, and how one is saved that does not find its disk."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Final

import libvirt
import pytest

from tests.build.appliance import ApplianceSpec, DiskSpec, build_appliance
from tests.build.command import command, environment
from tests.build.disks import SECTOR, sparse_vmdk
from tests.build.ova import build_ova, descriptor, with_manifest
from tests.build.plans import talking_boot_sector
from tests.build.small import CAPACITY, listing
from tests.integration.libvirt.conftest import Daemon
from virt_ova.plan.machine import Bus
from virt_ova.plan.options import InstallOptions
from virt_ova.progress import SilentMonitor
from virt_ova.stories.install import install, preflight
from virt_ova.stories.result import InstallResult
from virt_ova.target.base import BootReport, DiskState, ScreenState
from virt_ova.target.directory.domain import stop
from virt_ova.target.libvirt.errors import silence

SECONDS: Final = 240
"""For a boot that takes 10 on an idle machine."""

STORAGE: Final = frozenset(
    {"ata_piix", "ahci", "nvme", "virtio_blk", "virtio_scsi", "sym53c8xx", "mptspi", "mptsas", "vmw_pvscsi", "BusLogic"}
)
IDE_ALONE: Final = DiskSpec(without_drivers=STORAGE - {"ata_piix"})
WATCHED: Final = InstallOptions(virt_type="qemu", start=True, wait_boot_seconds=SECONDS)
LOST: Final = "ALERT!  LABEL=appliance does not exist.  Dropping to a shell!"


@pytest.fixture(scope="module")
def ide_alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package that asks for AHCI, and whose guest has no driver but that of IDE."""
    spec = ApplianceSpec(name="lost", controller="AHCI", disk=IDE_ALONE)
    return build_appliance(tmp_path_factory.mktemp("lost") / "lost.ova", spec)


def booted_in_folder(tmp_path: Path, name: str, disk: DiskSpec, *, has_serial: bool = True) -> BootReport:
    """What is seen of a guest in a folder, which is stopped then."""
    ova, uri = build_appliance(tmp_path / f"{name}.ova", ApplianceSpec(name=name, disk=disk)), f"dir:{tmp_path}/m"
    plan = preflight(ova, uri, options=WATCHED)
    if not has_serial:
        plan = replace(plan, machines=(replace(plan.machines[0], serial_ports=0),))
    result = install(ova, uri, options=WATCHED, plan=plan)
    stop(tmp_path / "m" / name)
    assert result.booted is not None
    assert (result.boots, result.booted.machine) == ((result.booted,), name)
    return result.booted


@pytest.mark.timeout(900)
def test_real_guests_are_told_apart(tmp_path: Path) -> None:
    with ThreadPoolExecutor(3) as pool:
        agent = pool.submit(booted_in_folder, tmp_path, "agent", DiskSpec(agent=True))
        panic = pool.submit(booted_in_folder, tmp_path, "panic", DiskSpec(panics=True))
        mute = pool.submit(booted_in_folder, tmp_path, "mute", DiskSpec(), has_serial=False)
    _check_agent(agent.result())
    _check_panic(panic.result())
    _check_mute(mute.result())


def _check_agent(report: BootReport) -> None:
    assert (report.state, report.disk, report.address) == ("network", DiskState.FOUND, "10.0.2.15")
    lines = report.evidence.splitlines()
    assert any(line.startswith("appliance login:") for line in lines)
    assert lines[-2:] == ["guest agent in virt-ova appliance 1", "address 10.0.2.15"]


def _check_panic(report: BootReport) -> None:
    assert (report.state, report.disk, report.address) == ("panic", DiskState.LOST, "")
    assert "Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)" in report.evidence
    assert "VFS: " in report.disk_sign
    assert report.screen is not None
    assert report.screen.state is not ScreenState.BLANK


def _check_mute(report: BootReport) -> None:
    """Without a serial port, the screen tells: a kernel in text mode, up to its login prompt."""
    assert (report.state, report.disk) == ("login", DiskState.FOUND)
    first, *_, last = report.evidence.splitlines()
    assert first == "the serial console is silent; the screen says:"
    assert last.startswith("appliance login:")


class Digests(SilentMonitor):
    """Hashes the installed image whenever a step of the boot begins."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.seen: dict[str, str] = {}

    def begin(self, step: str, total_bytes: int | None = None) -> None:
        if total_bytes is None:
            (image,) = self._folder.rglob("*-disk1.qcow2")
            self.seen[step] = hashlib.sha256(image.read_bytes()).hexdigest()


def saved(ova: Path, uri: str, folder: Path) -> tuple[InstallResult, dict[str, str]]:
    digests = Digests(folder)
    result = install(ova, uri, options=replace(WATCHED, boot_fallback=True), monitor=digests)
    return result, digests.seen


@pytest.mark.timeout(900)
def test_a_guest_is_saved_by_another_controller_and_its_image_is_not_touched(
    daemon: Daemon, ide_alone: Path, tmp_path: Path
) -> None:
    images = daemon.add_pool("images")
    with ThreadPoolExecutor(2) as pool:
        in_folder = pool.submit(saved, ide_alone, f"dir:{tmp_path}", tmp_path)
        on_libvirt = pool.submit(saved, ide_alone, daemon.uri, images)
    stop(tmp_path / "lost")
    domain = daemon.connection.lookupByName("lost")
    assert "<target dev='hda' bus='ide'/>" in domain.XMLDesc(0)
    assert f"<source file='{images / 'lost-disk1.qcow2'}'" in domain.XMLDesc(0)
    assert "transient" not in domain.XMLDesc(0)
    assert [path.name for path in images.iterdir()] == ["lost-disk1.qcow2"]
    assert "-device ide-hd,bus=ide.0,unit=0," in " ".join((tmp_path / "lost" / "run").read_text().split())
    domain.destroy()
    for result, digests in (in_folder.result(), on_libvirt.result()):
        _check_saved(result, digests)


def _check_saved(result: InstallResult, digests: dict[str, str]) -> None:
    assert list(digests) == [
        "Trying lost with its disk on sata",
        "Trying lost with its disk on ide",
        "Starting lost",
    ]
    assert len(set(digests.values())) == 1
    (told,) = (finding for finding in result.findings if finding.code.startswith("BOOT_"))
    assert (told.code, told.message) == (
        "BOOT_FALLBACK",
        f"'lost' does not find its disk on sata ({LOST}), but on {Bus.IDE}: it was installed with its disk there",
    )
    assert result.booted is not None
    assert (result.booted.state, result.booted.disk) == ("login", DiskState.FOUND)


def test_a_guest_that_nothing_saves_is_installed_as_planned(tmp_path: Path) -> None:
    """It is a boot sector that says so wherever it is."""
    said = talking_boot_sector(b"ALERT!  /dev/nowhere does not exist.  Dropping to a shell!\r\n")
    disk = sparse_vmdk(CAPACITY // SECTOR, {0: said.ljust(64 << 10, b"\0")})
    members = [("lost.ovf", descriptor([("lost.vmdk", len(disk))], capacity=str(CAPACITY))), ("lost.vmdk", disk)]
    ova = build_ova(tmp_path / "lost.ova", with_manifest(members))
    result, digests = saved(ova, f"dir:{tmp_path}/m", tmp_path)
    stop(tmp_path / "m" / "vm")
    assert list(digests) == [*(f"Trying vm with its disk on {bus}" for bus in ("sata", "ide", "virtio")), "Starting vm"]
    assert len(set(digests.values())) == 1
    (told,) = (finding for finding in result.findings if finding.code.startswith("BOOT_"))
    assert told.code == "BOOT_FALLBACK_FAILED"
    assert told.message == (
        "'vm' does not find its disk on sata (ALERT!  /dev/nowhere does not exist.  Dropping to a shell!), "
        "nor on ide or virtio: it was installed as planned"
    )
    assert "ide-hd,bus=sata0.0" in (tmp_path / "m" / "vm" / "run").read_text()


def test_an_interrupt_while_a_machine_is_tried_leaves_nothing(ide_alone: Path, tmp_path: Path) -> None:
    words = ("install", ide_alone, "-c", f"dir:{tmp_path}/m", "--virt-type", "qemu", "--wait-boot", "99")
    process = subprocess.Popen(
        command(*words, "--boot-fallback", "--json"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment("/usr/bin:/bin"),
    )
    assert process.stderr is not None
    while not (tmp_path / "m" / "lost" / "serial.log").exists():
        assert process.poll() is None
    assert listing(tmp_path / "m")
    threading.Timer(1, process.send_signal, [signal.SIGINT]).start()
    stdout, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert json.loads(stdout)["error"]["code"] == "E_INTERRUPTED"
    assert list(tmp_path.iterdir()) == []


def test_a_try_on_libvirt_that_fails_leaves_nothing(daemon: Daemon, ide_alone: Path) -> None:
    """A failure in the middle of a try: the domain, its overlay and the image go."""
    images = daemon.add_pool("images")
    silence()

    class Broken(SilentMonitor):
        def end(self, step: str) -> None:
            if step.startswith("Trying"):
                raise OSError(step)

    def end_it() -> None:
        while not (running := daemon.connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_RUNNING)):
            time.sleep(0.1)
        assert len(list(images.iterdir())) == 2, "no overlay"
        running[0].destroy()

    ending = threading.Thread(target=end_it)
    ending.start()
    options = replace(WATCHED, boot_fallback=True)
    with pytest.raises(OSError, match=r"^Trying lost with its disk on sata$"):
        install(ide_alone, daemon.uri, options=options, monitor=Broken())
    ending.join()
    assert daemon.connection.listAllDomains(0) == []
    assert list(images.iterdir()) == []
