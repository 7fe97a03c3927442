"""Networks of a libvirt host: which are refused, and which addresses a new one takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any
from uuid import uuid4

import libvirt
import pytest

from tests.unit.plan.builders import machine
from virt_ova.errors import TargetError
from virt_ova.plan.machine import Connection, ConnectionKind, Nic
from virt_ova.target.libvirt.network import check_networks, create_network

ODD = "LAN\u202e\u009b31m"
"""A package's name for a network that would turn and colour what stands behind it on a terminal."""

SHOWN = r"LAN\u202e\x9b31m"


@pytest.fixture
def host() -> Iterator[Any]:
    with closing(libvirt.open("test:///default")) as connection:
        yield connection


@pytest.mark.parametrize(
    ("kind", "networks", "hint"),
    [
        (
            ConnectionKind.PRIVATE,
            {"a b": True},
            f"Use it with --network '{SHOWN}=network:a b', or give another name.",
        ),
        (
            ConnectionKind.NETWORK,
            {},
            f"Choose one with --network '{SHOWN}=network:NAME', or --network '{SHOWN}=user'.",
        ),
        (ConnectionKind.NETWORK, {"a b": False}, "Start it: virsh net-start 'a b'"),
    ],
)
def test_hints_can_be_shown_and_typed(kind: ConnectionKind, networks: dict[str, bool], hint: str) -> None:
    nic = Nic(model="e1000", network=ODD, connection=Connection(kind=kind, name="a b"))
    with pytest.raises(TargetError) as caught:
        check_networks(machine(nics=(nic,)), networks, "qemu:///system")
    assert caught.value.hint == hint


def test_no_addresses_are_left(host: Any) -> None:  # noqa: ANN401 - libvirt has no types
    host.networkDefineXML('<network><name>all</name><ip address="192.168.0.1" prefix="16"/></network>')
    wanted = Connection(kind=ConnectionKind.SHARED, name="new")
    with pytest.raises(TargetError) as caught:
        create_network(host, wanted, str(uuid4()), lifeline=None)  # type: ignore[arg-type]  # there is nothing to take back
    assert caught.value.code == "E_NETWORK"
    assert caught.value.message == (
        "making the network 'new' failed: other networks have all addresses from 192.168.150.0 to 192.168.255.255"
    )
