"""What a machine boots from: asked for by the package, else disks, CDs, floppies."""

from __future__ import annotations

import pytest

from tests.unit.plan.builders import decisions_of, item, plan_of, system
from virt_ova.findings import Severity
from virt_ova.ovf.envelope import BootDevice, ResourceType
from virt_ova.plan.inputs import DiskSource
from virt_ova.plan.plan import InstallPlan

FILES = {"iso": DiskSource(id="iso", member="a.iso", file_format="iso", capacity_bytes=4096)}


def planned(*boot: BootDevice) -> InstallPlan:
    machine = system(
        item(ResourceType.IDE_CONTROLLER, "3"),
        item(ResourceType.DISK, "4", disk="d1", parent="3", address_on_parent="0"),
        item(ResourceType.DISK, "5", disk="d2", parent="3", address_on_parent="1"),
        item(ResourceType.CD, "6", file="iso", parent="3", address_on_parent="2"),
        item(ResourceType.CD, "7"),
        item(ResourceType.ETHERNET, "8", subtypes="e1000"),
        item(ResourceType.ETHERNET, "9", subtypes="e1000"),
        boot=boot,
    )
    return plan_of(machine, files=FILES)


def order(plan: InstallPlan) -> list[str]:
    (machine,) = plan.machines
    found = {drive.boot_order: drive.id for drive in machine.drives if drive.boot_order}
    found |= {nic.boot_order: f"net{number}" for number, nic in enumerate(machine.nics) if nic.boot_order}
    assert sorted(found) == list(range(1, len(found) + 1))
    return [found[number] for number in sorted(found)]


@pytest.mark.parametrize(
    ("boot", "expected"),
    [
        ((), ["disk0", "disk1", "cdrom2"]),
        ((BootDevice(kind="cdrom"),), ["cdrom2", "disk0", "disk1"]),
        ((BootDevice(instance_id="5"),), ["disk1", "disk0", "cdrom2"]),
        ((BootDevice(kind="disk", instance_id="5"),), ["disk1", "disk0", "cdrom2"]),
        ((BootDevice(kind="cdrom", instance_id="77"),), ["cdrom2", "disk0", "disk1"]),
        ((BootDevice(kind="net"),), ["net0", "net1", "disk0", "disk1", "cdrom2"]),
        ((BootDevice(instance_id="9"), BootDevice(kind="cdrom")), ["net1", "cdrom2", "disk0", "disk1"]),
        ((BootDevice(kind="disk"), BootDevice(kind="disk")), ["disk0", "disk1", "cdrom2"]),
    ],
)
def test_what_the_package_asks_for_comes_first(boot: tuple[BootDevice, ...], expected: list[str]) -> None:
    plan = planned(*boot)
    assert order(plan) == expected
    assert [decision.result for decision in decisions_of(plan, "boot order")] == ([", ".join(expected)] if boot else [])


@pytest.mark.parametrize(
    ("step", "meant"),
    [
        (BootDevice(kind="floppy"), "floppy"),
        (BootDevice(instance_id="7"), "7"),
        (BootDevice(kind="floppy", instance_id="\x1b"), "floppy \\x1b"),
    ],
)
def test_what_is_not_there_is_noted(step: BootDevice, meant: str) -> None:
    plan = planned(step)
    assert order(plan) == ["disk0", "disk1", "cdrom2"]
    assert [(f.severity, f.message) for f in plan.findings if f.code == "BOOT_ORDER"] == [
        (Severity.INFO, f"the boot order names '{meant}', and the machine has nothing like it to boot from")
    ]
