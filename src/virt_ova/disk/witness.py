"""Bytes that are read before the pass that verifies them.

A disk's tables are read when the disk is opened; the digest is taken later, in the pass that copies the disk. A file
may answer differently the second time, whatever its times say. So a `Witness` remembers the digest of everything that
was read through it before the pass began, and looks at the same bytes again as they pass by.
"""

from __future__ import annotations

import hashlib
from collections import deque
from dataclasses import dataclass, field, replace

from virt_ova.disk.base import Buffer
from virt_ova.disk.pump import Hasher
from virt_ova.errors import SourceError
from virt_ova.source.base import Member
from virt_ova.text import printable


@dataclass(slots=True)
class _Seen:
    """Bytes that were read: `end` is behind the last; `again` is their digest so far as they pass by."""

    start: int
    end: int
    digest: bytes
    again: hashlib.blake2b = field(default_factory=hashlib.blake2b)


class Witness:
    """A `virt_ova.source.base.ByteSource` that remembers what was read of one member, until its bytes begin to pass by.

    Attributes:
        member: the member, to be read through the witness.
    """

    def __init__(self, member: Member) -> None:
        self._source, self._origin, self._where = member.source, member.offset, printable(member.name)
        self._is_open = True
        self._seen: list[_Seen] = []
        self.member = replace(member, source=self)

    @property
    def name(self) -> str:
        """The source's."""
        return self._source.name

    @property
    def size(self) -> int:
        """The source's."""
        return self._source.size

    def read_at(self, offset: int, size: int) -> bytes:
        """See `ByteSource.read_at`."""
        data = self._source.read_at(offset, size)
        if self._is_open and data:
            start = offset - self._origin
            self._seen.append(_Seen(start, start + len(data), hashlib.blake2b(data).digest()))
        return data

    def fileno(self) -> int | None:
        """The source's."""
        return self._source.fileno()

    def check_unchanged(self) -> None:
        """See `ByteSource.check_unchanged`."""
        self._source.check_unchanged()

    def close(self) -> None:
        """The source belongs to the archive."""

    def compare(self, taker: Hasher) -> Comparison:
        """What is to be fed with every byte of the member, in order, and feeds `taker`; the first ends remembering."""
        return Comparison(self, taker)

    def forget(self) -> None:
        """Nothing will pass by: remember nothing."""
        self._is_open = False
        self._seen.clear()

    def testimony(self) -> list[_Seen]:
        """What was read, by where it begins; nothing more is remembered."""
        self._is_open = False
        fresh = (_Seen(seen.start, seen.end, seen.digest) for seen in self._seen)
        return sorted(fresh, key=lambda seen: seen.start)

    def changed(self) -> SourceError:
        """The error when bytes differ."""
        return SourceError(
            "it answered differently when its bytes were read again, expected a file that nobody changes",
            code="E_CHANGED",
            where=self._where,
            hint="Another program is writing to the package; wait for it and install again.",
        )


class Comparison:
    """A `Hasher` that compares the bytes of a member with what was read of them before."""

    def __init__(self, witness: Witness, taker: Hasher) -> None:
        self._witness, self._taker = witness, taker
        self._position = 0
        self._waiting: deque[_Seen] | None = None
        self._passing: list[_Seen] = []

    def update(self, data: Buffer, /) -> None:
        """Take the next bytes.

        Raises:
            SourceError: they are not those that were read before (``E_CHANGED``).
        """
        if self._waiting is None:
            self._waiting = deque(self._witness.testimony())
        start, self._position = self._position, self._position + len(data)
        while self._waiting and self._waiting[0].start < self._position:
            self._passing.append(self._waiting.popleft())
        view = memoryview(data)
        for seen in self._passing:
            seen.again.update(view[max(0, seen.start - start) : seen.end - start])
            if seen.end <= self._position and seen.again.digest() != seen.digest:
                raise self._witness.changed()
        self._passing = [seen for seen in self._passing if seen.end > self._position]
        self._taker.update(data)
