"""The CD that tells a machine its properties, as a volume of libvirt."""

from __future__ import annotations

import stat
from xml.etree import ElementTree as ET

from tests.build.asking import SECRET, asking_ova, told
from tests.integration.libvirt.conftest import Daemon
from virt_ova.plan.options import InstallOptions
from virt_ova.stories.install import install


def test_the_volume_is_private_and_in_the_machines_drive(daemon: Daemon) -> None:
    images = daemon.add_pool("images")
    options = InstallOptions(pool="images", properties={"hostname": "web", "root-pw": SECRET})
    result = install(asking_ova(daemon.folder / "a.ova"), daemon.uri, options=options)
    disc = images / "vm-ovfenv.iso"
    assert [volume.name for volume in result.volumes] == ["vm-disk1.qcow2", disc.name]
    assert stat.S_IMODE(disc.stat().st_mode) == 0o600
    assert told(disc) == {"hostname": "web", "root-pw": SECRET, "serial": "7", "net.ip": "dhcp"}
    described = daemon.connection.lookupByName("vm").XMLDesc(0)
    assert "hunter2" not in described
    (drive,) = ET.fromstring(described).findall("devices/disk[@device='cdrom']")  # noqa: S314 - libvirt made it
    assert drive.find(f"source[@file='{disc}']") is not None
    assert drive.find("driver[@type='raw']") is not None
    assert drive.find("readonly") is not None
