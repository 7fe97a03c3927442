"""Real guests looked into, and converted, by the real programs."""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.build.appliance import ApplianceSpec, build_appliance
from tests.build.cloudguest import build_strict_guest
from tests.build.command import command, environment, error_lines, json_of, stopped, virt_ova
from tests.build.small import small_ova
from tests.build.windowsguest import build_windows
from virt_ova.inside.appliance import GuestImage, guestfs_environment
from virt_ova.inside.look import look_inside
from virt_ova.plan.insight import Insight
from virt_ova.plan.options import InstallOptions
from virt_ova.stories.install import install
from virt_ova.target.directory.domain import stop
from virt_ova.target.directory.driver import EMULATOR
from virt_ova.target.emulator import kvm_runs

CACHE = os.environ.get("TMPDIR") or "/var/tmp"  # noqa: S108 - libguestfs's own


def installed(ova: Path, folder: Path, *words: str) -> Any:  # noqa: ANN401 - JSON
    """What ``install --json`` says."""
    done = virt_ova("install", ova, "-c", f"dir:{folder}", "--json", *words, path=os.environ["PATH"])
    assert done.returncode == 0, done.stdout
    return json_of(done)


def told(document: Any, prefix: str) -> list[tuple[str, str]]:  # noqa: ANN401 - JSON
    """Code and message of the findings whose code begins with `prefix`."""
    return [(each["code"], each["message"]) for each in document["findings"] if each["code"].startswith(prefix)]


def script(folder: Path, name: str) -> str:
    return (folder / name / "run").read_text()


def test_a_guest_that_has_virtio_gets_it(tmp_path: Path) -> None:
    ova = build_appliance(tmp_path / "a.ova", ApplianceSpec(name="able", controller="lsilogicsas"))
    document = installed(ova, tmp_path / "m", "--inspect-guest")
    (guest,) = document["guests"]
    (kernel,) = guest.pop("kernels")
    drivers, boot_drivers = guest.pop("drivers"), guest.pop("boot_drivers")
    assert guest == {
        "machine": "able",
        "system": "virt-ova appliance",
        "family": "linux",
        "distro": "unknown",
        "version": "",
        "architecture": "x86_64",
        "named_disks": [],
        "obstacle": "",
    }
    assert {"virtio_blk", "virtio_pci", "mptsas", "sd_mod"} <= {*boot_drivers}
    assert {"virtio_net", "e1000"} == {*drivers} & {"virtio_net", "e1000", "8139too"}
    starts = f"'able' is virt-ova appliance, kernel {kernel}; it starts with {', '.join(boot_drivers)}"
    why = "the guest has the drivers when it starts"
    assert told(document, "GUEST_") == [
        ("GUEST_SEEN", starts),
        ("GUEST_FITTED", f"'able' has its disk on virtio instead of scsi lsisas1068: {why}"),
        ("GUEST_FITTED", "network interface 1 of 'able' is virtio instead of e1000-82545em: the guest has the driver"),
    ]
    assert "-device virtio-blk-pci," in script(tmp_path / "m", "able")
    assert "-device virtio-net-pci," in script(tmp_path / "m", "able")


def appliance_of(folder: Path) -> list[str]:
    """The commands that run for a look inside whose scratch folder is in `folder`."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            if f"\0LIBGUESTFS_TMPDIR={folder}/".encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_text())
    return found


def is_starting(folder: Path) -> bool:
    """Whether such a look has come to where QEMU starts."""
    return any("org.libguestfs.channel" in each for each in appliance_of(folder))


def assert_it_ends(folder: Path) -> None:
    """Wait until none of those programs runs."""
    deadline = time.monotonic() + 20
    while left := appliance_of(folder):
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


@pytest.fixture
def places(tmp_path: Path) -> dict[str, str]:
    """Variables: a folder for temporary files alone, and libguestfs's appliance where it is."""
    (tmp_path / "tmp").mkdir()
    return {"TMPDIR": str(tmp_path / "tmp"), "LIBGUESTFS_CACHEDIR": CACHE, "path": os.environ["PATH"]}


def test_a_look_inside_is_stopped_by_ctrl_c(tmp_path: Path, places: dict[str, str]) -> None:
    ova, here = small_ova(tmp_path / "a.ova"), tmp_path / "tmp"
    said = stopped(lambda: is_starting(here), "install", ova, "-c", f"dir:{tmp_path}/m", "--inspect-guest", **places)
    assert said.endswith(
        "\nLooking inside vm\nRemoved volume vm-disk1.qcow2\n" + error_lines("E_INTERRUPTED", "stopped by SIGINT")
    )
    assert_it_ends(here)
    assert not list(here.iterdir())
    assert not (tmp_path / "m").exists()


def test_what_a_look_inside_that_was_killed_left_is_recovered(tmp_path: Path, places: dict[str, str]) -> None:
    ova, here = small_ova(tmp_path / "a.ova"), tmp_path / "tmp"
    search_path = places.pop("path")
    words = command("install", ova, "-c", f"dir:{tmp_path}/m", "--inspect-guest")
    with subprocess.Popen(words, stderr=subprocess.DEVNULL, env=environment(search_path, **places)) as run:
        while not is_starting(here):
            time.sleep(0.05)
        run.kill()
    assert_it_ends(here)
    (left,) = here.iterdir()
    done = virt_ova("recover")
    assert done.returncode == 0
    assert f"Removed scratch folder {left}\n" in done.stderr
    assert not list(here.iterdir())
    assert not (tmp_path / "m").exists()


def test_a_conversion_that_fails_leaves_nothing(tmp_path: Path) -> None:
    ova = small_ova(tmp_path / "a.ova")
    done = virt_ova("install", ova, "-c", f"dir:{tmp_path}/m", "--convert", path=os.environ["PATH"])
    (error, hint) = (line for line in done.stderr.splitlines() if "error:" in line or "hint:" in line)
    assert done.returncode == 1
    assert error.startswith(
        "virt-ova: error: 'vm' could not be converted: inspection could not detect the source guest"
    )
    assert error.endswith("No root device found in this operating system image. [E_CONVERT]")
    assert hint.startswith("  hint: Install it without --convert")
    assert "Copying vm-disk1.qcow2 to vm-disk1.before-conversion.qcow2" in done.stderr
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("option", "program", "packages"),
    [
        ("--inspect-guest", "guestfish", "guestfish linux-image-amd64"),
        ("--convert", "virt-v2v-in-place", "virt-v2v nbdkit linux-image-amd64"),
    ],
)
def test_what_looks_inside_may_be_missing(tmp_path: Path, option: str, program: str, packages: str) -> None:
    ova = small_ova(tmp_path / "a.ova")
    for more in ((), ("--dry-run",)):
        done = virt_ova("install", ova, "-c", f"dir:{tmp_path}/m", option, *more)
        message = f"the program {program} is not installed"
        assert done.stderr == error_lines("E_TOOL_MISSING", message, f"Install it: apt install {packages}")
        assert not (tmp_path / "m").exists()


@pytest.mark.timeout(3600)
def test_a_debian_made_for_one_controller_is_converted_and_boots(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    if not pytestconfig.getoption("--long"):
        pytest.skip("takes minutes: --long")
    ova = build_strict_guest(tmp_path / "a.ova", "mptsas")
    options = InstallOptions(convert=True, start=True, wait_boot_seconds=300, virt_type="qemu")
    try:
        result = install(ova, f"dir:{tmp_path}/m", options=options)
    finally:
        stop(tmp_path / "m" / "strict")
    codes = [finding.code for finding in result.findings]
    assert [code for code in codes if code.startswith(("CONVERT", "GUEST"))] == [
        *("CONVERTED", "GUEST_SEEN", "GUEST_FITTED", "GUEST_FITTED", "CONVERT_COPY")
    ]
    assert result.booted is not None
    assert result.booted.state in {"login", "agent", "network"}
    assert "-device virtio-blk-pci," in script(tmp_path / "m", "strict")
    assert not list((tmp_path / "m").rglob("*.before-conversion.qcow2"))
    assert "virtio_blk" in result.guests[0].boot_drivers


@pytest.mark.timeout(900)
def test_what_holds_no_system_is_installed_as_planned(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    if not pytestconfig.getoption("--long"):
        pytest.skip("starts libguestfs once more: --long")
    document = installed(small_ova(tmp_path / "a.ova"), tmp_path / "m", "--inspect-guest")
    ((code, message),) = told(document, "GUEST_")
    assert code == "GUEST_UNSEEN"
    assert message == (
        "'vm' could not be looked into, and its hardware is as planned: "
        "no operating system was found on the disks, expected one"
    )
    assert document["guests"] == []


@pytest.mark.timeout(900)
def test_of_a_windows_the_registry_tells(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    if not pytestconfig.getoption("--long"):
        pytest.skip("starts libguestfs twice more: --long")
    can_kvm = kvm_runs(EMULATOR)
    services = {"viostor": 0, "netkvm": 3, "storahci": 0, "LSI_SAS": 3}
    variables = guestfs_environment(tmp_path, can_kvm=can_kvm)
    disk = build_windows(tmp_path / "windows.raw", services, {**os.environ, **variables})
    insight = look_inside([GuestImage(path=str(disk), image_format="raw")], tmp_path, can_kvm=can_kvm)
    assert insight == Insight(
        system="Windows Server 2019 Standard",
        family="windows",
        distro="windows",
        version="6.3",
        architecture="x86_64",
        boot_drivers=("ahci", "sd_mod", "virtio_blk", "virtio_pci"),
        drivers=("ahci", "mptsas", "sd_mod", "virtio_blk", "virtio_net", "virtio_pci"),
    )
