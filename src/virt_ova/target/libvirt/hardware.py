"""Whether a host takes the hardware of a plan, asked before anything is made.

libvirt turns a definition into QEMU's command line without defining or starting anything
(``virConnectDomainXMLToNative``). On its way it refuses all that it does not know, that QEMU does not have, or that the
chipset does not take, and firmware that is not there. It does not look for the images.

Network interfaces are left out. libvirt would let them be of any model, which the planner checks against QEMU's own
list; and whatever they are plugged into, it would make a tap device for each, which an ordinary user may not.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final
from xml.etree import ElementTree as ET

import libvirt

from virt_ova.errors import PlanError, TargetError
from virt_ova.plan.inputs import VolumeSource
from virt_ova.plan.machine import Machine, images_of
from virt_ova.plan.to_libvirt import domain_xml
from virt_ova.target.libvirt.errors import absent_is_fine, translated
from virt_ova.text import printable, quoted

_NATIVE: Final = "qemu-argv"
_SOME_IMAGE: Final = VolumeSource(image_format="raw", path="/virt-ova/image-to-be-made")
_REFUSALS: Final = frozenset(
    {
        libvirt.VIR_ERR_XML_ERROR,
        libvirt.VIR_ERR_XML_DETAIL,
        libvirt.VIR_ERR_XML_INVALID_SCHEMA,
        libvirt.VIR_ERR_CONFIG_UNSUPPORTED,
        libvirt.VIR_ERR_INVALID_ARG,
        libvirt.VIR_ERR_INTERNAL_ERROR,
        libvirt.VIR_ERR_OPERATION_FAILED,
    }
)
"""Errors that are about the definition, not about the connection."""

_LONGEST_REFUSAL: Final = 600


def check_hardware(connection: Any, machine: Machine, *, uri: str) -> None:  # noqa: ANN401 - libvirt has no types
    """Refuse hardware that libvirt or its QEMU does not have.

    Raises:
        PlanError: it has not (``E_PLAN_HARDWARE``).
        TargetError: libvirt does not answer.
    """
    with translated("asking for the kind of hypervisor"):
        if str(connection.getType()) != "QEMU":
            return
    sources = dict.fromkeys(images_of(machine), _SOME_IMAGE)
    described = domain_xml(replace(machine, nics=()), sources=sources)
    with translated(f"trying the hardware of {quoted(machine.name)}"), absent_is_fine(libvirt.VIR_ERR_NO_SUPPORT):
        try:
            connection.domainXMLToNative(_NATIVE, described, 0)
        except libvirt.libvirtError as exc:
            if exc.get_error_code() not in _REFUSALS:
                raise
            raise _refused(machine, uri, exc) from exc


def _refused(machine: Machine, uri: str, error: Any) -> PlanError:  # noqa: ANN401 - libvirt has no types
    words = printable((error.get_error_message() or str(error)).strip(), limit=_LONGEST_REFUSAL)
    return PlanError(
        f"{uri} does not take the hardware of {quoted(machine.name)}: {words}",
        code="E_PLAN_HARDWARE",
        hint="Choose other hardware with --machine, --disk-bus or --nic-model, or edit the plan.",
    )


def check_addresses(connection: Any, machines: Iterable[Machine]) -> None:  # noqa: ANN401 - libvirt has no types
    """Refuse MAC addresses that another domain, or another machine of the plan, has.

    Raises:
        TargetError: one is taken (``E_MAC``), or libvirt does not answer.
    """
    wanted = [(nic.mac, machine.name) for machine in machines for nic in machine.nics if nic.mac]
    owners = _owners(connection) if wanted else {}
    for mac, name in wanted:
        if (owner := owners.setdefault(mac, name)) != name:
            raise TargetError(
                f"the MAC address {mac} of {quoted(name)} belongs to {quoted(owner)} already",
                code="E_MAC",
                hint="Leave --keep-mac out, or change the address in the plan.",
            )


def _owners(connection: Any) -> dict[str, str]:  # noqa: ANN401 - libvirt has no types
    """Name of the domain that has each MAC address."""
    owners: dict[str, str] = {}
    with translated("listing the domains"):
        for domain in connection.listAllDomains(0):
            with absent_is_fine(libvirt.VIR_ERR_NO_DOMAIN):
                described = ET.fromstring(domain.XMLDesc(0))  # noqa: S314 - from libvirt
                for mac in described.iterfind("devices/interface/mac"):
                    owners[mac.get("address", "").lower()] = str(domain.name())
    return owners
