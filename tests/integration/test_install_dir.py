"""Installs into a folder, judged by programs that are not ours: qemu-img, sha256sum, virt-xml-validate and QEMU."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

import virt_ova
from tests.build.appliance import ApplianceSpec, build_appliance
from tests.build.command import environment, error_lines, json_of
from tests.build.command import virt_ova as run_virt_ova
from tests.build.disks import KIB, MIB, SECTOR, convert, guest_bytes, qemu_img, random_disk, sparse_vmdk
from tests.build.ova import build_folder, build_ova, descriptor, with_manifest
from tests.build.peak import peak_bytes
from tests.build.small import CAPACITY, edited, is_installed, listing, small_disk, small_members, small_ova
from virt_ova.target.directory.domain import running_pid, stop

MEMORY_LIMIT = 150 * MIB


class TestSources:
    def test_an_open_file_without_a_name_or_a_descriptor(self, tmp_path: Path) -> None:
        file = io.BytesIO(small_ova(tmp_path / "a.ova").read_bytes())
        with virt_ova.open_package(file) as package:
            plan = virt_ova.plan(package)
        file.seek(0)
        result = virt_ova.install(file, f"dir:{tmp_path}/m", plan=plan)
        assert (result.trust, [domain.name for domain in result.domains]) == (virt_ova.Trust.DIGESTS, ["vm"])
        assert is_installed(tmp_path / "m")
        assert not file.closed

    def test_an_open_file_from_where_it_stands(self, tmp_path: Path) -> None:
        path = tmp_path / "shell"
        path.write_bytes(b"#!/bin/sh\n" + small_ova(tmp_path / "a.ova").read_bytes())
        with path.open("rb") as file:
            file.seek(10)
            result = virt_ova.convert(file, tmp_path / "d.raw", image_format=virt_ova.ImageFormat.RAW)
        assert (result.trust, result.disk) == (virt_ova.Trust.DIGESTS, "disk1")
        assert (tmp_path / "d.raw").read_bytes() == small_disk()

    @pytest.mark.parametrize("name", ["p", "p/a.ovf"])
    def test_a_folder_and_a_lone_descriptor(self, tmp_path: Path, name: str) -> None:
        build_folder(tmp_path / "p", with_manifest(small_members()))
        with virt_ova.open_package(tmp_path / name) as package:
            plan = virt_ova.plan(package)
        result = virt_ova.install(tmp_path / name, f"dir:{tmp_path}/m", plan=plan)
        assert result.trust is virt_ova.Trust.DIGESTS
        assert is_installed(tmp_path / "m")


DRIVES = """<Item><rasd:Address>0</rasd:Address><rasd:ElementName>IDE</rasd:ElementName>
<rasd:InstanceID>20</rasd:InstanceID><rasd:ResourceType>5</rasd:ResourceType></Item>
<Item><rasd:AddressOnParent>0</rasd:AddressOnParent><rasd:ElementName>CD</rasd:ElementName>
<rasd:HostResource>ovf:/file/iso</rasd:HostResource><rasd:InstanceID>21</rasd:InstanceID><rasd:Parent>20</rasd:Parent>
<rasd:ResourceType>15</rasd:ResourceType></Item>
<Item><rasd:AddressOnParent>0</rasd:AddressOnParent><rasd:ElementName>Floppy</rasd:ElementName>
<rasd:HostResource>ovf:/file/floppy</rasd:HostResource><rasd:InstanceID>22</rasd:InstanceID>
<rasd:ResourceType>14</rasd:ResourceType></Item>
<Item><rasd:AddressOnParent>5</rasd:AddressOnParent><rasd:ElementName>Blank</rasd:ElementName>
<rasd:HostResource>ovf:/disk/blank</rasd:HostResource><rasd:InstanceID>23</rasd:InstanceID><rasd:Parent>3</rasd:Parent>
<rasd:ResourceType>17</rasd:ResourceType></Item></VirtualHardwareSection>"""


def iso() -> bytes:
    """An ISO 9660 image as far as its first volume descriptors go."""
    return (
        bytes(32 * KIB)
        + b"\x01CD001\x01".ljust(2 * KIB, b"\0")
        + b"\xffCD001\x01".ljust(2 * KIB, b"\0")
        + b"data" * 512
    )


class TestDrives:
    def test_several_disks_a_blank_one_a_cd_and_a_floppy(self, tmp_path: Path) -> None:
        floppy = bytes([0xEB, 0x3C, 0x90]) + bytes(1440 * KIB - 3)
        members = edited(small_members(2), "</VirtualHardwareSection>", DRIVES)
        members = edited(
            members,
            "</References>",
            '<File ovf:id="iso" ovf:href="a.iso"/><File ovf:id="floppy" ovf:href="a.flp"/></References>',
        )
        members = edited(
            members, "</DiskSection>", f'<Disk ovf:diskId="blank" ovf:capacity="{CAPACITY * 2}"/></DiskSection>'
        )
        ova = build_ova(tmp_path / "a.ova", with_manifest([*members, ("a.iso", iso()), ("a.flp", floppy)]))
        done = run_virt_ova("install", ova, "-c", f"dir:{tmp_path}/m", "--json")
        assert done.returncode == 0, done.stderr
        folder = tmp_path / "m" / "vm"
        images = {Path(volume["path"]).name: volume["capacity_bytes"] for volume in json_of(done)["volumes"]}
        assert images == {
            "vm-disk1.qcow2": CAPACITY,
            "vm-disk2.qcow2": CAPACITY,
            "vm-disk3.qcow2": 2 * CAPACITY,
            "vm-cdrom1.iso": len(iso()),
            "vm-floppy1.img": len(floppy),
        }
        assert listing(folder) == sorted([*images, "domain.xml", "run"])
        assert [guest_bytes(folder / f"vm-disk{number}.qcow2") for number in (1, 2)] == [small_disk(1), small_disk(2)]
        assert guest_bytes(folder / "vm-disk3.qcow2") == bytes(2 * CAPACITY)
        assert (folder / "vm-cdrom1.iso").read_bytes() == iso()
        assert (folder / "vm-floppy1.img").read_bytes() == floppy
        assert_valid(folder / "domain.xml")


def assert_valid(domain: Path) -> None:
    """libvirt's schema takes the domain."""
    done = subprocess.run(["virt-xml-validate", domain, "domain"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real appliance, installed as the machine ``appliance``; its folder."""
    folder = tmp_path_factory.mktemp("oracles")
    ova = build_appliance(folder / "appliance.ova", ApplianceSpec())
    done = run_virt_ova("install", ova, "-c", f"dir:{folder}/m", "--virt-type", "qemu", path=os.environ["PATH"])
    assert done.returncode == 0, done.stderr
    subprocess.run(["tar", "-xf", ova, "-C", folder], check=True)
    return folder / "m" / "appliance"


class TestOracles:
    def test_qemu_img_finds_no_fault_and_the_same_bytes(self, installed: Path) -> None:
        image, source = installed / "appliance-disk1.qcow2", installed.parents[1] / "appliance-disk1.vmdk"
        assert json.loads(qemu_img("check", "--output=json", image))["check-errors"] == 0
        assert qemu_img("compare", "-f", "qcow2", "-F", "vmdk", image, source) == "Images are identical.\n"

    def test_sha256sum_agrees_with_the_manifest(self, installed: Path) -> None:
        folder = installed.parents[1]
        done = subprocess.run(
            ["sha256sum", "--check", "--strict", "appliance.mf"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.stdout, done.returncode) == ("appliance.ovf: OK\nappliance-disk1.vmdk: OK\n", 0)

    def test_libvirts_schema_takes_the_domain(self, installed: Path) -> None:
        assert_valid(installed / "domain.xml")

    def test_the_files_are_the_users_alone(self, installed: Path) -> None:
        modes = {path.name: oct(path.stat().st_mode & 0o777) for path in (installed, *installed.iterdir())}
        assert modes == {
            "appliance": "0o700", "appliance-disk1.qcow2": "0o600", "domain.xml": "0o600", "run": "0o700",
        }  # fmt: skip


class TestStarting:
    def test_the_machine_boots_to_its_login(self, tmp_path: Path) -> None:
        ova = build_appliance(tmp_path / "appliance.ova", ApplianceSpec())
        words = ("install", ova, "-c", f"dir:{tmp_path}/m", "--virt-type", "qemu", "--wait-boot", "240", "--json")
        done = run_virt_ova(*words, path=os.environ["PATH"])
        try:
            assert done.returncode == 0, done.stderr
            booted = json_of(done)["booted"]
            assert (booted["state"], booted["disk"]) == ("login", "found")
            assert any(line.startswith("appliance login:") for line in booted["evidence"].splitlines())
            assert 0 < booted["seconds"] < 240
            hint = "Choose another name for the machine with --name, or remove that folder."
            again = run_virt_ova("install", ova, "-c", f"dir:{tmp_path}/m")
            assert again.stderr == error_lines("E_EXISTS", f"'{tmp_path}/m/appliance' exists already", hint)
            assert running_pid(tmp_path / "m" / "appliance") is not None
        finally:
            stop(tmp_path / "m" / "appliance")

    def test_a_machine_that_cannot_start_is_taken_back(self, tmp_path: Path) -> None:
        ova = small_ova(tmp_path / "a.ova")
        bin_folder = tmp_path / "bin"
        bin_folder.mkdir()
        (bin_folder / "setpriv").symlink_to("/usr/bin/setpriv")
        done = run_virt_ova("install", ova, "-c", f"dir:{tmp_path}/m", "--start", path=str(bin_folder))
        message = "the machine 'vm' does not start: the program qemu-system-x86_64 is not installed"
        removed = "Removed domain vm\nRemoved volume vm-disk1.qcow2\n"
        error = error_lines("E_START", message, "Install it: apt install qemu-system-x86")
        assert done.stderr.endswith(f"\nStarting vm\n{removed}{error}")
        assert (done.stdout, done.returncode) == ("", 1)
        assert listing(tmp_path) == ["a.ova", "bin", "bin/setpriv"]


STRUCK_AT_THE_START = """
import os, signal, sys
from virt_ova import process
from virt_ova.cli import main

def strike(frame, event, argument):
    if frame.f_code is process._drain.__code__ and "-daemonize" in frame.f_back.f_locals["command"]:
        sys.setprofile(None)
        os.kill(os.getpid(), signal.SIGINT)

sys.setprofile(strike)
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("option", [["--start"], ["--wait-boot", "60"]])
def test_a_signal_while_qemu_is_started_leaves_no_qemu(tmp_path: Path, option: list[str]) -> None:
    ova = small_ova(tmp_path / "a.ova")
    done = subprocess.run(
        [sys.executable, "-c", STRUCK_AT_THE_START, "install", ova, "-c", f"dir:{tmp_path}/m", *option],
        capture_output=True,
        text=True,
        check=False,
        env=environment(os.environ["PATH"]),
    )
    told = "Removed domain vm\nRemoved volume vm-disk1.qcow2\n" + error_lines("E_INTERRUPTED", "stopped by SIGINT")
    assert done.stderr.endswith(f"\nStarting vm\n{told}")
    assert (done.returncode, listing(tmp_path)) == (130, ["a.ova"])
    running = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended
            running.append(path.read_bytes())
    assert [each for each in running if b"guest=vm" in each and bytes(tmp_path) in each] == []


class TestMemory:
    def test_a_disk_of_a_tebibyte(self, tmp_path: Path) -> None:
        capacity = 1 << 40
        grains = {
            number: bytes([number % 251 + 1]) * (64 * KIB) for number in range(0, capacity // (64 * KIB), 1 << 17)
        }
        image = sparse_vmdk(capacity // SECTOR, grains)
        members = [("a.ovf", descriptor([("a.vmdk", len(image))], capacity=str(capacity))), ("a.vmdk", image)]
        ova = build_ova(tmp_path / "a.ova", with_manifest(members))
        assert peak_bytes("install", ova, "-c", f"dir:{tmp_path}/m") < MEMORY_LIMIT
        assert peak_bytes("convert", ova, tmp_path / "d.raw", "--format", "raw") < MEMORY_LIMIT
        assert (
            json.loads(qemu_img("info", "--output=json", tmp_path / "m/vm/vm-disk1.qcow2"))["virtual-size"] == capacity
        )
        assert json.loads(qemu_img("check", "--output=json", tmp_path / "m/vm/vm-disk1.qcow2"))["check-errors"] == 0

    def test_a_disk_of_hundreds_of_megabytes(self, tmp_path: Path) -> None:
        raw = random_disk(tmp_path / "d.raw", 512 * MIB, range(0, 8192, 2))
        image = convert(raw, tmp_path / "d.vmdk", "vmdk", "subformat=streamOptimized").read_bytes()
        members = [("a.ovf", descriptor([("a.vmdk", len(image))], capacity=str(512 * MIB))), ("a.vmdk", image)]
        ova = build_ova(tmp_path / "a.ova", with_manifest(members))
        assert len(image) > 120 * MIB
        del image, members
        assert peak_bytes("install", ova, "-c", f"dir:{tmp_path}/m") < MEMORY_LIMIT
        assert peak_bytes("convert", ova, tmp_path / "d.qcow2") < MEMORY_LIMIT
        assert "identical" in qemu_img("compare", "-f", "raw", "-F", "qcow2", raw, tmp_path / "d.qcow2")
        assert "identical" in qemu_img("compare", "-f", "raw", "-F", "qcow2", raw, tmp_path / "m/vm/vm-disk1.qcow2")
