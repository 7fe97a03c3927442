"""Settings for other hypervisors are told, by key and never by value."""

from __future__ import annotations

import pytest

from tests.unit.plan.builders import item, plan_of, system
from virt_ova.findings import Severity
from virt_ova.ovf.envelope import ResourceType, VirtualHardware, VirtualSystem
from virt_ova.plan.settings import READ

NIC = item(ResourceType.ETHERNET, "1", subtypes="e1000", config={"wakeOnLanEnabled": "true"})
PLAIN = item(ResourceType.ETHERNET, "1", subtypes="e1000")


def told(machine: VirtualSystem) -> list[tuple[Severity, str]]:
    return [(f.severity, f.message) for f in plan_of(machine).findings if f.code == "SETTING_DROPPED"]


@pytest.mark.parametrize(
    ("key", "severity", "instead"),
    [
        (
            "flags.vbsEnabled",
            Severity.WARNING,
            "virtualization-based security needs an IOMMU, which the machine has not",
        ),
        ("flags.vvtdEnabled", Severity.WARNING, "the machine has no IOMMU"),
        ("sevEnabled", Severity.WARNING, "the machine's memory is not encrypted"),
        ("tdxEnabled", Severity.WARNING, "the machine's memory is not encrypted"),
        ("nestedHVEnabled", Severity.INFO, "the guest can run machines itself only where the host allows it"),
        ("cpuHotAddEnabled", Severity.INFO, "processors cannot be added while the machine runs"),
        ("memoryHotAddEnabled", Severity.INFO, "memory cannot be added while the machine runs"),
        ("vPMCEnabled", Severity.INFO, "performance counters are those that the host gives"),
        ("virtualSMCPresent", Severity.INFO, "the machine has no Apple SMC, without which no macOS starts"),
    ],
)
def test_what_a_guest_can_notice(key: str, severity: Severity, instead: str) -> None:
    assert told(system(PLAIN, config={key: "TRUE"})) == [(severity, f"the setting '{key}' is not kept: {instead}")]
    assert told(system(PLAIN, config={key: "false"})) == []


def test_all_else_is_listed_by_key() -> None:
    config = {"tools.syncTimeWithHost": "secret", "powerOpInfo.resetType": "soft"}
    assert told(system(NIC, config=config)) == [
        (Severity.INFO, "these settings are for another hypervisor: powerOpInfo.resetType, tools.syncTimeWithHost"),
        (Severity.INFO, "these settings of single devices are for another hypervisor: wakeOnLanEnabled"),
    ]


def test_extra_settings_are_never_shown() -> None:
    extra = VirtualHardware(system_types=("vmx-13",), items=(PLAIN,), extra_config={"a\x1b": "secret", "nvram": "f"})
    assert told(VirtualSystem(id="vm", hardware=(extra,))) == [
        (Severity.INFO, "extra settings of a package are never passed on: a\\x1b")
    ]


def test_what_is_read_is_not_told() -> None:
    config = dict.fromkeys(READ - {"firmware", "vbox.firmware", "ovirt.biosType"}, "x")
    assert told(system(PLAIN, config=config)) == []


def test_elements_of_one_product() -> None:
    view = {"vbox:Machine@OSType": "x", "vbox:Machine/Hardware/Memory@RAMSize": "1", "Origin": "3"}
    message = "what only its own product knows is not used, the machine is that of the OVF sections"
    assert told(system(PLAIN, vendor=view)) == [(Severity.INFO, f"{message}: Origin, vbox:Machine")]
