from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.build.ova import build_folder, build_ova
from virt_ova.errors import PackageError
from virt_ova.ovf.envelope import File
from virt_ova.package.files import PackageFile, resolve_file
from virt_ova.source.base import Archive
from virt_ova.source.opener import open_archive


class Package:
    """Makes a package of named bytes, and resolves a file in it."""

    def __init__(self, folder: Path, *, is_tar: bool) -> None:
        self._folder, self._is_tar = folder, is_tar
        self.archives: list[Archive] = []

    def resolve(
        self,
        members: Sequence[tuple[str, bytes]],
        *,
        href: str = "c.vmdk",
        size: int | None = None,
        chunk: int | None = 4,
        compression: str = "",
    ) -> PackageFile:
        members = [("a.ovf", b""), *members]
        path = build_ova(self._folder / "a.ova", members) if self._is_tar else build_folder(self._folder / "a", members)
        file = File(id="file1", href=href, size_bytes=size, chunk_bytes=chunk, compression=compression)
        self.archives.append(open_archive(path))
        return resolve_file(file, self.archives[-1].members)


@pytest.fixture(params=["ova", "folder"])
def package(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Package]:
    package = Package(tmp_path, is_tar=request.param == "ova")
    yield package
    for archive in package.archives:
        archive.close()


def chunks(*contents: bytes, name: str = "c.vmdk") -> list[tuple[str, bytes]]:
    """The members of a file in `contents`."""
    return [(f"{name}.{number:09}", data) for number, data in enumerate(contents)]


def refusal(file: PackageFile) -> PackageError:
    with pytest.raises(PackageError) as caught:
        file.require_member()
    return caught.value


@pytest.mark.parametrize(
    "contents", [(b"1234", b"56"), (b"1234", b"5678"), (b"1",), (b"1234",), (b"1234", b"5678", b"9")]
)
@pytest.mark.parametrize("is_declared", [True, False])
def test_chunks_are_one_file(package: Package, contents: tuple[bytes, ...], *, is_declared: bool) -> None:
    whole = b"".join(contents)
    file = package.resolve(chunks(*contents), size=len(whole) if is_declared else None)
    member = file.require_member()
    assert (member.name, member.offset, member.read()) == ("c.vmdk", 0, whole)
    assert (file.name, file.size, file.offset, file.member) == ("c.vmdk", len(whole), None, member)
    assert [chunk.name for chunk in file.stored] == [name for name, _ in chunks(*contents)]
    assert file.position == file.chunks[0].offset
    assert list(file.findings(len(whole))) == []


@pytest.mark.parametrize(("href", "name"), [("My%20VM.vmdk", "My VM.vmdk"), ("d/c.vmdk", "d/c.vmdk")])
def test_the_hrefs_name_is_found_as_that_of_other_files(package: Package, href: str, name: str) -> None:
    file = package.resolve(chunks(b"1234", b"5", name=name), href=href)
    assert (file.name, file.require_member().read()) == (name, b"12345")


def test_the_order_of_the_members_does_not_matter(package: Package) -> None:
    assert package.resolve(chunks(b"1234", b"5678", b"9")[::-1]).require_member().read() == b"123456789"


def test_compression_is_that_of_the_whole(package: Package) -> None:
    file = package.resolve(chunks(b"\x1f\x8b\x08\x00", b"rest"), compression="gzip")
    assert (file.compression, file.require_member().size) == ("gzip", 8)


def test_other_compressions_are_refused(package: Package) -> None:
    error = refusal(package.resolve(chunks(b"1234", b"5"), compression="bzip2"))
    message = "the file 'c.vmdk' is compressed ('bzip2'), expected gzip or no compression"
    assert (error.code, error.message) == ("E_NOT_SUPPORTED", message)


def test_a_file_that_fits_in_a_chunk_may_have_its_plain_name(package: Package) -> None:
    assert package.resolve([("c.vmdk", b"12345")], chunk=1000).require_member().size == 5


def test_names_that_only_look_like_chunks_are_other_files(package: Package) -> None:
    others = ["c.vmdk.1", "c.vmdk.0000000001", "c.vmdk.00000000x", "c.vmdk.00000000\u0661", "xc.vmdk.000000000"]
    members = [(name, b"") for name in others]
    assert package.resolve([*members, *chunks(b"1234", b"5")]).require_member().read() == b"12345"


@pytest.mark.parametrize("chunk", [None, 0])
def test_chunks_that_are_not_declared_are_other_files(package: Package, chunk: int | None) -> None:
    error = refusal(package.resolve(chunks(b"1234", b"5"), chunk=chunk))
    assert (error.code, error.message) == ("E_PKG_FILE", "the file 'c.vmdk' is not in the package")


def test_a_chunked_file_that_is_not_there(package: Package) -> None:
    error = refusal(package.resolve([("other", b"")]))
    assert (error.code, error.message) == ("E_PKG_FILE", "the file 'c.vmdk' is not in the package")


FIVE = chunks(b"1234", b"5678", b"9abc", b"def0", b"1")
BOTH = [("c.vmdk", b"whole"), *FIVE]


@pytest.mark.parametrize(
    ("members", "size", "message"),
    [
        (FIVE[1:], None, "the chunk 'c.vmdk.000000000' is not in the package, expected 5 chunks"),
        (FIVE[:2] + FIVE[4:], None, "the chunk 'c.vmdk.000000002' is not in the package, expected 5 chunks"),
        (FIVE[:2] + FIVE[4:], 17, "the chunk 'c.vmdk.000000002' is not in the package, expected 5 chunks"),
        (FIVE[:4], 17, "the chunk 'c.vmdk.000000004' is not in the package, expected 5 chunks"),
        (FIVE, 1 << 60, f"the chunk 'c.vmdk.000000005' is not in the package, expected {1 << 58} chunks"),
        (FIVE, 16, "found the chunk 'c.vmdk.000000004', expected 4 chunks"),
        (FIVE, 0, "found the chunk 'c.vmdk.000000001', expected 1 chunks"),
        (FIVE[:2] + FIVE[4:], 8, "found the chunk 'c.vmdk.000000004', expected 2 chunks"),
        (FIVE, 18, "the chunk 'c.vmdk.000000004' has 1 bytes, expected 2"),
        (chunks(b"1234", b"567", b"89"), None, "the chunk 'c.vmdk.000000001' has 3 bytes, expected 4"),
        (chunks(b"1234", b"", b"89"), None, "the chunk 'c.vmdk.000000001' has 0 bytes, expected 4"),
        (chunks(b"12345", b"678", b"9"), 9, "the chunk 'c.vmdk.000000000' has 5 bytes, expected 4"),
        (chunks(b"1234", b"56789"), None, "the chunk 'c.vmdk.000000001' has 5 bytes, expected 1 to 4"),
        (chunks(b"1234", b""), None, "the chunk 'c.vmdk.000000001' has 0 bytes, expected 1 to 4"),
        (BOTH, 17, "found both 'c.vmdk' and chunks of it, expected one or the other"),
    ],
)
def test_chunks_that_do_not_fit(
    package: Package, members: list[tuple[str, bytes]], size: int | None, message: str
) -> None:
    file = package.resolve(members, size=size)
    error = refusal(file)
    assert (error.code, error.message) == ("E_PKG_CHUNK", message)
    assert error.hint == "Get the complete package, with all chunks beside the descriptor."
    (finding,) = file.findings(size)
    assert (finding.code, finding.severity, finding.message) == ("PKG_CHUNK", "error", message)
    assert (file.name, file.size, file.member, file.position) == ("c.vmdk", size, None, 0)


@pytest.mark.parametrize("package", ["folder"], indirect=True)
def test_a_chunk_that_is_a_link(package: Package, tmp_path: Path) -> None:
    package.resolve(chunks(b"1234"))
    (tmp_path / "a" / "c.vmdk.000000001").symlink_to("/etc/shadow")
    error = refusal(package.resolve(chunks(b"1234")))
    assert error.code == "E_REF_OUTSIDE"
    assert error.message.startswith("'c.vmdk.000000001' is a symbolic link or lies behind one")
