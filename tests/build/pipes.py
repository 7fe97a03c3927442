"""Objects that can only be read from front to back."""

from __future__ import annotations

import io

from virt_ova.source.pipe import FileReader


class Pipe(io.RawIOBase):
    """`data`, at most `piece` bytes at a time; after `fail_at` bytes reading fails."""

    def __init__(self, data: bytes, *, piece: int = 1 << 16, fail_at: int | None = None) -> None:
        self._data = memoryview(data)
        self._piece = piece
        self._fail_at = fail_at
        self.position = 0

    def readable(self) -> bool:
        """It can be read."""
        return True

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        """The next bytes."""
        if self._fail_at is not None and self.position >= self._fail_at:
            raise ConnectionResetError(104, "Connection reset by peer")
        data = self._data[self.position : self.position + min(len(buffer), self._piece)]
        buffer[: len(data)] = data
        self.position += len(data)
        return len(data)


def reader_of(data: bytes, *, piece: int = 1 << 16) -> FileReader:
    """`data` as a `virt_ova.source.base.ForwardReader` named ``pipe``."""
    return FileReader(Pipe(data, piece=piece), "pipe")  # type: ignore[arg-type]
