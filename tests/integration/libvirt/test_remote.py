"""Machines installed on another host: a daemon reached over TCP, TLS and SSH, whose files are not here."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import libvirt
import pytest

from tests.build.appliance import ApplianceSpec, build_disk
from tests.build.command import command, environment
from tests.build.plans import machine, plan, transfer
from tests.build.remote import Relay, RemoteHost, relay
from tests.integration.libvirt.faraway import GRAIN, Watching, by_relay, compare, left_of, package
from virt_ova import DiskMode, ImageFormat, InstallOptions, install, recover
from virt_ova.errors import RollbackError, SpaceError, TargetError
from virt_ova.progress import SilentMonitor
from virt_ova.target.libvirt import capabilities
from virt_ova.target.libvirt.stream import StreamSink
from virt_ova.target.libvirt.target import open_connection

TRANSPLANT = InstallOptions(disk_mode=DiskMode.TRANSPLANT)
RAW = InstallOptions(image_format=ImageFormat.RAW)
LOST = r"uploading 'vm-disk1.qcow2' failed: .+"


class TestInstall:
    """The real appliance, on a host whose files are not here."""

    @pytest.mark.parametrize(
        ("line", "options"),
        [("tcp", InstallOptions()), ("tcp", RAW), ("tls", TRANSPLANT), ("ssh", InstallOptions())],
        ids=["tcp-expand", "tcp-raw", "tls-transplant", "ssh-expand"],
    )
    def test_disks_arrive_whole_and_nothing_else_is_made(
        self,
        host: RemoteHost,
        appliance: Path,
        temporary: Path,
        line: str,
        options: InstallOptions,
    ) -> None:
        here, there = set[str](), set[str]()

        def look() -> None:
            here.update(path.name for path in temporary.iterdir())
            there.update(path.name for path in host.images.iterdir())

        watch = Watching(look)
        result = install(appliance, getattr(host, line), options=options, monitor=watch)
        assert watch.count > 5
        assert (here, there) == (set(), {result.volumes[0].name})
        assert result.volumes[0].mode == options.disk_mode
        compare(result, host, build_disk(ApplianceSpec().disk), options.image_format or ImageFormat.QCOW2)

    @pytest.mark.parametrize(
        ("line", "options"), [("ssh", TRANSPLANT), ("tcp", RAW)], ids=["ssh-transplant", "tcp-raw"]
    )
    def test_it_boots_there(self, host: RemoteHost, appliance: Path, line: str, options: InstallOptions) -> None:
        booting = InstallOptions(
            disk_mode=options.disk_mode, image_format=options.image_format, start=True, wait_boot_seconds=120
        )
        result = install(appliance, getattr(host, line), options=booting)
        assert result.booted is not None
        assert result.booted.state == "login"
        assert "appliance login:" in result.booted.evidence

    def test_only_compressed_bytes_cross_the_wire(self, host: RemoteHost, tmp_path: Path) -> None:
        ova, stored_bytes = package(tmp_path, 100, compressible=True)
        assert stored_bytes < 100 * GRAIN // 10
        with relay(host.tcp_port) as line:
            result = install(ova, by_relay(host.tcp, host.tcp_port, line), options=TRANSPLANT)
            transplanted = line.sent_bytes
        overhead = 4 * 64 << 10  # the clusters of metadata of a small qcow2
        assert stored_bytes < transplanted < stored_bytes + overhead + 16384
        assert result.volumes[0].mode == "transplant"

    def test_the_host_is_asked_and_this_machine_is_not(self, host: RemoteHost, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("kvm_runs", "device_names", "find_firmware"):
            monkeypatch.setattr(capabilities, name, lambda *_args, **_more: pytest.fail("looked at this machine"))
        told = open_connection(host.tcp).capabilities
        assert told.virt_types == ("qemu",)
        assert told.devices == frozenset()
        assert told.networks == ()

    def test_a_package_on_this_machine_cannot_be_linked_there(self, host: RemoteHost, appliance: Path) -> None:
        with pytest.raises(
            TargetError,
            match=r"^the disk cannot be linked: qemu\+tcp://\S+ is another host, and the package is on this one$",
        ) as caught:
            install(appliance, host.tcp, options=InstallOptions(disk_mode=DiskMode.LINK))
        assert caught.value.code == "E_DISK_LINK"
        assert left_of(host) == []


class TestRoom:
    """A pool that is full."""

    def test_too_little_room_is_seen_before_the_first_byte(self, host: RemoteHost, appliance: Path) -> None:
        with pytest.raises(
            SpaceError, match=r"^the storage pool 'small' has 4\.0 MiB free, the images need 1\d\.\d MiB$"
        ) as caught:
            install(appliance, host.ssh, options=InstallOptions(pool="small"))
        assert (caught.value.code, caught.value.hint) == (
            "E_SPACE",
            "Free some space or choose another pool with --pool.",
        )
        assert left_of(host) == []

    @pytest.mark.parametrize(
        "options", [InstallOptions(pool="small"), InstallOptions(pool="small", image_format=ImageFormat.RAW)]
    )
    def test_room_that_is_taken_meanwhile(self, host: RemoteHost, tmp_path: Path, options: InstallOptions) -> None:
        ova, _ = package(tmp_path, 48)

        class Rival(SilentMonitor):
            def begin(self, step: str, total_bytes: int | None = None) -> None:
                if step.startswith("Copying") and total_bytes:
                    (host.small / "rival").write_bytes(bytes(3 << 20))

        with pytest.raises(
            SpaceError,
            match=r"^uploading 'vm-disk1.(raw|qcow2)' failed: "
            r"(.*No space left on device|the host has \d+ bytes of \d+, and no more room)$",
        ) as caught:
            install(ova, host.tcp, options=options, monitor=Rival())
        assert caught.value.code == "E_SPACE"
        assert left_of(host) == ["rival"]

    def test_an_image_that_did_not_arrive_whole_is_told(self, host: RemoteHost) -> None:
        """libvirt sometimes swallows the error of the last write; here somebody cuts the file."""
        volume = open_connection(host.tcp, pool="default").create_volume(transfer(), 4096)
        volume.sink.write_at(0, [b"x" * 4096])
        image = host.images / volume.name
        while image.stat().st_size < 4096:
            time.sleep(0.01)
        os.truncate(image, 17)
        with pytest.raises(
            TargetError, match=r"^uploading 'box-disk1.raw' failed: the host has 17 bytes of 4096$"
        ) as caught:
            volume.sink.finish(4096)
        assert (caught.value.code, caught.value.hint) == (
            "E_IO",
            "See the log of the host's libvirt daemon for the reason.",
        )


class TestLostLine:
    """A connection that breaks."""

    def test_nothing_is_left_when_the_host_can_be_reached_again(self, host: RemoteHost, tmp_path: Path) -> None:
        ova, _ = package(tmp_path, 100)
        with (
            relay(host.tcp_port, after=2 << 20) as line,
            pytest.raises(TargetError, match=f"^{LOST}$") as caught,
        ):
            install(ova, by_relay(host.tcp, host.tcp_port, line))
        assert caught.value.code == "E_CONNECT"
        assert left_of(host) == []

    def test_nothing_is_left_whenever_it_breaks(self, host: RemoteHost, tmp_path: Path) -> None:
        ova, stored_bytes = package(tmp_path, 20)
        for after in (20_000, stored_bytes // 2, stored_bytes, stored_bytes + 200_000):
            with relay(host.tcp_port, after=after) as line:
                try:
                    install(ova, by_relay(host.tcp, host.tcp_port, line), options=TRANSPLANT)
                except TargetError as exc:
                    assert exc.code == "E_CONNECT"  # noqa: PT017 - the last may come too late to break anything
            if left := left_of(host):
                assert after > stored_bytes, after
                assert left == ["vm", "vm-disk1.qcow2"]

    def test_what_is_left_is_told_when_it_cannot(self, host: RemoteHost, tmp_path: Path) -> None:
        ova, _ = package(tmp_path, 100)
        with relay(host.tcp_port, after=2 << 20, act=Relay.close) as line:
            uri = by_relay(host.tcp, host.tcp_port, line)
            with pytest.raises(
                RollbackError,
                match=rf"^the run failed \({LOST}\), and undoing it left: volume vm-disk1.qcow2 "
                rf"\(connecting to '{uri.replace('+', '[+]')}' again failed: .+\)$",
            ) as caught:
                install(ova, uri)
        remedy = f"virsh -c {uri} vol-delete --pool default vm-disk1.qcow2"
        hint = f"Run 'virt-ova recover' to try again, or remove what is left by hand: {remedy}"
        assert (caught.value.code, caught.value.hint) == ("E_ROLLBACK", hint)
        assert left_of(host) == ["vm-disk1.qcow2"]
        (lost,) = recover()
        assert (lost.outcome, lost.left[0].object, lost.left[0].message.startswith("connecting to '")) == (
            "incomplete",
            "",
            True,
        )
        Path(lost.journal).unlink()
        subprocess.run(remedy.replace(uri, host.tcp).split(), check=True, capture_output=True)
        assert left_of(host) == []

    def test_a_line_that_breaks_before_the_first_byte(self, host: RemoteHost) -> None:
        with relay(host.tcp_port) as line:
            target = open_connection(by_relay(host.tcp, host.tcp_port, line), pool="default")
            volume = target.create_volume(transfer(), 1 << 20)
            line.cut()
            volume.discard()
            assert left_of(host) == []

    def test_another_volume_of_that_name_is_left_alone(self, host: RemoteHost) -> None:
        with relay(host.tcp_port) as line:
            target = open_connection(by_relay(host.tcp, host.tcp_port, line), pool="default")
            volume = target.create_volume(transfer(), 1 << 20)
            assert isinstance(volume.sink, StreamSink)
            volume.sink.write_at(4096, [b"ours"])
            line.cut()
            (host.images / volume.name).write_bytes(bytes(4096) + b"theirs")
            with pytest.raises(
                TargetError, match=r"^the volume 'box-disk1.raw' does not begin with what was uploaded; it is left$"
            ) as caught:
                volume.discard()
        assert caught.value.code == "E_CHANGED"
        assert left_of(host) == ["box-disk1.raw"]

    def test_a_volume_that_is_gone_already_is_fine(self, host: RemoteHost) -> None:
        with relay(host.tcp_port) as line:
            volume = open_connection(by_relay(host.tcp, host.tcp_port, line), pool="default").create_volume(
                transfer(), 1 << 20
            )
            line.cut()
            connection = libvirt.open(host.uri)
            connection.storageVolLookupByPath(volume.path).delete(0)
            connection.close()
            volume.discard()
        assert left_of(host) == []

    def test_a_machine_is_taken_back_over_a_new_line(self, host: RemoteHost) -> None:
        with relay(host.tcp_port) as line:
            target = open_connection(by_relay(host.tcp, host.tcp_port, line), pool="default")
            target.check(plan(machine()), {})
            domain = target.define(machine(transfer=""), {})
            domain.start()
            assert left_of(host) == ["box"]
            line.cut()
            domain.discard()
            assert left_of(host) == []
            line.cut()
            domain.discard()

    def test_a_machine_that_cannot_be_reached_is_told(self, host: RemoteHost) -> None:
        with relay(host.tcp_port) as line:
            uri = by_relay(host.tcp, host.tcp_port, line)
            domain = open_connection(uri, pool="default").define(machine(transfer=""), {})
        with pytest.raises(TargetError, match=r"^connecting to 'qemu\+tcp://\S+' again failed: ") as caught:
            domain.discard()
        assert (caught.value.code, caught.value.hint) == ("E_CONNECT", f"virsh -c {uri} undefine --nvram {domain.uuid}")

    def test_the_terminals_interrupt_that_stops_ssh_too_leaves_nothing(self, host: RemoteHost, tmp_path: Path) -> None:
        ova, _ = package(tmp_path, 200)
        reached = threading.Event()

        def stall(_: Relay) -> None:
            reached.set()
            time.sleep(2)

        with relay(host.ssh_port, after=2 << 20, act=stall) as line:
            words = command("install", ova, "-c", by_relay(host.ssh, host.ssh_port, line))
            process = subprocess.Popen(
                words,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=environment(os.environ["PATH"]),
                start_new_session=True,
            )
            assert reached.wait(30)
            os.killpg(process.pid, signal.SIGINT)
            _, told = process.communicate(timeout=60)
        assert told.splitlines()[1:] == [
            "Removed volume vm-disk1.qcow2",
            "virt-ova: error: stopped by SIGINT [E_INTERRUPTED]",
        ]
        assert process.returncode == 130
        assert left_of(host) == []
