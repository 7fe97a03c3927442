"""Local files and open file objects as byte sources.

A `LocalFile` is read with ``pread``, so threads share it and nobody's file position moves. An `OpenFile` is for objects
that have no descriptor of their own bytes (``io.BytesIO``, a decompressing reader): seek and read under a lock.
"""

from __future__ import annotations

import io
import os
import stat
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, Self

from virt_ova.errors import SourceError
from virt_ova.paths import PATH_ERRORS, path_problem
from virt_ova.source.base import truncated
from virt_ova.text import printable, quoted

OPEN_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
"""A pipe or device that waits under the name must not hold us up; it is refused once it is open."""

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a character device"),
    (stat.S_ISBLK, "a block device"),
    (stat.S_ISLNK, "a symbolic link"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Fingerprint:
    """What tells whether a file was touched: identity, size in bytes, times in nanoseconds."""

    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int

    @classmethod
    def of(cls, descriptor: int) -> Self:
        """The fingerprint of an open file."""
        status = os.fstat(descriptor)
        return cls(
            device=status.st_dev,
            inode=status.st_ino,
            size=status.st_size,
            modified_ns=status.st_mtime_ns,
            changed_ns=status.st_ctime_ns,
        )


class LocalFile:
    """A regular file, by a descriptor that it owns; see `virt_ova.source.base.ByteSource` for the methods."""

    def __init__(self, descriptor: int, name: str) -> None:
        try:
            _check_regular(descriptor, name)
            self._fingerprint = Fingerprint.of(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        self.name = name
        self.size = self._fingerprint.size

    @classmethod
    def open(cls, path: str) -> Self:
        """Open the file at `path`; symbolic links are followed, because the path is the user's own.

        Raises:
            SourceError: it cannot be opened (``E_SOURCE_OPEN``) or is no regular file (``E_NOT_OVA``).
        """
        try:
            descriptor = os.open(path, OPEN_FLAGS)
        except PATH_ERRORS as exc:
            raise cannot_open(path, exc) from exc
        return cls(descriptor, path)

    def read_at(self, offset: int, size: int) -> bytes:
        """Exactly `size` bytes from `offset`; see `ByteSource.read_at`."""
        _check_range(self, offset, size)
        return _read_exactly(self, offset, size, lambda at, count: os.pread(self._descriptor, count, at))

    def fileno(self) -> int:
        """The descriptor; it stays ours."""
        return self._descriptor

    def check_unchanged(self) -> None:
        """Compare identity, size and times; see `ByteSource.check_unchanged`."""
        if Fingerprint.of(self._descriptor) != self._fingerprint:
            raise _changed(self.name)

    def close(self) -> None:
        """Close the descriptor; a second call does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class OpenFile:
    """A seekable binary file object that stays its owner's; its position moves while it is read."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file = file
        self._lock = threading.Lock()
        self.name = name
        self.size = file.seek(0, os.SEEK_END)

    def read_at(self, offset: int, size: int) -> bytes:
        """Exactly `size` bytes from `offset`; see `ByteSource.read_at`."""
        _check_range(self, offset, size)
        with self._lock:
            return _read_exactly(self, offset, size, self._read_some)

    def fileno(self) -> None:
        """None: the object's descriptor, if any, may hold other bytes than the object reads."""

    def check_unchanged(self) -> None:
        """Compare the length, the one thing that can be asked; see `ByteSource.check_unchanged`."""
        with self._lock:
            if self._file.seek(0, os.SEEK_END) != self.size:
                raise _changed(self.name)

    def close(self) -> None:
        """Leave it open: whoever opened it closes it."""

    def _read_some(self, offset: int, size: int) -> bytes:
        self._file.seek(offset)
        return self._file.read(size)


def name_of(file: BinaryIO) -> str:
    """What to call an open file in a message."""
    if file is getattr(sys.stdin, "buffer", None):
        return "standard input"
    return file.name if isinstance(getattr(file, "name", None), str) else "open file"


def is_pipe(file: BinaryIO) -> bool:
    """Whether `file` can be read, but only from front to back."""
    return not hasattr(file, "encoding") and file.readable() and not file.seekable()


def open_file_object(file: BinaryIO) -> tuple[LocalFile | OpenFile, int]:
    """The bytes of an open binary file, and its position, where the package begins.

    Raises:
        SourceError: it is a text file, or it cannot seek (``E_SOURCE_KIND``).
    """
    name = name_of(file)
    if hasattr(file, "encoding") or not file.readable() or not file.seekable():
        raise SourceError(
            f"{quoted(name)} is not a binary file that can be read and can seek",
            code="E_SOURCE_KIND",
            hint="Open it with mode 'rb'.",
        )
    start = file.tell()
    raw = file.raw if isinstance(file, io.BufferedReader | io.BufferedRandom) else file
    if type(raw) is not io.FileIO:
        return OpenFile(file, name), start
    if file.writable():
        file.flush()
    return LocalFile(os.dup(file.fileno()), name), start


def cannot_open(name: str, exc: BaseException) -> SourceError:
    """The error for a file that the system would not open; `exc` is one of `virt_ova.paths.PATH_ERRORS`."""
    return SourceError(f"{quoted(name)} cannot be opened: {path_problem(exc)}", code="E_SOURCE_OPEN")


def _check_regular(descriptor: int, name: str) -> None:
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        kind = next((kind for is_kind, kind in _KINDS if is_kind(mode)), "no regular file")
        raise SourceError(f"{quoted(name)} is {kind}, expected a regular file", code="E_NOT_OVA")


def _check_range(source: LocalFile | OpenFile, offset: int, size: int) -> None:
    if offset < 0 or size < 0 or offset + size > source.size:
        raise truncated(source.name, offset + size, source.size)


def _read_exactly(
    source: LocalFile | OpenFile, offset: int, size: int, read_some: Callable[[int, int], bytes]
) -> bytes:
    pieces: list[bytes] = []
    done = 0
    while done < size:
        try:
            piece = read_some(offset + done, size - done)
        except OSError as exc:
            raise SourceError(
                f"{quoted(source.name)} cannot be read at byte {offset + done}: {printable(exc.strerror or str(exc))}",
                code="E_SOURCE_READ",
            ) from exc
        if not piece:
            raise truncated(source.name, offset + size, offset + done)
        pieces.append(piece)
        done += len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _changed(name: str) -> SourceError:
    return SourceError(
        f"{quoted(name)} changed while it was in use",
        code="E_CHANGED",
        hint="Let nobody write to the package, and try again.",
    )
