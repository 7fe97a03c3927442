"""A copy of a file that was written, hole by hole; of one block with the original where the file system can do that."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from typing import IO, Final

from virt_ova.disk.base import Sink

_FICLONE: Final = 0x40049409
"""The request by which one file takes over all blocks of another (ioctl_ficlone(2))."""

_PIECE_BYTES: Final = 1 << 20


def duplicate(file: IO[bytes], sink: Sink) -> None:
    """Fill `sink` with what `file` holds, and finish it.

    Raises:
        OSError: `file` cannot be read.
        SpaceError: no room (``E_SPACE``).
        TargetError: it cannot be written (``E_IO``).
    """
    source, size_bytes = file.fileno(), os.fstat(file.fileno()).st_size
    if not _shares(source, sink):
        for start, end in _extents(source, size_bytes):
            for offset in range(start, end, _PIECE_BYTES):
                sink.write_at(offset, [os.pread(source, min(_PIECE_BYTES, end - offset), offset)])
    sink.finish(size_bytes)


def _shares(source: int, sink: Sink) -> bool:
    """Let the copy share all blocks of the file `source`; says whether that worked."""
    if (target := sink.fileno()) is None:
        return False
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:
        return False
    return True


def _extents(descriptor: int, size_bytes: int) -> Iterator[tuple[int, int]]:
    """Begin and end of each part that is no hole. Raises `OSError`."""
    end = 0
    while end < size_bytes:
        try:
            start = os.lseek(descriptor, end, os.SEEK_DATA)
        except OSError as exc:
            if exc.errno == errno.ENXIO:  # nothing but a hole is left
                return
            raise
        end = os.lseek(descriptor, start, os.SEEK_HOLE)
        yield start, end
