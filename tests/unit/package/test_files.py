from pathlib import Path

import pytest

from tests.build.ova import build_folder, build_ova
from virt_ova.errors import PackageError
from virt_ova.ovf.envelope import File
from virt_ova.package.files import PackageFile, resolve_file
from virt_ova.source.base import Archive
from virt_ova.source.opener import open_archive

MEMBERS = [
    ("a.vmdk", b"12345"),
    ("My VM.vmdk", b"1"),
    ("literal%20.vmdk", b"1"),
    ("d/b.vmdk", b"2"),
    ("z.vmdk.gz", b"\x1f\x8b"),
]


@pytest.fixture(params=["ova", "folder"])
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Archive:
    if request.param == "ova":
        return open_archive(build_ova(tmp_path / "a.ova", MEMBERS))
    folder = build_folder(tmp_path / "package", MEMBERS)
    (folder / "link.vmdk").symlink_to("/etc/shadow")
    return open_archive(folder)


def resolve(archive: Archive, href: str, *, size: int | None = None, compression: str = "") -> PackageFile:
    return resolve_file(File(id="file1", href=href, size_bytes=size, compression=compression), archive.members)


def refusal(file: PackageFile) -> PackageError:
    with pytest.raises(PackageError) as caught:
        file.require_member()
    return caught.value


@pytest.mark.parametrize(
    ("href", "name"),
    [
        ("a.vmdk", "a.vmdk"),
        ("./a.vmdk", "a.vmdk"),
        ("My VM.vmdk", "My VM.vmdk"),
        ("My%20VM.vmdk", "My VM.vmdk"),
        ("literal%20.vmdk", "literal%20.vmdk"),
        ("d/b.vmdk", "d/b.vmdk"),
        ("d%2Fb.vmdk", "d/b.vmdk"),
    ],
)
def test_an_href_names_a_member(archive: Archive, href: str, name: str) -> None:
    file = resolve(archive, href)
    member = file.require_member()
    assert (file.name, file.size, file.offset) == (name, member.size, member.offset)
    assert file.member is member
    assert list(file.findings(None)) == []
    archive.close()


@pytest.mark.parametrize("href", ["none.vmdk", "*", "a.vmd?", "%", "%ff", "A.VMDK"])
def test_a_missing_file_is_a_finding_and_an_error_when_it_is_needed(archive: Archive, href: str) -> None:
    file = resolve(archive, href, size=7)
    assert (file.name, file.size, file.offset, file.stored) == (href, 7, None, ())
    (finding,) = file.findings(7)
    assert (finding.code, finding.severity) == ("PKG_FILE_MISSING", "error")
    assert finding.where == "References/File 'file1'"
    error = refusal(file)
    assert (error.code, error.message) == ("E_PKG_FILE", f"the file '{href}' is not in the package")
    assert error.hint == "Get the complete package, with its files beside the descriptor."
    assert finding.message == error.message
    archive.close()


@pytest.mark.parametrize(
    "href",
    ["http://127.0.0.1:1/x", "file:///etc/shadow", "//host/x", "HTTPS://h/x", "nbd:unix:/x", "data:,x"],
)
def test_a_remote_file_is_never_fetched(archive: Archive, href: str) -> None:
    file = resolve(archive, href)
    error = refusal(file)
    assert error.code == "E_REF_REMOTE"
    assert error.message == f"the file '{href}' is elsewhere on a network, expected one in the package"
    assert [finding.code for finding in file.findings(None)] == ["PKG_REF_REMOTE"]
    archive.close()


@pytest.mark.parametrize(
    "href", ["/etc/shadow", "../x", "%2e%2e/x", "d/../../x", "C:\\x", "..\\x", "%2Fetc%2Fshadow", "a%00"]
)
def test_a_path_never_leaves_the_package(archive: Archive, href: str) -> None:
    file = resolve(archive, href)
    error = refusal(file)
    assert error.code == "E_REF_OUTSIDE"
    assert "could lie outside the package, expected a plain name such as 'disk1.vmdk'" in error.message
    assert [finding.code for finding in file.findings(None)] == ["PKG_REF_OUTSIDE"]
    archive.close()


def test_a_link_in_a_folder_is_refused_when_it_is_needed(tmp_path: Path) -> None:
    folder = build_folder(tmp_path / "package", MEMBERS)
    (folder / "link.vmdk").symlink_to("/etc/shadow")
    archive = open_archive(folder)
    error = refusal(resolve(archive, "link.vmdk"))
    assert error.code == "E_REF_OUTSIDE"
    assert error.message.startswith("'link.vmdk' is a symbolic link or lies behind one")
    archive.close()


def test_a_gzipped_file_is_given_as_it_is_stored(archive: Archive) -> None:
    file = resolve(archive, "z.vmdk.gz", compression="gzip")
    member = file.require_member()
    assert (file.compression, file.size, file.position) == ("gzip", 2, member.offset)
    assert (member.name, member.read(), file.stored) == ("z.vmdk.gz", b"\x1f\x8b", (member,))
    assert list(file.findings(2)) == []
    archive.close()


@pytest.mark.parametrize("compression", ["bzip2", "xz", "none"])
def test_other_compressions_are_known_but_not_read(archive: Archive, compression: str) -> None:
    file = resolve(archive, "z.vmdk.gz", compression=compression)
    assert (file.compression, file.size) == (compression, 2)
    assert [member.name for member in file.stored] == ["z.vmdk.gz"]
    error = refusal(file)
    assert error.code == "E_NOT_SUPPORTED"
    assert error.message == f"the file 'z.vmdk.gz' is compressed ('{compression}'), expected gzip or no compression"
    assert error.hint == "Export the package again without compression."
    assert [finding.code for finding in file.findings(None)] == ["PKG_NOT_SUPPORTED"]
    archive.close()


def test_identity_is_no_compression(archive: Archive) -> None:
    file = resolve(archive, "a.vmdk", compression="identity")
    assert (file.compression, file.require_member().size) == ("", 5)
    archive.close()


def test_a_size_that_differs_is_told(archive: Archive) -> None:
    file = resolve(archive, "a.vmdk", size=6)
    (finding,) = file.findings(6)
    assert (finding.code, finding.severity) == ("PKG_FILE_SIZE", "warning")
    assert finding.message == "'a.vmdk' has 5 bytes, the descriptor says 6"
    assert list(file.findings(5)) == []
    archive.close()
