"""Disks that machines of a vApp share, under a real libvirt: both machines run at once."""

from __future__ import annotations

from pathlib import Path

import virt_ova
from tests.build.disks import guest_bytes
from tests.build.ova import build_ova, with_manifest
from tests.build.siblings import sibling_members
from tests.build.small import small_disk
from tests.integration.libvirt.conftest import Daemon


def test_machines_that_share_a_disk_run_at_once(daemon: Daemon) -> None:
    images = daemon.add_pool("images")
    package = build_ova(daemon.folder / "a.ova", with_manifest(sibling_members()))
    options = virt_ova.InstallOptions(start=True, virt_type="qemu", pool="images")
    result = virt_ova.install(package, daemon.uri, options=options)
    domains = [daemon.connection.lookupByName(domain.name) for domain in result.domains]
    assert [domain.isActive() for domain in domains] == [1, 1]
    shared = images / "red-disk2.raw"
    assert [Path(volume.path) for volume in result.volumes] == [
        images / "red-disk1.qcow2", images / "blue-disk1.qcow2", shared
    ]  # fmt: skip
    for domain in domains:
        assert domain.XMLDesc(0).count("<shareable/>") == 1
        assert domain.XMLDesc(0).count(f"<source file='{shared}' ") == 1
        domain.destroy()
    assert shared.read_bytes() == small_disk(2)
    assert guest_bytes(images / "blue-disk1.qcow2") == small_disk(1)
