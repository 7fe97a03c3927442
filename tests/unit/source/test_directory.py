import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.build.ova import build_folder
from virt_ova.errors import SourceError
from virt_ova.source import directory
from virt_ova.source.base import Archive, MemberName
from virt_ova.source.directory import open_descriptor, open_directory

FILES = [("a.ovf", b"<Envelope/>"), ("a.mf", b""), ("a.vmdk", b"0123"), ("disks/b.vmdk", b"456")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return build_folder(tmp_path / "package", FILES)


@pytest.fixture(params=["openat2", "by parts"])
def archive(request: pytest.FixtureRequest, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Archive:
    if request.param == "by parts":
        monkeypatch.setattr(directory, "_openat2", not_offered)
    return open_directory(str(folder))


def not_offered(_directory: int, _name: MemberName) -> int:
    """What a kernel before 5.6 says."""
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))


def refusal(archive: Archive, name: str) -> SourceError:
    with pytest.raises(SourceError) as caught:
        archive.members[MemberName(name)]
    return caught.value


def test_files_are_members(archive: Archive, folder: Path) -> None:
    assert (archive.kind, archive.name) == ("ovf", str(folder))
    assert list(archive.members) == ["a.mf", "a.ovf", "a.vmdk"]
    assert len(archive.members) == 3
    member = archive.members[MemberName("a.vmdk")]
    assert (member.offset, member.size, member.read_at(1, 2)) == (0, 4, b"12")
    assert member.source.name == f"{folder}/a.vmdk"
    assert archive.members[MemberName("disks/b.vmdk")].read() == b"456"
    archive.close()
    archive.close()


def test_what_is_not_there_is_absent(archive: Archive) -> None:
    for name in ("none", "disks/none", "none/none", "disks/../none"):
        assert archive.members.get(MemberName(name)) is None
    archive.close()


def link_to_file(folder: Path) -> str:
    (folder / "link.vmdk").symlink_to("/etc/shadow")
    return "link.vmdk"


def link_to_sibling(folder: Path) -> str:
    (folder / "link.vmdk").symlink_to("a.vmdk")
    return "link.vmdk"


def link_to_folder(folder: Path) -> str:
    (folder / "sub").symlink_to("disks")
    return "sub/b.vmdk"


def link_to_nothing(folder: Path) -> str:
    (folder / "link").symlink_to("nowhere")
    return "link"


def file_as_folder(_folder: Path) -> str:
    return "a.vmdk/b"


@pytest.mark.parametrize("make", [link_to_file, link_to_sibling, link_to_folder, link_to_nothing, file_as_folder])
def test_links_are_refused_wherever_they_lead(archive: Archive, folder: Path, make: Callable[[Path], str]) -> None:
    name = make(folder)
    error = refusal(archive, name)
    assert error.code == "E_REF_OUTSIDE"
    assert error.message == f"'{name}' is a symbolic link or lies behind one, expected a file in the package's folder"
    assert error.hint == "Replace the link by the file it names."
    archive.close()


def test_the_kernel_keeps_names_beneath_the_folder(folder: Path) -> None:
    (folder.parent / "secret").write_bytes(b"x")
    archive = open_directory(str(folder))
    for name in ("../secret", str(folder.parent / "secret")):
        assert refusal(archive, name).code == "E_REF_OUTSIDE"
    archive.close()


def test_a_pipe_under_a_members_name_does_not_block(archive: Archive, folder: Path) -> None:
    os.mkfifo(folder / "pipe.vmdk")
    error = refusal(archive, "pipe.vmdk")
    assert (error.code, error.message) == ("E_NOT_OVA", f"'{folder}/pipe.vmdk' is a pipe, expected a regular file")
    archive.close()


def test_an_unreadable_member_says_why(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = open_directory(str(folder))

    def denied(_directory: int, _name: MemberName) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(directory, "_openat2", denied)
    error = refusal(archive, "a.vmdk")
    assert (error.code, error.message) == ("E_SOURCE_OPEN", "'a.vmdk' cannot be opened: Permission denied")
    archive.close()


def test_a_member_is_opened_once_and_watched(archive: Archive, folder: Path) -> None:
    member = archive.members[MemberName("a.vmdk")]
    assert archive.members[MemberName("a.vmdk")].source is member.source
    (folder / "a.mf").write_bytes(b"not opened, not watched")
    archive.check_unchanged()
    (folder / "a.vmdk").write_bytes(b"longer than before")
    with pytest.raises(SourceError, match=r"a.vmdk' changed while it was in use") as caught:
        archive.check_unchanged()
    assert caught.value.code == "E_CHANGED"
    archive.close()


def test_every_descriptor_is_closed(archive: Archive) -> None:
    fds = Path("/proc/self/fd")
    before = len(list(fds.iterdir()))
    for name in archive.members:
        archive.members[name].read()
    archive.members.get(MemberName("disks/b.vmdk"))
    archive.close()
    assert len(list(fds.iterdir())) == before - 1


def test_names_no_package_can_use_are_passed_over(folder: Path) -> None:
    for name in ("._a.ovf", "with:colon.ovf", "back\\slash"):
        (folder / name).write_bytes(b"")
    archive = open_directory(str(folder))
    assert list(archive.members) == ["a.mf", "a.ovf", "a.vmdk"]
    archive.close()


def test_a_lone_descriptor_has_its_own_files_only(folder: Path) -> None:
    for name in ("b.ovf", "b.mf", "b.cert", "a.cert", "B.OVF"):
        (folder / name).write_bytes(b"")
    archive = open_descriptor(str(folder / "a.ovf"))
    assert archive.name == str(folder / "a.ovf")
    assert list(archive.members) == ["a.cert", "a.mf", "a.ovf", "a.vmdk"]
    assert archive.members.get(MemberName("b.mf")) is None
    assert archive.members.get(MemberName("b.ovf")) is None
    archive.close()


def test_a_descriptor_in_the_working_directory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    archive = open_descriptor("a.ovf")
    assert archive.members[MemberName("a.ovf")].read() == b"<Envelope/>"
    archive.close()


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="none' cannot be opened: No such file or directory") as caught:
        open_descriptor(str(tmp_path / "none" / "a.ovf"))
    assert caught.value.code == "E_SOURCE_OPEN"


def test_a_folder_as_a_source_is_empty(archive: Archive) -> None:
    (source,) = archive.sources
    source.fileno()
    with pytest.raises(SourceError, match="ends at byte 0, expected at least 1 bytes") as caught:
        source.read_at(0, 1)
    assert caught.value.code == "E_SOURCE_TRUNCATED"
    archive.close()
