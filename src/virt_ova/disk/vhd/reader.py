"""Reads a VHD, fixed or dynamic, where it lies in the package.

A dynamic disk says for every sector whether it was ever written. One that was not reads as zeros, whatever lies in its
place, as VirtualBox and Hyper-V read it.
"""

from __future__ import annotations

from virt_ova.disk.base import Buffer, DiskFormat, DiskReader
from virt_ova.disk.plain import BLOCK_BYTES, BlockPlaces, PlainReader, read_table
from virt_ova.disk.raw import RawReader
from virt_ova.disk.vhd import layout
from virt_ova.disk.vhd.layout import DynamicHeader, Footer
from virt_ova.errors import DiskError
from virt_ova.source.base import Member
from virt_ova.units import SECTOR_BYTES

_BITMAP_BYTES = BLOCK_BYTES // SECTOR_BYTES // 8
_ALL_WRITTEN = b"\xff" * _BITMAP_BYTES


def open_vhd(member: Member) -> DiskReader:
    """A reader for the VHD in `member`.

    Raises:
        DiskError: the image is damaged, unsafe, or needs another disk.
        SourceError: the member cannot be read.
    """
    data = member.read_at(member.size - layout.FOOTER.size, layout.FOOTER.size)
    footer = layout.parse_footer(data)
    if footer.disk_type == layout.TYPE_DYNAMIC:
        if member.read_at(0, layout.FOOTER.size) != data:
            raise DiskError(
                "VHD footer: found one that differs from its copy at the beginning, expected the same bytes",
                code="E_DISK_STRUCT",
                hint="The disk is damaged or cut short: copy or download the package again.",
            )
        return DynamicVhdReader(member, footer)
    if footer.capacity_bytes > member.size - layout.FOOTER.size:
        raise DiskError(
            f"the VHD footer says {footer.capacity_bytes} bytes, "
            f"expected at most the {member.size - layout.FOOTER.size} bytes before it",
            code="E_DISK_STRUCT",
            hint="The disk is damaged or cut short: copy or download the package again.",
        )
    return RawReader(member, disk_format=DiskFormat.VHD, size_bytes=footer.capacity_bytes)


class DynamicVhdReader(PlainReader):
    """A `virt_ova.disk.base.DiskReader` for dynamic disks."""

    def __init__(self, member: Member, footer: Footer) -> None:
        """Read header and block allocation table.

        Raises:
            DiskError: they are damaged or unsafe.
            SourceError: the member cannot be read.
        """
        if not 0 <= footer.header_offset <= member.size - layout.HEADER.size:
            raise DiskError(
                f"the VHD footer names a header at byte {footer.header_offset}, "
                f"expected one before the end at byte {member.size}",
                code="E_DISK_STRUCT",
            )
        header = layout.parse_header(member.read_at(footer.header_offset, layout.HEADER.size))
        super().__init__(DiskFormat.VHD, _places(member, footer, header).block_map())
        self._pieces_per_block = header.block_bytes // BLOCK_BYTES
        self._bitmaps = self._read_bitmaps(member, header)

    def decode(self, stored: memoryview, offset: int, ordinals: range) -> list[Buffer]:
        """See `virt_ova.disk.base.DiskReader.decode`."""
        blocks = super().decode(stored, offset, ordinals)
        for place, ordinal in enumerate(ordinals):
            number, piece = divmod(self.block_map.numbers[ordinal], self._pieces_per_block)
            if bitmap := self._bitmaps.get(number):
                blocks[place] = _masked(blocks[place], bitmap[piece * _BITMAP_BYTES : (piece + 1) * _BITMAP_BYTES])
        return blocks

    def _read_bitmaps(self, member: Member, header: DynamicHeader) -> dict[int, bytes]:
        """The bitmap of every stored block that was not written as a whole, which is rare."""
        bitmaps = {}
        for number, offset in zip(self.block_map.numbers, self.block_map.offsets, strict=True):
            block, piece = divmod(number, self._pieces_per_block)
            if piece == 0:
                bitmap = member.read_at(offset - header.bitmap_bytes, header.bitmap_bytes)
                if not bitmap.startswith(_ALL_WRITTEN * self._pieces_per_block):
                    bitmaps[block] = bitmap
        return bitmaps


def _places(member: Member, footer: Footer, header: DynamicHeader) -> BlockPlaces:
    needed = -(-footer.capacity_bytes // header.block_bytes)
    if needed > header.table_entries:
        raise DiskError(
            f"VHD header: found {header.table_entries} table entries, expected {needed} for a disk of "
            f"{footer.capacity_bytes} bytes",
            code="E_DISK_STRUCT",
        )
    places = BlockPlaces(
        member,
        capacity_bytes=footer.capacity_bytes,
        block_bytes=header.block_bytes,
        first_byte=layout.FOOTER.size + header.bitmap_bytes,
    )
    table = read_table(member, header.table_offset, needed, typecode="I", byteorder="big", unused=layout.BAT_UNUSED)
    for number, sector in table:
        places.add(number, sector * SECTOR_BYTES + header.bitmap_bytes)
    return places


def _masked(block: Buffer, bits: bytes) -> Buffer:
    """`block` with zeros for every sector whose bit, highest first, is clear."""
    masked = bytearray(block)
    for sector in range(-(-len(masked) // SECTOR_BYTES)):
        if not bits[sector // 8] & 0x80 >> sector % 8:
            masked[sector * SECTOR_BYTES : (sector + 1) * SECTOR_BYTES] = bytes(SECTOR_BYTES)
    return masked
