from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.ovf.documents import shown
from virt_ova.errors import DescriptorError
from virt_ova.ovf.envelope import DeploymentOption, Envelope, Item, VirtualHardware, VirtualSystem
from virt_ova.ovf.hardware import (
    FirmwareRequest,
    HostKind,
    HostReference,
    choose_hardware,
    cpu_count,
    default_option,
    disk_drives,
    disk_ids,
    effective_items,
    firmware,
    host_reference,
    memory_bytes,
    nics,
)

SMALL = DeploymentOption(id="small")
BIG = DeploymentOption(id="big", default=True)


def envelope(*options: DeploymentOption) -> Envelope:
    return Envelope(ovf_version="1.1", namespace="urn:x", deployment_options=options)


def cpus(quantity: int, *configurations: str, bound: str = "", instance_id: str = "1") -> Item:
    return Item(
        instance_id=instance_id,
        resource_type=3,
        quantity=quantity,
        configurations=configurations,
        bound=bound,
    )


def quantities(items: tuple[Item, ...]) -> list[int | None]:
    return [item.quantity for item in items]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ovf:/disk/X", HostReference(kind=HostKind.DISK, id="X")),
        ("/disk/X", HostReference(kind=HostKind.DISK, id="X")),
        (" ovf://disk/vm disk 1 ", HostReference(kind=HostKind.DISK, id="vm disk 1")),
        ("OVF:/Disk/X", HostReference(kind=HostKind.DISK, id="X")),
        ("ovf:/file/a/b", HostReference(kind=HostKind.FILE, id="a/b")),
        ("/file/X", HostReference(kind=HostKind.FILE, id="X")),
        ("", None),
        ("X", None),
        ("disk/X", None),
        ("ovf:/disk/", None),
        ("ovf:/network/X", None),
        ("file:///disk/X", None),
        ("[datastore] disk/X", None),
    ],
)
def test_host_references(text: str, expected: HostReference | None) -> None:
    assert host_reference(text) == expected


@given(st.text())
def test_any_text_is_a_reference_or_none(text: str) -> None:
    found = host_reference(text)
    assert found is None or (found.id and found.id in text)


def test_the_default_option_is_the_marked_one_else_the_first() -> None:
    assert default_option(envelope(SMALL, BIG)) == "big"
    assert default_option(envelope(SMALL, DeploymentOption(id="other"))) == "small"
    assert default_option(envelope()) == ""


def test_items_of_other_options_are_left_out() -> None:
    hardware = VirtualHardware(items=(cpus(1, "small"), cpus(2, "big"), cpus(4, instance_id="2")))
    assert quantities(effective_items(envelope(SMALL, BIG), hardware, None)) == [2, 4]
    assert quantities(effective_items(envelope(SMALL, BIG), hardware, "small")) == [1, 4]
    assert quantities(effective_items(envelope(), hardware, None)) == [4]


def test_ranges_are_no_hardware() -> None:
    hardware = VirtualHardware(items=(cpus(1, bound="min"), cpus(2), cpus(8, bound="max")))
    assert quantities(effective_items(envelope(), hardware, None)) == [2]


def test_normal_is_hardware_unless_there_is_a_plain_item() -> None:
    normal = cpus(3, bound="normal")
    assert quantities(effective_items(envelope(), VirtualHardware(items=(normal,)), None)) == [3]
    assert quantities(effective_items(envelope(), VirtualHardware(items=(normal, cpus(2))), None)) == [2]
    assert quantities(effective_items(envelope(), VirtualHardware(items=(cpus(2), normal)), None)) == [2]


@pytest.mark.parametrize("turn", [1, -1])
def test_an_item_for_the_option_overrides_the_one_for_all(turn: int) -> None:
    hardware = VirtualHardware(items=(cpus(1), cpus(2, "big", "small"), cpus(4, "big"))[::turn])
    assert quantities(effective_items(envelope(SMALL, BIG), hardware, "big")) == [4]
    assert quantities(effective_items(envelope(SMALL, BIG), hardware, "small")) == [2]


def test_the_last_of_equals_wins() -> None:
    hardware = VirtualHardware(items=(cpus(2, "big"), cpus(4, "big")))
    assert quantities(effective_items(envelope(BIG), hardware, None)) == [4]


def test_an_item_for_the_option_overrides_one_of_another_type() -> None:
    ide, scsi = Item(instance_id="5", resource_type=5), Item(instance_id="5", resource_type=6, configurations=("big",))
    assert effective_items(envelope(BIG), VirtualHardware(items=(ide, scsi)), None) == (scsi,)


def test_items_without_id_do_not_override_each_other() -> None:
    hardware = VirtualHardware(items=(cpus(1, instance_id=""), cpus(2, "big", instance_id="")))
    assert quantities(effective_items(envelope(BIG), hardware, None)) == [1, 2]


def test_items_of_one_placeholder_id_all_stay() -> None:
    hardware = VirtualHardware(items=(cpus(1), cpus(2)))
    assert quantities(effective_items(envelope(), hardware, None)) == [1, 2]


@pytest.mark.parametrize(
    ("options", "known"),
    [((), "none"), ((SMALL, BIG), "'small', 'big'")],
)
def test_an_unknown_option_is_refused(options: tuple[DeploymentOption, ...], known: str) -> None:
    with pytest.raises(DescriptorError) as caught:
        effective_items(envelope(*options), VirtualHardware(), "huge")
    assert shown(caught.value) == (
        "E_OVF_OPTION",
        f"found no deployment option 'huge', expected one of: {known}",
    )


def test_totals() -> None:
    items = (
        cpus(2),
        cpus(1, instance_id="2"),
        Item(instance_id="3", resource_type=3),
        Item(instance_id="4", resource_type=4, quantity=1 << 30),
        Item(instance_id="5", resource_type=10),
        Item(instance_id="6", resource_type=17, host_resources=("ovf:/disk/a",)),
        Item(instance_id="7", resource_type=19, host_resources=("/disk/b", "/file/c", "other")),
        Item(instance_id="8", resource_type=31),
        Item(instance_id="9", resource_type=15, host_resources=("ovf:/file/iso",)),
    )
    assert cpu_count(items) == 3
    assert memory_bytes(items) == 1 << 30
    assert [nic.instance_id for nic in nics(items)] == ["5"]
    assert [drive.instance_id for drive in disk_drives(items)] == ["6", "7", "8"]
    assert disk_ids(items) == ("a", "b")
    assert cpu_count(items[2:]) is None
    assert memory_bytes(()) is None


def test_the_hardware_of_the_best_known_family_is_chosen() -> None:
    xen = VirtualHardware(system_types=("xen-3.0-unknown",))
    vmx = VirtualHardware(system_types=("vmx-13", "xen-3"))
    later = VirtualHardware(system_types=("VMX-14",))
    kvm = VirtualHardware(system_types=("kvm",))
    assert choose_hardware(VirtualSystem(id="a")) is None
    assert choose_hardware(VirtualSystem(id="a", hardware=(xen, VirtualHardware()))) is xen
    assert choose_hardware(VirtualSystem(id="a", hardware=(xen, vmx, later))) is vmx
    assert choose_hardware(VirtualSystem(id="a", hardware=(vmx, kvm))) is kvm


SECURE = "bootOptions.efiSecureBootEnabled"


@pytest.mark.parametrize(
    ("config", "extra", "expected"),
    [
        ({}, {}, FirmwareRequest(kind="bios")),
        ({"firmware": "bios"}, {}, FirmwareRequest(kind="bios", is_stated=True)),
        ({"firmware": "EFI"}, {}, FirmwareRequest(kind="efi", is_stated=True)),
        ({}, {"firmware": "efi"}, FirmwareRequest(kind="efi", is_stated=True)),
        ({"firmware": "bios"}, {"firmware": "efi"}, FirmwareRequest(kind="bios", is_stated=True)),
        ({"firmware": "@@firmware@@"}, {}, FirmwareRequest(kind="bios")),
        ({"firmware": "efi", SECURE: "TRUE"}, {}, FirmwareRequest(kind="efi", secure_boot=True, is_stated=True)),
        ({"firmware": "efi", SECURE: "false"}, {}, FirmwareRequest(kind="efi", is_stated=True)),
        ({"firmware": "bios", SECURE: "true"}, {}, FirmwareRequest(kind="bios", is_stated=True)),
        (
            {"firmware": "efi"},
            {"uefi.secureBoot.enabled": "TRUE"},
            FirmwareRequest(kind="efi", secure_boot=True, is_stated=True),
        ),
        ({"firmware": "efi", "vbox.firmware": "BIOS"}, {}, FirmwareRequest(kind="efi", is_stated=True)),
    ],
)
def test_firmware(config: dict[str, str], extra: dict[str, str], expected: FirmwareRequest) -> None:
    assert firmware(VirtualHardware(config=config, extra_config=extra)) == expected
