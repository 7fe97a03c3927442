"""The builder's own appliance: the package is well made, and its disk boots in bare QEMU."""

from __future__ import annotations

import hashlib
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from lxml import etree

from tests.build.appliance import ApplianceSpec, DiskSpec, Guest, build_appliance, build_disk, run_guest

_OVF = "{http://schemas.dmtf.org/ovf/envelope/1}"
_RASD = "{http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData}"


@contextmanager
def _booted(spec: DiskSpec, scratch: Path, *, drive: str = "virtio") -> Iterator[Guest]:
    image = scratch / "disk.qcow2"
    subprocess.run(["qemu-img", "convert", "-f", "vmdk", "-O", "qcow2", build_disk(spec), image], check=True)
    with run_guest(image, firmware=spec.firmware, scratch=scratch, drive=drive) as guest:
        yield guest


def test_package_is_in_order_and_its_manifest_holds(tmp_path: Path) -> None:
    ova = build_appliance(tmp_path / "a.ova", ApplianceSpec(name="a"))
    with tarfile.open(ova) as archive:
        members = archive.getmembers()
        contents = {m.name: (archive.extractfile(m) or pytest.fail(m.name)).read() for m in members}
    assert [member.name for member in members] == ["a.ovf", "a.mf", "a-disk1.vmdk"]
    digests = {name: hashlib.sha256(contents[name]).hexdigest() for name in ("a.ovf", "a-disk1.vmdk")}
    assert contents["a.mf"].decode() == "".join(f"SHA256({name})= {digest}\n" for name, digest in digests.items())


def test_descriptor_says_what_was_asked_for(tmp_path: Path) -> None:
    spec = ApplianceSpec(name="b", controller="AHCI", nic="VmxNet3", cpus=2, memory_mib=768)
    with tarfile.open(build_appliance(tmp_path / "b.ova", spec)) as archive:
        descriptor = etree.fromstring((archive.extractfile("b.ovf") or pytest.fail("b.ovf")).read())
        disk_size = archive.getmember("b-disk1.vmdk").size
    file, disk = descriptor.find(f".//{_OVF}File"), descriptor.find(f".//{_OVF}Disk")
    assert file is not None
    assert disk is not None
    assert (file.get(f"{_OVF}href"), file.get(f"{_OVF}size")) == ("b-disk1.vmdk", str(disk_size))
    assert disk.get(f"{_OVF}capacity") == "256"
    items = {item.findtext(f"{_RASD}ResourceType"): item for item in descriptor.iter(f"{_OVF}Item")}
    assert items["3"].findtext(f"{_RASD}VirtualQuantity") == "2"
    assert items["4"].findtext(f"{_RASD}VirtualQuantity") == "768"
    assert items["10"].findtext(f"{_RASD}ResourceSubType") == "VmxNet3"
    assert items["20"].findtext(f"{_RASD}ResourceSubType") == "vmware.sata.ahci"
    assert items["17"].findtext(f"{_RASD}Parent") == items["20"].findtext(f"{_RASD}InstanceID")


def test_the_same_input_makes_the_same_bytes(tmp_path: Path) -> None:
    spec = DiskSpec(capacity_mib=128)
    cached = build_disk(spec)
    kept = cached.rename(tmp_path / "first.vmdk")
    assert build_disk(spec).read_bytes() == kept.read_bytes()


def test_efi_with_too_little_memory_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^256 MiB of memory: EFI needs 512$"):
        ApplianceSpec(disk=DiskSpec(firmware="efi"), memory_mib=256)


@pytest.mark.parametrize(
    ("spec", "drive", "expected"),
    [
        (DiskSpec(), "ide", ("firmware: bios", "disk driver: ata_piix", "network driver: e1000")),
        (DiskSpec(firmware="efi"), "virtio", ("firmware: efi", "disk driver: virtio_blk", "network driver: e1000")),
    ],
    ids=["bios", "efi"],
)
def test_it_boots_to_a_login_and_serves_its_page(
    spec: DiskSpec, drive: str, expected: tuple[str, ...], tmp_path: Path
) -> None:
    with _booted(spec, tmp_path, drive=drive) as guest:
        guest.wait_for("appliance login:")
        lines = guest.page().splitlines()
    assert "<h1>virt-ova appliance</h1>" in lines
    assert set(expected) <= set(lines)


def test_without_its_disk_driver_it_finds_no_root(tmp_path: Path) -> None:
    with _booted(DiskSpec(without_drivers=frozenset({"virtio_blk"})), tmp_path) as guest:
        guest.wait_for("ALERT!  LABEL=appliance does not exist.  Dropping to a shell!")
        guest.wait_for("(initramfs) ")


def test_without_an_initramfs_the_kernel_panics(tmp_path: Path) -> None:
    with _booted(DiskSpec(panics=True), tmp_path) as guest:
        guest.wait_for("Kernel panic - not syncing: VFS: Unable to mount root fs")
