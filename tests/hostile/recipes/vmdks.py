"""D: what a VMDK can be."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from tests.build.disks import sparse_vmdk, vmdk_descriptor
from tests.build.small import small_grains, small_vmdk
from tests.hostile.recipe import Make, Recipe, Stage, pack_disk, rows, with_disk
from tests.hostile.recipes.making import GRAIN, LAST, SECTORS, Fields, field, lazy, patched
from virt_ova.disk.vmdk import layout as vmdk
from virt_ova.units import GIB, KIB, MIB, SECTOR_BYTES

_VMDK: Final[Fields] = {
    "version": (4, "<I"),
    "flags": (8, "<I"),
    "capacity": (12, "<Q"),
    "grain": (20, "<Q"),
    "descriptor": (28, "<Q"),
    "descriptor_size": (36, "<Q"),
    "entries": (44, "<I"),
    "directory": (56, "<Q"),
    "overhead": (64, "<Q"),
    "newlines": (73, "4s"),
    "compression": (77, "<H"),
}


def _other_files() -> Iterator[Recipe]:
    """D01 to D03: VMDKs that name other files."""
    for kind in (
        "monolithicFlat",
        "vmfs",
        "twoGbMaxExtentFlat",
        "twoGbMaxExtentSparse",
        "fullDevice",
        "custom",
        "vmfsRawDeviceMap",
        "partitionedDevice",
        "vmfsSparse",
        "streamoptimized",
    ):
        yield Recipe(
            case="D01",
            name=kind,
            code="E_DISK_TYPE",
            make=_naming_the_secret('createType="streamOptimized"', f'createType="{kind}"'),
        )
    for extent in ('RW 8192 FLAT "{}" 0', 'RW 8192 VMFS "{}"', "RW 8192 ZERO", 'RW 8192 VMFSRDM "{}"'):
        make = _naming_the_secret(f'RW {SECTORS} SPARSE "disk.vmdk"', extent)
        yield Recipe(case="D01", name=extent.split()[2], code="E_DISK_TYPE", make=make)
    yield Recipe(case="D01", name="a descriptor alone", code="E_DISK_TYPE", make=_descriptor_alone)
    for line in ('parentFileNameHint="{}"', 'changeTrackPath="{}"', "parentCID=12345678"):
        old = "parentCID=ffffffff" if line.startswith("parentCID") else "version=1"
        new = line if line.startswith("parentCID") else f"version=1\n{line}"
        yield Recipe(case="D02", name=line.split("=")[0], code="E_DISK_PARENT", make=_naming_the_secret(old, new))
    lines = {
        "two extents": f'RW 1 SPARSE "a.vmdk"\nRW {SECTORS} SPARSE "b.vmdk"',
        "a path": 'RW 8192 SPARSE "../x"',
        "an absolute path": 'RW 8192 SPARSE "{}"',
        "a backslash": 'RW 8192 SPARSE "a\\b"',
        "an unknown key": 'evil="{}"',
        "no key at all": "{}",
        "no extent": "",
        "a key twice": 'createType="x"',
        "an include": 'include "{}"',
    }
    for name, line in lines.items():
        make = _naming_the_secret(f'RW {SECTORS} SPARSE "disk.vmdk"', line)
        yield Recipe(case="D03", name=name, code="E_DISK_DESCRIPTOR", make=make)
    large = vmdk_descriptor(SECTORS) + "# comment\n" * 14000
    makes: list[tuple[str, Make]] = [
        ("128 KiB and more", lazy(lambda: sparse_vmdk(SECTORS, small_grains(), descriptor=large))),
        ("at sector 0", lazy(lambda: _vmdk(descriptor=0))),
        ("2 GiB", lazy(lambda: _vmdk(descriptor_size=1 << 22))),
        ("2^64 sectors", lazy(lambda: _vmdk(descriptor_size=LAST))),
    ]
    yield from rows("D03", "E_DISK_DESCRIPTOR", makes)


def _naming_the_secret(old: str, new: str) -> Make:
    """A VMDK whose descriptor has `new` for `old`, with the path of the secret for ``{}``."""

    def make(stage: Stage) -> Path:
        text = vmdk_descriptor(SECTORS)
        assert old in text, old
        text = text.replace(old, new.replace("{}", str(stage.secret)))
        return pack_disk(stage, sparse_vmdk(SECTORS, small_grains(), descriptor=text))

    return make


def _descriptor_alone(stage: Stage) -> Path:
    head = '# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\ncreateType="monolithicFlat"\n'
    text = f'{head}RW 8192 FLAT "{stage.secret}" 0\n'
    return pack_disk(stage, text.encode())


def _vmdk_structure() -> Iterator[Recipe]:
    """D04, D10 and D12: headers, footers and tables of a VMDK."""
    image = small_vmdk()
    footer = len(image) - 2 * SECTOR_BYTES
    changes: dict[str, int | bytes] = {
        "version": 1,
        "flags": 0x10001,
        "capacity": SECTORS - 1,
        "grain": 64,
        "descriptor": 2,
        "descriptor_size": 1,
    }
    for name, value in changes.items():
        yield Recipe(
            case="D04",
            name=name,
            code="E_DISK_FOOTER",
            make=with_disk(patched(image, field(_VMDK, name, value, footer))),
        )
    others = {
        "names a footer": patched(image, field(_VMDK, "directory", LAST, footer)),
        "is missing": image[:footer],
        "is zeros": patched(image, (footer, bytes(SECTOR_BYTES))),
        "is behind 200 KiB of zeros": image + bytes(200 * KIB),
        "is behind junk": image + b"junk".ljust(SECTOR_BYTES, b"\1"),
        "has no end of the stream behind it": image[:-SECTOR_BYTES],
        "has half an end of the stream behind it": image[: -SECTOR_BYTES // 2],
        "has another end of the stream behind it": patched(image, (-SECTOR_BYTES, struct.pack("<QII", 0, 0, 4))),
        "has a marker of two sectors": patched(image, (footer - SECTOR_BYTES, struct.pack("<Q", 2))),
        "has a marker of a grain": patched(image, (footer - SECTOR_BYTES + 8, struct.pack("<I", 1))),
        "has a marker of another type": patched(image, (footer - SECTOR_BYTES + 12, struct.pack("<I", 2))),
    }
    yield from rows("D04", "E_DISK_FOOTER", [(name, with_disk(data)) for name, data in others.items()])
    yield Recipe(
        case="D04", name="other magic", code="E_DISK_FOOTER", make=with_disk(patched(image, (footer, b"EVIL")))
    )
    for name, sectors in {"2^41": 1 << 41, "2^53": 1 << 53, "2^63-1": (1 << 63) - 1, "2^64-1": LAST, "0": 0}.items():
        yield Recipe(
            case="D10", name=f"VMDK of {name} sectors", code="E_DISK_SIZE", make=lazy(partial(_vmdk, capacity=sectors))
        )
    fields: dict[str, Sequence[int | bytes]] = {
        "grain": (0, 3, 4, 8192, 1 << 62),
        "entries": (0, 1, 511, (1 << 32) - 1),
        "version": (0, 4, 1 << 31),
        "flags": (0x30001 | 8, 0x70003),
        "newlines": (b"\n \n\n",),
        "compression": (0, 2),
    }
    for name, values in fields.items():
        for value in values:
            make = lazy(partial(_vmdk, **{name: value}))
            yield Recipe(case="D12", name=f"{name} {value!r}", code="E_DISK_STRUCT", make=make)
    yield from rows("D12", "E_DISK_STRUCT", _wild_tables())


def _wild_tables() -> Iterator[tuple[str, Make]]:
    """Grain directory and tables that point where nothing is."""
    image = sparse_vmdk(SECTORS, small_grains(), footer=False)
    (directory,) = struct.unpack_from("<Q", image, 56)
    (table,) = struct.unpack_from("<I", image, directory * SECTOR_BYTES)
    end = len(image) // SECTOR_BYTES
    for sector in (0, 1, 2, end, 1 << 40, LAST - 1):
        yield f"directory at sector {sector}", with_disk(patched(image, field(_VMDK, "directory", sector)))
    for sector in (1, end, (1 << 32) - 1):
        yield (
            f"table at sector {sector}",
            with_disk(patched(image, (directory * SECTOR_BYTES, struct.pack("<I", sector)))),
        )
    for sector in (1, 2, end, (1 << 32) - 1):
        yield f"grain at sector {sector}", with_disk(patched(image, (table * SECTOR_BYTES, struct.pack("<I", sector))))
    beyond = patched(image, (table * SECTOR_BYTES + 4 * 100, struct.pack("<I", end - 2)))
    yield "a grain behind the disk", with_disk(beyond)


def _bombs() -> Iterator[Recipe]:
    """D09: small files that say they are huge."""
    bombs: dict[str, tuple[Callable[[], bytes], int]] = {
        "VMDK of 1 GiB in one grain": (partial(_grain_bomb, 32), GIB),
        "VMDK of 1 TiB in one table": (partial(_table_bomb, 1 << 15), 1 << 40),
    }
    for name, (make, capacity) in bombs.items():
        yield Recipe(case="D09", name=name, code="E_DISK_OVERLAP", make=lazy(make, capacity=str(capacity)))


def _grain_bomb(tables: int) -> bytes:
    """Every grain of `tables` tables is one and the same grain."""
    sectors = tables * 512 * 128
    image = sparse_vmdk(sectors, {n * 512: bytes(GRAIN) for n in range(tables)}, footer=False)
    (directory,) = struct.unpack_from("<Q", image, 56)
    places = struct.unpack_from(f"<{tables}I", image, directory * SECTOR_BYTES)
    (grain,) = struct.unpack_from("<I", image, places[0] * SECTOR_BYTES)
    return patched(image, *((place * SECTOR_BYTES, struct.pack("<512I", *[grain] * 512)) for place in places))


def _table_bomb(entries: int) -> bytes:
    """All entries of the directory name one and the same table."""
    sectors = entries * 512 * 128
    image = sparse_vmdk(sectors, {0: b"x" * GRAIN}, footer=False)
    (directory,) = struct.unpack_from("<Q", image, 56)
    (table,) = struct.unpack_from("<I", image, directory * SECTOR_BYTES)
    return patched(image, (directory * SECTOR_BYTES, struct.pack(f"<{entries}I", *[table] * entries)))


def _grains() -> Iterator[Recipe]:
    """D13: grains that are not what they should be."""
    image = sparse_vmdk(SECTORS, small_grains(), footer=False)
    offset = image.index(zlib.compress(small_grains()[0], 1)) - vmdk.GRAIN_MARKER.size
    room = 3 * SECTOR_BYTES

    def grain(data: bytes, lba: int = 0, size: int | None = None) -> bytes:
        marker = vmdk.GRAIN_MARKER.pack(lba, len(data) if size is None else size)
        assert len(marker + data) <= room
        return patched(image, (offset, marker + data))

    good = zlib.compress(small_grains()[0], 1)
    damaged = {
        "a byte too many": zlib.compress(bytes(GRAIN + 1)),
        "too few": zlib.compress(bytes(GRAIN - 1)),
        "1 MiB": zlib.compress(bytes(MIB)),
        "no stream": b"\xff" * 100,
        "an empty stream": zlib.compress(b""),
        "another checksum": good[:-1] + bytes([good[-1] ^ 1]),
        "a cut stream": good[:-8],
        "a dictionary": b"\x78\xbb" + good[2:],
    }
    makes = [(name, with_disk(grain(data))) for name, data in damaged.items()]
    yield from rows("D13", "E_DISK_GRAIN", makes)
    markers = {
        "another sector": grain(good, lba=128),
        "an odd sector": grain(good, lba=1),
        "2^64 sectors": grain(good, lba=LAST),
        "a size of 0": grain(good, size=0),
        "a size of 4 GiB": grain(good, size=(1 << 32) - 1),
    }
    yield from rows("D13", "E_DISK_GRAIN", [(name, with_disk(data)) for name, data in markers.items()])
    backwards = sparse_vmdk(SECTORS, small_grains(), order=lambda numbers: sorted(numbers, reverse=True))
    yield Recipe(case="D13", name="out of order", make=with_disk(backwards))


def _vmdk(**values: int | bytes) -> bytes:
    """A VMDK with other fields in its header and its footer."""
    image = small_vmdk()
    bases = (0, len(image) - 2 * SECTOR_BYTES)
    return patched(image, *(field(_VMDK, name, value, base) for base in bases for name, value in values.items()))


RECIPES: Final = (*_other_files(), *_vmdk_structure(), *_bombs(), *_grains())
