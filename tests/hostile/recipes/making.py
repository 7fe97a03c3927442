"""What recipes of disks are made with."""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Final

from tests.build.disks import convert
from tests.build.small import CAPACITY, small_disk
from tests.hostile.recipe import Make, pack_disk
from virt_ova.units import KIB, SECTOR_BYTES

SECTORS: Final = CAPACITY // SECTOR_BYTES
GRAIN: Final = 64 * KIB
LAST: Final = (1 << 64) - 1

Fields = Mapping[str, tuple[int, str]]
"""Offset and form (of `struct`) of the fields of a header, by name."""


def patched(image: bytes, *changes: tuple[int, bytes]) -> bytes:
    """`image` with other bytes at some offsets; a negative one counts from the end."""
    data = bytearray(image)
    for offset, new in changes:
        start = offset % len(data)
        data[start : start + len(new)] = new
    return bytes(data)


def field(fields: Fields, name: str, value: int | bytes, base: int = 0) -> tuple[int, bytes]:
    """A change of the field `name` of the header at `base`, for `patched`."""
    offset, form = fields[name]
    return base + offset, struct.pack(form, value)


@cache
def made(driver: str, *options: str) -> bytes:
    """The usual disk as another format, by qemu-img."""
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder, "raw")
        raw.write_bytes(small_disk())
        return convert(raw, Path(folder, "image"), driver, *options).read_bytes()


def lazy(make: Callable[[], bytes], **arguments: str) -> Make:
    """As `with_disk`, of an image that is made when it is needed."""
    return lambda stage: pack_disk(stage, make(), **arguments)
