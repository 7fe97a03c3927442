"""Files that are gzip'd or in chunks, from the package to the image, judged by qemu-img."""

from __future__ import annotations

import gzip
import hashlib
import json
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import pytest

import virt_ova
from tests.build.command import environment, error_lines, json_of
from tests.build.command import virt_ova as run_virt_ova
from tests.build.disks import KIB, MIB, SECTOR, convert, qemu_img, random_disk, sparse_vmdk
from tests.build.ova import build_folder, build_ova, descriptor, with_manifest
from tests.build.peak import PEAK
from tests.build.small import CAPACITY, edited, is_installed, listing, small_disk, small_members, small_vmdk
from tests.integration.test_install_dir import MEMORY_LIMIT

SIZE = 40 * MIB + SECTOR
CHUNK = 100_000
GZIP = 'ovf:compression="gzip"'
CHUNKED = f'ovf:chunkSize="{CHUNK}"'
COMPRESSED_DISKS = [("a1.vmdk", gzip.compress(small_vmdk()))]

Members = list[tuple[str, bytes]]


def chunks(data: bytes, name: str = "a.vmdk", size: int = CHUNK) -> Members:
    """`data` as the members of a chunked file."""
    pieces = range(0, len(data), size)
    return [(f"{name}.{number:09}", data[start : start + size]) for number, start in enumerate(pieces)]


def members_of(stored: Members, attributes: str, *, name: str = "a.vmdk", capacity: int = CAPACITY) -> Members:
    """Descriptor and manifest for the disk `name`, which is `stored`."""
    size = sum(len(data) for _, data in stored)
    ovf = descriptor([(name, size)], file_attributes=attributes, capacity=str(capacity))
    return with_manifest([("a.ovf", ovf), *stored])


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A disk whose size is no multiple of a grain."""
    return random_disk(tmp_path_factory.mktemp("disks") / "d.raw", SIZE, [0, 3, 5, 100, 639, 640])


@pytest.fixture(scope="module")
def vmdk(raw: Path) -> bytes:
    """The same, as qemu-img writes it."""
    return convert(raw, raw.with_name("d.vmdk"), "vmdk", "subformat=streamOptimized").read_bytes()


@pytest.fixture
def package(request: pytest.FixtureRequest, raw: Path, vmdk: bytes) -> Members:
    """The disk, stored in the way that the parameter names."""
    inner, _, way = request.param.partition(" ")
    data = vmdk if inner == "vmdk" else raw.read_bytes()
    match way:
        case "gzip":
            return members_of([("a.vmdk", gzip.compress(data))], GZIP, capacity=SIZE)
        case "gzip members":
            both = gzip.compress(data[:70_000]) + gzip.compress(data[70_000:])
            return members_of([("a.vmdk", both)], GZIP, capacity=SIZE)
        case "chunks":
            return members_of(chunks(data), CHUNKED, capacity=SIZE)
        case _:
            return members_of(chunks(gzip.compress(data)), f"{GZIP} {CHUNKED}", capacity=SIZE)


EVERY = ["vmdk gzip", "raw gzip", "raw gzip members", "vmdk gzip members", "vmdk chunks", "vmdk gzip chunks"]


class TestConvert:
    @pytest.mark.parametrize("package", EVERY, indirect=True)
    @pytest.mark.parametrize("image_format", virt_ova.ImageFormat)
    def test_the_disk_is_the_same(
        self, tmp_path: Path, raw: Path, package: Members, image_format: virt_ova.ImageFormat
    ) -> None:
        ova = build_ova(tmp_path / "a.ova", package)
        result = virt_ova.convert(ova, tmp_path / "out", image_format=image_format)
        assert (result.trust, result.capacity_bytes, result.findings) == (virt_ova.Trust.DIGESTS, SIZE, ())
        assert "identical" in qemu_img("compare", "-f", "raw", "-F", image_format, raw, tmp_path / "out")
        if image_format is virt_ova.ImageFormat.QCOW2:
            assert json.loads(qemu_img("check", "--output=json", tmp_path / "out"))["check-errors"] == 0

    @pytest.mark.parametrize(
        ("package", "mode"),
        [("vmdk chunks", "transplant"), ("vmdk gzip", "expand"), ("vmdk gzip chunks", "expand")],
        indirect=["package"],
    )
    def test_transplants_where_it_can_and_tells_where_not(
        self, tmp_path: Path, raw: Path, package: Members, mode: str
    ) -> None:
        ova = build_ova(tmp_path / "a.ova", package)
        result = virt_ova.convert(ova, tmp_path / "out", mode=virt_ova.DiskMode.TRANSPLANT)
        assert result.mode == mode
        told = [(finding.code, finding.message, finding.where) for finding in result.findings]
        reason = "expanded instead of transplanted: its file is gzip'd as a whole"
        assert told == ([] if mode == "transplant" else [("DISK_EXPANDED", reason, "a.vmdk")])
        assert "identical" in qemu_img("compare", "-f", "raw", "-F", "qcow2", raw, tmp_path / "out")

    @pytest.mark.parametrize("package", ["vmdk gzip", "vmdk chunks"], indirect=True)
    def test_cannot_link(self, tmp_path: Path, package: Members) -> None:
        ova = build_ova(tmp_path / "a.ova", package)
        done = run_virt_ova("convert", ova, tmp_path / "out", "--disk-mode", "link")
        assert done.returncode == 1
        assert "a.vmdk: the disk cannot be linked: " in done.stderr
        assert done.stderr.splitlines()[0].endswith("[E_DISK_LINK]")
        assert not (tmp_path / "out").exists()

    def test_progress_counts_stored_bytes(self, tmp_path: Path) -> None:
        class Counter(virt_ova.Monitor):
            total: int | None = None
            done = 0

            def begin(self, step: str, total_bytes: int | None = None) -> None:
                assert step == "Copying a1.vmdk"
                self.total = total_bytes

            def advance(self, step: str, done_bytes: int) -> None:
                assert step == "Copying a1.vmdk"
                self.done += done_bytes

            def end(self, step: str) -> None:
                assert step == "Copying a1.vmdk"

            def note(self, message: str) -> None:
                raise AssertionError(message)

        ova = build_ova(tmp_path / "a.ova", members_of(COMPRESSED_DISKS, GZIP, name="a1.vmdk"))
        counter = Counter()
        virt_ova.convert(ova, tmp_path / "out", monitor=counter)
        assert counter.done == counter.total == len(COMPRESSED_DISKS[0][1])


class TestEveryVerb:
    @pytest.mark.parametrize("is_folder", [False, True])
    def test_install_inspect_verify(self, tmp_path: Path, *, is_folder: bool) -> None:
        stored = chunks(COMPRESSED_DISKS[0][1], "a1.vmdk", 100)
        members = members_of(stored, f'{GZIP} ovf:chunkSize="100"', name="a1.vmdk")
        path = build_folder(tmp_path / "p", members) if is_folder else build_ova(tmp_path / "a.ova", members)
        done = run_virt_ova("install", path, "-c", f"dir:{tmp_path}/m", "--json")
        assert done.returncode == 0, done.stderr
        assert json_of(done)["trust"] == "digests"
        assert is_installed(tmp_path / "m")
        (disk,) = json_of(run_virt_ova("disks", path, "--json"))["disks"]
        assert (disk["file_size"], disk["file_offset"], disk["format"]) == (
            len(COMPRESSED_DISKS[0][1]),
            None,
            "vmdk-stream",
        )
        assert json_of(run_virt_ova("inspect", path, "--json"))["findings"] == []
        report = json_of(run_virt_ova("verify", path, "--json"))
        assert (report["trust"], len(report["files"])) == ("digests", 1 + len(stored))

    def test_a_capacity_that_only_the_image_tells(self, tmp_path: Path) -> None:
        members = members_of(COMPRESSED_DISKS, GZIP, name="a1.vmdk")
        members = edited(members[:1], f'ovf:capacity="{CAPACITY}"', 'ovf:capacity="${size}"') + members[2:]
        members = edited(
            members,
            "<VirtualHardwareSection",
            '<ProductSection><Info>P</Info><Property ovf:key="size" ovf:type="uint64"/></ProductSection>'
            "<VirtualHardwareSection",
        )
        ova = build_ova(tmp_path / "a.ova", with_manifest(members))
        plan = json_of(run_virt_ova("plan", ova, "--json"))
        assert [transfer["capacity_bytes"] for transfer in plan["transfers"]] == [CAPACITY]
        assert run_virt_ova("install", ova, "-c", f"dir:{tmp_path}/m").returncode == 0
        assert is_installed(tmp_path / "m")

    def test_a_cd(self, tmp_path: Path) -> None:
        iso = bytes(32 * KIB) + b"\x01CD001\x01".ljust(2 * KIB, b"\0") + b"data" * 25_000
        drive = (
            "<Item><rasd:Address>0</rasd:Address><rasd:ElementName>IDE</rasd:ElementName>"
            "<rasd:InstanceID>20</rasd:InstanceID><rasd:ResourceType>5</rasd:ResourceType></Item>"
            "<Item><rasd:AddressOnParent>0</rasd:AddressOnParent><rasd:ElementName>CD</rasd:ElementName>"
            "<rasd:HostResource>ovf:/file/iso</rasd:HostResource><rasd:InstanceID>21</rasd:InstanceID>"
            "<rasd:Parent>20</rasd:Parent><rasd:ResourceType>15</rasd:ResourceType></Item></VirtualHardwareSection>"
        )
        file = f'<File ovf:id="iso" ovf:href="a.iso.gz" {GZIP} ovf:chunkSize="77"/></References>'
        members = edited(edited(small_members(), "</VirtualHardwareSection>", drive), "</References>", file)
        stored = chunks(gzip.compress(iso), "a.iso.gz", 77)
        ova = build_ova(tmp_path / "a.ova", with_manifest([*members, *stored]))
        done = run_virt_ova("install", ova, "-c", f"dir:{tmp_path}/m", "--json")
        assert done.returncode == 0, done.stderr
        whole = iso.ljust(-(-len(iso) // SECTOR) * SECTOR, b"\0")
        assert (tmp_path / "m/vm/vm-cdrom1.iso").read_bytes() == whole
        sizes = [volume["capacity_bytes"] for volume in json_of(done)["volumes"]]
        assert sizes == [CAPACITY, len(whole)]


def changed(data: bytes, place: int) -> bytes:
    """`data` with one bit changed."""
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


class TestRefusals:
    def test_damage_that_only_the_manifest_knows(self, tmp_path: Path) -> None:
        good = gzip.compress(small_vmdk(), 0)
        members = members_of([("a.vmdk", good)], GZIP)
        bad = good.replace(good[4:8], b"\x01\x02\x03\x04", 1)
        ova = build_ova(tmp_path / "a.ova", [*members[:2], ("a.vmdk", bad)])
        done = run_virt_ova("install", ova, "-c", f"dir:{tmp_path}/m", "--json")
        found, expected = (hashlib.sha256(data).hexdigest() for data in (bad, good))
        error = json_of(done)["error"]
        assert error["code"] == "E_DIGEST"
        assert error["message"] == f"the SHA256 of 'a.vmdk' is {found}, expected {expected} as the manifest says"
        assert listing(tmp_path / "m") == []

    @pytest.mark.parametrize(
        ("stored", "message"),
        [
            (small_vmdk(), "found no gzip data, expected a gzip file and nothing else"),
            (
                gzip.compress(small_vmdk())[:-1],
                f"it ends at byte {len(gzip.compress(small_vmdk())) - 1}, expected the rest",
            ),
            (gzip.compress(small_vmdk()) + b"\0" * 512, "found other bytes behind the gzip data that end at byte "),
            (changed(gzip.compress(small_vmdk()), -6), "its gzip data are damaged before byte "),
            (changed(gzip.compress(small_vmdk()), -1), "its gzip data are damaged before byte "),
        ],
    )
    def test_what_is_no_sound_gzip_file(self, tmp_path: Path, stored: bytes, message: str) -> None:
        ova = build_ova(tmp_path / "a.ova", members_of([("a.vmdk", stored)], GZIP))
        done = run_virt_ova("install", ova, "-c", f"dir:{tmp_path}/m", "--json")
        assert done.returncode == 1
        error = json_of(done)["error"]
        assert error["code"] == "E_DISK_COMPRESSION"
        assert error["message"].startswith(f"a.vmdk: {message}")
        assert not (tmp_path / "m").exists() or listing(tmp_path / "m") == []

    def test_the_wrong_size(self, tmp_path: Path) -> None:
        raw = gzip.compress(small_disk())
        ova = build_ova(tmp_path / "a.ova", members_of([("a.vmdk", raw)], GZIP, capacity=2 * CAPACITY))
        error = json_of(run_virt_ova("convert", ova, tmp_path / "out", "--json"))["error"]
        assert error["code"] == "E_DISK_CAPACITY"
        assert error["message"].startswith(f"a.vmdk: the image holds a disk of {CAPACITY} bytes (4.0 MiB), expected")
        assert not (tmp_path / "out").exists()

    def test_a_missing_chunk(self, tmp_path: Path) -> None:
        stored = chunks(small_vmdk(), size=1000)
        members = [member for member in members_of(stored, 'ovf:chunkSize="1000"') if not member[0].endswith("1")]
        ova = build_ova(tmp_path / "a.ova", members)
        done = run_virt_ova("convert", ova, tmp_path / "out", "--no-verify", "--json")
        error = json_of(done)["error"]
        assert error["code"] == "E_PKG_CHUNK"
        assert error["message"] == f"the chunk 'a.vmdk.000000001' is not in the package, expected {len(stored)} chunks"
        findings = json_of(run_virt_ova("inspect", ova, "--json"))["findings"]
        assert [finding["code"] for finding in findings] == ["PKG_CHUNK"]

    def test_a_damaged_chunk_is_named(self, tmp_path: Path) -> None:
        stored = chunks(small_vmdk(), size=1000)
        members = members_of(stored, 'ovf:chunkSize="1000"')
        name, data = members[2]
        assert b"# Disk Descr" in data
        members[2] = (name, data.replace(b"# Disk Descr", b"# disk Descr"))
        ova = build_ova(tmp_path / "a.ova", members)
        error = json_of(run_virt_ova("convert", ova, tmp_path / "out", "--json"))["error"]
        assert error["code"] == "E_DIGEST"
        assert error["message"].startswith("the SHA256 of 'a.vmdk.000000000' is ")
        assert not (tmp_path / "out").exists()

    def test_bzip2(self, tmp_path: Path) -> None:
        ova = build_ova(tmp_path / "a.ova", members_of([("a.vmdk", b"BZh")], 'ovf:compression="bzip2"'))
        done = run_virt_ova("convert", ova, tmp_path / "out")
        message = "the file 'a.vmdk' is compressed ('bzip2'), expected gzip or no compression"
        hint = "Export the package again without compression."
        assert done.stderr.endswith(error_lines("E_NOT_SUPPORTED", message, hint))


def bomb(size: int, front: bytes = b"") -> bytes:
    """`front` and `size` zeros as one gzip member, made quickly: the same compressed zeros again and again."""
    zeros = bytes(16 * MIB)
    compressor = zlib.compressobj(9, wbits=-15)
    pieces = [compressor.compress(front) + compressor.flush(zlib.Z_FULL_FLUSH)]
    pieces += [compressor.compress(zeros) + compressor.flush(zlib.Z_FULL_FLUSH)] * (size // len(zeros))
    checksum = zlib.crc32(front)
    for _ in range(size // len(zeros)):
        checksum = zlib.crc32(zeros, checksum)
    trailer = struct.pack("<II", checksum, len(front) + size)
    return gzip.compress(b"")[:10] + b"".join(pieces) + compressor.flush() + trailer


@pytest.fixture(scope="module")
def gibibyte() -> bytes:
    """A gibibyte of zeros in a megabyte."""
    data = bomb(1 << 30)
    assert len(data) < MIB * 1.1
    return data


def measured(*words: str | Path) -> tuple[int, str, int, float]:
    """Exit status, what it said, most memory in bytes, and seconds of the command line."""
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", PEAK, *words],
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
        timeout=120,
    )
    said, _, peak = done.stderr.rpartition("\npeak ")
    return done.returncode, said + "\n", int(peak) * KIB, time.monotonic() - started


class TestBombs:
    def test_a_disk_larger_than_declared(self, tmp_path: Path, gibibyte: bytes) -> None:
        ova = build_ova(tmp_path / "a.ova", members_of([("a.vmdk", gibibyte)], GZIP, capacity=64 * MIB))
        status, said, memory, seconds = measured("convert", ova, tmp_path / "out", "--format", "raw")
        assert status == 1
        message = f"a.vmdk: it inflates to more than {65 * MIB} bytes, expected no more for the disk it is said to hold"
        hint = "The sizes that its package declares are wrong, or it is made to fill your disks."
        assert error_lines("E_DISK_COMPRESSION", message, hint) in said
        assert memory < MEMORY_LIMIT
        assert seconds < 20
        assert not (tmp_path / "out").exists()

    def test_zeros_behind_a_small_disk(self, tmp_path: Path) -> None:
        data = bomb(1 << 30, small_vmdk())
        ova = build_ova(tmp_path / "a.ova", members_of([("a.vmdk", data)], GZIP))
        status, said, memory, seconds = measured("convert", ova, tmp_path / "out")
        assert status == 1
        limit = CAPACITY + CAPACITY // 4 + 16 * MIB
        assert f"a.vmdk: it inflates to more than {limit} bytes, expected no more" in said
        assert memory < MEMORY_LIMIT
        assert seconds < 20
        assert not (tmp_path / "out").exists()

    def test_grains_without_end(self, tmp_path: Path) -> None:
        """Each grain is half a kilobyte here and 64 KiB in the image."""
        grain = sparse_vmdk(128, {0: b"x" * 64 * KIB})[128 * SECTOR : 129 * SECTOR]
        front = sparse_vmdk(CAPACITY // SECTOR, {})[: 128 * SECTOR]
        data = gzip.compress(front + grain * 40_000)
        assert len(data) < MIB
        ova = build_ova(tmp_path / "a.ova", members_of([("a.vmdk", data)], GZIP))
        status, said, memory, _ = measured("convert", ova, tmp_path / "out")
        assert status == 1
        assert "[E_DISK_OVERLAP]" in said
        assert memory < MEMORY_LIMIT
        assert not (tmp_path / "out").exists()

    def test_a_large_honest_disk_takes_little_memory(self, tmp_path: Path, gibibyte: bytes) -> None:
        ova = build_ova(tmp_path / "a.ova", members_of([("a.vmdk", gibibyte)], GZIP, capacity=1 << 30))
        status, said, memory, _ = measured("convert", ova, tmp_path / "out")
        assert (status, memory < MEMORY_LIMIT) == (0, True), said
        assert (tmp_path / "out").stat().st_blocks * 512 < MIB
        zeros = random_disk(tmp_path / "zeros", 1 << 30, [])
        assert "identical" in qemu_img("compare", "-f", "raw", "-F", "qcow2", zeros, tmp_path / "out")
