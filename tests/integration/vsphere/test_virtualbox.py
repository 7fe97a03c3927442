"""What is written for ESXi, read by VirtualBox, and what VirtualBox writes, read here."""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path

import pytest

from tests.build.ova import build_ova, descriptor, with_manifest
from tests.build.virtualbox import manage
from tests.build.vsphere import VSphere
from tests.integration.vsphere.conftest import uploads
from virt_ova import ImageFormat, InstallOptions, Trust, convert, export, install, open_package
from virt_ova.units import KIB, MIB

CAPACITY = 64 * MIB


@pytest.fixture(autouse=True)
def long(pytestconfig: pytest.Config) -> None:
    if not pytestconfig.getoption("--long"):
        pytest.skip("builds VirtualBox in a minute: --long")
    if os.geteuid() != 0:
        pytest.skip("VirtualBox is built by debootstrap, which needs root")


def disk() -> bytes:
    """What deflates and what does not, and zeros between; the first and the last sector hold something."""
    chance = random.Random(5)  # noqa: S311
    content = bytearray(CAPACITY)
    for number in range(40):
        start = chance.randrange(0, CAPACITY - 300 * KIB)
        data = chance.randbytes(200 * KIB) if number % 2 else b"line %d of a text\n" % number * 9000
        content[start : start + len(data)] = data
    content[:512] = content[-512:] = chance.randbytes(512)
    return bytes(content)


def package(path: Path, image: Path) -> Path:
    """An OVA of `image`, whatever its format."""
    members = [(image.name, image.read_bytes())]
    text = descriptor([(image.name, image.stat().st_size)], capacity=str(CAPACITY))
    return build_ova(path, with_manifest([("a.ovf", text), *members]))


@pytest.mark.timeout(600)
def test_virtualbox_reads_what_is_sent_and_imports_what_is_exported(esx: VSphere, tmp_path: Path) -> None:
    content, folder = disk(), tmp_path / "folder"
    folder.mkdir()
    raw = tmp_path / "content"
    raw.write_bytes(content)
    commands = []
    for number, image_format in enumerate(("raw", "qcow2", "vmdk", "vdi", "vhdx")):
        image = tmp_path / f"d.{image_format}"
        subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", image_format, raw, image], check=True)
        install(package(tmp_path / "a.ova", image), esx.uri(), options=InstallOptions(name=f"m{number}"))
        (folder / f"{number}.vmdk").write_bytes(uploads(esx)[-1][1])
        commands.append(["clonemedium", "disk", f"{number}.vmdk", f"{number}.raw", "--format", "RAW"])
    export(esx.uri(), "m1", folder / "m1.ova")
    said = manage(folder, *commands, ["import", "m1.ova"], ["showvminfo", "m1", "--machinereadable"])
    assert "Successfully imported the appliance." in said
    assert 'name="m1"' in said
    assert all((folder / f"{number}.raw").read_bytes() == content for number in range(5))


@pytest.mark.timeout(600)
def test_what_virtualbox_writes_is_read(tmp_path: Path) -> None:
    content = disk()
    (tmp_path / "d.raw").write_bytes(content)
    variants = (
        *(("s.vmdk", "VMDK", "Standard"), ("o.vmdk", "VMDK", "Stream"), ("p.vmdk", "VMDK", "Split2G")),
        *(("s.vdi", "VDI", "Standard"), ("f.vdi", "VDI", "Fixed"), ("s.vhd", "VHD", "Standard")),
        ("f.vhd", "VHD", "Fixed"),
    )
    disks = [["convertfromraw", "d.raw", name, "--format", kind, "--variant", how] for name, kind, how in variants]
    machine = ["--storagectl", "sata", "--port", "0", "--device", "0", "--type", "hdd", "--medium", "a.vmdk"]
    manage(
        tmp_path,
        *disks,
        ["clonemedium", "disk", "s.vmdk", "a.vmdk", "--format", "VMDK"],
        ["createvm", "--name", "vm", "--register"],
        ["storagectl", "vm", "--name", "sata", "--add", "sata"],
        ["storageattach", "vm", *machine],
        ["export", "vm", "--output", "v1.ova", "--ovf10", "--manifest"],
        ["export", "vm", "--output", "v2.ova", "--ovf20", "--manifest"],
    )
    for name, _, _ in variants:
        assert converted(package(tmp_path / "a.ova", tmp_path / name)) == content, name
    for exported in (tmp_path / "v1.ova", tmp_path / "v2.ova"):
        with open_package(exported) as opened:
            assert [(each.code, each.severity) for each in opened.findings] == [("TAR_NO_END", "info")]
            assert opened.verify().trust is Trust.DIGESTS
        assert converted(exported) == content


def converted(source: Path) -> bytes:
    """The guest's disk of a package."""
    output = source.with_suffix(".converted")
    convert(source, output, image_format=ImageFormat.RAW)
    data = output.read_bytes()
    output.unlink()
    return data
