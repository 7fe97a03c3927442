"""The machine of a package as a VMX."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.build.ova import build_folder
from tests.build.small import edited, small_members
from tests.build.vmware import vmx
from virt_ova.errors import DescriptorError, PackageError
from virt_ova.package.as_vmx import describe_as_vmx
from virt_ova.package.package import open_package

COLLECTION = Path(__file__).parents[2] / "golden" / "collection" / "input.ovf"


def test_a_package_with_one_machine(tmp_path: Path) -> None:
    with open_package(build_folder(tmp_path / "p", small_members())) as package:
        written = describe_as_vmx(package)
        assert 'scsi0:0.fileName = "a1.vmdk"' in written.text
        assert written == describe_as_vmx(package, system="vm")


def test_a_disk_in_extents_is_named_by_its_descriptor(tmp_path: Path) -> None:
    listing = '# Disk DescriptorFile\nparentCID=ffffffff\ncreateType="monolithicFlat"\nRW 1 FLAT "d-flat.vmdk" 0\n'
    members = [("m.vmx", vmx("d.vmdk")), ("d.vmdk", listing.encode()), ("d-flat.vmdk", bytes(512))]
    with open_package(build_folder(tmp_path / "p", members)) as package:
        assert package.disks[0].file_name == "d-flat.vmdk"
        assert 'scsi0:0.fileName = "d.vmdk"' in describe_as_vmx(package).text


@pytest.mark.parametrize(
    ("system", "message", "hint"),
    [
        (None, "found 2 machines, expected one of the package's: 'front', 'db'", "Choose one with --system ID."),
        ("mail", "found 0 machines 'mail', expected one of the package's: 'front', 'db'", ""),
    ],
)
def test_which_machine_is_meant(system: str | None, message: str, hint: str) -> None:
    with open_package(COLLECTION) as package, pytest.raises(DescriptorError) as caught:
        describe_as_vmx(package, system=system)
    assert (caught.value.code, caught.value.message, caught.value.hint) == ("E_OVF_SYSTEM", message, hint)


def test_a_machine_without_hardware(tmp_path: Path) -> None:
    members = edited(small_members(), "<VirtualHardwareSection ", "<OtherSection ")
    members = edited(members, "</VirtualHardwareSection>", "</OtherSection>")
    with open_package(build_folder(tmp_path / "p", members)) as package, pytest.raises(DescriptorError) as caught:
        describe_as_vmx(package)
    message = "system 'vm' has no VirtualHardwareSection, so there is no machine to write"
    assert (caught.value.code, caught.value.message) == ("E_OVF_HARDWARE", message)


@pytest.mark.parametrize(
    ("href", "code"), [("/etc/shadow", "E_REF_OUTSIDE"), ("../x", "E_REF_OUTSIDE"), ("http://x/y", "E_REF_REMOTE")]
)
def test_no_file_elsewhere_is_named(tmp_path: Path, href: str, code: str) -> None:
    members = edited(small_members(), 'ovf:href="a1.vmdk"', f'ovf:href="{href}"')
    with open_package(build_folder(tmp_path / "p", members)) as package, pytest.raises(PackageError) as caught:
        describe_as_vmx(package)
    assert caught.value.code == code


def test_a_deployment_option_that_is_not_there(tmp_path: Path) -> None:
    with (
        open_package(build_folder(tmp_path / "p", small_members())) as package,
        pytest.raises(DescriptorError) as caught,
    ):
        describe_as_vmx(package, deployment_option="large")
    assert caught.value.code == "E_OVF_OPTION"
