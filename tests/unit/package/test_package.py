import io
import os
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from tests.build.ova import build_folder, build_ova, descriptor, manifest_for, with_manifest
from tests.build.signing import identity, signed_members
from virt_ova.errors import DescriptorError, DigestError, PackageError, SourceError
from virt_ova.package.package import Package, open_package
from virt_ova.package.verify import DigestCheck, Trust
from virt_ova.source.base import MemberName

DISK = b"disk" * 10_000
OVF = descriptor([("a.vmdk", len(DISK))])
MEMBERS = [("a.ovf", OVF), ("a.vmdk", DISK)]
OTHER_TAR = "This is another kind of tar, or an OVA that was packed with a folder around its files."


def opened(path: Path, members: Iterable[tuple[str, bytes]]) -> Package:
    return open_package(build_ova(path / "a.ova", members))


def refusal(path: Path, members: Iterable[tuple[str, bytes]]) -> PackageError:
    with pytest.raises(PackageError) as caught:
        opened(path, members)
    return caught.value


def codes(package: Package) -> list[str]:
    return [finding.code for finding in package.findings]


def test_a_package_in_a_tar(tmp_path: Path) -> None:
    path = build_ova(tmp_path / "a.ova", with_manifest(MEMBERS))
    with open_package(path) as package:
        assert (package.kind, package.name) == ("ova", "a.ova")
        assert package.descriptor == OVF
        assert package.descriptor_member.offset == 512
        assert package.envelope.disks[0].id == "disk1"
        assert package.manifest is not None
        assert list(package.manifest.entries) == ["a.ovf", "a.vmdk"]
        assert (package.certificate, package.findings) == (None, ())
        (disk,) = package.disks
        assert disk.file_offset is not None
        assert path.read_bytes()[disk.file_offset :].startswith(DISK)
        assert (disk.id, disk.file_name, disk.file_size) == ("disk1", "a.vmdk", len(DISK))
        assert (disk.capacity_bytes, disk.format) == (1 << 30, "raw")
        assert package.member("a.vmdk") == disk.require_member()


@pytest.mark.parametrize("name", ["package", "package/a.ovf"])
def test_a_package_in_a_folder(tmp_path: Path, name: str) -> None:
    build_folder(tmp_path / "package", [*with_manifest(MEMBERS), ("README", b"is no part of it")])
    with open_package(tmp_path / name) as package:
        assert package.kind == "ovf"
        assert package.name == Path(name).name
        assert package.covered_names == ("a.ovf", "a.vmdk")
        assert package.check_manifest().trust is Trust.DIGESTS
        assert package.verify().trust is Trust.DIGESTS


def test_a_package_in_an_open_file_which_stays_open(tmp_path: Path) -> None:
    file = io.BytesIO(b"front" + build_ova(tmp_path / "a.ova", MEMBERS).read_bytes())
    file.seek(5)
    with open_package(file) as package:
        assert package.descriptor == OVF
        assert package.descriptor_member.offset == 517
        assert package.name == "open file"
    assert not file.closed


def test_everything_is_closed_at_the_end_and_on_failure(tmp_path: Path) -> None:
    fds = Path("/proc/self/fd")
    before = len(list(fds.iterdir()))
    with opened(tmp_path, MEMBERS):
        assert len(list(fds.iterdir())) == before + 1
    refusal(tmp_path, MEMBERS[1:])
    with pytest.raises(DescriptorError):
        opened(tmp_path, [("a.ovf", b"<x/>")])
    assert len(list(fds.iterdir())) == before


@pytest.mark.parametrize(
    ("names", "found", "hint"),
    [
        ([], "none", OTHER_TAR),
        (["b.ovf", "c.OVF"], "'b.ovf', 'c.OVF'", "Unpack it, and give the path of one descriptor."),
        (["d/a.ovf"], "none", OTHER_TAR),
        (["._a.ovf"], "none", OTHER_TAR),
    ],
)
def test_there_must_be_exactly_one_descriptor(tmp_path: Path, names: Sequence[str], found: str, hint: str) -> None:
    error = refusal(tmp_path, [("x", b""), *((name, OVF) for name in names)])
    assert (error.code, error.hint) == ("E_PKG_OVF", hint)
    assert error.message == f"found {found}, expected exactly one descriptor (.ovf or .vmx) at the top of the package"


def test_a_folder_with_two_descriptors_needs_the_path_of_one(tmp_path: Path) -> None:
    build_folder(tmp_path, [("a.ovf", OVF), ("b.ovf", OVF), ("a.mf", b""), ("b.mf", b"garbage")])
    with pytest.raises(PackageError, match=r"found 'a.ovf', 'b.ovf', expected exactly one") as caught:
        open_package(tmp_path)
    assert (caught.value.code, caught.value.hint) == ("E_PKG_OVF", "Give the path of the descriptor.")
    with open_package(tmp_path / "a.ovf") as package:
        assert codes(package) == ["MANIFEST_EMPTY", "PKG_FILE_MISSING"]


def test_a_folder_without_descriptor(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="found none, expected exactly one descriptor") as caught:
        open_package(tmp_path)
    assert caught.value.code == "E_PKG_OVF"
    assert caught.value.hint == "Give the folder that holds the descriptor, or the path of an .ova."


def test_a_descriptor_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.ovf").symlink_to("/etc/passwd")
    with pytest.raises(SourceError, match=r"'a.ovf' is a symbolic link") as caught:
        open_package(tmp_path)
    assert caught.value.code == "E_REF_OUTSIDE"


def test_any_order_is_read_and_the_odd_one_told(tmp_path: Path) -> None:
    with opened(tmp_path, reversed(MEMBERS)) as package:
        (finding,) = package.findings
        assert (finding.code, finding.severity, finding.where) == ("PKG_OVF_NOT_FIRST", "warning", "a.ovf")
        assert package.disks[0].file_offset == 512
    virtualbox = [*MEMBERS, ("a.mf", manifest_for(MEMBERS))]
    with opened(tmp_path, virtualbox) as package:
        assert package.check_manifest().trust is Trust.DIGESTS


def test_a_tar_without_an_end_is_told_as_less_when_all_in_its_manifest_is_there(tmp_path: Path) -> None:
    """VirtualBox 7.2 writes no end marker, and its manifest last."""
    path, found = tmp_path / "a.ova", []
    for members in (
        [*MEMBERS, ("a.mf", manifest_for(MEMBERS))],
        MEMBERS,
        [MEMBERS[0], ("a.mf", manifest_for(MEMBERS))],
    ):
        path.write_bytes(without_end(build_ova(path, members)))
        with open_package(path) as package:
            found += [(each.severity, each.message) for each in package.findings if each.code == "TAR_NO_END"]
    cut = "the tar has no end marker; it may have been cut between two members"
    left_out = "the tar has no end marker, which VirtualBox leaves out; all that the manifest lists is there"
    assert found == [("info", left_out), ("warning", cut), ("warning", cut)]


def without_end(path: Path) -> bytes:
    """The bytes of a tar up to the end of its last member."""
    with tarfile.open(path) as tar:
        last = tar.getmembers()[-1]
    return path.read_bytes()[: last.offset_data + -(-last.size // 512) * 512]


def test_errors_in_the_descriptor_name_it(tmp_path: Path) -> None:
    with pytest.raises(DescriptorError) as caught:
        opened(tmp_path, [("a.ovf", b"<x/>")])
    assert caught.value.where.startswith("a.ovf")


@pytest.mark.parametrize(
    ("name", "code", "most"), [("a.ovf", "E_OVF_LIMIT", 4194304), ("a.vmx", "E_VMX_LIMIT", 1048576)]
)
def test_a_descriptor_of_gigabytes_is_not_read(tmp_path: Path, name: str, code: str, most: int) -> None:
    with (tmp_path / name).open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(DescriptorError) as caught:
        open_package(tmp_path)
    assert caught.value.code == code
    assert str(caught.value) == f"{name}: the descriptor has 1099511627776 bytes, expected at most {most}"


def test_a_missing_file_does_not_stop_a_look(tmp_path: Path) -> None:
    with opened(tmp_path, MEMBERS[:1]) as package:
        (finding,) = package.findings
        assert (finding.code, finding.message) == ("PKG_FILE_MISSING", "the file 'a.vmdk' is not in the package")
        assert (package.disks[0].format, package.disks[0].file_size) == ("vmdk-stream", len(DISK))
        with pytest.raises(PackageError, match=r"the file 'a.vmdk' is not in the package") as caught:
            package.member("a.vmdk")
        assert caught.value.code == "E_PKG_FILE"
        with pytest.raises(PackageError, match=r"the descriptor refers to no file 'a.ovf'") as caught:
            package.member("a.ovf")
        assert caught.value.code == "E_PKG_FILE"


def test_the_manifest_may_have_another_name_if_it_is_the_only_one(tmp_path: Path) -> None:
    with opened(tmp_path, with_manifest(MEMBERS, name="other.mf")) as package:
        assert package.manifest is not None
    two = [*MEMBERS, ("b.mf", b""), ("c.mf", b"")]
    error = refusal(tmp_path, two)
    assert error.code == "E_PKG_COMPANION"
    assert error.message == "found 'b.mf', 'c.mf', expected one that is named like the descriptor, 'a.mf'"


def test_an_empty_manifest_is_as_good_as_none(tmp_path: Path) -> None:
    with opened(tmp_path, [*MEMBERS, ("a.mf", b"\n")]) as package:
        assert package.manifest is None
        assert codes(package) == ["MANIFEST_EMPTY"]
        assert package.check_manifest().trust is Trust.UNVERIFIED
        report = package.verify()
        assert (report.trust, report.files, report.is_sound) == (Trust.UNVERIFIED, (), True)
        assert [finding.message for finding in report.findings] == [
            "the manifest is empty: nothing can be verified",
        ]


def test_a_manifest_that_is_refused_refuses_the_package(tmp_path: Path) -> None:
    error = refusal(tmp_path, [*MEMBERS, ("a.mf", b"MD5(a.ovf)= 00")])
    assert (error.code, error.where) == ("E_MANIFEST_ALGORITHM", "a.mf: line 1")
    error = refusal(tmp_path, [*MEMBERS, ("a.mf", b" " * (1 << 20) + b" ")])
    assert (error.code, error.message) == ("E_MANIFEST_LIMIT", "'a.mf' has 1048577 bytes, expected at most 1048576")


def test_a_certificate_is_kept(tmp_path: Path) -> None:
    members = signed_members(MEMBERS, identity("Signer"))
    with opened(tmp_path, members) as package:
        assert package.certificate == dict(members)["a.cert"]
        assert package.certificate_member is not None
        assert package.certificate_member.name not in package.covered_names


def test_a_certificate_that_makes_no_sense_refuses_the_package(tmp_path: Path) -> None:
    error = refusal(tmp_path, [*with_manifest(MEMBERS), ("a.cert", b"garbage")])
    assert (error.code, error.where) == ("E_CERT_SYNTAX", "a.cert")


def test_a_certificate_needs_a_manifest_and_a_size(tmp_path: Path) -> None:
    error = refusal(tmp_path, [*MEMBERS, ("a.cert", b"x")])
    assert (error.code, str(error)) == (
        "E_CERT_MANIFEST",
        "a.cert: found a certificate, but no manifest that it could have signed",
    )
    error = refusal(tmp_path, [*with_manifest(MEMBERS), ("a.cert", bytes(65537))])
    assert (error.code, error.message) == ("E_CERT_LIMIT", "'a.cert' has 65537 bytes, expected at most 65536")


@pytest.mark.parametrize(
    ("listed", "there", "problem"),
    [
        (MEMBERS[:1], MEMBERS, "the manifest does not list 'a.vmdk'"),
        (MEMBERS[1:], MEMBERS, "the manifest does not list 'a.ovf'"),
        ([*MEMBERS, ("b", b"")], MEMBERS, "the manifest lists 'b', which is not in the package"),
        (MEMBERS, [*MEMBERS, ("b", b"")], "the manifest does not list 'b'"),
        ([MEMBERS[0], ("A.vmdk", DISK)], MEMBERS, "the manifest lists 'A.vmdk', which is not in the package"),
    ],
)
def test_manifest_and_files_must_cover_each_other(
    tmp_path: Path, listed: list[tuple[str, bytes]], there: list[tuple[str, bytes]], problem: str
) -> None:
    with opened(tmp_path, [*there, ("a.mf", manifest_for(listed))]) as package:
        with pytest.raises(PackageError) as caught:
            package.check_manifest()
        assert (caught.value.code, caught.value.message) == ("E_MANIFEST_COVERAGE", problem)
        assert str(caught.value) == f"a.ova: {problem}"
        report = package.verify()
        assert (report.trust, report.is_sound) == (Trust.UNVERIFIED, False)
        assert ("MANIFEST_COVERAGE", problem) in [(finding.code, finding.message) for finding in report.findings]


def test_a_changed_descriptor_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    manifest = manifest_for([("a.ovf", OVF + b" "), MEMBERS[1]])
    with opened(tmp_path, [*MEMBERS, ("a.mf", manifest)]) as package:
        with pytest.raises(DigestError, match=r"the SHA256 of 'a.ovf' is \w{64}, expected \w{64}") as caught:
            package.check_manifest()
        assert caught.value.code == "E_DIGEST"


def test_bytes_are_checked_as_they_are_used(tmp_path: Path) -> None:
    with opened(tmp_path, with_manifest(MEMBERS)) as package:
        member = package.member("a.vmdk")
        check = package.digest_check(member)
        assert isinstance(check, DigestCheck)
        check.update(member.read_at(0, 10))
        check.update(memoryview(member.read_at(10, member.size - 10)))
        check.finish()
        expected = package.expected_digest(member)
        assert expected is not None
        assert (expected.algorithm, check.expected, check.found_hex) == ("SHA256", expected, expected.hex)
        check.update(b"one more")
        with pytest.raises(DigestError, match=r"the SHA256 of 'a.vmdk' is") as caught:
            check.finish()
        assert caught.value.code == "E_DIGEST"


CHUNKED = [
    ("a.ovf", descriptor([("a.vmdk", 10)], file_attributes='ovf:chunkSize="4"')),
    ("a.vmdk.000000000", b"1234"),
    ("a.vmdk.000000001", b"5678"),
    ("a.vmdk.000000002", b"9a"),
]


@pytest.mark.parametrize("step", [1, 3, 4, 5, 10])
@pytest.mark.parametrize("damaged", [None, 0, 3, 4, 7, 8, 9])
def test_chunks_are_checked_one_by_one_as_they_are_used(tmp_path: Path, step: int, damaged: int | None) -> None:
    with opened(tmp_path, with_manifest(CHUNKED)) as package:
        assert package.check_manifest().trust is Trust.DIGESTS
        assert package.verify().trust is Trust.DIGESTS
        member = package.member("a.vmdk")
        data = bytearray(member.read())
        check = package.digest_check(member)
        assert check is not None
        if damaged is not None:
            data[damaged] ^= 1
        for start in range(0, 10, step):
            check.update(data[start : start + step])
        if damaged is None:
            check.finish()
            return
        with pytest.raises(DigestError, match=rf"the SHA256 of 'a\.vmdk\.00000000{damaged // 4}' is") as caught:
            check.finish()
        assert caught.value.code == "E_DIGEST"


def test_a_chunk_without_digest_is_not_used_where_there_is_a_manifest(tmp_path: Path) -> None:
    with opened(tmp_path, [*CHUNKED, ("a.mf", manifest_for(CHUNKED[:3]))]) as package:
        with pytest.raises(PackageError, match=r"the manifest does not list 'a\.vmdk\.000000002'") as caught:
            package.digest_check(package.member("a.vmdk"))
        assert caught.value.code == "E_MANIFEST_COVERAGE"
        with pytest.raises(PackageError, match=r"the manifest does not list 'a\.vmdk\.000000002'"):
            package.check_manifest()


def test_a_chunk_that_only_the_manifest_has(tmp_path: Path) -> None:
    descriptor_without_size = descriptor([("a.vmdk", None)], file_attributes='ovf:chunkSize="4"')
    members = [("a.ovf", descriptor_without_size), *CHUNKED[1:]]
    with opened(tmp_path, with_manifest(members)[:-1]) as package:
        with pytest.raises(PackageError, match=r"the manifest lists 'a\.vmdk\.000000002', which is not") as caught:
            package.check_manifest()
        assert caught.value.code == "E_MANIFEST_COVERAGE"


def test_how_a_member_is_compressed(tmp_path: Path) -> None:
    ovf = descriptor([("a.vmdk", len(DISK))], file_attributes='ovf:compression="gzip"')
    with opened(tmp_path, [("a.ovf", ovf), *MEMBERS[1:]]) as package:
        assert package.compression_of(package.member("a.vmdk")) == "gzip"
        assert package.compression_of(package.descriptor_member) == ""


def test_a_member_without_digest_is_not_used_where_there_is_a_manifest(tmp_path: Path) -> None:
    with opened(tmp_path, [*MEMBERS, ("a.mf", manifest_for(MEMBERS[:1]))]) as package:
        with pytest.raises(PackageError, match=r"the manifest does not list 'a.vmdk'") as caught:
            package.digest_check(package.member("a.vmdk"))
        assert caught.value.code == "E_MANIFEST_COVERAGE"
    with opened(tmp_path, MEMBERS) as package:
        assert package.digest_check(package.member("a.vmdk")) is None
        assert package.expected_digest(package.member("a.vmdk")) is None
        assert package.check_manifest().trust is Trust.UNVERIFIED


def test_a_package_that_changes_while_it_is_verified_is_noticed(tmp_path: Path) -> None:
    path = build_ova(tmp_path / "a.ova", with_manifest(MEMBERS))
    with open_package(path) as package:
        os.utime(path, ns=(1, 1))
        with pytest.raises(SourceError, match="changed while it was in use") as caught:
            package.verify()
        assert caught.value.code == "E_CHANGED"


def test_the_manifest_of_a_folder_need_not_list_itself_or_strangers(tmp_path: Path) -> None:
    """open-ovf wrote the manifest into References; other files may lie beside a descriptor."""
    ovf = descriptor([("a.vmdk", None), ("a.mf", None)])
    members = [("a.ovf", ovf), ("a.vmdk", DISK)]
    folder = build_folder(tmp_path / "d", [*with_manifest(members), ("stranger", b"")])
    with open_package(folder) as package:
        assert MemberName("a.mf") not in package.covered_names
        assert package.check_manifest().trust is Trust.DIGESTS
