"""A real guest on libvirt, looked into by libguestfs."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.build.appliance import ApplianceSpec, DiskSpec, build_appliance
from tests.integration.libvirt.conftest import Daemon
from virt_ova.plan.options import InstallOptions, MachineStyle
from virt_ova.stories.install import install

WITHOUT: Final = frozenset({"virtio_blk", "virtio_scsi", "virtio_net", "ahci", "e1000", "mptsas", "vmw_pvscsi"})


def test_a_guest_that_has_no_virtio_gets_what_it_has(daemon: Daemon, tmp_path: Path) -> None:
    disk = DiskSpec(without_drivers=WITHOUT)
    ova = build_appliance(tmp_path / "a.ova", ApplianceSpec(name="ide", controller="AHCI", disk=disk))
    daemon.add_pool("default")
    options = InstallOptions(inspect_guest=True, machine=MachineStyle.VIRTIO)
    result = install(ova, daemon.uri, options=options)
    assert [finding.message for finding in result.findings if finding.code == "GUEST_LACKS"] == [
        "'ide' has its disk on ide instead of virtio: the guest has no virtio_blk when it starts",
        "network interface 1 of 'ide' is e1000e instead of virtio: the guest has no virtio_net",
    ]
    defined = daemon.connection.lookupByName("ide").XMLDesc(0)
    assert "<target dev='hda' bus='ide'/>" in defined
    assert "<model type='e1000e'/>" in defined
