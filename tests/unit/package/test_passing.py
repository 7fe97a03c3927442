from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.build.ova import build_folder, build_ova, descriptor, manifest_for, with_manifest
from tests.build.pipes import Pipe
from tests.build.signing import certificate_file, identity, trusting
from tests.build.small import CAPACITY, edited, small_members, small_vmdk
from virt_ova.errors import DigestError, PackageError, SourceError, VirtOvaError
from virt_ova.package.document import disks_document, inspect_document
from virt_ova.package.package import Package, open_package
from virt_ova.package.verify import Trust

Members = Sequence[tuple[str, bytes]]
FIRST = with_manifest(small_members(2))
LAST = [*small_members(2), ("a.mf", manifest_for(small_members(2)))]
SAVE = "Save the package to a file and give the file's path."


def piped(folder: Path, members: Members) -> Package:
    return open_package(Pipe(build_ova(folder / "pipe.ova", members).read_bytes()))  # type: ignore[arg-type]


def from_file(folder: Path, members: Members) -> Package:
    return open_package(build_ova(folder / "open file", members))


def refusal(folder: Path, members: Members) -> VirtOvaError:
    with pytest.raises(VirtOvaError) as caught:
        piped(folder, members).whole()
    return caught.value


class TestBeginning:
    def test_holds_what_stands_before_the_first_disk(self, tmp_path: Path) -> None:
        package = piped(tmp_path, FIRST)
        assert package.descriptor == FIRST[0][1]
        assert package.manifest is not None
        assert package.check_manifest().trust is Trust.DIGESTS
        assert [(disk.file_name, disk.file_size, disk.file_offset, disk.format) for disk in package.disks] == [
            ("a1.vmdk", len(small_vmdk(1)), None, "vmdk-stream"),
            ("a2.vmdk", len(small_vmdk(2)), None, "vmdk-stream"),
        ]

    def test_says_that_it_is_not_all(self, tmp_path: Path) -> None:
        (finding,) = piped(tmp_path, LAST).findings
        assert (finding.code, finding.severity, finding.where) == ("PKG_BEGINNING", "info", "open file")
        assert finding.message == (
            "only what stands before 'a1.vmdk' was read, as the package can be read once only: "
            "save it to a file to see the rest"
        )

    def test_a_file_that_has_not_come_yet_cannot_be_read(self, tmp_path: Path) -> None:
        package = piped(tmp_path, FIRST)
        assert all(file.is_awaited for file in package.files)
        with pytest.raises(PackageError) as caught:
            package.member("a1.vmdk")
        assert (caught.value.code, caught.value.hint) == ("E_PIPE_ORDER", SAVE)
        assert caught.value.message == "the file 'a1.vmdk' has not come yet, and will come once only"

    def test_a_file_that_can_never_come_is_told_as_ever(self, tmp_path: Path) -> None:
        members = edited(small_members(), 'ovf:href="a1.vmdk"', 'ovf:href="http://example.org/a1.vmdk"')
        package = piped(tmp_path, members)
        assert [finding.code for finding in package.findings] == ["PKG_BEGINNING", "PKG_REF_REMOTE"]
        assert not package.files[0].is_awaited

    def test_a_changed_descriptor_is_seen_at_once(self, tmp_path: Path) -> None:
        members = [(FIRST[0][0], FIRST[0][1] + b"\n"), *FIRST[1:]]
        with pytest.raises(DigestError, match=r"the SHA256 of 'a\.ovf' is"):
            piped(tmp_path, members).check_manifest()

    def test_a_manifest_without_the_descriptor(self, tmp_path: Path) -> None:
        disks = small_members()[1:]
        with pytest.raises(PackageError, match=r"the manifest does not list 'a\.ovf'"):
            piped(tmp_path, [small_members()[0], ("a.mf", manifest_for(disks)), *disks]).check_manifest()


class TestOrder:
    def test_a_disk_before_the_descriptor(self, tmp_path: Path) -> None:
        error = refusal(tmp_path, small_members()[::-1])
        assert isinstance(error, SourceError)
        assert (error.code, error.hint, error.where) == ("E_PIPE_ORDER", SAVE, "open file")
        assert error.message == (
            "found 'a1.vmdk' before any descriptor, expected the descriptor (.ovf or .vmx) first where a package "
            "can only be read from front to back"
        )

    def test_the_manifest_may_come_before_the_descriptor(self, tmp_path: Path) -> None:
        package = piped(tmp_path, [FIRST[1], FIRST[0], *FIRST[2:]])
        assert package.manifest is not None
        assert package.whole().check_manifest().trust is Trust.DIGESTS

    def test_no_or_two_descriptors(self, tmp_path: Path) -> None:
        none = refusal(tmp_path, [("a.mf", b"")])
        two = refusal(tmp_path, [("a.ovf", b""), ("b.ovf", b""), ("a.vmdk", b"")])
        late = refusal(tmp_path, [*small_members(), ("b.ovf", b"")])
        assert {error.code for error in (none, two, late)} == {"E_PKG_OVF"}
        assert late.message.startswith("found 'a.ovf', 'b.ovf', expected exactly one descriptor")

    def test_a_certificate_before_its_manifest(self, tmp_path: Path) -> None:
        certificate = certificate_file(identity("Signer"), dict(LAST)["a.mf"])
        early = [LAST[0], ("a.cert", certificate), *LAST[1:]]
        package = piped(tmp_path, early)
        assert package.certificate is None
        assert package.whole().certificate == certificate
        assert refusal(tmp_path, early[:-1]).code == "E_CERT_MANIFEST"


class TestTrust:
    SIGNER = identity("Signer")
    CERTIFICATE = ("a.cert", certificate_file(SIGNER, dict(FIRST)["a.mf"]))

    def test_a_signature_in_front_is_judged_at_once(self, tmp_path: Path) -> None:
        package = piped(tmp_path, [*FIRST[:2], self.CERTIFICATE, *FIRST[2:]])
        assert package.check_manifest(trusting(self.SIGNER)).trust is Trust.SIGNED_TRUSTED
        with pytest.raises(PackageError, match="the package's trust is signed-untrusted") as caught:
            package.check_manifest(trusting(require_signature=True))
        assert caught.value.code == "E_UNTRUSTED"

    @pytest.mark.parametrize("members", [[*FIRST, CERTIFICATE], [*LAST, CERTIFICATE]], ids=["last", "both last"])
    def test_a_signature_that_may_still_come_is_waited_for(self, tmp_path: Path, members: Members) -> None:
        policy = trusting(self.SIGNER, require_signature=True)
        package = piped(tmp_path, members)
        assert package.check_manifest(policy).trust is not Trust.SIGNED_TRUSTED
        assert package.whole().check_manifest(policy).trust is Trust.SIGNED_TRUSTED
        assert piped(tmp_path, members).verify(policy=policy).is_sound

    def test_a_signature_that_did_not_come_is_missed(self, tmp_path: Path) -> None:
        package = piped(tmp_path, FIRST)
        policy = trusting(self.SIGNER, require_signature=True)
        assert package.check_manifest(policy).trust is Trust.DIGESTS
        with pytest.raises(PackageError, match="the package's trust is digests") as caught:
            package.whole().check_manifest(policy)
        assert caught.value.code == "E_UNTRUSTED"


@pytest.mark.parametrize("members", [FIRST, LAST], ids=["manifest first", "manifest last"])
class TestWhole:
    def test_says_what_a_file_says(self, tmp_path: Path, members: Members) -> None:
        whole, file = piped(tmp_path, members).whole(), from_file(tmp_path, members)
        assert inspect_document(whole) == inspect_document(file)
        assert disks_document(whole) == disks_document(file)
        assert whole.check_manifest().trust is Trust.DIGESTS
        assert whole.whole() is whole

    def test_disks_are_gone(self, tmp_path: Path, members: Members) -> None:
        member = piped(tmp_path, members).whole().member("a1.vmdk")
        assert member.read_at(0, 4) == b"KDMV"
        long = [*small_members(), ("b.bin", bytes(1 << 20))]
        with pytest.raises(SourceError, match="is needed out of turn") as caught:
            list(piped(tmp_path, long).whole().archive.members.values())[-1].read()
        assert caught.value.code == "E_PIPE_ORDER"

    @pytest.mark.parametrize("algorithm", ["SHA1", "SHA256", "SHA512"])
    def test_verifies_as_a_file(self, tmp_path: Path, members: Members, algorithm: str) -> None:
        same = [(name, data) for name, data in members if name != "a.mf"]
        place = [name for name, _ in members].index("a.mf")
        same.insert(place, ("a.mf", manifest_for(small_members(2), algorithm)))
        assert piped(tmp_path, same).verify() == from_file(tmp_path, same).verify()
        damaged = [(name, b"!" + data[1:] if name == "a2.vmdk" else data) for name, data in same]
        report = piped(tmp_path, damaged).verify()
        assert report == from_file(tmp_path, damaged).verify()
        assert [(check.name, check.ok) for check in report.files] == [
            ("a.ovf", True),
            ("a1.vmdk", True),
            ("a2.vmdk", False),
        ]

    def test_coverage_as_of_a_file(self, tmp_path: Path, members: Members) -> None:
        for changed in ([*members, ("new.bin", b"1")], [each for each in members if each[0] != "a2.vmdk"]):
            report = piped(tmp_path, changed).verify()
            assert report == from_file(tmp_path, changed).verify()
            assert not report.is_sound


def test_a_late_manifest_with_sha384_cannot_be_checked(tmp_path: Path) -> None:
    members = small_members()
    package = piped(tmp_path, [*members, ("a.mf", manifest_for(members, "SHA384"))])
    with pytest.raises(SourceError) as caught:
        package.verify()
    assert (caught.value.code, caught.value.hint) == ("E_PIPE_ORDER", SAVE)
    assert caught.value.message == (
        "the manifest has a SHA384 of 'a1.vmdk', which was hashed before the manifest came, by SHA1, SHA256, SHA512"
    )
    early = [members[0], ("a.mf", manifest_for(members, "SHA384")), *members[1:]]
    assert piped(tmp_path, early).verify().trust is Trust.DIGESTS


def test_a_package_without_disks(tmp_path: Path) -> None:
    package = piped(tmp_path, with_manifest([("a.ovf", descriptor())]))
    assert package.findings == ()
    assert package.whole() is package
    assert package.verify().trust is Trust.DIGESTS


def test_a_folder_is_whole_at_once(tmp_path: Path) -> None:
    package = open_package(build_folder(tmp_path / "p", small_members()))
    assert package.whole() is package
    assert package.disks[0].capacity_bytes == CAPACITY
