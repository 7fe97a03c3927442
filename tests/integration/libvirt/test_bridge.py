"""A machine on a bridge of the host, with an address from nobody that libvirt knows."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import libvirt
import pytest

from tests.build.libvirtd import daemon_process
from tests.build.plans import machine, plan
from tests.integration.libvirt.conftest import Daemon
from virt_ova.plan.machine import Connection, ConnectionKind
from virt_ova.target.base import Reach
from virt_ova.target.libvirt.target import LibvirtTarget

BRIDGE: Final = "vo-lan"
GIVEN: Final = "192.168.77.50"
SECONDS: Final = 200
"""For what takes 6 on an idle machine."""


@pytest.fixture
def reads_arp(daemon: Daemon) -> None:
    """Skips where libvirt cannot: 9.0 does not understand what Linux 6.18 answers."""
    domain = daemon.connection.createXML(
        "<domain type='qemu'><name>asked</name><memory>65536</memory><os><type>hvm</type></os></domain>"
    )
    try:
        domain.interfaceAddresses(libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_ARP)
    except libvirt.libvirtError as exc:
        pytest.skip(f"libvirt cannot read this kernel's ARP table: {exc}")
    finally:
        domain.destroy()


@pytest.fixture
def lan(daemon: Daemon) -> Iterator[None]:
    """A bridge with a DHCP server that is none of libvirt's."""
    inside = ("nsenter", "--net", f"--target={daemon_process(daemon.folder)}")
    for words in (
        f"link add {BRIDGE} type bridge",
        f"address add 192.168.77.1/24 dev {BRIDGE}",
        f"link set {BRIDGE} up",
    ):
        subprocess.run([*inside, "ip", *words.split()], check=True)
    options = f"--interface={BRIDGE} --bind-interfaces --port=0 --dhcp-range={GIVEN},{GIVEN} --user=root --pid-file="
    files = ("--conf-file=/dev/null", f"--dhcp-leasefile={daemon.folder}/leases")
    server = subprocess.Popen([*inside, "dnsmasq", "--keep-in-foreground", *options.split(), *files])
    yield
    server.kill()
    server.wait()


@pytest.mark.usefixtures("reads_arp", "lan")
def test_its_host_knows_the_address_once_it_was_talked_to(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no disk, and looks for a system in the network (iPXE)."""
    monkeypatch.setattr("virt_ova.target.boot.observer.GRACE_SECONDS", 0)
    daemon.add_pool("images")
    target = LibvirtTarget(libvirt.open(daemon.uri), uri=daemon.uri, in_place=True)
    one = machine(transfer="", connection=Connection(kind=ConnectionKind.BRIDGE, name=BRIDGE))
    one = replace(one, nics=(replace(one.nics[0], boot_order=1),), video="vga")
    target.check(replace(plan(one), transfers=()), {})
    domain = target.define(one, {})
    report = domain.watch(SECONDS)
    assert (report.state, report.address) == ("network", GIVEN), report
    assert report.seconds < SECONDS
    assert domain.reach().addresses == (GIVEN,)
    domain.discard()
    assert domain.reach() == Reach()
