"""A local file as the place for an image."""

from __future__ import annotations

import errno
import os
import resource
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from virt_ova.disk.base import Buffer
from virt_ova.disk.sink import FileSink, file_error, sync_directory, write_new
from virt_ova.errors import SpaceError, TargetError


def test_bytes_land_where_they_belong_from_any_thread(tmp_path: Path) -> None:
    sink = FileSink.create(tmp_path / "image")
    blocks = [bytes([n]) * 1000 for n in range(64)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: sink.write_at(n * 1000, [blocks[n]]), reversed(range(64))))
    sink.finish(64000)
    assert (tmp_path / "image").read_bytes() == b"".join(blocks)


def test_many_buffers_of_all_kinds_follow_each_other(tmp_path: Path) -> None:
    sink = FileSink.create(tmp_path / "image")
    buffers: list[Buffer] = [b"ab", bytearray(b"cd"), memoryview(b"efgh")[1:3], b""] * 1000
    sink.write_at(10, buffers)
    sink.finish(6010)
    assert (tmp_path / "image").read_bytes() == bytes(10) + b"abcdfg" * 1000


def test_gaps_and_tail_are_holes(tmp_path: Path) -> None:
    sink = FileSink.create(tmp_path / "image")
    sink.write_at(1 << 20, [b"x"])
    sink.finish(1 << 30)
    status = (tmp_path / "image").stat()
    assert status.st_size == 1 << 30
    assert status.st_blocks * 512 < 1 << 20


def test_the_length_is_cut(tmp_path: Path) -> None:
    sink = FileSink.create(tmp_path / "image")
    sink.write_at(0, [bytes(100)])
    sink.finish(10)
    assert (tmp_path / "image").stat().st_size == 10


def test_a_new_file_is_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        FileSink.create(tmp_path / "image").close()
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "image").stat().st_mode) == 0o600


@pytest.mark.parametrize("kind", ["file", "symlink", "dangling", "directory", "fifo"])
def test_nothing_is_replaced(tmp_path: Path, kind: str) -> None:
    path, victim = tmp_path / "image", tmp_path / "victim"
    victim.write_bytes(b"mine")
    make: dict[str, Callable[[], object]] = {
        "file": path.touch,
        "symlink": lambda: path.symlink_to(victim),
        "dangling": lambda: path.symlink_to(tmp_path / "nowhere"),
        "directory": path.mkdir,
        "fifo": lambda: os.mkfifo(path),
    }
    make[kind]()
    with pytest.raises(TargetError) as caught:
        FileSink.create(path)
    assert caught.value.code == "E_EXISTS"
    assert str(caught.value) == f"'{path}' exists already"
    assert caught.value.hint == "Choose another name, or remove what is there."
    assert victim.read_bytes() == b"mine"
    assert not (tmp_path / "nowhere").exists()


def test_a_file_made_for_us_is_written_in_place(tmp_path: Path) -> None:
    path = tmp_path / "volume"
    path.touch(0o640)
    inode = path.stat().st_ino
    sink = FileSink.adopt(path)
    sink.write_at(2, [b"ab"])
    sink.finish(5)
    assert path.read_bytes() == b"\0\0ab\0"
    assert (path.stat().st_ino, stat.S_IMODE(path.stat().st_mode)) == (inode, 0o640)


def test_only_a_regular_file_is_adopted(tmp_path: Path) -> None:
    (tmp_path / "real").touch()
    (tmp_path / "link").symlink_to("real")
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(TargetError, match=r"link' could not be opened: Too many levels of symbolic links$") as caught:
        FileSink.adopt(tmp_path / "link")
    assert caught.value.code == "E_IO"
    with pytest.raises(TargetError, match=r"fifo' is not a regular file$") as caught:
        FileSink.adopt(tmp_path / "fifo")
    assert caught.value.code == "E_IO"
    with pytest.raises(TargetError, match=r"none' could not be opened: No such file or directory$"):
        FileSink.adopt(tmp_path / "none")


@contextmanager
def _full_filesystem() -> Iterator[FileSink]:
    """A sink on a device that has no room."""
    sink = FileSink(Path("/dev/full"), os.open("/dev/full", os.O_RDWR))
    try:
        yield sink
    finally:
        sink.close()


def test_no_room_says_where_and_what_to_do() -> None:
    with _full_filesystem() as sink, pytest.raises(SpaceError) as caught:
        sink.write_at(0, [b"x"])
    assert caught.value.code == "E_SPACE"
    assert str(caught.value) == "'/dev/full' could not be written: No space left on device"
    assert caught.value.hint.startswith("Free some space")


def test_a_file_size_limit_is_no_room(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    sink = FileSink.create(tmp_path / "image")
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(SpaceError, match=r"image' could not be written: File too large$"):
            sink.write_at(0, [bytes(8192)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        sink.close()


def test_a_lack_of_memory_says_so() -> None:
    error = file_error(OSError(errno.ENOMEM, "Cannot allocate memory"), Path("image"), "written")
    assert (error.code, error.message) == ("E_MEMORY", "'image' could not be written: Cannot allocate memory")
    assert error.hint == "Raise the limit on this process (ulimit -v, a container's), or end other programs."


def test_a_failed_write_is_no_success(tmp_path: Path) -> None:
    (tmp_path / "image").touch()
    sink = FileSink(tmp_path / "image", os.open(tmp_path / "image", os.O_RDONLY))
    with pytest.raises(TargetError, match=r"image' could not be written: Bad file descriptor$") as caught:
        sink.write_at(0, [b"x"])
    assert caught.value.code == "E_IO"
    with pytest.raises(TargetError, match=r"image' could not be made durable: Invalid argument$") as caught:
        sink.finish(1)
    assert caught.value.code == "E_IO"


def test_discard_removes_what_was_made_and_may_be_repeated(tmp_path: Path) -> None:
    sink = FileSink.create(tmp_path / "image")
    assert sink.is_present()
    sink.discard()
    sink.discard()
    assert not sink.is_present()
    assert list(tmp_path.iterdir()) == []


def test_discard_leaves_another_file_of_that_name(tmp_path: Path) -> None:
    sink = FileSink.create(tmp_path / "image")
    (tmp_path / "image").rename(tmp_path / "moved")
    (tmp_path / "image").write_bytes(b"foreign")
    sink.discard()
    assert (tmp_path / "image").read_bytes() == b"foreign"


def test_what_cannot_be_removed_is_told(tmp_path: Path) -> None:
    sink = FileSink.create(tmp_path / "image")
    (tmp_path / "image").rename(tmp_path / "moved")
    tmp_path.joinpath("image").hardlink_to(tmp_path / "moved")
    folder = tmp_path / "file"
    folder.touch()
    sink.path = folder / "image"
    with pytest.raises(TargetError, match=r"image' could not be removed: Not a directory$") as caught:
        sink.discard()
    assert caught.value.code == "E_IO"


def test_a_small_file_is_written_whole(tmp_path: Path) -> None:
    sink = write_new(tmp_path / "run", b"#!/bin/sh\n", mode=0o700)
    assert (tmp_path / "run").read_bytes() == b"#!/bin/sh\n"
    assert stat.S_IMODE((tmp_path / "run").stat().st_mode) == 0o700
    sink.discard()
    assert not (tmp_path / "run").exists()


def test_a_small_file_that_fails_is_gone(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4, hard))
    try:
        with pytest.raises(SpaceError):
            write_new(tmp_path / "run", b"12345678")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_a_directory_is_synced(tmp_path: Path) -> None:
    sync_directory(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        sync_directory(tmp_path / "file")


def test_a_mode_that_cannot_be_given(tmp_path: Path) -> None:
    sink = FileSink.create(tmp_path / "image")
    sink.close()
    with pytest.raises(TargetError, match=r"^'.*/image' could not be given its mode: Bad file descriptor$") as caught:
        sink.set_mode(0o700)
    assert caught.value.code == "E_IO"


@pytest.mark.parametrize("renames", [True, False])
def test_a_finished_file_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, renames: bool) -> None:
    """Also where the file system cannot rename without replacing."""
    if not renames:
        monkeypatch.setattr("virt_ova.disk.sink.rename_new", lambda _old, _new: False)
    for name in ("a", "b"):
        sink = FileSink.create(tmp_path / f"{name}.part")
        sink.write_at(0, [name.encode()])
        sink.finish(1)
        if name == "a":
            sink.publish(tmp_path / "file")
            assert sink.is_present()
            continue
        with pytest.raises(TargetError) as caught:
            sink.publish(tmp_path / "file")
        assert (caught.value.code, caught.value.message) == ("E_EXISTS", f"'{tmp_path}/file' exists already")
        sink.discard()
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("file", "a")]
