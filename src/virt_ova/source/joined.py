"""Members one behind the other, read as one: a file in chunks (DSP0243 7.1), a disk and those that it lies on."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from virt_ova.source.base import Member, truncated


class JoinedSource:
    """A `virt_ova.source.base.ByteSource` of several members, one behind the other.

    It owns nothing: the members' sources are closed by whoever opened them.

    Attributes:
        name: of the whole.
        parts: the members, in order; one that is joined itself is there by its own parts.
        size: of all of them.
    """

    def __init__(self, name: str, parts: Sequence[Member]) -> None:
        self.name = name
        self.parts = tuple(piece for part in parts for piece in _pieces(part))
        self._starts = tuple(accumulate((part.size for part in self.parts), initial=0))
        self.size = self._starts[-1]

    def read_at(self, offset: int, size: int) -> bytes:
        """See `ByteSource.read_at`; an error names the part that could not be read."""
        end = offset + size
        if offset < 0 or end > self.size:
            raise truncated(self.name, end, self.size)
        pieces = []
        index = max(0, bisect_right(self._starts, offset) - 1)
        while offset < end:
            within = offset - self._starts[index]
            piece = self.parts[index].read_at(within, min(end - offset, self.parts[index].size - within))
            pieces.append(piece)
            offset += len(piece)
            index += 1
        return b"".join(pieces)

    def fileno(self) -> None:
        """No single file holds it."""

    def check_unchanged(self) -> None:
        """Check every part."""
        for part in self.parts:
            part.source.check_unchanged()

    def close(self) -> None:
        """Nothing: see above."""


def _pieces(member: Member) -> tuple[Member, ...]:
    return member.source.parts if isinstance(member.source, JoinedSource) else (member,)
