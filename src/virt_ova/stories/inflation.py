"""A disk whose file is gzip'd as a whole, on its way into a new image."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import assert_never

from virt_ova.disk.base import BlockMap, DiskWriter, Sink
from virt_ova.disk.forward import copy_forward
from virt_ova.disk.gzipped import GzippedDisk
from virt_ova.disk.pump import Hasher
from virt_ova.disk.qcow2.image import full_size_bytes
from virt_ova.disk.qcow2.writer import Qcow2Writer
from virt_ova.disk.raw import RawWriter
from virt_ova.disk.send import send_pieces
from virt_ova.errors import DiskError
from virt_ova.plan.plan import DiskMode, ImageFormat
from virt_ova.stories.ways import Advance, Way
from virt_ova.text import printable


def inflation(disk: GzippedDisk, image_format: ImageFormat) -> Way:
    """Inflated, and its blocks decoded, in one pass; as if every block held data, because which do is not known yet."""
    size_bytes = forward_size_bytes(disk.block_map, image_format)

    def fill(sink: Sink, hasher: Hasher | None, advance: Advance) -> None:
        """The stored bytes are hashed."""
        if sink.in_order and image_format is ImageFormat.QCOW2:
            raise DiskError(
                "a gzip'd disk cannot be written as qcow2 to a stream, expected raw or a file: what is in it is only "
                "known at its end",
                code="E_DISK_ORDER",
                where=printable(disk.member.name),
                hint="Use --format raw.",
            )

        def taken(data: bytes) -> None:
            if hasher:
                hasher.update(data)
            advance(len(data))

        copy_forward(disk.open(taken), sink, writer=forward_writer(image_format))

    return Way(mode=DiskMode.EXPAND, size_bytes=size_bytes, needed_bytes=size_bytes, fill=fill)


def inflated_bytes(disk: GzippedDisk) -> int:
    """Length of the image in `disk`, by inflating all of it. Raises `DiskError`, `SourceError`."""
    opened = disk.open()
    size = sum(len(piece.data) for piece in opened.pieces())
    opened.finish()
    return size


def inflated_as_it_is(disk: GzippedDisk, size_bytes: int) -> Way:
    """Inflated to `size_bytes`, and sent as it is then; the stored bytes are hashed."""

    def fill(sink: Sink, hasher: Hasher | None, advance: Advance) -> None:
        def taken(data: bytes) -> None:
            if hasher:
                hasher.update(data)

        opened = disk.open(taken)
        send_pieces(opened.pieces(), sink, hasher=None, advance=advance)
        opened.finish()
        sink.finish(size_bytes)

    return Way(mode=DiskMode.PASS_THROUGH, size_bytes=size_bytes, needed_bytes=size_bytes, fill=fill)


def forward_writer(image_format: ImageFormat) -> Callable[[BlockMap], DiskWriter]:
    """Makes the layout of an image whose blocks are only known at their end."""
    match image_format:
        case ImageFormat.QCOW2:
            return partial(Qcow2Writer, is_data_first=True)
        case ImageFormat.RAW:
            return RawWriter
    assert_never(image_format)


def forward_size_bytes(block_map: BlockMap, image_format: ImageFormat) -> int:
    """Length of such an image when every block holds data: which do is not known yet."""
    return full_size_bytes(block_map) if image_format is ImageFormat.QCOW2 else block_map.capacity_bytes
