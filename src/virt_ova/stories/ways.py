"""The ways to fill an image: what each needs, and what it does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from virt_ova.disk.base import DiskReader, DiskWriter, Sink
from virt_ova.disk.copy import copy_disk, write_blank
from virt_ova.disk.pump import Hasher, read_spans, spans_between
from virt_ova.disk.qcow2.transplant import TransplantLayout
from virt_ova.disk.send import send_disk, send_file
from virt_ova.disk.transplant import transplant_disk
from virt_ova.disk.vmdk.stream import StreamLayout, send_stream
from virt_ova.plan.inputs import Backing
from virt_ova.plan.plan import DiskMode
from virt_ova.source.base import Member

Advance = Callable[[int], None]
"""Is told of every so many bytes of the member done."""

Fill = Callable[[Sink, Hasher | None, Advance], None]
"""Writes the image, and feeds every byte of its member to the hasher."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Way:
    """A way to fill an image.

    Attributes:
        mode: its word.
        size_bytes: most length that the image can have.
        needed_bytes: most room that the image is expected to take.
        fill: does it; raises as `virt_ova.stories.placement.Placement.write`.
        backing: what the image lies on; None for one that stands alone.
    """

    mode: DiskMode
    size_bytes: int
    needed_bytes: int
    fill: Fill
    backing: Backing | None = None


def blank(writer: DiskWriter) -> Way:
    """A disk without content: the metadata is all."""
    return Way(
        mode=DiskMode.EXPAND,
        size_bytes=writer.size_bytes,
        needed_bytes=writer.size_bytes if writer.maps_blocks else 0,
        fill=lambda sink, _hasher, _advance: write_blank(writer, sink),
    )


def expansion(member: Member, reader: DiskReader, writer: DiskWriter) -> Way:
    """A disk whose blocks are decoded."""

    def fill(sink: Sink, hasher: Hasher | None, advance: Advance) -> None:
        copy_disk(member, reader, writer, sink, hasher=hasher, advance=advance)

    stored_bytes = len(reader.block_map) * reader.block_map.block_bytes
    return Way(
        mode=DiskMode.EXPAND,
        size_bytes=writer.size_bytes,
        needed_bytes=writer.size_bytes if writer.maps_blocks else stored_bytes,
        fill=fill,
    )


def transplant(member: Member, reader: DiskReader, layout: TransplantLayout) -> Way:
    """A disk whose blocks are taken as they are; as if none could be shared, and as many expanded as there may be."""

    def fill(sink: Sink, hasher: Hasher | None, advance: Advance) -> None:
        transplant_disk(member, reader, layout, sink, hasher=hasher, advance=advance)

    return Way(
        mode=DiskMode.TRANSPLANT, size_bytes=layout.max_size_bytes, needed_bytes=layout.max_size_bytes, fill=fill
    )


def host_expansion(member: Member, reader: DiskReader, expanded: Way) -> Way:
    """A disk that is sent as it is, and `expanded` where it goes; what is sent stays until then."""

    def fill(sink: Sink, hasher: Hasher | None, advance: Advance) -> None:
        send_disk(member, reader, sink, hasher=hasher, advance=advance)

    return Way(
        mode=DiskMode.HOST_EXPAND,
        size_bytes=expanded.size_bytes,
        needed_bytes=member.size + expanded.needed_bytes,
        fill=fill,
    )


def pass_through(member: Member, reader: DiskReader | None) -> Way:
    """A file that is sent as it is, for good: a disk that `reader` has checked, or any other file."""

    def fill(sink: Sink, hasher: Hasher | None, advance: Advance) -> None:
        if reader is None:
            send_file(member, sink, hasher=hasher, advance=advance)
        else:
            send_disk(member, reader, sink, hasher=hasher, advance=advance)

    return Way(mode=DiskMode.PASS_THROUGH, size_bytes=member.size, needed_bytes=member.size, fill=fill)


def restream(member: Member, reader: DiskReader, layout: StreamLayout) -> Way:
    """A disk that is made a stream-optimized VMDK; the bytes of its file are hashed once it is sent."""

    def fill(sink: Sink, hasher: Hasher | None, advance: Advance) -> None:
        send_stream(member, reader, layout, sink, advance=advance)
        if hasher:
            for piece in read_spans(spans_between(0, member.size), member.read_at):
                hasher.update(piece.data)
                advance(0)

    return Way(mode=DiskMode.STREAM, size_bytes=layout.size_bytes, needed_bytes=layout.size_bytes, fill=fill)
