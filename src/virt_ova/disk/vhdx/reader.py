"""Reads a VHDX, dynamic or fixed, where it lies in the package.

An image that was not closed properly holds its last changes in a log. To apply them means to write; an appliance is
only read, so such an image is refused (``E_DISK_DIRTY``).
"""

from __future__ import annotations

from typing import Final

from virt_ova.disk.base import DiskFormat
from virt_ova.disk.plain import BlockPlaces, PlainReader, read_table
from virt_ova.disk.vhdx import layout
from virt_ova.disk.vhdx.layout import Geometry, Header, Range
from virt_ova.errors import DiskError
from virt_ova.source.base import Member

_DAMAGED: Final = "The disk is damaged or cut short: copy or download the package again."


def open_vhdx(member: Member) -> PlainReader:
    """A reader for the VHDX in `member`.

    Raises:
        DiskError: the image is damaged, unsafe, was not closed (``E_DISK_DIRTY``), or needs another one.
        SourceError: the member cannot be read.
    """
    if _read_header(member).log_id.int:
        raise DiskError(
            "the VHDX holds changes in its log, expected an image that was closed",
            code="E_DISK_DIRTY",
            hint="Let the program that made it finish: start and shut down the machine, then export it again.",
        )
    regions = layout.parse_regions(member.read_at(layout.REGION_TABLE_OFFSET, layout.REGION_TABLE_BYTES))
    geometry = _read_geometry(member, regions[layout.METADATA_REGION])
    return PlainReader(DiskFormat.VHDX, _places(member, regions[layout.BAT_REGION], geometry).block_map())


def _read_header(member: Member) -> Header:
    found = [layout.parse_header(member.read_at(at, layout.HEADER_BYTES)) for at in layout.HEADER_OFFSETS]
    valid = [header for header in found if header is not None]
    if not valid or (len(valid) > 1 and valid[0] != valid[1] and valid[0].sequence_number == valid[1].sequence_number):
        raise DiskError(
            f"found {len(valid)} valid VHDX headers with {len(set(valid))} contents, expected one that is the newest",
            code="E_DISK_STRUCT",
            hint=_DAMAGED,
        )
    return max(valid, key=lambda header: header.sequence_number)


def _read_geometry(member: Member, region: Range) -> Geometry:
    table = _read(member, Range(offset=region.offset, size=layout.METADATA_TABLE_BYTES), "metadata table")
    items = layout.parse_metadata(table)
    wanted = (
        (layout.FILE_PARAMETERS, layout.FILE_PARAMETERS_ITEM.size),
        (layout.VIRTUAL_DISK_SIZE, layout.VIRTUAL_DISK_SIZE_ITEM.size),
        (layout.LOGICAL_SECTOR_SIZE, layout.LOGICAL_SECTOR_SIZE_ITEM.size),
    )
    return layout.parse_geometry(
        *(
            _read(member, Range(offset=region.offset + items[item].offset, size=size), "metadata item")
            for item, size in wanted
        )
    )


def _places(member: Member, bat: Range, geometry: Geometry) -> BlockPlaces:
    if geometry.bat_entries * layout.BAT_ENTRY_BYTES > bat.size:
        raise DiskError(
            f"the VHDX has a BAT of {bat.size} bytes, expected {geometry.bat_entries} entries of 8 bytes",
            code="E_DISK_STRUCT",
            hint=_DAMAGED,
        )
    places = BlockPlaces(
        member,
        capacity_bytes=geometry.capacity_bytes,
        block_bytes=geometry.block_bytes,
        first_byte=layout.FIRST_REGION_OFFSET,
    )
    table = read_table(member, bat.offset, geometry.bat_entries, typecode="Q", byteorder="little", unused=0)
    for index, entry in table:
        chunk, position = divmod(index, geometry.chunk_ratio + 1)
        state = entry & layout.BAT_STATE_MASK
        if position == geometry.chunk_ratio or state in layout.BLOCK_STATES_ZERO:
            continue
        number = chunk * geometry.chunk_ratio + position
        if state != layout.BLOCK_FULLY_PRESENT:
            raise DiskError(f"block {number} is in state {state}, expected 0 to 3, 5 or 6", code="E_DISK_STRUCT")
        places.add(number, entry & layout.BAT_OFFSET_MASK)
    return places


def _read(member: Member, place: Range, what: str) -> bytes:
    if place.offset + place.size > member.size:
        raise DiskError(
            f"the VHDX {what} is said to lie at byte {place.offset}, "
            f"expected {place.size} bytes before the end at byte {member.size}",
            code="E_DISK_STRUCT",
            hint=_DAMAGED,
        )
    return member.read_at(place.offset, place.size)
