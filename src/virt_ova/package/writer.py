"""Writes an OVA whose files come one after the other, of sizes that nobody knows before.

DSP0243 5.3 wants the descriptor first, and the descriptor tells the sizes of the files behind it. So room is left for
it, and for the manifest, whose length is known; both are written last. What the descriptor leaves of its room is filled
with line ends, which XML allows behind the root element. So every byte of a file is written once, to its place, and no
file is ever moved or copied.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from virt_ova.disk.base import Buffer, Sink
from virt_ova.disk.pump import PIECE_BYTES, Piece, Run, pump
from virt_ova.errors import PackageError, TargetError
from virt_ova.source.tarheader import BLOCK_BYTES, make_header
from virt_ova.units import KIB

_ALIGNMENT: Final = 4 * KIB
"""Pieces begin at its multiples in the package, so that they can be written past the page cache."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WrittenFile:
    """A file that is whole in the package: bytes, and digests in hex by algorithm (``SHA256``)."""

    name: str
    size: int
    digests: Mapping[str, str] = field(repr=False)


class OvaMember:
    """A file of the package that is being written.

    Attributes:
        name: in the package.
        offset: where its bytes begin.
        size: bytes so far.
    """

    def __init__(self, sink: Sink, name: str, offset: int, algorithms: Sequence[str]) -> None:
        self._sink, self._algorithms = sink, algorithms
        self.name, self.offset, self.size = name, offset, 0
        self._digests = _Digests(algorithms)

    def restart(self) -> None:
        """Begin again: what was written so far does not count."""
        self.size, self._digests = 0, _Digests(self._algorithms)

    def take(self, read: Callable[[int], bytes], advance: Callable[[int], None]) -> None:
        """Write what `read` gives, so many bytes at most, until it gives none.

        When `read` fails, everything that it gave before is written, hashed, and counted in `size`.

        Args:
            read: gives the next bytes.
            advance: is told of every so many bytes done.

        Raises:
            TargetError: `read` failed, or the sink.
        """
        failures: list[TargetError] = []

        def pieces() -> Iterator[Piece]:
            try:
                while data := read(PIECE_BYTES - (self.offset + self.size) % _ALIGNMENT):
                    place = self.offset + self.size
                    self.size += len(data)
                    yield Piece(offset=place, data=data)
            except TargetError as exc:
                failures.append(exc)

        pump(pieces(), self._sink, place=_in_place, hasher=self._digests, advance=advance, threads=1)
        if failures:
            raise failures[0]

    def written(self) -> WrittenFile:
        """What there is of it now."""
        return WrittenFile(name=self.name, size=self.size, digests=self._digests.hex())


class OvaWriter:
    """An OVA that is being written to a sink; `begin` and `end` each file in turn, then `finish`."""

    def __init__(self, sink: Sink, *, stem: str, names: Sequence[str], room_bytes: int, algorithm: str) -> None:
        """Leave room.

        Args:
            sink: an empty file, which takes bytes at any offset.
            stem: name of descriptor and manifest, without their endings; ASCII, as all names are.
            names: of the files, in their order.
            room_bytes: the descriptor may have as many.
            algorithm: of the manifest: ``SHA256``.
        """
        self._sink, self._stem, self._algorithm = sink, stem, algorithm
        self._modified = int(time.time())
        self._room = _padded(room_bytes)
        digits = 2 * hashlib.new(algorithm.lower(), usedforsecurity=False).digest_size
        lines = (_line(algorithm, name, "0" * digits) for name in (f"{stem}.ovf", *names))
        self._manifest_bytes = sum(map(len, lines))
        self._position = 2 * BLOCK_BYTES + self._room + _padded(self._manifest_bytes)
        self._written: list[WrittenFile] = []

    def begin(self, name: str, *, also: Sequence[str] = ()) -> OvaMember:
        """The next file; its digests are the manifest's, and those that are asked for `also`."""
        algorithms = tuple(dict.fromkeys((self._algorithm, *also)))
        return OvaMember(self._sink, name, self._position + BLOCK_BYTES, algorithms)

    def end(self, member: OvaMember) -> WrittenFile:
        """The file of `begin` is whole. Raises `TargetError`."""
        written = member.written()
        self._put(self._position, make_header(written.name, written.size, modified=self._modified))
        self._position = member.offset + _padded(written.size)
        if padding := self._position - member.offset - written.size:
            self._put(member.offset + written.size, bytes(padding))
        self._written.append(written)
        return written

    def finish(self, descriptor: bytes) -> tuple[WrittenFile, ...]:
        """All files are there: write what stands before them, and make the whole durable.

        Raises:
            PackageError: the descriptor is longer than the room for it (``E_EXPORT``).
            TargetError: the sink cannot be written.
        """
        if len(descriptor) > self._room:
            raise PackageError(
                f"the descriptor has {len(descriptor)} bytes, expected at most the {self._room} that were left for it",
                code="E_EXPORT",
                hint="The machine was changed meanwhile: export it again, and let nobody change it.",
            )
        text = descriptor.ljust(self._room, b"\n")
        first = _Digests((self._algorithm,))
        first.update(text)
        written = (WrittenFile(name=f"{self._stem}.ovf", size=len(text), digests=first.hex()), *self._written)
        manifest = b"".join(_line(self._algorithm, each.name, each.digests[self._algorithm]) for each in written)
        head = (
            make_header(written[0].name, len(text), modified=self._modified) + text,
            make_header(f"{self._stem}.mf", len(manifest), modified=self._modified),
            manifest.ljust(_padded(len(manifest)), b"\0"),
        )
        self._put(0, b"".join(head))
        self._put(self._position, bytes(2 * BLOCK_BYTES))
        self._sink.finish(self._position + 2 * BLOCK_BYTES)
        return written

    def _put(self, offset: int, data: bytes) -> None:
        self._sink.write_at(offset, [data])


class _Digests:
    """Several digests of the same bytes."""

    def __init__(self, algorithms: Sequence[str]) -> None:
        self._hashes = {each: hashlib.new(each.lower(), usedforsecurity=False) for each in algorithms}

    def update(self, data: Buffer, /) -> None:
        """Take the next bytes."""
        for each in self._hashes.values():
            each.update(data)

    def hex(self) -> dict[str, str]:
        """In lower-case hexadecimal, by algorithm."""
        return {algorithm: each.hexdigest() for algorithm, each in self._hashes.items()}


def _in_place(piece: Piece) -> list[Run]:
    return [Run(piece.offset, [piece.data])]


def _line(algorithm: str, name: str, digest: str) -> bytes:
    return f"{algorithm}({name})= {digest}\n".encode("ascii")


def _padded(size: int) -> int:
    """`size` in whole blocks."""
    return -(-size // BLOCK_BYTES) * BLOCK_BYTES
