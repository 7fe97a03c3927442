"""Several machines as one, on a real libvirt: their order, their waits, their networks; all of it or nothing."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from xml.etree import ElementTree as ET

import libvirt
import pytest

from tests.build.libvirtd import daemon_process
from tests.build.ova import build_ova, with_manifest
from tests.build.vapp import vapp_members, vapp_ova
from tests.integration.libvirt.conftest import Daemon
from virt_ova.errors import DigestError, TargetError
from virt_ova.plan.machine import Connection, ConnectionKind
from virt_ova.plan.options import InstallOptions
from virt_ova.progress import SilentMonitor
from virt_ova.stories.install import install
from virt_ova.stories.result import InstallResult

NAMES = ("web", "db", "app")
STARTUP = (
    '<Item ovf:id="web" ovf:order="3" ovf:startDelay="600" ovf:stopAction="guestShutdown" ovf:stopDelay="60"/>'
    '<Item ovf:id="app" ovf:order="2" ovf:startDelay="2"/>'
    '<Item ovf:id="db" ovf:order="1" ovf:startDelay="120" ovf:waitingForGuest="true"/>'
)
PRIVATE = Connection(kind=ConnectionKind.PRIVATE)
SHARED = Connection(kind=ConnectionKind.SHARED, name="shop-out")
NETWORKS = {"Internal": PRIVATE, "Public": SHARED}
METADATA = "https://virt-ova.org/xmlns/domain/1"


class Listener(SilentMonitor):
    """Remembers the steps."""

    def __init__(self) -> None:
        self.steps: list[str] = []

    def begin(self, step: str, total_bytes: int | None = None) -> None:  # noqa: ARG002 - the protocol's
        self.steps.append(step)


def put(daemon: Daemon, package: Path, listener: Listener | None = None, **values: object) -> InstallResult:
    daemon.add_pool("images")
    options = InstallOptions(virt_type="qemu", pool="images", networks=NETWORKS, **values)  # type: ignore[arg-type]  # values are the test's
    return install(package, daemon.uri, options=options, monitor=listener)


def born(name: str) -> int:
    """When the QEMU process of a machine was started, in clock ticks since the system's start."""
    for status in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if f"guest={name},".encode() in status.read_bytes():
                return int(status.with_name("stat").read_text().rpartition(")")[2].split()[19])
        except OSError:
            continue
    raise AssertionError(name)


def turn(daemon: Daemon, name: str) -> dict[str, dict[str, str]]:
    domain = daemon.connection.lookupByName(name)
    metadata = ET.fromstring(domain.metadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, METADATA, 0))  # noqa: S314 - libvirt made it
    return {element.tag.rpartition("}")[2]: dict(element.attrib) | {"": element.text or ""} for element in metadata}


def test_three_machines_start_in_their_order_and_wait_for_each_other(daemon: Daemon, tmp_path: Path) -> None:
    listener = Listener()
    result = put(daemon, vapp_ova(tmp_path / "shop.ova", NAMES, startup=STARTUP), listener, start=True)
    assert [domain.name for domain in result.domains] == ["db", "app", "web"]
    assert listener.steps[-4:] == [
        "Starting db",
        "Starting app",
        "Waiting 2 s before web is started, as the package asks",
        "Starting web",
    ]
    assert [daemon.connection.lookupByName(name).isActive() for name in NAMES] == [1, 1, 1]
    assert born("db") < born("app") < born("web")
    assert born("web") - born("app") >= 190  # hundredths of a second
    assert turn(daemon, "web")["startup"] == {
        "position": "3", "action": "power-on", "delay": "600", "waits-for-guest": "no", "": "",
    }  # fmt: skip
    assert turn(daemon, "web")["shutdown"] == {"action": "shutdown", "delay": "60", "": ""}
    assert turn(daemon, "db")["collection"] == {"": "shop"}


def test_networks_are_made_and_used(daemon: Daemon, tmp_path: Path) -> None:
    result = put(daemon, vapp_ova(tmp_path / "shop.ova", NAMES))
    assert [network.name for network in result.networks] == ["shop-Internal", "shop-out"]
    private, shared = (daemon.connection.networkLookupByUUIDString(each.uuid) for each in result.networks)
    assert [(one.isActive(), one.isPersistent(), one.autostart()) for one in (private, shared)] == [(1, 1, 1)] * 2
    assert not re.search("<ip|<forward|<dhcp", private.XMLDesc(0))
    assert "<forward mode='nat'" in shared.XMLDesc(0)
    assert "<ip address='192.168.150.1' netmask='255.255.255.0'>" in shared.XMLDesc(0)
    for domain in result.domains:
        described = ET.fromstring(daemon.connection.lookupByUUIDString(domain.uuid).XMLDesc(0))  # noqa: S314 - libvirt made it
        sources = [source.get("network") for source in described.iterfind("devices/interface/source")]
        assert sources == ["shop-Internal", "shop-out"]


def test_addresses_that_are_in_use_are_passed_over(daemon: Daemon, tmp_path: Path) -> None:
    """150 and 151 are in a network's definition; 152 is seen only when libvirt finds it on an interface."""
    daemon.connection.networkDefineXML(
        "<network><name>wide</name><bridge name='vo-wide'/><ip address='192.168.150.1' netmask='255.255.254.0'/>"
        "</network>"
    )
    inside = ("nsenter", "--net", f"--target={daemon_process(daemon.folder)}")
    for words in ("link add vo-dummy type bridge", "address add 192.168.152.9/24 dev vo-dummy", "link set vo-dummy up"):
        subprocess.run([*inside, "ip", *words.split()], check=True)
    put(daemon, vapp_ova(tmp_path / "shop.ova", NAMES))
    assert "<ip address='192.168.153.1'" in daemon.connection.networkLookupByName("shop-out").XMLDesc(0)


def test_a_failed_install_leaves_no_network(daemon: Daemon, tmp_path: Path) -> None:
    members = with_manifest(vapp_members(NAMES))
    members[-1] = (members[-1][0], members[-1][1][:-1] + b"x")
    with pytest.raises(DigestError):
        put(daemon, build_ova(tmp_path / "shop.ova", members))
    assert daemon.connection.listAllNetworks(0) == []
    assert daemon.connection.listAllDomains(0) == []
    assert list((daemon.folder / "images").iterdir()) == []


def test_a_network_of_that_name_is_left_alone(daemon: Daemon, tmp_path: Path) -> None:
    foreign = daemon.connection.networkDefineXML("<network><name>shop-out</name></network>")
    with pytest.raises(TargetError) as caught:
        put(daemon, vapp_ova(tmp_path / "shop.ova", NAMES))
    assert (caught.value.code, caught.value.message, caught.value.hint) == (
        "E_EXISTS",
        "the network 'shop-out' exists already, expected to make it",
        "Use it with --network 'Public=network:shop-out', or give another name.",
    )
    assert [one.UUIDString() for one in daemon.connection.listAllNetworks(0)] == [foreign.UUIDString()]
