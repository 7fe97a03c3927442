"""A machine of VMware, installed on a real libvirt daemon."""

from __future__ import annotations

from pathlib import Path

import virt_ova
from tests.build.disks import KIB, qemu_img, random_disk
from tests.build.vmware import build_machine
from tests.integration.libvirt.conftest import Daemon


def test_a_folder_is_defined_with_its_disk(daemon: Daemon, tmp_path: Path) -> None:
    raw = random_disk(tmp_path / "d.raw", 1024 * KIB, [0, 7])
    machine = build_machine(tmp_path / "vm", raw, "twoGbMaxExtentSparse")
    daemon.add_pool("images")
    result = virt_ova.install(machine, daemon.uri, options=virt_ova.InstallOptions(pool="images"))
    domain = daemon.connection.lookupByName("old machine")
    assert "<controller type='scsi' index='0' model='vmpvscsi'>" in domain.XMLDesc()
    (volume,) = result.volumes
    copy = tmp_path / "copy.qcow2"
    stream = daemon.connection.newStream()
    daemon.connection.storagePoolLookupByName("images").storageVolLookupByName(volume.name).download(stream, 0, 0, 0)
    with copy.open("wb") as file:
        stream.recvAll(lambda _, data, __: file.write(data), None)
    stream.finish()
    assert "identical" in qemu_img("compare", "-f", "raw", "-F", "qcow2", raw, copy)
