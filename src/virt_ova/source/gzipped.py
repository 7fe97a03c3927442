"""Reads a file that is compressed as a whole (``ovf:compression="gzip"``, DSP0243 7.1; RFC 1952) from front to back.

Nothing is inflated that nobody asks for, and no more than the caller allows: a megabyte can hold a gigabyte of zeros.
Several gzip members in a row are one file, as RFC 1952 2.2 and every gzip program have it (parallel compressors write
them so); anything else behind the end, zeros included, is refused.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable
from typing import Final

from virt_ova.errors import DiskError
from virt_ova.source.base import ForwardReader, Member
from virt_ova.text import printable

_GZIP_ONLY: Final = 16 + zlib.MAX_WBITS
_MAGIC: Final = b"\x1f\x8b"
_STORED_BYTES: Final = 128 << 10
_INFLATED_BYTES: Final = 256 << 10
"""Most bytes held at a time, before and after."""


class MemberReader:
    """A `virt_ova.source.base.ForwardReader` of the stored bytes of a member."""

    def __init__(self, member: Member, *, taken: Callable[[bytes], None] = lambda _: None) -> None:
        """Begin at the first byte of `member`; `taken` is told of all bytes that are read."""
        self._member, self._taken, self._position = member, taken, 0

    @property
    def name(self) -> str:
        """The member's."""
        return self._member.name

    def read(self, size: int) -> bytes:
        """See `ForwardReader.read`."""
        data = self._member.read_at(self._position, min(size, self._member.size - self._position))
        self._position += len(data)
        self._taken(data)
        return data


class GzipReader:
    """A `virt_ova.source.base.ForwardReader` of what a gzip file holds.

    Checksum and length of each gzip member are compared, by zlib, when its end is reached; the end of the file is only
    reached by a read that returns less than it was asked for.
    """

    def __init__(self, source: ForwardReader, *, limit_bytes: int = sys.maxsize) -> None:
        """Begin to inflate.

        Args:
            source: the gzip file, at its first byte.
            limit_bytes: most that it may inflate to.
        """
        self._source, self._limit, self._total = source, limit_bytes, 0
        self._stored, self._taken = b"", 0
        self._inflated = memoryview(b"")
        self._stream, self._is_between = zlib.decompressobj(_GZIP_ONLY), True

    @property
    def name(self) -> str:
        """The file's."""
        return self._source.name

    def read(self, size: int) -> bytes:
        """The next `size` inflated bytes; fewer only at the end.

        Raises:
            DiskError: it is no gzip file, damaged, cut short, followed by something else, or inflates to more than the
                limit (``E_DISK_COMPRESSION``).
            SourceError: the stored bytes cannot be read.
        """
        parts = []
        while size and (self._inflated or self._refill()):
            part, self._inflated = self._inflated[:size], self._inflated[size:]
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def _refill(self) -> bool:
        """Inflate some more; says whether there was more."""
        data = b""
        while not data:
            if self._is_between and not self._begin_member():
                return False
            data = self._inflate()
        self._total += len(data)
        if self._total > self._limit:
            raise self._refused(
                f"it inflates to more than {self._limit} bytes, expected no more for the disk it is said to hold",
                "The sizes that its package declares are wrong, or it is made to fill your disks.",
            )
        self._inflated = memoryview(data)
        return True

    def _begin_member(self) -> bool:
        """Whether another gzip member follows."""
        self._take()
        is_first = self._taken == len(self._stored)
        if not self._stored and not is_first:
            return False
        if not self._stored.startswith(_MAGIC[: max(1, len(self._stored))]):
            found = (
                "no gzip data" if is_first else f"other bytes behind the gzip data that end at byte {self._position}"
            )
            raise self._refused(
                f"found {found}, expected a gzip file and nothing else",
                "It is not compressed as its package says: export the package again.",
            )
        self._stream, self._is_between = zlib.decompressobj(_GZIP_ONLY), False
        return True

    def _inflate(self) -> bytes:
        """The next bytes of this gzip member; none at its end, or when more must be read."""
        self._take()
        has_more = bool(self._stored)
        most = min(_INFLATED_BYTES, self._limit - self._total + 1)
        try:
            data = self._stream.decompress(self._stored, most)
        except zlib.error as exc:
            reason = str(exc).rpartition(": ")[2]
            raise self._refused(f"its gzip data are damaged before byte {self._taken}: {reason}", _AGAIN) from exc
        self._is_between = self._stream.eof
        self._stored = self._stream.unused_data if self._stream.eof else self._stream.unconsumed_tail
        if not (data or has_more or self._is_between):
            raise self._refused(f"it ends at byte {self._position}, expected the rest of its gzip data", _AGAIN)
        return data

    def _take(self) -> None:
        """Have stored bytes, unless there are none left."""
        if not self._stored:
            self._stored = self._source.read(_STORED_BYTES)
            self._taken += len(self._stored)

    @property
    def _position(self) -> int:
        """Stored bytes that are done."""
        return self._taken - len(self._stored)

    def _refused(self, message: str, hint: str) -> DiskError:
        return DiskError(message, code="E_DISK_COMPRESSION", where=printable(self.name), hint=hint)


_AGAIN: Final = "The file is incomplete or damaged: copy or download the package again."
