"""What a host offers, from libvirt's domain capabilities (https://libvirt.org/formatdomaincaps.html).

Asked once and for one machine type: on a host whose KVM is half broken, libvirt starts QEMU anew for every such
question, which takes seconds.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import product
from pathlib import PurePosixPath
from typing import Any, Final
from xml.etree import ElementTree as ET

import libvirt

from virt_ova.errors import ToolError
from virt_ova.plan.host import HostCapabilities
from virt_ova.plan.machine import Connection, ConnectionKind, FirmwareKind
from virt_ova.target.emulator import DEVICE, device_names, kvm_runs
from virt_ova.target.firmware import find_firmware, variables_bytes
from virt_ova.target.libvirt.errors import absent_is_fine, translated

DEFAULT_NETWORK: Final = "default"

_CHIPSETS: Final = ("pc", "q35")
_VARIABLES_BYTES: Final = 528 << 10
"""What EDK II's firmware of 4 MiB has for variables."""

_OF_4_MIB: Final = re.compile(r".*[._-]4m\b.*\.(?:fd|bin)", re.IGNORECASE)
"""Name of such firmware as distributions have it: ``OVMF_CODE_4M.fd``, ``ovmf-x86_64-4m-code.bin``."""

_NO_SUCH_MACHINE: Final = (libvirt.VIR_ERR_INVALID_ARG, libvirt.VIR_ERR_CONFIG_UNSUPPORTED)
_NO_CAPABILITIES: Final = {"test": HostCapabilities(virt_types=("test",))}
"""For connections that tell nothing, by libvirt's name of the driver."""


def ask(connection: Any, *, is_local: bool) -> HostCapabilities:  # noqa: ANN401 - libvirt has no types
    """What the host behind `connection` offers.

    Raises:
        TargetError: libvirt does not answer.
    """
    networks = network_states(connection)
    described = _describe(connection)
    with translated("asking for the kind of hypervisor"):
        kind = str(connection.getType()).lower()
    if described is None:
        told = _NO_CAPABILITIES.get(kind, HostCapabilities())
        return _with_networks(told, networks)
    return _with_networks(interpret(described, is_local=is_local), networks)


def interpret(described: str, *, is_local: bool) -> HostCapabilities:
    """Read domain capabilities; `is_local` says whether the emulator they name can be tried here."""
    root = ET.fromstring(described)  # noqa: S314 - libvirt made it
    emulator = root.findtext("path", "")
    has_efi = "efi" in _texts(root.iterfind("os/enum[@name='firmware']/value"))
    enforces = "yes" in _texts(root.iterfind("os/loader/enum[@name='secure']/value"))
    return HostCapabilities(
        virt_types=_virt_types(root, emulator, is_local=is_local),
        chipsets=_CHIPSETS,
        firmware=frozenset(FirmwareKind) if has_efi else frozenset({FirmwareKind.BIOS}),
        secure_boot=enforces and (not is_local or find_firmware("q35", secure_boot=True) is not None),
        variables_bytes=variables_bytes(_CHIPSETS) if is_local else _variables_by_name(root),
        tpm="emulator" in _texts(root.iterfind("devices/tpm/enum[@name='backendModel']/value")),
        devices=_devices(emulator) if is_local else frozenset(),
        has_nvme="nvme" in _texts(root.iterfind("devices/disk/enum[@name='bus']/value")),
    )


def _variables_by_name(root: ET.Element) -> dict[tuple[str, bool], int]:
    """What firmware elsewhere has for variables, when the names of all that there is tell the same."""
    names = [PurePosixPath(text).name for text in _texts(root.iterfind("os/loader/value"))]
    is_known = bool(names) and all(map(_OF_4_MIB.fullmatch, names))
    return dict.fromkeys(product(_CHIPSETS, (False, True)), _VARIABLES_BYTES) if is_known else {}


def network_states(connection: Any) -> Mapping[str, bool]:  # noqa: ANN401 - libvirt has no types
    """Every network by name, and whether it is active; none where the driver has no networks."""
    with translated("listing the networks"), absent_is_fine(libvirt.VIR_ERR_NO_SUPPORT):
        return {network.name(): bool(network.isActive()) for network in connection.listAllNetworks(0)}
    return {}


def _describe(connection: Any) -> str | None:  # noqa: ANN401 - libvirt has no types
    """Domain capabilities for q35, else for the host's own choice; None when the driver has none."""
    for machine in ("q35", None):
        with translated("asking what the host can do"), absent_is_fine(libvirt.VIR_ERR_NO_SUPPORT, *_NO_SUCH_MACHINE):
            return str(connection.getDomainCapabilities(None, "x86_64", machine, None, 0))
    return None


def _virt_types(root: ET.Element, emulator: str, *, is_local: bool) -> tuple[str, ...]:
    """``kvm`` before ``qemu`` where libvirt offers KVM, unless it was tried here and does not run."""
    offered = root.findtext("domain", "qemu")
    if offered != "kvm":
        return (offered,)
    is_refuted = is_local and os.access(DEVICE, os.R_OK | os.W_OK) and not kvm_runs(emulator)
    return ("qemu",) if is_refuted else ("kvm", "qemu")


def _devices(emulator: str) -> frozenset[str]:
    """The emulator's devices; empty, which means unknown, when it cannot be asked."""
    try:
        return device_names(emulator)
    except ToolError:
        return frozenset()


def _texts(values: Iterable[ET.Element]) -> set[str]:
    return {value.text or "" for value in values}


def _with_networks(told: HostCapabilities, networks: Mapping[str, bool]) -> HostCapabilities:
    """`told` and the networks; machines go to ``default`` where there is one, as with virt-install."""
    has_default = DEFAULT_NETWORK in networks
    connection = Connection(kind=ConnectionKind.NETWORK, name=DEFAULT_NETWORK) if has_default else None
    return replace(told, networks=tuple(sorted(networks)), default_connection=connection or told.default_connection)
