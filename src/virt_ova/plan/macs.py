"""MAC addresses of a package, for those who want to keep them."""

from __future__ import annotations

import re
from collections.abc import Iterable

from virt_ova.errors import PlanError
from virt_ova.findings import Severity
from virt_ova.ovf.envelope import Item
from virt_ova.plan.ledger import Ledger, label
from virt_ova.plan.machine import Machine
from virt_ova.text import quoted

_MAC = re.compile(r"[0-9a-f][02468ace](:[0-9a-f]{2}){5}")
"""A multicast address, whose first byte is odd, is nobody's."""

_NO_MAC = "00:00:00:00:00:00"
_INDEX = re.compile(r"\d{1,5}")
"""The ``BusNumber`` of OVF 0.9, which is no address."""

_BARE_MAC = re.compile(r"[0-9a-f]{12}")


def is_host_mac(text: str) -> bool:
    """Whether it is the address of one host: six pairs of hex digits in lower case, neither multicast nor zero."""
    return _MAC.fullmatch(text) is not None and text != _NO_MAC


def kept_mac(item: Item, ledger: Ledger) -> str:
    """The package's address for the interface; empty when it names none.

    Raises:
        PlanError: it is no host's (``E_MAC``).
    """
    mac = item.address.strip().lower().replace("-", ":")
    if _INDEX.fullmatch(mac):
        mac = ""
    if _BARE_MAC.fullmatch(mac):
        mac = ":".join(mac[start : start + 2] for start in range(0, len(mac), 2))
    if not mac:
        ledger.note("MAC_NEW", Severity.WARNING, f"{label(item)}: the package names no MAC address to keep", item.where)
    elif not is_host_mac(mac):
        raise PlanError(
            f"{label(item)} has the MAC address {quoted(item.address)}, expected one of a host, as 52:54:00:12:34:56",
            code="E_MAC",
            where=item.where,
            hint="Leave --keep-mac out to get a new address.",
        )
    return mac


def check_macs(machines: Iterable[Machine]) -> None:
    """Refuse one address for two interfaces. Raises `PlanError` (``E_MAC``)."""
    macs = [nic.mac for machine in machines for nic in machine.nics if nic.mac]
    if twice := next((mac for mac in macs if macs.count(mac) > 1), ""):
        raise PlanError(
            f"the package gives the MAC address {twice} to {macs.count(twice)} network interfaces, expected one",
            code="E_MAC",
            hint="Leave --keep-mac out to get new addresses.",
        )
