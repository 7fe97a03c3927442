"""A screenshot: PNG or PPM in, PNG out.

QEMU writes PPM, and PNG since 7.1; libvirt hands on what it gets. Of both only what QEMU writes is read: 8 bits a
channel, RGB, not interlaced (ISO/IEC 15948; https://netpbm.sourceforge.net/doc/ppm.html). The guest chooses the size,
so that is bounded before memory is spent on it.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, starmap
from operator import add
from typing import Final

MAX_PIXELS: Final = 16 << 20
"""Largest picture that is read; VGA as planned here has less than half of it."""

MAX_BYTES: Final = 4 * MAX_PIXELS
"""Longest file that is read."""

RGB: Final = 3
"""Bytes of a pixel."""

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_CHUNK: Final = struct.Struct(">I4s")
_HEADER: Final = struct.Struct(">IIBBBBB")
_RGB_8_BITS: Final = (8, 2, 0, 0, 0)
"""Depth, colour type, compression, filter, interlace."""

_PPM: Final = re.compile(rb"P6\s+(\d{1,5})\s+(\d{1,5})\s+255\s")


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """Pixels: `height` rows of `width` times red, green, blue."""

    width: int
    height: int
    rows: tuple[bytes, ...]


def read_picture(data: bytes) -> Picture | None:
    """The picture in a PNG or PPM file; None when it is neither, damaged, too large or empty."""
    try:
        return _read_png(data) if data.startswith(_SIGNATURE) else _read_ppm(data)
    except (struct.error, zlib.error, ValueError):
        return None


def write_png(picture: Picture) -> bytes:
    """`picture` as a PNG file."""
    lines = b"".join(b"\0" + row for row in picture.rows)
    header = _HEADER.pack(picture.width, picture.height, *_RGB_8_BITS)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines, 9)), (b"IEND", b""))
    return _SIGNATURE + b"".join(
        _CHUNK.pack(len(content), kind) + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )


def _read_ppm(data: bytes) -> Picture | None:
    if (found := _PPM.match(data)) is None:
        return None
    return _picture(int(found[1]), int(found[2]), data[found.end() :])


def _picture(width: int, height: int, pixels: bytes) -> Picture | None:
    stride = width * RGB
    if not 0 < width * height <= MAX_PIXELS or len(pixels) < stride * height:
        return None
    rows = tuple(pixels[start : start + stride] for start in range(0, stride * height, stride))
    return Picture(width=width, height=height, rows=rows)


def _read_png(data: bytes) -> Picture | None:
    chunks = list(_chunks(data))
    width, height, *kind = _HEADER.unpack(b"".join(content for name, content in chunks if name == b"IHDR"))
    if not 0 < width * height <= MAX_PIXELS or tuple(kind) != _RGB_8_BITS:
        return None
    size = height * (1 + width * RGB)
    packed = b"".join(content for name, content in chunks if name == b"IDAT")
    lines = zlib.decompressobj().decompress(packed, size)
    return _picture(width, height, b"".join(_unfiltered(lines, 1 + width * RGB))) if len(lines) == size else None


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and content of each chunk. Raises `struct.error` when the last one is cut short."""
    position, name = len(_SIGNATURE), b""
    while name != b"IEND":
        length, name = _CHUNK.unpack_from(data, position)
        position += _CHUNK.size
        yield name, data[position : position + length]
        position += length + 4


def _unfiltered(lines: bytes, stride: int) -> Iterator[bytes]:
    """The rows of a PNG, each from its filter byte and `stride` - 1 bytes of difference (ISO/IEC 15948, 9.2)."""
    above = bytes(stride - 1)
    for start in range(0, len(lines), stride):
        row = lines[start + 1 : start + stride]
        match lines[start]:
            case 0:
                above = row
            case 1:
                above = _from_left(row)
            case 2:
                above = _from_above(row, above)
            case 3:
                above = _from_average(row, above)
            case 4:
                above = _from_paeth(row, above)
            case unknown:
                raise ValueError(unknown)
        yield above


def _from_left(row: bytes) -> bytes:
    whole = bytearray(len(row))
    for channel in range(RGB):
        whole[channel::RGB] = bytes(each & 0xFF for each in accumulate(row[channel::RGB]))
    return bytes(whole)


def _from_above(row: bytes, above: bytes) -> bytes:
    if row.count(0) == len(row):
        return above
    return bytes(each & 0xFF for each in starmap(add, zip(row, above, strict=True)))


def _from_average(row: bytes, above: bytes) -> bytes:
    whole = bytearray(RGB) + row
    for place, up in enumerate(above):
        whole[place + RGB] = whole[place + RGB] + ((whole[place] + up) >> 1) & 0xFF
    return bytes(whole[RGB:])


def _from_paeth(row: bytes, above: bytes) -> bytes:
    whole, corners = bytearray(RGB) + row, bytes(RGB) + above
    for place, up in enumerate(above):
        left, corner = whole[place], corners[place]
        to_left, to_up, to_corner = abs(up - corner), abs(left - corner), abs(left + up - 2 * corner)
        nearest = left if to_left <= to_up and to_left <= to_corner else up if to_up <= to_corner else corner
        whole[place + RGB] = whole[place + RGB] + nearest & 0xFF
    return bytes(whole[RGB:])
