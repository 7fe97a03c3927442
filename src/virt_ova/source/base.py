"""Where bytes are.

A `ByteSource` is one run of bytes that can be read anywhere (a file, an open file object, a remote object); a `Member`
is a named range of one; an `Archive` is what a package is made of. Nothing here knows OVF, and nothing is ever
unpacked: a member is used where it lies.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NewType, Protocol

from virt_ova.errors import SourceError
from virt_ova.findings import Finding
from virt_ova.text import quoted

MemberName = NewType("MemberName", str)
"""A member's name that passed `virt_ova.source.names.check_member_name`; a dictionary key, never a path."""


def truncated(name: str, end: int, size: int) -> SourceError:
    """The error for a read up to byte `end` of something that has `size` bytes."""
    return SourceError(
        f"{quoted(name)} ends at byte {size}, expected at least {end} bytes",
        code="E_SOURCE_TRUNCATED",
        hint="The file is incomplete: copy or download it again.",
    )


class ByteSource(Protocol):
    """Bytes that can be read at any offset, by several threads at once."""

    @property
    def name(self) -> str:
        """What to call it in a message."""

    @property
    def size(self) -> int:
        """Length in bytes, fixed when it was opened."""

    def read_at(self, offset: int, size: int) -> bytes:
        """Exactly `size` bytes from `offset`.

        Raises:
            SourceError: fewer bytes are there (``E_SOURCE_TRUNCATED``), or they cannot be read (``E_SOURCE_READ``).
        """

    def fileno(self) -> int | None:
        """The descriptor of the local file behind it, or None when there is none."""

    def check_unchanged(self) -> None:
        """Compare with what was opened.

        Raises:
            SourceError: it changed since (``E_CHANGED``).
        """

    def close(self) -> None:
        """Release it."""


class ForwardReader(Protocol):
    """Bytes that can be read once, from front to back: a pipe, a decompressor."""

    @property
    def name(self) -> str:
        """What to call it in a message."""

    def read(self, size: int) -> bytes:
        """The next `size` bytes; fewer only at the end.

        Raises:
            SourceError: they cannot be read.
        """


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """One file of a package: `size` bytes at `offset` of `source`.

    `extents` are the sizes of the files that it was joined of, when each of them has a part of a disk of its own.
    """

    name: MemberName
    source: ByteSource = field(repr=False, compare=False)
    offset: int
    size: int
    extents: tuple[int, ...] = ()

    def read_at(self, offset: int, size: int) -> bytes:
        """Exactly `size` bytes from `offset` within the member.

        Raises:
            SourceError: the range leaves the member or the source fails.
        """
        if offset < 0 or size < 0 or offset + size > self.size:
            raise truncated(self.name, offset + size, self.size)
        return self.source.read_at(self.offset + offset, size)

    def read(self) -> bytes:
        """The whole member; for small members whose size was checked."""
        return self.read_at(0, self.size)


class Passing(ForwardReader, Protocol):
    """The bytes of one member, which come next and once."""

    @property
    def member(self) -> Member:
        """Which one it is."""


class Rest(Protocol):
    """What has not passed yet of a package that is read once."""

    @property
    def waiting(self) -> Member | None:
        """The member that comes next; None at the end."""

    def __iter__(self) -> Iterator[Passing]:
        """The members, each to be read before the next is asked for; what is not read of it is passed over.

        Raises:
            SourceError: as `virt_ova.source.tar.index_tar`.
        """

    def archive(self) -> Archive:
        """The package as far as it is known now."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Archive:
    """The members of a package, in their order.

    Attributes:
        kind: ``ova`` for a tar, ``ovf`` for a folder with a descriptor.
        name: what to call it in a message.
        members: by name.
        findings: what was odd but harmless.
        sources: everything to close, and to ask whether it changed.
        rest: what else there is, when it is only read later, and once; None when `members` is all.
    """

    kind: str
    name: str
    members: Mapping[MemberName, Member]
    findings: tuple[Finding, ...] = ()
    sources: tuple[ByteSource, ...] = field(repr=False)
    rest: Rest | None = field(default=None, repr=False, compare=False)

    def check_unchanged(self) -> None:
        """Raise `SourceError` (``E_CHANGED``) when any source changed since it was opened."""
        for source in self.sources:
            source.check_unchanged()

    def close(self) -> None:
        """Close every source."""
        for source in self.sources:
            source.close()
