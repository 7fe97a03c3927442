"""Settings for other hypervisors, which no machine here gets: told, so that nobody misses them without a word.

``vmw:Config`` is a public list of switches, and some of them a guest can notice; ``vmw:ExtraConfig`` is whatever
somebody wrote into a VMX file. None of it is ever passed on. Values are not shown: some are secrets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from virt_ova.findings import Severity
from virt_ova.plan.ledger import Ledger
from virt_ova.plan.systems import Blueprint
from virt_ova.text import printable, quoted

READ: Final = frozenset(
    {
        *("firmware", "bootOptions.efiSecureBootEnabled", "uefi.secureBoot.enabled", "nvram"),
        *("ovirt.biosType", "vbox.firmware"),
    }
)
"""Settings that the planner acts upon."""

_NOTICED: Final = {
    "flags.vbsEnabled": (Severity.WARNING, "virtualization-based security needs an IOMMU, which the machine has not"),
    "flags.vvtdEnabled": (Severity.WARNING, "the machine has no IOMMU"),
    "sevEnabled": (Severity.WARNING, "the machine's memory is not encrypted"),
    "tdxEnabled": (Severity.WARNING, "the machine's memory is not encrypted"),
    "nestedHVEnabled": (Severity.INFO, "the guest can run machines itself only where the host allows it"),
    "cpuHotAddEnabled": (Severity.INFO, "processors cannot be added while the machine runs"),
    "memoryHotAddEnabled": (Severity.INFO, "memory cannot be added while the machine runs"),
    "vPMCEnabled": (Severity.INFO, "performance counters are those that the host gives"),
    "virtualSMCPresent": (Severity.INFO, "the machine has no Apple SMC, without which no macOS starts"),
}
"""Switches that a guest can notice when they are on: how much it matters, and what it finds instead."""

_LISTED: Final = 1000
"""Most characters of a list of keys."""


def note_settings(blueprint: Blueprint, ledger: Ledger) -> None:
    """Tell which settings of the package the machine does not get."""
    where = blueprint.system.where
    config = _unread(blueprint.hardware.config)
    for key, value in config.items():
        if key in _NOTICED and value.lower() == "true":
            severity, instead = _NOTICED[key]
            ledger.note("SETTING_DROPPED", severity, f"the setting {quoted(key)} is not kept: {instead}", where)
    others = [key for key in config if key not in _NOTICED]
    of_items = [key for item in blueprint.items for key in _unread(item.config)]
    groups = {
        "these settings are for another hypervisor": others,
        "these settings of single devices are for another hypervisor": of_items,
        "extra settings of a package are never passed on": list(_unread(blueprint.hardware.extra_config)),
    }
    for reason, keys in groups.items():
        if keys:
            ledger.note("SETTING_DROPPED", Severity.INFO, f"{reason}: {_listed(keys)}", where)
    if blueprint.system.vendor:
        places = {path.partition("@")[0].partition("/")[0] for path in blueprint.system.vendor}
        message = (
            f"what only its own product knows is not used, the machine is that of the OVF sections: {_listed(places)}"
        )
        ledger.note("SETTING_DROPPED", Severity.INFO, message, where)


def _unread(settings: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in settings.items() if key not in READ}


def _listed(keys: Iterable[str]) -> str:
    return printable(", ".join(sorted(set(keys))), limit=_LISTED)
