import json
from pathlib import Path

import pytest

from tests.build.ova import build_folder, build_ova, descriptor, with_manifest
from virt_ova.errors import DescriptorError
from virt_ova.package.document import disks_document, inspect_document, verify_document
from virt_ova.package.package import open_package

DISK = bytes(40_000)
MEMBERS = [("a.ovf", descriptor([("a.vmdk", len(DISK))])), ("a.vmdk", DISK)]


def test_inspect_has_the_promised_keys(tmp_path: Path) -> None:
    with open_package(build_ova(tmp_path / "a.ova", with_manifest(MEMBERS))) as package:
        document = inspect_document(package)
        offset = package.disks[0].file_offset
        assert offset == 512 * (1 + -(-len(MEMBERS[0][1]) // 512) + 2 + 1)
    assert json.loads(json.dumps(document)) == {
        "kind": "ova",
        "ovf_version": "1.1",
        "producer": "vmware",
        "descriptor": {"name": "a.ovf", "size": len(MEMBERS[0][1]), "offset": 512},
        "virtual_systems": [
            {
                "id": "vm",
                "name": "vm",
                "os": {"id": 96, "type": "debian12_64Guest"},
                "cpus": 2,
                "memory_bytes": 512 << 20,
                "firmware": "bios",
                "secure_boot": False,
                "boot": [],
                "vendor": {},
                "hardware_types": ["vmx-13"],
                "disks": ["disk1"],
                "nics": [{"network": "VM Network", "model": "e1000"}],
            }
        ],
        "collections": 0,
        "files": [{"id": "file1", "name": "a.vmdk", "size": 40_000, "offset": offset}],
        "disks": [
            {
                "id": "disk1",
                "file_name": "a.vmdk",
                "file_size": 40_000,
                "file_offset": offset,
                "capacity_bytes": 1 << 30,
                "format": "raw",
                "parent": "",
            }
        ],
        "networks": [{"name": "VM Network", "description": "A net"}],
        "properties": [],
        "deployment_options": [],
        "locales": [],
        "eulas": 0,
        "transports": ["iso"],
        "manifest": {"algorithm": "SHA256", "entries": 2},
        "certificate": None,
        "findings": [],
    }


def test_disks_and_verify_documents(tmp_path: Path) -> None:
    with open_package(build_ova(tmp_path / "a.ova", with_manifest(MEMBERS))) as package:
        assert disks_document(package) == {"disks": inspect_document(package)["disks"]}
        document = verify_document(package.verify())
    assert json.loads(json.dumps(document)) == {
        "trust": "digests",
        "signer": None,
        "files": [
            {"name": "a.ovf", "algorithm": "SHA256", "ok": True},
            {"name": "a.vmdk", "algorithm": "SHA256", "ok": True},
        ],
        "findings": [],
    }


def test_a_lone_descriptor_shows_what_it_claims(tmp_path: Path) -> None:
    folder = build_folder(tmp_path, MEMBERS[:1])
    with open_package(folder / "a.ovf") as package:
        document = inspect_document(package)
    assert (document["kind"], document["manifest"]) == ("ovf", None)
    assert document["disks"][0]["file_offset"] is None
    assert document["disks"][0]["format"] == "vmdk-stream"
    assert document["findings"] == [
        {
            "code": "PKG_FILE_MISSING",
            "severity": "error",
            "message": "the file 'a.vmdk' is not in the package",
            "where": "References/File 'file1'",
        }
    ]


OPTIONS = b"""<DeploymentOptionSection><Info>Sizes</Info>
<Configuration ovf:id="small"><Label>Small</Label><Description>s</Description></Configuration>
<Configuration ovf:id="large" ovf:default="true"><Label>Large</Label><Description>l</Description></Configuration>
</DeploymentOptionSection>
<VirtualSystemCollection ovf:id="all"><Info>All</Info>
<EulaSection><Info>E</Info><License>Be good</License></EulaSection>"""
PRODUCT = b"""<ProductSection><Info>P</Info>
<Property ovf:key="host" ovf:type="string" ovf:value="a" ovf:userConfigurable="true">
<Value ovf:value="b" ovf:configuration="large"/></Property>
<Property ovf:key="secret" ovf:type="string" ovf:value="hunter2" ovf:password="true"/></ProductSection>"""


@pytest.fixture
def rich(tmp_path: Path) -> Path:
    """A collection of one system, with two sizes and two properties."""
    ovf = (
        descriptor()
        .replace(b"<VirtualSystem ", OPTIONS + b"<VirtualSystem ")
        .replace(b"</VirtualHardwareSection>", b"</VirtualHardwareSection>" + PRODUCT)
        .replace(b"</VirtualSystem>", b"</VirtualSystem></VirtualSystemCollection>")
    )
    cpus = ovf[ovf.index(b"<Item><rasd:ElementName>2 CPUs") :].partition(b"</Item>")[0] + b"</Item>"
    more = cpus.replace(b"<Item>", b'<Item ovf:configuration="large">').replace(b">2<", b">8<")
    limit = cpus.replace(b"<Item>", b'<Item ovf:bound="max">').replace(b">2<", b">99<")
    return build_ova(tmp_path / "a.ova", [("a.ovf", ovf.replace(cpus, cpus + more + limit))])


def test_hardware_is_that_of_the_deployment_option(rich: Path) -> None:
    with open_package(rich) as package:
        assert inspect_document(package)["virtual_systems"][0]["cpus"] == 8
        assert inspect_document(package, "large")["virtual_systems"][0]["cpus"] == 8
        document = inspect_document(package, "small")
        with pytest.raises(DescriptorError, match="found no deployment option 'huge', expected one of: 'small', 'l"):
            inspect_document(package, "huge")
    assert document["virtual_systems"][0]["cpus"] == 2
    assert document["deployment_options"] == [
        {"id": "small", "label": "Small", "default": False},
        {"id": "large", "label": "Large", "default": True},
    ]
    assert (document["collections"], document["eulas"]) == (1, 1)


HOST = {
    "entity": "vm",
    "key": "host",
    "type": "string",
    "value": "a",
    "user_configurable": True,
    "password": False,
}


def test_values_are_those_of_the_deployment_option(rich: Path) -> None:
    with open_package(rich) as package:
        assert inspect_document(package, "small")["properties"][0] == HOST
        assert inspect_document(package, "large")["properties"][0] == HOST | {"value": "b"}


def test_the_default_of_a_password_is_not_shown(rich: Path) -> None:
    with open_package(rich) as package:
        document = inspect_document(package)
    assert document["properties"] == [
        HOST | {"value": "b"},
        HOST | {"key": "secret", "value": None, "user_configurable": False, "password": True},
    ]
    assert "hunter2" not in json.dumps(document)
