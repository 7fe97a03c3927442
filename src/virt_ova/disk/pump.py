"""Moves a member through hashing and placing, piece by piece.

Each piece is read once, by one thread; hashed, in order, by another; and placed by as many as there are processors, or
by the first where nothing is to be decoded.
What is verified are so the very bytes that are used, and the pieces under way bound the memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Final, Protocol

from virt_ova.disk.base import Buffer, Sink
from virt_ova.source.base import ForwardReader
from virt_ova.workers import Workers

PIECE_BYTES: Final = 2 << 20
"""Most bytes of a piece, stored and placed alike."""


class Hasher(Protocol):
    """What of a hashlib object is used."""

    def update(self, data: Buffer, /) -> None:
        """Take the next bytes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """A run of a member's bytes; `ordinals` are the blocks that it is read for."""

    offset: int
    size: int
    ordinals: range = range(0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """The `data` of a span that begins at byte `offset`; `ordinals` are the blocks in it."""

    offset: int
    data: bytes
    ordinals: range = range(0)


@dataclass(frozen=True, slots=True)
class Run:
    """Buffers that follow each other in the image, from `offset`."""

    offset: int
    buffers: list[Buffer]


def spans_between(start: int, end: int) -> Iterator[Span]:
    """The bytes from `start` to `end`, without blocks."""
    for offset in range(start, end, PIECE_BYTES):
        yield Span(offset=offset, size=min(PIECE_BYTES, end - offset))


def read_spans(spans: Iterable[Span], read_at: Callable[[int, int], bytes]) -> Iterator[Piece]:
    """The bytes of each span, by `read_at` (offset, size)."""
    for span in spans:
        yield Piece(offset=span.offset, data=read_at(span.offset, span.size), ordinals=span.ordinals)


def read_pieces(source: ForwardReader) -> Iterator[Piece]:
    """What `source` has, from front to back."""
    offset = 0
    while data := source.read(PIECE_BYTES):
        yield Piece(offset=offset, data=data)
        offset += len(data)


def pump(
    pieces: Iterable[Piece],
    sink: Sink,
    *,
    place: Callable[[Piece], list[Run]],
    hasher: Hasher | None,
    advance: Callable[[int], None],
    threads: int,
) -> None:
    """Take every piece through `hasher` and `place` to `sink`.

    Args:
        pieces: in rising order; asked for in this thread, one at a time.
        sink: takes what is placed: in order from this thread, or at once from the placing threads.
        place: what of a piece goes where; called in the threads that place.
        hasher: is fed every piece in order; None when no digest is asked for.
        advance: is told in this thread of the bytes done.
        threads: how many place; this one does when there are none.

    Raises:
        VirtOvaError: whatever the callables raise.
    """

    def carry(piece: Piece) -> list[Run]:
        runs = place(piece)
        return runs if sink.in_order else _write(sink, runs)

    with Workers(1 if hasher else 0) as hashing, Workers(threads) as placing:

        def land(piece: _InFlight) -> None:
            _write(sink, placing.result(piece.placed))
            if piece.hashed:
                hashing.result(piece.hashed)
            advance(piece.size)

        window: deque[_InFlight] = deque()
        for piece in pieces:
            hashed = hashing.submit(hasher.update, piece.data) if hasher else None
            window.append(_InFlight(len(piece.data), hashed, placing.submit(carry, piece)))
            if len(window) > threads + 2:
                land(window.popleft())
        while window:
            land(window.popleft())


@dataclass(frozen=True, slots=True)
class _InFlight:
    """A piece on its way; it has arrived when it is hashed and placed."""

    size: int
    hashed: Future[None] | None
    placed: Future[list[Run]]


def _write(sink: Sink, runs: list[Run]) -> list[Run]:
    for run in runs:
        sink.write_at(run.offset, run.buffers)
    return []
