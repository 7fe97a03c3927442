"""Domains: defined without replacing one, started, watched, removed by UUID."""

from __future__ import annotations

import shlex
from typing import Any, Final
from xml.etree import ElementTree as ET

import libvirt

from virt_ova.errors import TargetError
from virt_ova.target.base import BootReport, Reach
from virt_ova.target.boot.observer import watch_boot
from virt_ova.target.libvirt.errors import absent_is_fine, translated
from virt_ova.target.libvirt.lifeline import Lifeline
from virt_ova.target.libvirt.records import undefine
from virt_ova.target.libvirt.senses import addresses, senses_of
from virt_ova.target.libvirt.uri import is_local
from virt_ova.text import quoted

_UNDEFINE: Final = (
    libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
    | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
    | libvirt.VIR_DOMAIN_UNDEFINE_TPM
)
_UNDEFINE_FALLBACKS: Final = (_UNDEFINE, libvirt.VIR_DOMAIN_UNDEFINE_NVRAM, 0)
"""Flags to undefine with, the next where a daemon or driver does not know the last."""


class LibvirtDomain:
    """A domain that was defined by us."""

    def __init__(self, domain: Any, *, lifeline: Lifeline, may_lease: bool) -> None:  # noqa: ANN401 - libvirt has no types
        """Own `domain`; `may_lease` says whether its host may come to know an address of it."""
        self._domain, self._lifeline, self._may_lease = domain, lifeline, may_lease
        self._name, self._uuid = str(domain.name()), str(domain.UUIDString())

    @property
    def name(self) -> str:
        """Its name."""
        return self._name

    @property
    def uuid(self) -> str:
        """Its UUID."""
        return self._uuid

    @property
    def start_command(self) -> str:
        """That of virsh."""
        return f"virsh -c {shlex.quote(self._lifeline.uri)} start {shlex.quote(self._name)}"

    def start(self) -> None:
        """Start it. Raises `TargetError` (``E_START``, ``E_NETWORK``, ``E_NOT_SUPPORTED``)."""
        self._start(0)

    def watch(self, seconds: float) -> BootReport:
        """Start it and follow it by all that libvirt shows; see `virt_ova.target.base.Domain.watch`."""
        return self._watch(seconds, only_disk=False)

    def watch_disk(self, seconds: float) -> BootReport:
        """See `virt_ova.target.base.Trial.watch_disk`."""
        return self._watch(seconds, only_disk=True)

    def reach(self) -> Reach:
        """See `virt_ova.target.base.Reachable.reach`."""
        try:
            with translated(f"reading {quoted(self._name)}"):
                described = ET.fromstring(self._domain.XMLDesc(0))  # noqa: S314 - libvirt made it
            sources = (
                libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE,
                libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT,
                libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_ARP,
            )
            found = dict.fromkeys(address for source in sources for address in addresses(self._domain, source))
        except TargetError:
            return Reach()
        has_way = is_local(self._lifeline.uri) and described.find("devices/interface[@type='user']") is None
        vnc = described.find("devices/graphics[@type='vnc'][@port]")
        with_uri = f"-c {shlex.quote(self._lifeline.uri)}"
        name = shlex.quote(self._name)
        return Reach(
            addresses=tuple(found),
            ssh=f"ssh USER@{next(iter(found))}" if has_way and found else "",
            console=f"virsh {with_uri} console {name}" if described.find("devices/console") is not None else "",
            screen="" if vnc is None else f"virt-viewer {with_uri} {name}",
            vnc="" if vnc is None else f"{vnc.get('listen', '')}:{vnc.get('port', '')}",
        )

    def discard(self) -> None:
        """Stop it and remove its definition with everything libvirt keeps for it; its volumes stay.

        Raises:
            TargetError: it stays.
        """
        by_hand = undefine(self._uuid)
        self._lifeline.take_back(lambda: remove_domain(self._domain, self._name), self._discard_anew, by_hand=by_hand)

    def _discard_anew(self, connection: Any) -> None:  # noqa: ANN401 - libvirt has no types
        """The same over another connection; the UUID is nobody else's."""
        found = None
        with translated(f"looking for {quoted(self._name)}"), absent_is_fine(libvirt.VIR_ERR_NO_DOMAIN):
            found = connection.lookupByUUIDString(self._uuid)
        if found is not None:
            remove_domain(found, self._name)

    def _watch(self, seconds: float, *, only_disk: bool) -> BootReport:
        """It starts paused, so that not a byte of the console is missed."""
        self._start(libvirt.VIR_DOMAIN_START_PAUSED)
        with senses_of(self._domain, may_lease=self._may_lease) as senses:
            with translated(f"starting {quoted(self._name)}", otherwise="E_START"):
                self._domain.resume()
            return watch_boot(senses, self._name, seconds, only_disk=only_disk)

    def _start(self, flags: int) -> None:
        with translated(f"starting {quoted(self._name)}", otherwise="E_START"):
            self._domain.createWithFlags(flags)


def define(
    connection: Any,  # noqa: ANN401 - libvirt has no types
    domain_xml: str,
    name: str,
    *,
    lifeline: Lifeline,
    may_lease: bool,
) -> LibvirtDomain:
    """Define a domain whose UUID is new, so that libvirt refuses a name that is taken.

    Raises:
        TargetError: the name is taken (``E_EXISTS``), or libvirt refuses the definition.
    """
    if domain_exists(connection, name):
        raise name_taken(name)
    try:
        with translated(f"defining {quoted(name)}"):
            domain = connection.defineXMLFlags(domain_xml, libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
    except TargetError as exc:
        if domain_exists(connection, name):
            raise name_taken(name) from exc
        raise
    return LibvirtDomain(domain, lifeline=lifeline, may_lease=may_lease)


def remove_domain(domain: Any, name: str) -> None:  # noqa: ANN401 - libvirt has no types
    """Stop a domain, and remove its definition with everything libvirt keeps for it. Raises `TargetError`."""
    gone = (libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_OPERATION_INVALID)
    with translated(f"stopping {quoted(name)}"), absent_is_fine(*gone):
        domain.destroy()
    with translated(f"removing {quoted(name)}"), absent_is_fine(libvirt.VIR_ERR_NO_DOMAIN):
        _undefine(domain)


def domain_exists(connection: Any, name: str) -> bool:  # noqa: ANN401 - libvirt has no types
    """Whether a domain has that name. Raises `TargetError`."""
    with translated(f"looking for the domain {quoted(name)}"), absent_is_fine(libvirt.VIR_ERR_NO_DOMAIN):
        connection.lookupByName(name)
        return True
    return False


def name_taken(name: str) -> TargetError:
    """The error for a domain's name that is taken."""
    return TargetError(
        f"a domain {quoted(name)} exists already",
        code="E_EXISTS",
        hint="Choose another name for the machine with --name.",
    )


def _undefine(domain: Any) -> None:  # noqa: ANN401 - libvirt has no types
    """Undefine with as many flags as the driver knows."""
    unknown = (libvirt.VIR_ERR_INVALID_ARG, libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED, libvirt.VIR_ERR_NO_SUPPORT)
    for flags in _UNDEFINE_FALLBACKS[:-1]:
        with absent_is_fine(*unknown):
            domain.undefineFlags(flags)
            return
    domain.undefineFlags(_UNDEFINE_FALLBACKS[-1])
