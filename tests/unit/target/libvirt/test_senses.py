"""Which of a domain's addresses is told; libvirt's answers are scripted, as it cannot read every kernel's ARP table."""

from __future__ import annotations

from typing import Any

import libvirt
import pytest

from virt_ova.target.libvirt.senses import DomainSenses

LEASE = libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE
ARP = libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_ARP


class Domain:
    """Its addresses, by source; one without any fails as libvirt does."""

    def __init__(self, found: dict[int, list[str]]) -> None:
        self.found = found

    def interfaceAddresses(self, source: int, _flags: int) -> dict[str, Any]:  # noqa: N802 - libvirt's name
        if source not in self.found:
            error = libvirt.libvirtError("")
            error.err = (libvirt.VIR_ERR_INTERNAL_ERROR, 0, "wrong nlmsg len", 0, "", "", "", 0, 0)
            raise error
        return {"vnet0": {"addrs": [{"type": 0, "addr": each, "prefix": 0} for each in self.found[source]]}}


def senses(domain: Domain, *, may_lease: bool = True) -> DomainSenses:
    return DomainSenses(domain, None, may_lease=may_lease)


@pytest.mark.parametrize(
    ("leased", "met", "expected"),
    [
        (["192.0.2.5"], ["192.0.2.6"], "192.0.2.5"),
        ([], ["192.0.2.6"], "192.0.2.6"),
        ([], ["169.254.3.4", "192.0.2.6"], "192.0.2.6"),
        ([], ["192.0.2.1"], ""),
        ([], ["192.0.2.1", "192.0.2.6"], "192.0.2.6"),
    ],
)
def test_a_lease_counts_most_and_a_former_life_nothing(leased: list[str], met: list[str], expected: str) -> None:
    domain = Domain({LEASE: [], ARP: ["192.0.2.1"]})
    seen = senses(domain)
    assert seen.address() == ""
    domain.found = {LEASE: leased, ARP: met}
    assert seen.address() == expected


def test_an_arp_table_that_cannot_be_read_takes_nothing_away() -> None:
    assert senses(Domain({LEASE: ["192.0.2.5"]})).address() == "192.0.2.5"
    assert senses(Domain({})).address() == ""


def test_who_is_plugged_into_nothing_is_not_asked_for() -> None:
    assert senses(Domain({LEASE: ["192.0.2.5"], ARP: ["192.0.2.6"]}), may_lease=False).address() == ""
