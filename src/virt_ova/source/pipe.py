"""Packages that can only be read once, from front to back: out of a pipe, a socket, or a gzip'd file.

The tar is walked as its bytes come. Small members that the caller wants (the descriptor, the manifest) are kept in
memory; every other member is handed out at the moment when its bytes come next, to be used there and then. What was
neither kept nor used is gone: reading it later is an error, never a guess.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import BinaryIO, Final

from virt_ova.errors import DiskError, SourceError
from virt_ova.source.base import Archive, ByteSource, ForwardReader, Member, MemberName, truncated
from virt_ova.source.gzipped import GzipReader
from virt_ova.source.tar import TarWalk
from virt_ova.text import printable, quoted
from virt_ova.units import MIB

MAX_KEPT_MEMBER_BYTES: Final = 4 * MIB
"""A member that is longer is never kept."""

MAX_KEPT_BYTES: Final = 32 * MIB
"""Of all that is kept."""

GZIP_MAGIC: Final = b"\x1f\x8b"
_SKIPPED_BYTES: Final = 1 << 20
_HEAD_BYTES: Final = 128 << 10
_TAIL_BYTES: Final = 4 << 10
"""So much of both ends of a member is kept, for a later look at what it was."""

SAVE_FIRST: Final = "Save the package to a file and give the file's path."


class FileReader:
    """A `ForwardReader` of an open binary file that cannot seek; it stays its owner's."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file = file
        self.name = name
        self._position = 0

    def read(self, size: int) -> bytes:
        """See `ForwardReader.read`; waits for the bytes."""
        pieces: list[bytes] = []
        missing = size
        while missing and (piece := self._read_some(missing)):
            pieces.append(piece)
            missing -= len(piece)
        self._position += size - missing
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _read_some(self, size: int) -> bytes:
        try:
            data = self._file.read(size)
        except OSError as exc:
            raise self._unreadable(exc.strerror or str(exc)) from exc
        if data is None:
            raise self._unreadable("it does not wait for its bytes (it is in non-blocking mode)")
        return data

    def _unreadable(self, reason: str) -> SourceError:
        return SourceError(
            f"{quoted(self.name)} cannot be read behind byte {self._position}: {printable(reason)}",
            code="E_SOURCE_READ",
        )


class InflatedReader:
    """A `ForwardReader` of a gzip'd package."""

    def __init__(self, reader: ForwardReader) -> None:
        self._reader = GzipReader(reader)
        self.name = reader.name

    def read(self, size: int) -> bytes:
        """See `ForwardReader.read`; raises `SourceError` (``E_GZIP``) for what is no sound gzip file."""
        try:
            return self._reader.read(size)
        except DiskError as exc:
            raise SourceError(exc.message, code="E_GZIP", where=exc.where, hint=exc.hint) from exc


class PipeSource:
    """A `virt_ova.source.base.ByteSource` whose bytes come once.

    Attributes:
        name: what to call it.
        size: its length once the end was seen; more than anything can have before.
    """

    def __init__(self, reader: ForwardReader, *, beneath: ByteSource | None = None) -> None:
        """Read `reader`; `beneath` is what is to be closed, and asked whether it changed."""
        self._reader, self._beneath = reader, beneath
        self.name = reader.name
        self.size = sys.maxsize
        self._position = 0
        self._kept: dict[int, bytes] = {}
        self._kept_bytes = 0

    def take(self, offset: int, size: int) -> bytes:
        """The next bytes, up to `size` from `offset`, which lies ahead; fewer only at the end.

        Raises:
            SourceError: it ends before `offset` (``E_SOURCE_TRUNCATED``), or cannot be read.
        """
        while self._position < offset:
            if not self._next(min(_SKIPPED_BYTES, offset - self._position)):
                raise truncated(self.name, offset, self._position)
        return self._next(size)

    def keep(self, offset: int, data: bytes) -> None:
        """Remember `data`, which stood at `offset`, while there is room."""
        if self._kept_bytes + len(data) <= MAX_KEPT_BYTES:
            self._kept[offset] = data
            self._kept_bytes += len(data)

    def read_at(self, offset: int, size: int) -> bytes:
        """See `ByteSource.read_at`; only what was kept can be read (``E_PIPE_ORDER``)."""
        if size == 0:
            return b""
        for start, data in self._kept.items():
            if start <= offset and offset + size <= start + len(data):
                return data[offset - start : offset - start + size]
        raise SourceError(
            f"byte {offset} of {quoted(self.name)} is needed out of turn, and it can only be read from front to back",
            code="E_PIPE_ORDER",
            hint=SAVE_FIRST,
        )

    def fileno(self) -> None:
        """None: the bytes of a pipe are nowhere."""

    def check_unchanged(self) -> None:
        """See `ByteSource.check_unchanged`; what comes from a pipe cannot change."""
        if self._beneath:
            self._beneath.check_unchanged()

    def close(self) -> None:
        """Release what is ours."""
        if self._beneath:
            self._beneath.close()

    def _next(self, size: int) -> bytes:
        data = self._reader.read(size)
        self._position += len(data)
        if len(data) < size:
            self.size = self._position
        return data


class PassingMember:
    """A `ForwardReader` of a member whose bytes come next.

    Attributes:
        member: which one it is, and where it stands.
        name: its name.
    """

    def __init__(self, member: Member, source: PipeSource) -> None:
        self.member = member
        self.name = member.name
        self._source = source
        self._done = 0
        self._head = self._tail = b""

    def read(self, size: int) -> bytes:
        """See `ForwardReader.read`; raises `SourceError` (``E_SOURCE_TRUNCATED``) when the member is cut short."""
        wanted = min(size, self.member.size - self._done)
        data = self._source.take(self.member.offset + self._done, wanted)
        self._done += len(data)
        if len(data) < wanted:
            raise truncated(self._source.name, self.member.offset + self.member.size, self.member.offset + self._done)
        if len(self._head) < _HEAD_BYTES:
            self._head += data[: _HEAD_BYTES - len(self._head)]
        self._tail = (self._tail + data[-_TAIL_BYTES:])[-_TAIL_BYTES:]
        return data

    def leave(self) -> None:
        """Pass over what was not read."""
        while self.read(_SKIPPED_BYTES):
            continue
        self._source.keep(self.member.offset, self._head)
        self._source.keep(self.member.offset + self.member.size - len(self._tail), self._tail)


class PassingTar:
    """A `virt_ova.source.base.Rest`: the members of an OVA that is read once.

    Attributes:
        waiting: the member whose bytes come next; None at the end.
    """

    def __init__(self, source: PipeSource, *, keeps: Callable[[MemberName], bool]) -> None:
        """Read up to the first member that is not kept.

        Args:
            source: the tar, at its first byte.
            keeps: which members are kept, as far as they are small.

        Raises:
            SourceError: as `virt_ova.source.tar.index_tar`.
        """
        self._source, self._keeps = source, keeps
        self._walk = TarWalk(source, source.take)
        self._members = iter(self._walk)
        self.waiting = self._advance()

    def __iter__(self) -> Iterator[PassingMember]:
        """Each member that is not kept; what is not read of it is passed over."""
        while self.waiting is not None:
            passing = PassingMember(self.waiting, self._source)
            yield passing
            passing.leave()
            self.waiting = self._advance()

    def archive(self) -> Archive:
        """The members that have passed or are kept; when more are to come, `Archive.rest` has them."""
        archive = self._walk.archive()
        if self.waiting is None:
            return archive
        there = {name: member for name, member in archive.members.items() if member is not self.waiting}
        return replace(archive, members=there, rest=self)

    def _advance(self) -> Member | None:
        """Keep members while they are to be kept; the next that is not."""
        for member in self._members:
            if not self._keeps(member.name):
                return member
            if member.size <= MAX_KEPT_MEMBER_BYTES:
                passing = PassingMember(member, self._source)
                self._source.keep(member.offset, passing.read(member.size))
        return None


def open_passing(
    reader: ForwardReader, *, keeps: Callable[[MemberName], bool], beneath: ByteSource | None = None
) -> Archive:
    """The beginning of an OVA that is read once, gzip'd or not.

    Args:
        reader: the package, at its first byte.
        keeps: which members are kept in memory, as far as they are small.
        beneath: what is to be closed with the archive.

    Raises:
        SourceError: as `virt_ova.source.tar.index_tar`; ``E_GZIP``.
    """
    head = reader.read(len(GZIP_MAGIC))
    whole = _Rewound(head, reader)
    source = PipeSource(InflatedReader(whole) if head == GZIP_MAGIC else whole, beneath=beneath)
    return PassingTar(source, keeps=keeps).archive()


class _Rewound:
    """A `ForwardReader` of `head` and what `reader` has behind it."""

    def __init__(self, head: bytes, reader: ForwardReader) -> None:
        self._head, self._reader = head, reader
        self.name = reader.name

    def read(self, size: int) -> bytes:
        """See `ForwardReader.read`."""
        taken, self._head = self._head[:size], self._head[size:]
        return taken + self._reader.read(size - len(taken)) if taken else self._reader.read(size)
