"""A package of several machines: a VirtualSystemCollection, with small disks whose boot sectors speak.

vapp_ova(tmp_path / "shop.ova", ("db", "app", "web"), startup='<Item ovf:id="db" ovf:order="1"/>')
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.build.ova import build_ova, descriptor, with_manifest
from tests.build.plans import talking_boot_sector
from tests.build.small import edited

CAPACITY = 1 << 20
NETWORKS = '<Network ovf:name="Internal"/><Network ovf:name="Public"/>'


def vapp_members(names: Sequence[str], *, startup: str = "") -> list[tuple[str, bytes]]:
    """Descriptor and disks of the collection ``shop``, whose machines say ``NAME login:`` when they start.

    Args:
        names: of its machines.
        startup: items of its StartupSection.
    """
    disks = [(f"{name}.raw", talking_boot_sector(f"{name} login: ".encode()).ljust(CAPACITY, b"\0")) for name in names]
    whole = descriptor([(name, len(data)) for name, data in disks], capacity=str(CAPACITY), format_uri="raw").decode()
    head, machine, tail = _split(whole)
    systems = "".join(_system(machine, number, name) for number, name in enumerate(names, start=1))
    section = f"<StartupSection><Info>Order</Info>{startup}</StartupSection>" if startup else ""
    collection = (
        f'<VirtualSystemCollection ovf:id="shop"><Info>A shop</Info><Name>shop</Name>{section}{systems}'
        "</VirtualSystemCollection>"
    )
    members = [("shop.ovf", f"{head}{collection}{tail}".encode()), *disks]
    return edited(members, '<Network ovf:name="VM Network"><Description>A net</Description></Network>', NETWORKS)


def vapp_ova(path: Path, names: Sequence[str], *, startup: str = "") -> Path:
    """Write the package with a manifest as an OVA; returns `path`."""
    return build_ova(path, with_manifest(vapp_members(names, startup=startup)))


def _split(whole: str) -> tuple[str, str, str]:
    """A descriptor before, in, and behind its system."""
    begin, end = whole.index("<VirtualSystem "), whole.index("</Envelope>")
    return whole[:begin], whole[begin:end], whole[end:]


def _system(machine: str, number: int, name: str) -> str:
    """The system with disk `number` alone, on both networks."""
    items = machine.split("<Item>")
    kept = [item for item in items if "ovf:/disk/" not in item or f"ovf:/disk/disk{number}<" in item]
    (nic,) = [item for item in kept if "VM Network" in item]
    first = nic.replace("VM Network", "Internal")
    second = nic.replace("VM Network", "Public").replace(">4</rasd:InstanceID>", ">5</rasd:InstanceID>")
    closing = nic[nic.index("</Item>") + len("</Item>") :]
    joined = "<Item>".join([*(item for item in kept if item is not nic), first.removesuffix(closing), second])
    return joined.replace('ovf:id="vm"', f'ovf:id="{name}"').replace("<Name>vm</Name>", f"<Name>{name}</Name>")
