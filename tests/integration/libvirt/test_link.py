"""Linked disks under a real libvirt: the guest boots, the package keeps its owner, and what cannot work is told."""

from __future__ import annotations

import hashlib
from pathlib import Path

import libvirt
import pytest

import virt_ova
from tests.build.appliance import ApplianceSpec, build_appliance
from tests.integration.libvirt.conftest import Daemon
from virt_ova.errors import TargetError
from virt_ova.package.package import open_package
from virt_ova.plan.options import InstallOptions
from virt_ova.plan.plan import DiskMode, ImageFormat
from virt_ova.stories.placement import open_placement
from virt_ova.target.libvirt.target import LibvirtTarget


def appliance(folder: Path, name: str = "a.ova") -> Path:
    folder.mkdir(exist_ok=True)
    folder.chmod(0o711)
    package = build_appliance(folder / name, ApplianceSpec(name="guest"))
    package.chmod(0o644)
    return package


def options(*, wait: float | None = None) -> InstallOptions:
    return InstallOptions(
        disk_mode=DiskMode.LINK, virt_type="qemu", pool="images", start=wait is not None, wait_boot_seconds=wait
    )


def state_of(package: Path) -> tuple[str, int, int, int, int]:
    status = package.stat()
    digest = hashlib.sha256(package.read_bytes()).hexdigest()
    return digest, status.st_mtime_ns, status.st_uid, status.st_gid, status.st_mode


def test_a_guest_boots_and_the_package_is_left_alone(daemon: Daemon) -> None:
    daemon.add_pool("images")
    package = appliance(daemon.folder / 'it\'s, <a> "folder": &c', "b=c;d.ova")
    before = state_of(package)
    result = virt_ova.install(package, daemon.uri, options=options(wait=240))
    assert result.booted is not None
    assert result.booted.state in {"login", "network"}
    assert [volume.mode for volume in result.volumes] == ["link"]
    assert state_of(package) == before
    daemon.connection.lookupByName("guest").destroy()
    assert state_of(package) == before
    stored = daemon.connection.storageVolLookupByPath(result.volumes[0].path)
    assert f"<format type='{ImageFormat.QCOW2}'/>" in stored.XMLDesc(0)
    assert stored.info()[1] == result.volumes[0].capacity_bytes


def test_a_missing_package_is_told_at_the_start(daemon: Daemon) -> None:
    daemon.add_pool("images")
    package = appliance(daemon.folder / "packages")
    virt_ova.install(package, daemon.uri, options=options())
    package.unlink()
    with pytest.raises(libvirt.libvirtError, match=rf"{package}.*No such file"):
        daemon.connection.lookupByName("guest").create()


def test_a_package_that_qemu_may_not_read_is_told_before_anything_is_made(daemon: Daemon) -> None:
    images = daemon.add_pool("images")
    package = appliance(daemon.folder / "packages")
    package.chmod(0o600)
    user = "libvirt-qemu"
    with pytest.raises(TargetError) as caught:
        virt_ova.install(package, daemon.uri, options=options())
    assert (caught.value.code, caught.value.message) == (
        "E_DISK_LINK",
        f"the disk cannot be linked: QEMU's user {user} may not read '{package}'",
    )
    assert caught.value.hint == (f"Allow it (setfacl -m u:{user}:r PATH), or move the package, for example to /srv.")
    package.chmod(0o644)
    package.parent.chmod(0o700)
    with pytest.raises(TargetError, match=rf"QEMU's user {user} may not pass through the folder '{package.parent}'$"):
        virt_ova.install(package, daemon.uri, options=options())
    assert list(images.iterdir()) == []
    assert daemon.connection.listAllDomains(0) == []


def test_another_host_is_refused_before_anything_is_made(daemon: Daemon) -> None:
    images = daemon.add_pool("images")
    remote = LibvirtTarget(libvirt.open(daemon.uri), uri="qemu+ssh://host/system", pool="images", in_place=False)
    with open_package(appliance(daemon.folder / "packages")) as package:
        (disk,) = package.disks
        backing = open_placement(
            package,
            disk.require_member(),
            capacity_bytes=None,
            image_format=ImageFormat.QCOW2,
            mode=DiskMode.LINK,
        ).backing
    assert backing is not None
    with pytest.raises(TargetError, match=r"qemu\+ssh://host/system is another host, and the package is on this one$"):
        remote.check_link(backing)
    assert list(images.iterdir()) == []


def test_libvirt_understands_the_image_by_itself(daemon: Daemon) -> None:
    """A domain of somebody else's making, which says nothing of the package."""
    images = daemon.add_pool("images")
    image = images / "own.qcow2"
    virt_ova.convert(appliance(daemon.folder / "packages"), image, mode=DiskMode.LINK)
    domain = daemon.connection.createXML(
        "<domain type='qemu'><name>own</name><memory unit='MiB'>64</memory><os><type>hvm</type></os><devices>"
        f"<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{image}'/>"
        "<target dev='hda' bus='ide'/></disk></devices></domain>",
        0,
    )
    described = domain.XMLDesc(0)
    domain.destroy()
    assert "<format type='vmdk'/>" in described
    assert "<slice type='storage'" in described
