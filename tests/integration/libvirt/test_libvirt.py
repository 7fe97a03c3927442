"""What only a real libvirt daemon shows."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import libvirt
import pytest

from tests.build.plans import machine, plan, talking_boot_sector, transfer
from tests.build.targets import open_plain
from tests.integration.libvirt.conftest import Daemon
from virt_ova.disk.sink import FileSink
from virt_ova.errors import TargetError
from virt_ova.plan.machine import Connection, ConnectionKind, FirmwareKind
from virt_ova.plan.plan import ImageFormat
from virt_ova.target.libvirt.stream import StreamSink
from virt_ova.target.libvirt.target import LibvirtTarget

SIZE = 1 << 20


def opened(daemon: Daemon, *, pool: str | None = None, in_place: bool = True) -> LibvirtTarget:
    return LibvirtTarget(libvirt.open(daemon.uri), uri=daemon.uri, pool=pool, in_place=in_place)


def network(daemon: Daemon, name: str, *, active: bool) -> None:
    one = daemon.connection.networkDefineXML(
        f"<network><name>{name}</name><bridge name='vo-{name[:6]}'/><forward mode='nat'/>"
        "<ip address='192.0.2.1' netmask='255.255.255.0'><dhcp><range start='192.0.2.2' end='192.0.2.9'/></dhcp></ip>"
        "</network>"
    )
    if active:
        one.create()


def test_a_fresh_host_gets_the_default_pool_with_its_first_volume(daemon: Daemon) -> None:
    target = opened(daemon)
    target.check(plan(machine()), {"disk1": SIZE})
    assert daemon.connection.listAllStoragePools(0) == []
    volume = target.create_volume(transfer(), SIZE)
    pool = daemon.connection.storagePoolLookupByName("default")
    assert (pool.isActive(), pool.isPersistent(), pool.autostart()) == (1, 1, 1)
    assert volume.pool == "default"
    assert volume.path == "/var/lib/libvirt/images/box-disk1.raw"
    assert [(found.code, found.message) for found in target.findings] == [
        ("POOL_CREATED", "the host had no storage pool; the pool 'default' was made in '/var/lib/libvirt/images'")
    ]
    volume.discard()


def test_a_path_that_means_another_file_here_is_streamed(daemon: Daemon) -> None:
    """The daemon's /var/lib/libvirt is a file system of its own: its volume's path is no file here."""
    target = opened(daemon)
    volume = target.create_volume(transfer("box-disk1.elsewhere.raw"), SIZE)
    assert not Path(volume.path).exists()
    assert isinstance(volume.sink, StreamSink)
    volume.sink.write_at(4096, [b"data"])
    volume.sink.finish(SIZE)
    stored = daemon.connection.storagePoolLookupByName("default").storageVolLookupByName(volume.name)
    assert stored.info()[1] == SIZE
    volume.discard()


def test_a_file_of_that_path_that_is_not_the_volume_is_left_alone(daemon: Daemon) -> None:
    images = daemon.add_pool("images")
    target = opened(daemon, pool="images")
    volume = target.create_volume(transfer(), SIZE)
    assert isinstance(volume.sink, FileSink)
    (images / "box-disk1.raw").rename(images / "moved")
    (images / "box-disk1.raw").write_bytes(b"foreign")
    with pytest.raises(TargetError, match=r"box-disk1.raw' was replaced by another file; it is left$") as caught:
        volume.discard()
    assert caught.value.code == "E_CHANGED"
    assert (images / "box-disk1.raw").read_bytes() == b"foreign"


@pytest.mark.parametrize("kind", ["file", "fifo", "link", "dangling", "folder"])
def test_a_file_that_libvirt_does_not_list_is_refused_and_kept(daemon: Daemon, kind: str) -> None:
    images = daemon.add_pool("images")
    path = images / "box-disk1.raw"
    target = opened(daemon, pool="images")
    target.check(plan(machine()), {"disk1": SIZE})
    make: dict[str, Callable[[], object]] = {
        "file": lambda: path.write_bytes(b"foreign"),
        "fifo": lambda: os.mkfifo(path),
        "link": lambda: path.symlink_to("/etc/hostname"),
        "dangling": lambda: path.symlink_to("/nonexistent/x"),
        "folder": path.mkdir,
    }
    make[kind]()
    before = path.lstat()
    with pytest.raises(TargetError) as caught:
        target.create_volume(transfer(), SIZE)
    assert caught.value.code == "E_EXISTS"
    if kind == "dangling":
        assert caught.value.message.startswith("making the volume 'box-disk1.raw' failed: ")
        assert caught.value.hint == "Choose another name with --name."
    else:
        assert caught.value.message == (
            "the folder of the storage pool 'images' has a file 'box-disk1.raw', which libvirt does not list"
        )
        assert caught.value.hint == "Choose another name with --name, or remove that file."
    assert path.lstat() == before
    assert not Path("/nonexistent/x").exists()


def test_the_pool_is_chosen_as_virt_install_does(daemon: Daemon) -> None:
    images = daemon.add_pool("images")
    target = opened(daemon)
    target.check(plan(machine()), {"disk1": SIZE})
    volume = target.create_volume(transfer(), SIZE)
    assert Path(volume.path).parent == images
    assert target.findings == ()
    volume.discard()
    daemon.add_pool("other")
    with pytest.raises(TargetError, match=r" has no storage pool 'default', found 'images', 'other'$") as caught:
        opened(daemon)
    assert (caught.value.code, caught.value.hint) == ("E_POOL", "Choose one with --pool.")
    daemon.add_pool("default")
    assert opened(daemon).create_volume(transfer(), SIZE).pool == "default"


def test_a_pool_that_is_not_active_is_started(daemon: Daemon) -> None:
    daemon.add_pool("images")
    opened(daemon, pool="images")
    assert daemon.connection.storagePoolLookupByName("images").isActive()


def test_a_pool_that_cannot_be_started_says_why(daemon: Daemon) -> None:
    daemon.add_pool("images").rmdir()
    with pytest.raises(TargetError, match=r"^starting the storage pool 'images' failed: .*No such file") as caught:
        opened(daemon, pool="images")
    assert caught.value.code == "E_POOL"


def test_a_pool_without_files_is_refused(daemon: Daemon) -> None:
    daemon.connection.storagePoolDefineXML(
        "<pool type='iscsi'><name>lun</name><source><host name='192.0.2.1'/><device path='x'/></source>"
        "<target><path>/dev/disk/by-path</path></target></pool>",
        0,
    )
    with pytest.raises(
        TargetError, match=r"^the storage pool 'lun' is of type 'iscsi', expected dir, fs or netfs$"
    ) as caught:
        opened(daemon, pool="lun")
    assert caught.value.code == "E_POOL"


@pytest.mark.parametrize("in_place", [True, False])
def test_libvirt_knows_the_real_format_and_size(daemon: Daemon, tmp_path: Path, *, in_place: bool) -> None:
    daemon.add_pool("images")
    made = tmp_path / "made.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", made, "64M"], check=True)
    target = opened(daemon, pool="images", in_place=in_place)
    one = transfer("box-disk1.qcow2", capacity=64 << 20, form=ImageFormat.QCOW2)
    volume = target.create_volume(one, SIZE)
    assert isinstance(volume.sink, FileSink if in_place else StreamSink)
    volume.sink.write_at(0, [made.read_bytes()])
    volume.sink.finish(made.stat().st_size)
    target.define(machine(), {"disk1": volume})
    stored = daemon.connection.storageVolLookupByPath(volume.path)
    described = ET.fromstring(stored.XMLDesc(0))  # noqa: S314 - from libvirt
    form = described.find("target/format")
    assert form is not None
    assert (form.get("type"), stored.info()[1]) == ("qcow2", 64 << 20)


def test_a_network_that_is_down_is_refused_with_the_way_to_start_it(daemon: Daemon) -> None:
    daemon.add_pool("images")
    network(daemon, "default", active=False)
    target = opened(daemon)
    assert target.capabilities.default_connection == Connection(kind=ConnectionKind.NETWORK, name="default")
    down = machine(connection=target.capabilities.default_connection)
    with pytest.raises(TargetError, match=r"^the network 'default' is not active$") as caught:
        target.check(plan(down), {"disk1": SIZE})
    assert (caught.value.code, caught.value.hint) == ("E_NETWORK", "Start it: virsh net-start default")
    assert not daemon.connection.networkLookupByName("default").isActive()


def test_an_efi_machine_takes_its_variables_along(daemon: Daemon) -> None:
    daemon.add_pool("images")
    target = opened(daemon)
    assert FirmwareKind.EFI in target.capabilities.firmware
    assert target.capabilities.secure_boot
    one = machine(chipset="q35", firmware=FirmwareKind.EFI, transfer="")
    domain = target.define(one, {})
    domain.start()
    domain.discard()
    assert daemon.connection.listAllDomains(0) == []


def test_a_machine_that_does_not_start_says_why(daemon: Daemon) -> None:
    daemon.add_pool("images")
    target = opened(daemon)
    volume = target.create_volume(transfer(), SIZE)
    domain = target.define(machine(), {"disk1": volume})
    volume.discard()
    with pytest.raises(TargetError, match=r"^starting 'box' failed: .*No such file") as caught:
        domain.start()
    assert caught.value.code == "E_START"


def test_a_console_is_read_from_its_first_byte(daemon: Daemon) -> None:
    daemon.add_pool("images")
    target = opened(daemon)
    volume = target.create_volume(transfer(), SIZE)
    volume.sink.write_at(0, [talking_boot_sector(b"Welcome to GRUB!\r\n")])
    volume.sink.finish(SIZE)
    report = target.define(machine(), {"disk1": volume}).watch(3)
    assert (report.state, report.evidence) == ("bootloader", "Welcome to GRUB!")


def test_a_machine_that_ends_is_not_waited_for(daemon: Daemon) -> None:
    daemon.add_pool("images")
    domain = opened(daemon).define(machine(transfer=""), {})
    box = daemon.connection.lookupByName("box")

    def end() -> None:
        deadline = time.monotonic() + 60
        begun = [libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_UNPAUSED]
        while box.state() != begun and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.5)
        box.destroy()

    ending = threading.Thread(target=end)
    ending.start()
    report = domain.watch(60)
    ending.join()
    assert report.state in {"no-output", "firmware"}


def test_bytes_out_of_order_are_refused(daemon: Daemon) -> None:
    daemon.add_pool("images")
    sink = opened(daemon, in_place=False).create_volume(transfer(), SIZE).sink
    sink.write_at(1000, [b"x" * 10])
    with pytest.raises(TargetError, match=r"^'box-disk1.raw' is written at 5, expected 1010 or later$") as caught:
        sink.write_at(5, [b"y"])
    assert caught.value.code == "E_DISK_ORDER"
    with pytest.raises(TargetError, match=r"^'box-disk1.raw' has 1010 bytes already, expected 7$") as caught:
        sink.finish(7)
    assert caught.value.code == "E_SIZE"


def test_a_lost_daemon_is_a_lost_connection(daemon: Daemon) -> None:
    daemon.add_pool("images")
    target = opened(daemon, in_place=False)
    volume = target.create_volume(transfer(), SIZE)
    volume.sink.write_at(0, [b"x"])
    target.close()
    with pytest.raises(TargetError) as caught:
        target.check(plan(machine()), {})
    assert caught.value.code == "E_CONNECT"


def test_the_mock_driver_says_that_it_is_one() -> None:
    target = open_plain("test:///default")
    with pytest.raises(
        TargetError, match=r"^test:///default is libvirt's mock driver, which has no volume upload"
    ) as caught:
        target.check(plan(machine(virt_type="test")), {"disk1": SIZE})
    assert caught.value.code == "E_NOT_SUPPORTED"
    assert target.capabilities.virt_types == ("test",)
    volume = target.create_volume(transfer(), SIZE)
    with pytest.raises(TargetError, match=r"^uploading 'box-disk1.raw' failed: .*not supported") as caught:
        volume.sink.write_at(0, [b"x"])
    assert caught.value.code == "E_NOT_SUPPORTED"
    volume.discard()
    target.close()
