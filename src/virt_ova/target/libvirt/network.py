"""Networks that an install makes (https://libvirt.org/formatnetwork.html).

A *private* one is a bridge that only its machines are on: no address of the host, no DHCP, no way out, as an isolated
port group of VMware. A *shared* one has the host's way out by NAT, and leases addresses. It takes the first range that
no network of the host overlaps; libvirt refuses to start one whose range is that of another interface, and then the
next is tried.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Network
from itertools import islice
from typing import Any, Final
from xml.etree import ElementTree as ET
from xml.etree.ElementTree import Element, SubElement

import libvirt

from virt_ova.errors import TargetError
from virt_ova.plan.machine import Connection, ConnectionKind, Machine
from virt_ova.plan.nics import MADE
from virt_ova.target.libvirt.errors import absent_is_fine, translated
from virt_ova.target.libvirt.lifeline import Lifeline
from virt_ova.target.libvirt.records import net_undefine
from virt_ova.text import quoted

_RANGE: Final = IPv4Network("192.168.0.0/16")
"""Private addresses that are used here, 256 to a network."""

_FIRST: Final = 150
_TRIES: Final = 10
"""How many address ranges are tried, of those that no network of the host has."""


class LibvirtNetwork:
    """A network that was made by us."""

    def __init__(self, network: Any, *, lifeline: Lifeline) -> None:  # noqa: ANN401 - libvirt has no types
        """Own `network`."""
        self._network, self._lifeline = network, lifeline
        self._name, self._uuid = str(network.name()), str(network.UUIDString())

    @property
    def name(self) -> str:
        """Its name."""
        return self._name

    @property
    def uuid(self) -> str:
        """Its UUID."""
        return self._uuid

    def discard(self) -> None:
        """Stop it and remove its definition. Raises `TargetError` when it stays."""
        self._lifeline.take_back(
            lambda: remove_network(self._network, self._name), self._discard_anew, by_hand=net_undefine(self._uuid)
        )

    def _discard_anew(self, connection: Any) -> None:  # noqa: ANN401 - libvirt has no types
        """The same over another connection; the UUID is nobody else's."""
        found = None
        with translated(f"looking for the network {quoted(self._name)}"), absent_is_fine(libvirt.VIR_ERR_NO_NETWORK):
            found = connection.networkLookupByUUIDString(self._uuid)
        if found is not None:
            remove_network(found, self._name)


def create_network(connection: Any, wanted: Connection, uuid: str, *, lifeline: Lifeline) -> LibvirtNetwork:  # noqa: ANN401 - libvirt has no types
    """Make, start, and have started with the host from now on, the network `wanted`.

    Args:
        connection: an open connection.
        wanted: its kind, private or shared, and its name, which no network has.
        uuid: its UUID.
        lifeline: for taking it back.

    Raises:
        TargetError: libvirt refuses; nothing is left.
    """
    doing = f"making the network {quoted(wanted.name)}"
    if wanted.kind is ConnectionKind.PRIVATE:
        return _create(connection, _xml(wanted.name, uuid, None), lifeline, doing)
    candidates = list(islice(_free_ranges(connection), _TRIES))
    if not candidates:
        raise TargetError(
            f"{doing} failed: other networks have all addresses from 192.168.{_FIRST}.0 to 192.168.255.255",
            code="E_NETWORK",
            hint="Make a network yourself, and use it with --network 'OVF NAME=network:NAME'.",
        )
    for addresses in candidates[:-1]:
        try:
            return _create(connection, _xml(wanted.name, uuid, addresses), lifeline, doing)
        except TargetError as exc:
            if not _is_in_use(exc):
                raise
    return _create(connection, _xml(wanted.name, uuid, candidates[-1]), lifeline, doing)


def remove_network(network: Any, name: str) -> None:  # noqa: ANN401 - libvirt has no types
    """Stop a network, and remove its definition. Raises `TargetError`."""
    gone = (libvirt.VIR_ERR_NO_NETWORK, libvirt.VIR_ERR_OPERATION_INVALID)
    with translated(f"stopping the network {quoted(name)}"), absent_is_fine(*gone):
        network.destroy()
    with translated(f"removing the network {quoted(name)}"), absent_is_fine(*gone):
        network.undefine()


def check_networks(machine: Machine, networks: Mapping[str, bool], uri: str) -> None:
    """Refuse networks that are missing or down, and those to be made that are there already.

    Args:
        machine: what is plugged in.
        networks: those of the host, and whether each is active.
        uri: what to call the host.

    Raises:
        TargetError: there is one (``E_NETWORK``, ``E_EXISTS``).
    """
    for nic in machine.nics:
        name = nic.connection.name
        if nic.connection.kind in MADE and name in networks:
            raise TargetError(
                f"the network {quoted(name)} exists already, expected to make it",
                code="E_EXISTS",
                hint=f"Use it with --network {quoted(f'{nic.network}=network:{name}')}, or give another name.",
            )
        if nic.connection.kind is not ConnectionKind.NETWORK:
            continue
        if name not in networks:
            known = ", ".join(quoted(known) for known in sorted(networks)) or "none"
            raise TargetError(
                f"{uri} has no network {quoted(name)}, found {known}",
                code="E_NETWORK",
                hint=f"Choose one with --network {quoted(f'{nic.network}=network:NAME')}, "
                f"or --network {quoted(f'{nic.network}=user')}.",
            )
        if not networks[name]:
            raise TargetError(
                f"the network {quoted(name)} is not active",
                code="E_NETWORK",
                hint=f"Start it: virsh net-start {shlex.quote(name)}",
            )


def _create(connection: Any, described: str, lifeline: Lifeline, doing: str) -> LibvirtNetwork:  # noqa: ANN401 - libvirt has no types
    with translated(doing):
        network = LibvirtNetwork(connection.networkDefineXML(described), lifeline=lifeline)
    try:
        with translated(doing):
            started = connection.networkLookupByUUIDString(network.uuid)
            started.create()
            started.setAutostart(1)
    except BaseException:
        network.discard()
        raise
    return network


def _is_in_use(error: TargetError) -> bool:
    """Whether libvirt refused what it has no better word for: addresses that are in use are among it."""
    cause = error.__cause__
    return isinstance(cause, libvirt.libvirtError) and cause.get_error_code() == libvirt.VIR_ERR_INTERNAL_ERROR


def _free_ranges(connection: Any) -> Iterator[IPv4Network]:  # noqa: ANN401 - libvirt has no types
    """Ranges that no network of the host overlaps, in their order."""
    with translated("reading the networks"):
        described = [network.XMLDesc(0) for network in connection.listAllNetworks(0)]
    used = [each for text in described for each in _ranges_of(text)]
    ranges = list(_RANGE.subnets(new_prefix=24))[_FIRST:]
    return (each for each in ranges if not any(each.overlaps(other) for other in used))


def _ranges_of(described: str) -> Iterator[IPv4Network]:
    """The ranges of IPv4 addresses of a network, by its definition."""
    for address in ET.fromstring(described).iterfind("ip"):  # noqa: S314 - libvirt made it
        size = address.get("prefix") or address.get("netmask")
        if address.get("family", "ipv4") == "ipv4" and size:
            yield IPv4Network(f"{address.get('address')}/{size}", strict=False)


def _xml(name: str, uuid: str, addresses: IPv4Network | None) -> str:
    """The definition; without `addresses` the network is private."""
    network = Element("network")
    SubElement(network, "name").text = name
    SubElement(network, "uuid").text = uuid
    if addresses is not None:
        SubElement(network, "forward", {"mode": "nat"})
    SubElement(network, "bridge", {"stp": "on", "delay": "0"})
    if addresses is not None:
        own, first, last = (str(addresses[place]) for place in (1, 2, -2))
        ip = SubElement(network, "ip", {"address": own, "netmask": str(addresses.netmask)})
        SubElement(SubElement(ip, "dhcp"), "range", {"start": first, "end": last})
    return ET.tostring(network, encoding="unicode")
