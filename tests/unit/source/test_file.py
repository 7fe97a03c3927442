import gzip
import io
import os
import socket
import tempfile
import threading
from pathlib import Path

import pytest

from virt_ova.errors import SourceError
from virt_ova.source.file import LocalFile, OpenFile, open_file_object


def refusal(path: Path) -> SourceError:
    with pytest.raises(SourceError) as caught:
        LocalFile.open(str(path))
    return caught.value


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a"
    path.write_bytes(b"0123456789")
    return path


def test_reads_anywhere(path: Path) -> None:
    file = LocalFile.open(str(path))
    assert (file.size, file.name) == (10, str(path))
    assert file.read_at(3, 4) == b"3456"
    assert file.read_at(10, 0) == b""
    assert os.fstat(file.fileno()).st_ino == path.stat().st_ino
    file.close()
    file.close()


@pytest.mark.parametrize("kind", ["local", "object"])
@pytest.mark.parametrize(("offset", "size", "end"), [(0, 11, 11), (11, 0, 11), (-1, 1, 0), (5, -1, 4)])
def test_a_read_that_leaves_the_file_is_refused(path: Path, kind: str, offset: int, size: int, end: int) -> None:
    file = LocalFile.open(str(path)) if kind == "local" else OpenFile(io.BytesIO(b"0123456789"), str(path))
    with pytest.raises(SourceError) as caught:
        file.read_at(offset, size)
    assert caught.value.code == "E_SOURCE_TRUNCATED"
    assert caught.value.message.endswith(f"ends at byte 10, expected at least {end} bytes")
    file.close()


def test_a_file_that_shrank_is_told_from_its_end(path: Path) -> None:
    file = LocalFile.open(str(path))
    os.truncate(path, 4)
    with pytest.raises(SourceError, match="ends at byte 4, expected at least 8 bytes") as caught:
        file.read_at(0, 8)
    assert caught.value.code == "E_SOURCE_TRUNCATED"
    file.close()


def test_a_read_error_names_the_byte_and_the_reason(path: Path) -> None:
    file = LocalFile.open(str(path))
    os.close(file.fileno())
    with pytest.raises(SourceError, match="cannot be read at byte 2: Bad file descriptor") as caught:
        file.read_at(2, 1)
    assert caught.value.code == "E_SOURCE_READ"


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"x")


def rewrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"x")


def touch(path: Path) -> None:
    os.utime(path, ns=(1, 1))


@pytest.mark.parametrize("change", [grow, rewrite, touch, lambda path: os.truncate(path, 1)])
def test_a_file_that_changed_is_noticed(path: Path, change: object) -> None:
    os.utime(path, ns=(5, 5))
    file = LocalFile.open(str(path))
    file.check_unchanged()
    assert callable(change)
    change(path)
    with pytest.raises(SourceError, match="changed while it was in use") as caught:
        file.check_unchanged()
    assert caught.value.code == "E_CHANGED"
    file.close()


def test_a_file_replaced_under_its_name_keeps_its_bytes_but_is_noticed(path: Path, tmp_path: Path) -> None:
    file = LocalFile.open(str(path))
    other = tmp_path / "b"
    other.write_bytes(b"evil bytes")
    other.rename(path)
    assert file.read_at(0, 10) == b"0123456789"
    with pytest.raises(SourceError, match="changed"):
        file.check_unchanged()
    file.close()


def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, kind in [
        (tmp_path / "pipe", "a pipe"),
        (Path("/dev/zero"), "a character device"),
        (tmp_path, "a folder"),
    ]:
        error = refusal(path)
        assert error.code == "E_NOT_OVA"
        assert error.message == f"'{path}' is {kind}, expected a regular file"


def test_a_refused_file_is_closed_again() -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    refusal(Path("/dev/null"))
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_what_cannot_be_opened_says_why(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        for path, reason in [
            (tmp_path / "none", "No such file or directory"),
            (tmp_path / "socket", "No such device or address"),
        ]:
            error = refusal(path)
            assert error.code == "E_SOURCE_OPEN"
            assert error.message == f"'{path}' cannot be opened: {reason}"


def test_an_open_file_is_read_from_its_position_and_stays_open_and_in_place(path: Path) -> None:
    with path.open("rb") as file:
        file.seek(4)
        source, start = open_file_object(file)
        assert isinstance(source, LocalFile)
        assert (start, source.name) == (4, str(path))
        assert source.read_at(start, 2) == b"45"
        source.close()
        assert file.read(1) == b"4"


def test_what_was_written_to_an_open_file_is_seen() -> None:
    with tempfile.TemporaryFile() as file:
        file.write(b"abc")
        file.seek(0)
        file.write(b"A")
        source, start = open_file_object(file)
        assert (start, source.read_at(0, 3)) == (1, b"Abc")
        source.close()


def test_an_object_without_a_descriptor_is_read_by_threads() -> None:
    data = bytes(range(256)) * 64
    file = io.BytesIO(data)
    source, start = open_file_object(file)
    assert isinstance(source, OpenFile)
    assert (start, source.size, source.name) == (0, len(data), "open file")
    source.fileno()
    seen: list[bool] = []

    def read(offset: int) -> None:
        seen.extend(source.read_at(at, 64) == data[at : at + 64] for at in range(offset, len(data) - 64, 101))

    threads = [threading.Thread(target=read, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) > 1000
    assert all(seen)
    source.check_unchanged()
    source.close()
    assert not file.closed


def test_a_decompressing_object_is_read_through_itself_not_through_its_descriptor(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    with gzip.open(path, "wb") as file:
        file.write(b"plain bytes")
    with gzip.open(path, "rb") as packed:
        source, _ = open_file_object(io.BufferedReader(packed))
        assert source.read_at(0, 5) == b"plain"
        source.close()


def test_an_object_that_grew_is_noticed() -> None:
    file = io.BytesIO(b"abc")
    source, _ = open_file_object(file)
    file.seek(0, os.SEEK_END)
    file.write(b"d")
    with pytest.raises(SourceError, match="'open file' changed while it was in use") as caught:
        source.check_unchanged()
    assert caught.value.code == "E_CHANGED"


def test_text_files_and_pipes_are_refused(path: Path) -> None:
    reader, writer = os.pipe()
    os.close(writer)
    with path.open() as text, os.fdopen(reader, "rb") as pipe, path.open("ab") as unreadable:
        for file in (text, pipe, unreadable):
            with pytest.raises(SourceError, match="is not a binary file that can be read and can seek") as caught:
                open_file_object(file)  # type: ignore[arg-type]
            assert caught.value.code == "E_SOURCE_KIND"
