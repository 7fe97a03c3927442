"""What drivers a Windows has, by its registry.

A driver is there when it has a service, and there before the disk is when that one starts with the boot loader:
``Start`` is 0 (https://learn.microsoft.com/windows-hardware/drivers/install/inf-addservice-directive).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from virt_ova.inside.appliance import Appliance
from virt_ova.plan.insight import Insight

_SERVICES: Final = {
    "viostor": ("virtio_blk", "virtio_pci"),
    "vioscsi": ("virtio_scsi", "virtio_pci", "sd_mod"),
    "netkvm": ("virtio_net", "virtio_pci"),
    "storahci": ("ahci", "sd_mod"),
    "msahci": ("ahci", "sd_mod"),
    "iaStorV": ("ahci", "sd_mod"),
    "intelide": ("ata_piix", "sd_mod"),
    "stornvme": ("nvme",),
    "LSI_SAS": ("mptsas", "sd_mod"),
    "pvscsi": ("vmw_pvscsi", "sd_mod"),
}
"""Windows' name of a driver, and Linux' names of what does the same."""

_BOOT_START: Final = bytes(4)
_ABSENT: Final = {"", "0"}


def look_into_windows(appliance: Appliance, root: str, insight: Insight) -> Insight:
    """`insight` with what the Windows that is mounted in `appliance` has. Raises `ToolError`."""
    control_set = appliance.ask("inspect-get-windows-current-control-set", root)
    appliance.ask("hivex-open", appliance.ask("inspect-get-windows-system-hive", root))
    node = appliance.ask("hivex-root")
    for name in (control_set, "Services"):
        node = _child(appliance, node, name)
    if node in _ABSENT:
        return replace(insight, obstacle="its registry cannot be read")
    drivers, boot_drivers = set[str](), set[str]()
    for service, names in _SERVICES.items():
        if (found := _child(appliance, node, service)) not in _ABSENT:
            drivers.update(names)
            value = appliance.ask("hivex-node-get-value", found, "Start")
            if value not in _ABSENT and appliance.ask_bytes("hivex-value-value", value) == _BOOT_START:
                boot_drivers.update(names)
    return replace(insight, boot_drivers=tuple(sorted(boot_drivers)), drivers=tuple(sorted(drivers)))


def _child(appliance: Appliance, node: str, name: str) -> str:
    """The key `name` in the key `node`, both by libguestfs's numbers."""
    return node if node in _ABSENT else appliance.ask("hivex-node-get-child", node, name)
