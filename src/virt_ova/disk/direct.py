"""Writes past the page cache (``O_DIRECT``, open(2)).

An image is written once, in large pieces, and must be on the disk before the install is reported done. Through the page
cache each byte is copied, the host's memory is filled with pages that nobody reads soon, and the whole waits for
write-back at the end; written directly it costs a fraction of the processor time. The kernel wants offset, length and
memory aligned, so a piece is gathered in an aligned buffer of the writing thread first.
"""

from __future__ import annotations

import errno
import mmap
import os
import threading
from collections.abc import Sequence
from typing import Final, Self

from virt_ova.disk.base import Buffer

_ALIGNMENT: Final = 4096
"""Multiple of the block size of every disk and file system in use."""


class DirectFile:
    """A second descriptor of a file that is open for writing, used for aligned pieces; safe for many threads."""

    def __init__(self, descriptor: int) -> None:
        """Own `descriptor`, which was opened with ``O_DIRECT``; use `reopen`."""
        self._descriptor = descriptor
        self._local = threading.local()

    @classmethod
    def reopen(cls, descriptor: int) -> Self | None:
        """Open the file behind `descriptor` again; None where its file system cannot write directly."""
        try:
            return cls(os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_DIRECT | os.O_CLOEXEC))
        except OSError:
            return None

    def write(self, offset: int, buffers: Sequence[Buffer]) -> bool:
        """Write `buffers` one after the other from `offset`.

        Returns:
            False, with nothing written that matters, when the piece is not aligned or the kernel wants more alignment.

        Raises:
            OSError: the write failed.
        """
        size = sum(map(len, buffers))
        if self._descriptor < 0 or offset % _ALIGNMENT or size % _ALIGNMENT:
            return False
        staged = self._gather(buffers, size)
        done = 0
        while done < size:
            try:
                done += os.pwrite(self._descriptor, staged[done:size], offset + done)
            except OSError as exc:
                if exc.errno == errno.EINVAL:
                    return False
                raise
        return True

    def close(self) -> None:
        """Release the descriptor; may be called again."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _gather(self, buffers: Sequence[Buffer], size: int) -> memoryview:
        """The bytes of `buffers` in this thread's aligned buffer."""
        staged: memoryview | None = getattr(self._local, "staged", None)
        if staged is None or len(staged) < size:
            staged = self._local.staged = memoryview(mmap.mmap(-1, size))
        position = 0
        for buffer in buffers:
            staged[position : position + len(buffer)] = buffer
            position += len(buffer)
        return staged
