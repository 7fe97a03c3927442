"""Passes files on as they are: a stream-optimized VMDK for a host that reads it itself, or anything else.

The host reads the disk by the tables that were checked here; that each grain's marker agrees with them is checked as it
passes, because QEMU does not look.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from virt_ova.disk.base import DiskFormat, DiskReader, Sink
from virt_ova.disk.copy import cut
from virt_ova.disk.pump import Hasher, Piece, Run, pump, read_spans, spans_between
from virt_ova.disk.vmdk.grains import check_markers
from virt_ova.errors import DiskError
from virt_ova.source.base import Member
from virt_ova.text import printable


def can_send(reader: DiskReader) -> bool:
    """Whether the disk is smaller as it is, and in a format whose safety was checked to the end."""
    return reader.format is DiskFormat.VMDK_STREAM


def send_disk(
    member: Member,
    reader: DiskReader,
    sink: Sink,
    *,
    hasher: Hasher | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> None:
    """Write `member` to `sink` byte for byte.

    Args:
        member: where the image lies.
        reader: one that `can_send`.
        sink: takes the member.
        hasher: is fed every byte of the member, in order; None when the digest is not asked for.
        advance: is told of every so many bytes of the member done, in this thread.

    Raises:
        DiskError: a grain's marker is damaged (``E_DISK_GRAIN``).
        SourceError: the member cannot be read.
        TargetError: the sink cannot be written.
    """
    block_map = reader.block_map

    def check(piece: Piece) -> list[Run]:
        try:
            check_markers(block_map, piece.data, piece.offset, piece.ordinals, member.size)
        except DiskError as exc:
            exc.at(printable(member.name))
            raise
        return _as_it_is(piece)

    pieces = read_spans(cut(block_map, member.size, every_byte=True), member.read_at)
    pump(pieces, sink, place=check, hasher=hasher, advance=advance, threads=0)
    sink.finish(member.size)


def send_file(
    member: Member,
    sink: Sink,
    *,
    hasher: Hasher | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> None:
    """Write `member` to `sink` byte for byte, whatever it is; arguments and errors as `send_disk`."""
    send_pieces(read_spans(spans_between(0, member.size), member.read_at), sink, hasher=hasher, advance=advance)
    sink.finish(member.size)


def send_pieces(pieces: Iterable[Piece], sink: Sink, *, hasher: Hasher | None, advance: Callable[[int], None]) -> None:
    """Write `pieces` to `sink` as they come; it is not finished yet. Arguments and errors as `send_disk`."""
    pump(pieces, sink, place=_as_it_is, hasher=hasher, advance=advance, threads=0)


def _as_it_is(piece: Piece) -> list[Run]:
    return [Run(piece.offset, [piece.data])]
