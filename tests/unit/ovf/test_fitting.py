from __future__ import annotations

import pytest

from tests.unit.ovf.documents import envelope, item, rasd, system
from virt_ova.ovf.fitting import Change, fitted, misfits


def text_of(items: str = "", family: str = "vmx-13") -> str:
    """A descriptor with one system."""
    kind = f"<System><vssd:VirtualSystemType>{family}</vssd:VirtualSystemType></System>"
    return envelope(system(kind + items)).decode()


def changes_of(items: str = "", family: str = "vmx-13", newest: int = 14) -> list[tuple[str, str, bool]]:
    return [(each.what, each.became, each.is_certain) for each in misfits(text_of(items, family), newest=newest)]


@pytest.mark.parametrize(
    ("family", "newest", "sent"),
    [
        ("virtualbox-2.2", 14, "vmx-14"),
        ("virtualbox-2.2", 13, "vmx-13"),
        ("virtualbox-2.2", 21, "vmx-14"),
        ("qemu-pc qemu-pc-0.13", 0, "vmx-14"),
        ("vmx-21", 14, "vmx-14"),
        ("vmx-9 xen-3", 8, "vmx-08"),
    ],
)
def test_another_family_is_refused_and_replaced(family: str, newest: int, sent: str) -> None:
    (change,) = misfits(text_of(family=family), newest=newest)
    assert (change.became, change.is_certain) == (f"sent as {sent}", True)
    assert fitted(text_of(family=family), (change,)) == text_of(family=sent)


def test_a_family_that_is_too_new_is_told_with_what_is_known() -> None:
    assert changes_of(family="vmx-21") == [
        ("hardware family 'vmx-21' (the host knows vmx-14 at most)", "sent as vmx-14", True)
    ]


@pytest.mark.parametrize(
    ("family", "newest"), [("vmx-14", 14), ("vmx-07 virtualbox-2.2", 14), ("vmx-10 vmx-21", 14), ("vmx-99", 0)]
)
def test_a_family_that_the_host_has_stays(family: str, newest: int) -> None:
    assert changes_of(family=family, newest=newest) == []


def test_one_section_that_fits_is_enough() -> None:
    other = "<System><vssd:VirtualSystemType>virtualbox-2.2</vssd:VirtualSystemType></System>" + item(35, 9)
    own = "<System><vssd:VirtualSystemType>vmx-10</vssd:VirtualSystemType></System>"
    sections = f"<VirtualHardwareSection><Info/>{other}</VirtualHardwareSection>"
    text = envelope(system(own, before=sections)).decode()
    assert misfits(text, newest=14) == ()


@pytest.mark.parametrize(
    ("items", "what", "became", "left"),
    [
        (
            item(35, 9, rasd(ElementName="sound", ResourceSubType="ensoniq1371")),
            "'sound' (ensoniq1371)",
            "left out",
            "",
        ),
        (
            item(5, 9, rasd(ElementName="ide", ResourceSubType="PIIX4")),
            "'ide' (PIIX4)",
            "sent as plain IDE",
            item(5, 9, rasd(ElementName="ide")),
        ),
        (item(16, 9), "'item'", "sent as a CD drive", item(15, 9)),
        (
            item(20, 9, rasd(Caption="sata", ResourceSubType="AHCI")),
            "'sata' (AHCI)",
            "sent as vmware.sata.ahci",
            item(20, 9, rasd(Caption="sata", ResourceSubType="vmware.sata.ahci")),
        ),
        (
            item(20, 9, rasd(ResourceSubType="NVMe")),
            "'item' (NVMe)",
            "sent as vmware.nvme.controller",
            item(20, 9, rasd(ResourceSubType="vmware.nvme.controller")),
        ),
        (
            item(6, 9, rasd(ResourceSubType="virtio-scsi")),
            "'item' (virtio-scsi)",
            "sent as lsilogic",
            item(6, 9, rasd(ResourceSubType="lsilogic")),
        ),
        (
            item(10, 9, rasd(ResourceSubType="virtio")),
            "'item' (virtio)",
            "sent as E1000",
            item(10, 9, rasd(ResourceSubType="E1000")),
        ),
    ],
)
def test_hardware_of_others_is_replaced(items: str, what: str, became: str, left: str) -> None:
    changes = misfits(text_of(items), newest=14)
    assert [(each.what, each.became, each.is_certain) for each in changes] == [(what, became, False)]
    assert fitted(text_of(items), changes) == text_of(left)


@pytest.mark.parametrize(
    "items",
    [
        item(6, 1, rasd(ResourceSubType="someother, lsilogic")),
        item(6, 1, rasd(ResourceSubType="VirtualSCSI")),
        item(10, 1, rasd(ResourceSubType="VMXNET3 virtio")),
        item(10, 1),
        item(20, 1, rasd(ResourceSubType="vmware.sata.ahci")),
        item(5, 1),
        item(17, 1),
        item("99999999999", 1),
    ],
)
def test_hardware_that_vmware_has_stays(items: str) -> None:
    assert changes_of(items) == []


def test_hostile_text_is_shown_escaped() -> None:
    (change,) = misfits(text_of(item(35, 1, rasd(ElementName="a\u202eb"))), newest=14)
    assert isinstance(change, Change)
    assert change.what == r"'a\u202eb'"
