"""Linked disks from end to end: a guest boots from the package, writes, and the package stays as it is."""

from __future__ import annotations

import hashlib
import json
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

import virt_ova
from tests.build.appliance import ApplianceSpec, build_appliance
from tests.build.disks import MIB, qemu_img, sparse_vmdk
from tests.build.ova import build_ova, descriptor, with_manifest
from tests.build.targets import open_plain
from virt_ova.errors import DiskError
from virt_ova.plan.options import InstallOptions
from virt_ova.plan.plan import DiskMode
from virt_ova.stories import install as story
from virt_ova.target.base import Linker, Target
from virt_ova.target.directory.domain import stop

LINK = InstallOptions(disk_mode=DiskMode.LINK, virt_type="qemu")


def small_package(folder: Path, name: str = "a.ova", *, megabytes: int = 1) -> Path:
    block = bytes(range(256)) * 256
    disk = sparse_vmdk(megabytes * 2048, dict.fromkeys(range(megabytes * 16), block))
    files = [("vm.ovf", descriptor([("disk1.vmdk", len(disk))], capacity=str(megabytes * MIB))), ("disk1.vmdk", disk)]
    return build_ova(folder / name, with_manifest(files))


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_guest_boots_from_the_package_and_does_not_write_to_it(tmp_path: Path) -> None:
    package = build_appliance(tmp_path / 'a "real", <one>.ova', ApplianceSpec(name="guest"))
    package.chmod(0o400)
    before = sha256(package), package.stat().st_mtime_ns
    options = InstallOptions(disk_mode=DiskMode.LINK, virt_type="qemu", start=True, wait_boot_seconds=240)
    result = virt_ova.install(package, f"dir:{tmp_path / 'machines'}", options=options)
    folder = tmp_path / "machines/guest"
    try:
        assert result.booted is not None
        assert (result.booted.state, result.trust) == ("login", "digests")
        assert [volume.mode for volume in result.volumes] == ["link"]
    finally:
        stop(folder)
    (image,) = folder.glob("*.qcow2")
    assert json.loads(qemu_img("check", "-f", "qcow2", "--output=json", image))["allocated-clusters"] > 0
    assert (sha256(package), package.stat().st_mtime_ns) == before


def test_the_script_runs_qemu_only_on_the_package_that_was_linked(tmp_path: Path) -> None:
    package = small_package(tmp_path)
    virt_ova.install(package, f"dir:{tmp_path / 'machines'}", options=LINK)
    script = tmp_path / "machines/vm/run"
    shown = subprocess.run([script, "-version"], capture_output=True, text=True, check=True)
    assert shown.stdout.startswith("QEMU emulator version")
    package.rename(tmp_path / "moved.ova")
    missing = subprocess.run([script, "-version"], capture_output=True, text=True, check=False)
    assert (missing.returncode, missing.stdout) == (1, "")
    assert f"the package {package} is missing" in missing.stderr
    small_package(tmp_path, megabytes=2)
    changed = subprocess.run([script, "-version"], capture_output=True, text=True, check=False)
    assert (changed.returncode, changed.stdout) == (1, "")
    assert f"the package {package} has changed" in changed.stderr


def test_convert_makes_a_linked_image_at_once(tmp_path: Path) -> None:
    package = small_package(tmp_path, megabytes=64)
    command = [sys.executable, "-m", "virt_ova.cli", "convert", str(package), str(tmp_path / "linked.qcow2"), "--json"]
    began = time.monotonic()
    done = subprocess.run([*command, "--disk-mode=link", "--no-verify"], capture_output=True, text=True, check=True)
    seconds = time.monotonic() - began
    assert json.loads(done.stdout)["mode"] == "link"
    assert seconds < 3, "an idle machine needs a tenth of that"
    image = tmp_path / "linked.qcow2"
    qemu_img("check", "-f", "qcow2", image)
    assert image.stat().st_size <= MIB
    virt_ova.convert(package, tmp_path / "expanded.qcow2")
    assert "Images are identical" in qemu_img("compare", image, tmp_path / "expanded.qcow2")


def test_a_refused_link_leaves_nothing(tmp_path: Path) -> None:
    package = small_package(tmp_path)
    with package.open("rb") as file:
        package.unlink()
        with pytest.raises(DiskError, match=r"^disk1\.vmdk: the disk cannot be linked: ") as caught:
            virt_ova.install(file, f"dir:{tmp_path / 'machines'}", options=LINK)
    assert caught.value.code == "E_DISK_LINK"
    assert list(tmp_path.iterdir()) == []


def test_the_new_image_is_private(tmp_path: Path) -> None:
    result = virt_ova.install(small_package(tmp_path), f"dir:{tmp_path / 'machines'}", options=LINK)
    (volume,) = result.volumes
    assert stat.S_IMODE(Path(volume.path).stat().st_mode) == 0o600


class Unlinking:
    """A target that has nothing beside what every target has."""

    def __init__(self, target: Target) -> None:
        self._target = target

    def __getattr__(self, name: str) -> object:
        if name in vars(Linker):
            raise AttributeError(name)
        return getattr(self._target, name)


def test_a_target_that_cannot_link_is_refused_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = small_package(tmp_path)
    uri = f"dir:{tmp_path / 'machines'}"
    monkeypatch.setattr(story, "open_target", lambda uri, **_: Unlinking(open_plain(uri)))
    with pytest.raises(DiskError) as caught:
        virt_ova.install(package, uri, options=LINK)
    assert (caught.value.code, caught.value.message, caught.value.hint) == (
        "E_DISK_LINK",
        f"{uri} takes no linked disks, expected a folder or libvirt on this host",
        "Use --disk-mode expand.",
    )
    assert list(tmp_path.iterdir()) == [package]
