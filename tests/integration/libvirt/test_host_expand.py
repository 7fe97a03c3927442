"""Disks that another host expands itself from what it is sent."""

from __future__ import annotations

import re
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.build.appliance import ApplianceSpec, build_disk
from tests.build.disks import sparse_vmdk
from tests.build.ova import build_ova, descriptor, with_manifest
from tests.build.plans import transfer
from tests.build.remote import RemoteHost, relay
from tests.build.small import damaged_ova, listing, small_ova
from tests.integration.libvirt.faraway import Watching, by_relay, compare, left_of, package
from virt_ova import DiskMode, ImageFormat, InstallOptions, convert, install, recover
from virt_ova.errors import DigestError, DiskError, PlanError, RollbackError, SpaceError, TargetError
from virt_ova.target.libvirt.target import open_connection

VOL_DELETE = "vol-delete --pool default vm-disk1.qcow2"
HOST_EXPAND = InstallOptions(disk_mode=DiskMode.HOST_EXPAND)


class TestHostExpand:
    """Disks that the host itself expands."""

    @pytest.mark.parametrize("image_format", list(ImageFormat))
    def test_the_disk_is_sent_as_it_is_and_gone_when_it_is_expanded(
        self, host: RemoteHost, appliance: Path, temporary: Path, image_format: ImageFormat
    ) -> None:
        original = build_disk(ApplianceSpec().disk)
        there = set[str]()
        watch = Watching(lambda: there.update(path.name for path in host.images.iterdir()))
        with relay(host.tcp_port) as line:
            result = install(
                appliance,
                by_relay(host.tcp, host.tcp_port, line),
                options=InstallOptions(disk_mode=DiskMode.HOST_EXPAND, image_format=image_format),
                monitor=watch,
            )
            sent_bytes = line.sent_bytes
        name = f"appliance-disk1.{image_format}"
        assert original.stat().st_size < sent_bytes < original.stat().st_size + 40_000
        assert (there, left_of(host)) == ({f"{name}.upload"}, ["appliance", name])
        assert list(temporary.iterdir()) == []
        assert result.volumes[0].mode == "host-expand"
        compare(result, host, original, image_format)
        if image_format is ImageFormat.QCOW2:
            told = subprocess.run(["qemu-img", "info", host.images / name], check=True, capture_output=True, text=True)
            assert "compat: 1.1" in told.stdout

    def test_room_for_both_is_asked_for(self, host: RemoteHost, tmp_path: Path) -> None:
        ova, stored_bytes = package(tmp_path, 40)
        assert stored_bytes < 3 << 20
        with pytest.raises(
            SpaceError, match=r"^the storage pool 'small' has 4\.0 MiB free, the images need 5\.\d MiB$"
        ):
            install(ova, host.tcp, options=replace(HOST_EXPAND, pool="small"))
        assert left_of(host) == []

    def test_a_host_that_has_no_room_after_all_says_so(self, host: RemoteHost, tmp_path: Path) -> None:
        ova, _ = package(tmp_path, 20)
        watch = Watching(lambda: (host.small / "rival").write_bytes(bytes(2 << 20)))
        with pytest.raises(
            TargetError, match=r"^expanding 'vm-disk1.qcow2' on the host failed: .*No space left on device$"
        ) as caught:
            install(ova, host.tcp, options=replace(HOST_EXPAND, pool="small"), monitor=watch)
        assert caught.value.code == "E_LIBVIRT"
        assert left_of(host) == ["rival"]

    def test_a_bad_digest_leaves_nothing(self, host: RemoteHost, tmp_path: Path) -> None:
        with pytest.raises(DigestError, match=r"^the SHA256 of 'a1.vmdk' is "):
            install(damaged_ova(tmp_path / "a.ova"), host.tcp, options=HOST_EXPAND)
        assert left_of(host) == []

    def test_a_broken_line_leaves_nothing(self, host: RemoteHost, tmp_path: Path) -> None:
        ova, _ = package(tmp_path, 100)
        with (
            relay(host.tcp_port, after=2 << 20) as line,
            pytest.raises(TargetError, match=r"^uploading 'vm-disk1.qcow2.upload' failed: ") as caught,
        ):
            install(ova, by_relay(host.tcp, host.tcp_port, line), options=HOST_EXPAND)
        assert caught.value.code == "E_CONNECT"
        assert left_of(host) == []

    def test_a_line_that_breaks_while_the_host_works(self, host: RemoteHost, tmp_path: Path) -> None:
        ova, _ = package(tmp_path, 400)
        with relay(host.tcp_port) as line:

            def cut() -> None:
                while not (host.images / "vm-disk1.qcow2").exists():
                    time.sleep(0.001)
                line.cut()

            cutting = threading.Thread(target=cut)
            cutting.start()
            with pytest.raises(RollbackError) as caught:
                install(ova, by_relay(host.tcp, host.tcp_port, line), options=HOST_EXPAND)
            cutting.join()
            ((left,),) = (install.left for install in recover())
            assert (left.object, left.message) == (
                "expanded volume vm-disk1.qcow2",
                "the volume 'vm-disk1.qcow2' may have been made from what was uploaded, which has gone",
            )
            assert left.hint == f"virsh -c {by_relay(host.tcp, host.tcp_port, line)} {VOL_DELETE}"
            subprocess.run(["virsh", "-c", host.tcp, *VOL_DELETE.split()], check=True, capture_output=True)
            assert [install.outcome for install in recover()] == ["undone"]
        assert re.fullmatch(
            r"the run failed \(expanding 'vm-disk1.qcow2' on the host failed: .+\), and undoing it left: volume "
            r"vm-disk1.qcow2 \(the connection was lost while the host made the volume 'vm-disk1.qcow2', "
            r"and one is there\)",
            str(caught.value),
        )
        assert caught.value.code == "E_ROLLBACK"
        assert re.fullmatch(
            rf"Run 'virt-ova recover' to try again, or remove what is left by hand: virsh -c \S+ {VOL_DELETE}",
            caught.value.hint,
        )
        assert left_of(host) == []

    def test_a_disk_of_another_size_is_refused(self, host: RemoteHost) -> None:
        target = open_connection(host.tcp, pool="default")
        one = transfer("box-disk1.qcow2", capacity=8 << 20, form=ImageFormat.QCOW2)
        volume = target.create_host_expanded(one, 1 << 20)
        image = sparse_vmdk(64, {0: bytes(range(256)) * 128})
        volume.sink.write_at(0, [image])
        with pytest.raises(
            TargetError,
            match=r"^the host takes what was uploaded for a vmdk disk of 32768 bytes, expected vmdk, 8388608$",
        ) as caught:
            volume.sink.finish(len(image))
        assert caught.value.code == "E_NOT_SUPPORTED"
        volume.discard()
        assert left_of(host) == []

    def test_a_folder_cannot(self, tmp_path: Path) -> None:
        with pytest.raises(
            DiskError, match=rf"^dir:{tmp_path}/m cannot expand disks by itself, expected libvirt$"
        ) as caught:
            install(small_ova(tmp_path / "a.ova"), f"dir:{tmp_path}/m", options=HOST_EXPAND)
        assert caught.value.code == "E_NOT_SUPPORTED"
        assert listing(tmp_path) == ["a.ova"]

    def test_a_file_cannot(self, tmp_path: Path) -> None:
        with pytest.raises(
            PlanError, match=r"^disk mode host-expand needs a host that expands the disk, and a file has none$"
        ) as caught:
            convert(small_ova(tmp_path / "a.ova"), tmp_path / "out", mode=DiskMode.HOST_EXPAND)
        assert caught.value.code == "E_OPTION"
        assert listing(tmp_path) == ["a.ova"]

    def test_other_formats_are_expanded_here(self, host: RemoteHost, tmp_path: Path) -> None:
        raw = bytes(range(256)) * 4096
        members = [("a.ovf", descriptor([("a.img", len(raw))], capacity=str(len(raw)))), ("a.img", raw)]
        result = install(build_ova(tmp_path / "a.ova", with_manifest(members)), host.tcp, options=HOST_EXPAND)
        assert result.volumes[0].mode == "expand"
        assert "cannot be left to the host to expand: it is expanded" in " ".join(
            finding.message for finding in result.findings if finding.code == "DISK_MODE"
        )
        assert left_of(host) == ["vm", "vm-disk1.qcow2"]
