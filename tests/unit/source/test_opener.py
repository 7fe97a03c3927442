import io
import os
from pathlib import Path

import pytest

from tests.build.dead_end import dead_end
from tests.build.ova import build_folder, build_ova
from virt_ova.errors import SourceError
from virt_ova.source.opener import PackageSource, open_archive
from virt_ova.text import quoted

MEMBERS = [("a.ovf", b"<Envelope/>"), ("a.vmdk", b"0123")]


def refusal(source: PackageSource) -> SourceError:
    with pytest.raises(SourceError) as caught:
        open_archive(source)
    return caught.value


def test_an_ova_by_text_by_path_and_by_open_file(tmp_path: Path) -> None:
    path = build_ova(tmp_path / "a.ova", MEMBERS)
    with path.open("rb") as file:
        for source in (str(path), path, file, io.BytesIO(path.read_bytes())):
            archive = open_archive(source)
            assert archive.kind == "ova"
            assert [(name, member.read()) for name, member in archive.members.items()] == MEMBERS
            archive.close()


def test_a_package_behind_other_bytes_is_read_from_the_files_position(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"front" + build_ova(tmp_path / "a.ova", MEMBERS).read_bytes())
    with path.open("rb") as file:
        file.seek(5)
        archive = open_archive(file)
        assert [member.offset for member in archive.members.values()] == [517, 1541]
        archive.close()


def test_a_folder_and_a_descriptor(tmp_path: Path) -> None:
    build_folder(tmp_path / "d", MEMBERS)
    (tmp_path / "link").symlink_to("d")
    for source in (tmp_path / "d", str(tmp_path / "link"), tmp_path / "d" / "a.ovf"):
        archive = open_archive(source)
        assert archive.kind == "ovf"
        assert list(archive.members) == ["a.ovf", "a.vmdk"]
        archive.close()


@pytest.mark.parametrize("source", ["ftp://example.org/a.ova", "file:///etc/shadow"])
def test_other_urls_are_refused_clearly(source: str) -> None:
    error = refusal(source)
    assert error.code == "E_SOURCE_KIND"
    assert error.message == "the source is a URL, expected a path, an http(s) URL, or - for standard input"
    assert error.hint == "Save the package to a file first."


@pytest.mark.parametrize("suffix", ["", ".ovf"])
@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("n" * 300 + "/a", "File name too long"),
        ("loop/a", "Too many levels of symbolic links"),
        ("file/a", "Not a directory"),
        ("\ud800/a", "it has a character that no file name here can have"),
        ("a\0/b", "it has a NUL character"),
    ],
)
def test_a_path_that_cannot_be_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, problem: str, suffix: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    monkeypatch.chdir(tmp_path)
    error = refusal(path + suffix)
    named = quoted(path.rpartition("/")[0] if suffix else path)
    assert (error.code, error.message) == ("E_SOURCE_OPEN", f"{named} cannot be opened: {problem}")


@pytest.mark.parametrize("name", ["a.ova", "d/a.ovf"])
def test_a_path_below_a_folder_that_may_not_be_entered_is_refused(name: str) -> None:
    with dead_end() as folder:
        error = refusal(folder / name)
    opened = folder / "d" if name.endswith("ovf") else folder / name
    assert (error.code, error.message) == ("E_SOURCE_OPEN", f"'{opened}' cannot be opened: Permission denied")


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    error = refusal(tmp_path / "none.ova")
    assert error.code == "E_SOURCE_OPEN"
    assert error.message == f"'{tmp_path}/none.ova' cannot be opened: No such file or directory"


def test_a_refused_file_is_closed_again(tmp_path: Path) -> None:
    path = tmp_path / "a.ova"
    path.write_bytes(b"PK\x03\x04" + bytes(600))
    fds = Path("/proc/self/fd")
    before = len(list(fds.iterdir()))
    assert refusal(path).message == f"'{path}' is a zip archive, expected an OVA (a tar)"
    assert len(list(fds.iterdir())) == before


def test_devices_and_pipes_never_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.ova")
    for source in ("/dev/zero", tmp_path / "a.ova"):
        assert refusal(source).code == "E_NOT_OVA"
