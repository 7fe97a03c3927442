"""Disks in several files, beside a VMX; qemu-img writes them, and is the oracle of what is in them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.build.disks import KIB, SECTOR, copy_to, qemu_img, random_disk, sparse_vmdk
from tests.build.ova import build_folder, build_ova, descriptor, manifest_for
from tests.build.vmware import build_machine, vmx
from virt_ova.disk.opener import open_disk
from virt_ova.disk.vmdk.layout import MAGIC
from virt_ova.errors import DigestError, DiskError, PackageError, VirtOvaError
from virt_ova.package.package import Package, open_package
from virt_ova.package.verify import Trust

HALF = b"\1" * 64 * KIB
GIB2 = 1 << 31


def listing(*extents: str, kind: str = "twoGbMaxExtentFlat", parent: str = "ffffffff", more: str = "") -> bytes:
    lines = ["# Disk DescriptorFile", "version=1", "CID=12345678", f"parentCID={parent}", f'createType="{kind}"', more]
    return "\n".join([*lines, *extents, 'ddb.adapterType = "lsilogic"', ""]).encode()


FLAT = listing('RW 128 FLAT "a-f001.vmdk" 0', 'RW 128 FLAT "a-f002.vmdk" 0')
MEMBERS = [("m.vmx", vmx("a.vmdk")), ("a.vmdk", FLAT), ("a-f001.vmdk", HALF), ("a-f002.vmdk", HALF[::-1])]


def replaced(name: str, data: bytes) -> list[tuple[str, bytes]]:
    return [(each, data if each == name else old) for each, old in MEMBERS]


@contextmanager
def opened(path: Path, members: list[tuple[str, bytes]]) -> Iterator[Package]:
    with open_package(build_folder(path / "p", members)) as package:
        yield package


def refusal(path: Path, members: list[tuple[str, bytes]], index: int = 0) -> tuple[str, str, str]:
    """Code and text of the error when the disk is needed, and the code of the finding beforehand."""
    with opened(path, members) as package:
        (finding,) = package.findings
        with pytest.raises(VirtOvaError) as caught:
            package.disks[index].require_member()
        assert finding.message == caught.value.message
        kind = DiskError if caught.value.code.startswith("E_DISK") else PackageError
        assert type(caught.value) is kind
        return caught.value.code, caught.value.message, finding.code


class TestWhatQemuImgWrites:
    @pytest.mark.parametrize("subformat", ["monolithicFlat", "twoGbMaxExtentFlat", "twoGbMaxExtentSparse"])
    def test_every_kind(self, tmp_path: Path, subformat: str) -> None:
        size = GIB2 + 192 * KIB if subformat == "twoGbMaxExtentSparse" else 640 * KIB
        used = [0, 3, GIB2 // (64 * KIB) - 1, GIB2 // (64 * KIB), size // (64 * KIB) - 1]
        raw = random_disk(tmp_path / "d.raw", size, used)
        with open_package(build_machine(tmp_path / "m", raw, subformat)) as package:
            (disk,) = package.disks
            assert (disk.capacity_bytes, package.findings, package.kind) == (size, (), "vmx")
            member = disk.require_member()
            copy_to(member, tmp_path / "new.qcow2", "qcow2")
            assert "identical" in qemu_img("compare", "-f", "raw", "-F", "qcow2", raw, tmp_path / "new.qcow2")
            assert disk.format == ("vmdk-sparse" if subformat.endswith("Sparse") else "raw")

    def test_a_flat_disk_is_its_own_file(self, tmp_path: Path) -> None:
        raw = random_disk(tmp_path / "d.raw", 640 * KIB, [1])
        with open_package(build_machine(tmp_path / "m", raw, "monolithicFlat")) as package:
            (disk,) = package.disks
            assert (disk.file_name, disk.file_size, disk.file_offset) == ("disk-flat.vmdk", 640 * KIB, 0)
            assert disk.require_member().source.fileno() is not None


class TestNames:
    @pytest.mark.parametrize("name", ["/etc/passwd", "../x.vmdk", "sub/x.vmdk", "C:x.vmdk", "a\\b", "", "/dev/sda"])
    def test_one_that_could_lie_elsewhere(self, tmp_path: Path, name: str) -> None:
        members = replaced("a.vmdk", listing(f'RW 128 FLAT "{name}" 0'))
        message = (
            f"'a.vmdk' names the extent '{name}', which could lie outside the package, "
            "expected the plain name of a file beside it"
        )
        assert refusal(tmp_path, members) == ("E_REF_OUTSIDE", message, "PKG_REF_OUTSIDE")

    def test_one_that_is_not_there(self, tmp_path: Path) -> None:
        message = "'a.vmdk' names the extent 'a-f002.vmdk', which is not in the package"
        assert refusal(tmp_path, MEMBERS[:3]) == ("E_PKG_FILE", message, "PKG_FILE_MISSING")

    def test_a_symbolic_link(self, tmp_path: Path) -> None:
        (tmp_path / "p").mkdir()
        (tmp_path / "secret").write_bytes(HALF)
        (tmp_path / "p" / "a-f002.vmdk").symlink_to(tmp_path / "secret")
        message = "'a-f002.vmdk' is a symbolic link or lies behind one, expected a file in the package's folder"
        assert refusal(tmp_path, MEMBERS[:3]) == ("E_REF_OUTSIDE", message, "PKG_REF_OUTSIDE")

    def test_a_disk_in_a_sub_folder_has_its_extents_there(self, tmp_path: Path) -> None:
        members = [("m.vmx", vmx("sub/a.vmdk")), *((f"sub/{name}", data) for name, data in MEMBERS[1:])]
        with opened(tmp_path, members) as package:
            assert package.disks[0].require_member().read() == HALF + HALF[::-1]

    def test_an_extent_of_two_disks(self, tmp_path: Path) -> None:
        members = [*MEMBERS, ("b.vmdk", FLAT)]
        members[0] = ("m.vmx", vmx("a.vmdk", "b.vmdk"))
        message = "'a-f001.vmdk' has the bytes of 'file1' and of 'file2', expected one disk"
        assert refusal(tmp_path, members, index=1) == ("E_DISK_OVERLAP", message, "PKG_DISK_FORMAT")

    def test_a_disk_that_is_an_extent_of_another(self, tmp_path: Path) -> None:
        members = [("m.vmx", vmx("a-f001.vmdk", "a.vmdk")), *MEMBERS[1:]]
        assert refusal(tmp_path, members, index=1)[0] == "E_DISK_OVERLAP"

    def test_one_disk_by_two_names(self, tmp_path: Path) -> None:
        members = [("m.vmx", vmx("a-f001.vmdk", "./a-f001.vmdk")), *MEMBERS[1:]]
        assert refusal(tmp_path, members, index=1)[0] == "E_DISK_OVERLAP"


class TestListings:
    @pytest.mark.parametrize(
        ("data", "code", "text"),
        [
            (
                listing('RW 1 FLAT "a-f001.vmdk" 0', kind="fullDevice"),
                "E_DISK_TYPE",
                "says 'fullDevice'",
            ),
            (listing('RW 1 FLAT "a-f001.vmdk" 0', kind="monolithicSparse"), "E_DISK_TYPE", "says 'monolithicSparse'"),
            (listing('RW 128 FLAT "a-f001.vmdk" 0', parent="12345678"), "E_DISK_PARENT", "has the parent '12345678'"),
            (
                listing('RW 128 FLAT "a-f001.vmdk" 0', more='parentFileNameHint="/etc/passwd"'),
                "E_DISK_PARENT",
                "sets parentFileNameHint",
            ),
            (listing('RW 128 FLAT "a-f001.vmdk" 8'), "E_DISK_DESCRIPTOR", "the extent 'RW 128 FLAT"),
            (listing('RDONLY 128 FLAT "a-f001.vmdk" 0'), "E_DISK_DESCRIPTOR", "the extent 'RDONLY 128"),
            (listing('RW 128 SPARSE "a-f001.vmdk"'), "E_DISK_DESCRIPTOR", "the extent 'RW 128 SPARSE"),
            (listing("RW 128 ZERO"), "E_DISK_DESCRIPTOR", "the extent 'RW 128 ZERO'"),
            (listing('RW 0 FLAT "a-f001.vmdk" 0'), "E_DISK_DESCRIPTOR", "the extent 'RW 0 FLAT"),
            (listing(), "E_DISK_DESCRIPTOR", "0 extents in 0 files"),
            (listing(*['RW 128 FLAT "a-f001.vmdk" 0'] * 2), "E_DISK_DESCRIPTOR", "2 extents in 1 files"),
            (listing('RW 128 FLAT "a-f001.vmdk" 0', more="evil=1"), "E_DISK_DESCRIPTOR", "the key 'evil'"),
            (listing(f'RW {1 << 38} FLAT "a-f001.vmdk" 0'), "E_DISK_SIZE", f"says {1 << 38} sectors"),
        ],
    )
    def test_what_is_not_understood(self, tmp_path: Path, data: bytes, code: str, text: str) -> None:
        found = refusal(tmp_path, replaced("a.vmdk", data))
        assert (found[0], found[2]) == (code, "PKG_DISK_FORMAT")
        assert text in found[1]

    def test_an_extent_of_another_size(self, tmp_path: Path) -> None:
        message = "the extent 'a-f002.vmdk' is not as the VMDK descriptor says: found 65535 bytes, expected 65536 bytes"
        found = refusal(tmp_path, replaced("a-f002.vmdk", HALF[1:]))
        assert found == ("E_DISK_STRUCT", message, "PKG_DISK_FORMAT")

    def test_a_flat_extent_that_claims_another_format(self, tmp_path: Path) -> None:
        found = refusal(tmp_path, replaced("a-f001.vmdk", b"QFI\xfb" + HALF[4:]))
        assert found[0] == "E_DISK_STRUCT"
        assert found[1].endswith("found the marks of qcow2, expected the bytes of a disk as they are")

    def test_in_an_ovf_it_is_refused_as_before(self, tmp_path: Path) -> None:
        members = [("m.ovf", descriptor([("a.vmdk", len(FLAT))])), *MEMBERS[1:]]
        with opened(tmp_path, members) as package:
            (finding,) = package.findings
        assert finding.message.endswith(
            "found a VMDK descriptor that names other files, expected a disk that stands alone"
        )


class TestSparse:
    def extents(self, *capacities: int, **options: int | bool) -> list[tuple[str, bytes]]:
        names = [f"a-s{number:03}.vmdk" for number in range(1, len(capacities) + 1)]
        lines = [f'RW {each} SPARSE "{name}"' for each, name in zip(capacities, names, strict=True)]
        parts = [
            (name, sparse_vmdk(each, {0: HALF}, compressed=False, footer=False, descriptor="", **options))  # type: ignore[arg-type]
            for each, name in zip(capacities, names, strict=True)
        ]
        return [MEMBERS[0], ("a.vmdk", listing(*lines, kind="twoGbMaxExtentSparse")), *parts]

    def test_grains_are_numbered_on(self, tmp_path: Path) -> None:
        with opened(tmp_path, self.extents(256, 384, 200)) as package:
            assert package.disks[0].capacity_bytes == 840 * SECTOR
            reader = open_disk(package.disks[0].require_member())
            block_map = reader.block_map
        assert (reader.format, list(reader.zero_ordinals())) == ("vmdk-sparse", [])
        assert list(block_map.numbers) == [0, 2, 5]
        assert block_map.capacity_bytes == 840 * SECTOR

    def test_an_extent_that_ends_within_a_grain(self, tmp_path: Path) -> None:
        with opened(tmp_path, self.extents(200, 256)) as package, pytest.raises(DiskError) as caught:
            open_disk(package.disks[0].require_member())
        assert caught.value.code == "E_DISK_STRUCT"
        message = "extent 1 has 200 sectors in grains of 128, expected a whole number of plain grains of 128"
        assert caught.value.message == message

    def test_an_extent_of_another_capacity(self, tmp_path: Path) -> None:
        members = self.extents(256, 256)
        members[1] = ("a.vmdk", members[1][1].replace(b"RW 256", b"RW 384", 1))
        found = refusal(tmp_path, members)
        assert found[0] == "E_DISK_STRUCT"
        assert found[1].endswith("found an extent of 256 sectors, expected one of 384 sectors")

    def test_a_header_that_makes_no_sense_tells_no_capacity(self, tmp_path: Path) -> None:
        bad = MAGIC + bytes(600)
        with opened(tmp_path, [("m.vmx", vmx("a.vmdk")), ("a.vmdk", bad)]) as package:
            assert (package.disks[0].capacity_bytes, package.disks[0].format) == (None, "vmdk-sparse")
            with pytest.raises(DiskError):
                open_disk(package.disks[0].require_member())

    def test_what_is_no_extent(self, tmp_path: Path) -> None:
        members = self.extents(256, 256)
        found = refusal(tmp_path, [*members[:3], ("a-s002.vmdk", HALF)])
        assert found[1].endswith("found no sparse extent, expected one of 256 sectors")


class TestManifest:
    def test_every_file_is_covered(self, tmp_path: Path) -> None:
        with opened(tmp_path, [*MEMBERS, ("m.mf", manifest_for(MEMBERS))]) as package:
            assert package.check_manifest().trust is Trust.DIGESTS
            assert package.verify().is_sound
            assert set(package.covered_names) == {name for name, _ in MEMBERS}

    def test_a_changed_listing(self, tmp_path: Path) -> None:
        changed = replaced("a.vmdk", FLAT.replace(b"12345678", b"87654321"))
        with opened(tmp_path, [*changed, ("m.mf", manifest_for(MEMBERS))]) as package:
            with pytest.raises(DigestError, match=r"the SHA256 of 'a\.vmdk' is"):
                package.check_manifest()
            assert not package.verify().is_sound

    def test_a_listing_that_the_manifest_lacks(self, tmp_path: Path) -> None:
        short = [member for member in MEMBERS if member[0] != "a.vmdk"]
        with opened(tmp_path, [*MEMBERS, ("m.mf", manifest_for(short))]) as package:
            with pytest.raises(PackageError, match=r"the manifest does not list 'a\.vmdk'") as caught:
                package.check_manifest()
            assert caught.value.code == "E_MANIFEST_COVERAGE"


def test_a_tar_of_a_machine(tmp_path: Path) -> None:
    with open_package(build_ova(tmp_path / "m.ova", MEMBERS)) as package:
        assert (package.kind, package.findings) == ("ova", ())
        assert package.disks[0].require_member().read() == HALF + HALF[::-1]
