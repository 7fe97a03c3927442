"""Processors and memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from virt_ova.errors import PlanError
from virt_ova.ovf.envelope import Item, ResourceType
from virt_ova.ovf.hardware import cpu_count, items_of, memory_bytes
from virt_ova.plan.ledger import Ledger
from virt_ova.plan.machine import Cpus
from virt_ova.units import GIB, MIB, format_bytes

MAX_CPUS: Final = 255
"""Most processors that chipset ``pc`` takes; more need an interrupt remapper that is not planned here."""

_DEFAULT_MEMORY_BYTES: Final = GIB


def plan_cpus(items: Sequence[Item], ledger: Ledger) -> Cpus:
    """Processors and how they sit in sockets.

    Raises:
        PlanError: more than a machine here can have (``E_OVF_VALUE``).
    """
    processors = items_of(items, ResourceType.PROCESSOR)
    count = cpu_count(items)
    if count is None:
        ledger.added("processors", "1", "the package does not say how many")
        return Cpus(count=1)
    if count > MAX_CPUS:
        raise PlanError(
            f"the package asks for {count} processors, a machine here can have {MAX_CPUS}",
            code="E_OVF_VALUE",
            where=processors[0].where,
        )
    cores = next((item.cores_per_socket for item in processors if item.cores_per_socket), 1)
    if count % cores:
        ledger.mapped(processors[0], f"{count} sockets", f"{count} cannot be shared out into sockets of {cores} cores")
        return Cpus(count=count)
    for item in processors:
        ledger.kept(item, f"{count} in all, {cores} per socket")
    return Cpus(count=count, cores_per_socket=cores)


def plan_memory(items: Sequence[Item], ledger: Ledger) -> int:
    """Memory in bytes, a multiple of 1 MiB."""
    asked = memory_bytes(items)
    if asked is None:
        ledger.added("memory", format_bytes(_DEFAULT_MEMORY_BYTES), "the package does not say how much")
        return _DEFAULT_MEMORY_BYTES
    rounded = -(-asked // MIB) * MIB
    for item in items_of(items, ResourceType.MEMORY):
        if rounded == asked:
            ledger.kept(item, format_bytes(rounded))
        else:
            ledger.mapped(item, format_bytes(rounded), f"{asked} bytes are no whole number of MiB")
    return rounded
