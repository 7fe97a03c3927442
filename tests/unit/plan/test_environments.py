"""Who gets a CD that tells it its properties, and where it stands."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.plan.builders import EFI, envelope, item, plan_of, system
from virt_ova.findings import Severity
from virt_ova.ovf.envelope import Item, Product, Property, ResourceType, VirtualSystem, VirtualSystemCollection
from virt_ova.plan.inputs import DiskSource
from virt_ova.plan.machine import Bus, Controller, Drive, DriveKind
from virt_ova.plan.options import InstallOptions
from virt_ova.plan.plan import DiskMode, ImageFormat, InstallPlan, Transfer

ASKED = (Product(properties=(Property(key="a", value="b", user_configurable=True),)),)
ENVIRONMENT = Transfer(
    id="environment/vm",
    capacity_bytes=0,
    image_format=ImageFormat.RAW,
    mode=DiskMode.EXPAND,
    image_name="vm-ovfenv.iso",
    environment="vm",
)
GUEST_INFO = "com.vmware.guestInfo"
OTHER_WAY = (
    f"the guest expects its properties by '{GUEST_INFO} other', which this target has not: "
    "they are on a CD, and a guest that does not look there misses them"
)
NO_WAY = "the package does not say how the guest reads its properties"


def telling(
    *items: Item, transports: str = "iso", products: tuple[Product, ...] = ASKED, **values: object
) -> VirtualSystem:
    made = system(*items, products=products, **values)  # type: ignore[arg-type]  # values are the test's
    return replace(made, hardware=(replace(made.hardware[0], transports=tuple(transports.split())),))


def cds(plan: InstallPlan, machine: int = 0) -> list[Drive]:
    return [drive for drive in plan.machines[machine].drives if drive.kind is DriveKind.CDROM]


def transports(plan: InstallPlan) -> list[tuple[Severity, str]]:
    return [(each.severity, each.message) for each in plan.findings if each.code == "OVF_TRANSPORT"]


def test_a_drive_of_its_own() -> None:
    plan = plan_of(telling())
    expected = Drive(id="environment", kind=DriveKind.CDROM, bus=Bus.IDE, transfer="environment/vm", read_only=True)
    assert plan.machines[0].drives == (expected,)
    assert plan.machines[0].controllers == (Controller(bus=Bus.IDE),)
    assert plan.transfers == (ENVIRONMENT,)
    assert [each.message for each in plan.findings if "CD drive" in each.message] == [
        "CD drive: added ide 0:0: it holds the OVF environment, with the values of the package's properties"
    ]


def test_the_first_drive_that_is_empty() -> None:
    plan = plan_of(
        telling(
            item(ResourceType.IDE_CONTROLLER, "1"),
            item(ResourceType.CD, "2", parent="1", file="f"),
            item(ResourceType.CD, "3", parent="1"),
            item(ResourceType.CD, "4", parent="1"),
        ),
        files={"f": DiskSource(id="f", member="f.iso", capacity_bytes=2048)},
    )
    assert [drive.transfer for drive in cds(plan)] == ["file/f", "environment/vm", ""]
    assert [drive.boot_order for drive in cds(plan)] == [1, None, None]
    assert [transfer.image_name for transfer in plan.transfers] == ["vm-cdrom1.iso", "vm-ovfenv.iso"]


def test_sata_where_there_is_no_ide_or_it_is_full() -> None:
    efi = plan_of(telling(config=EFI))
    assert [(drive.bus, drive.controller) for drive in cds(efi)] == [(Bus.SATA, 0)]
    disks = (item(ResourceType.DISK, f"1{unit}", parent="1", disk="d1") for unit in range(4))
    full = plan_of(telling(item(ResourceType.IDE_CONTROLLER, "1"), *disks))
    assert [(drive.bus, drive.unit) for drive in cds(full)] == [(Bus.SATA, 0)]


def test_nothing_to_tell() -> None:
    open_one = (Product(properties=(Property(key="a"),)),)
    for plan in (plan_of(telling(products=())), plan_of(telling(products=open_one))):
        assert (plan.transfers, transports(plan)) == ((), [])


def test_siblings_that_have_something_to_tell_count() -> None:
    vapp = VirtualSystemCollection(id="vapp", content=(telling(id="x"), telling(id="y", products=())))
    plan = plan_of(envelope(vapp))
    assert [transfer.environment for transfer in plan.transfers] == ["x", "y"]
    assert [each.item for each in plan.decisions if "CD" in each.item] == ["x: CD drive", "y: CD drive"]


@pytest.mark.parametrize(
    ("words", "given", "has_cd", "expected"),
    [
        ("iso", {}, True, []),
        (f"{GUEST_INFO} iso", {}, True, []),
        (
            f"{GUEST_INFO} other",
            {},
            True,
            [(Severity.WARNING, OTHER_WAY)],
        ),
        (
            "",
            {},
            False,
            [(Severity.INFO, f"{NO_WAY}: the guest is not told of them")],
        ),
        (
            "",
            {"a": "c"},
            True,
            [(Severity.INFO, f"{NO_WAY}: they are on a CD because some were given")],
        ),
    ],
)
def test_transports(words: str, given: dict[str, str], *, has_cd: bool, expected: list[tuple[Severity, str]]) -> None:
    plan = plan_of(telling(transports=words), options=InstallOptions(properties=given))
    assert ([transfer.environment for transfer in plan.transfers] == ["vm"]) is has_cd
    assert transports(plan) == expected
