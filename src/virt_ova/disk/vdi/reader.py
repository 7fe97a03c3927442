"""Reads a VDI, dynamic or fixed, where it lies in the package."""

from __future__ import annotations

from virt_ova.disk.base import DiskFormat
from virt_ova.disk.plain import BlockPlaces, PlainReader, read_table
from virt_ova.disk.vdi import layout
from virt_ova.source.base import Member


def open_vdi(member: Member) -> PlainReader:
    """A reader for the VDI in `member`.

    Raises:
        DiskError: the image is damaged, unsafe, or needs another one.
        SourceError: the member cannot be read.
    """
    header = layout.parse_header(member.read_at(0, layout.HEADER.size))
    places = BlockPlaces(
        member,
        capacity_bytes=header.capacity_bytes,
        block_bytes=header.block_bytes,
        first_byte=layout.HEADER.size,
    )
    table = read_table(
        member, header.map_offset, header.blocks, typecode="I", byteorder="little", unused=layout.BLOCK_FREE
    )
    for number, place in table:
        if place != layout.BLOCK_ZERO:
            places.add(number, header.data_offset + place * header.block_bytes)
    return PlainReader(DiskFormat.VDI, places.block_map())
