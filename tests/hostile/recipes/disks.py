"""D: what other images can be, and what is said of any image."""

from __future__ import annotations

import gzip
import struct
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from tests.build.disks import convert
from tests.build.ova import build_ova, with_manifest
from tests.build.small import CAPACITY, edited, small_disk, small_members, small_vmdk
from tests.hostile.recipe import ACCEPTED, Make, Recipe, Stage, described, packed, rows, with_disk
from tests.hostile.recipes.making import lazy, made, patched
from virt_ova.disk.vhd import layout as vhd
from virt_ova.units import GIB, MIB, SECTOR_BYTES

_FORMATS: Final = {
    "qcow2": ("qcow2",),
    "VHD": ("vpc", "force_size=on"),
    "VDI": ("vdi",),
    "VHDX": ("vhdx",),
    "VMDK": ("vmdk",),
    "compressed qcow2": ("qcow2", "-c"),
    "raw": ("raw",),
}


def _bombs() -> Iterator[Recipe]:
    """D09, D10: small files that say they are huge."""
    for driver, name in (("vpc", "VHD"), ("vdi", "VDI")):
        make = lazy(partial(_block_bomb, driver), capacity=str(GIB))
        yield Recipe(case="D09", name=f"{name} of one block", code="E_DISK_OVERLAP", make=make)
    for size in (0, 1 << 62):
        make = lazy(partial(_vdi, disk_size=size))
        yield Recipe(case="D10", name=f"VDI of {size} bytes", code="E_DISK_SIZE", make=make)
        make = lazy(partial(_vhd, (40, struct.pack(">QQ", size, size))))
        yield Recipe(case="D10", name=f"VHD of {size} bytes", code="E_DISK_SIZE", make=make)


def _block_bomb(driver: str) -> bytes:
    """All entries of the table name the first block."""
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder, "raw")
        with raw.open("wb") as file:
            file.write(b"x" * MIB)
            file.truncate(GIB)
        image = convert(
            raw, Path(folder, "image"), driver, *(["force_size=on"] if driver == "vpc" else [])
        ).read_bytes()
    if driver == "vdi":
        (table,) = struct.unpack_from("<I", image, 0x154)
        return patched(image, (table, bytes(4 * 1024)))
    (table,) = struct.unpack_from(">Q", image, 512 + 16)
    return patched(image, (table, image[table : table + 4] * 512))


def _ambiguous() -> Iterator[Recipe]:
    """D07, D08: one format in the clothes of another."""
    iso = patched(bytes(CAPACITY), (0x8001, b"CD001"))
    two = {
        "ISO and qcow2": patched(iso, (0, made("qcow2")[:512])),
        "ISO and VMDK": patched(iso, (0, small_vmdk()[:512])),
        "qcow2 and VHD": patched(made("qcow2"), (-512, b"conectix")),
        "VMDK and VHD": small_vmdk() + b"conectix".ljust(512, b"\0"),
        "ISO and VHDX": patched(iso, (0, b"vhdxfile")),
        "ISO and VDI": patched(iso, (0x40, b"\x7f\x10\xda\xbe")),
        "qcow2 and VDI": patched(made("qcow2"), (0x40, b"\x7f\x10\xda\xbe")),
        "ISO and VHD": patched(iso, (-512, b"conectix")),
    }
    yield from rows("D07", "E_DISK_AMBIGUOUS", [(name, with_disk(data)) for name, data in two.items()])
    refused = {
        "QED": b"QED\0",
        "LUKS": b"LUKS\xba\xbe",
        "COWD": b"COWD",
        "Bochs": b"Bochs Virtual HD Image",
        "Parallels": b"WithoutFreeSpace",
        "gzip": b"\x1f\x8b\x08",
        "xz": b"\xfd7zXZ\0",
        "zip": b"PK\3\4",
    }
    yield from rows(
        "D07", "E_DISK_TYPE", [(name, with_disk(data.ljust(CAPACITY, b"\0"))) for name, data in refused.items()]
    )
    yield from rows(
        "D08",
        ACCEPTED,
        [(f"{driver} called VMDK", lazy(partial(made, *options))) for driver, options in _FORMATS.items()],
    )
    cut = lazy(lambda: made("qcow2")[:4], capacity="512")
    yield Recipe(case="D08", name="a magic and nothing else", code="E_DISK_FEATURE", make=cut)


def _capacities() -> Iterator[Recipe]:
    """D11, D17: sizes that disagree."""
    for declared in (CAPACITY * 2, CAPACITY // 2, 1 << 40):
        yield Recipe(
            case="D11",
            name=f"declared {declared}",
            code="E_DISK_CAPACITY",
            make=with_disk(small_vmdk(), capacity=str(declared)),
        )
    for text in ("-1", "1e9", str(1 << 70), "0x1000"):
        make = with_disk(small_vmdk(), capacity=text)
        yield Recipe(case="D11", name=f"declared {text}", code="E_OVF_VALUE", make=make)
    yield Recipe(case="D11", name="a blank disk without size", code="E_OVF_VALUE", make=_blank(""))
    yield Recipe(
        case="D11", name="a blank disk of 8 EiB", code="E_DISK_SIZE", make=_blank(f'ovf:capacity="{(1 << 63) - 1}"')
    )
    yield Recipe(case="D17", name="no bytes", code="E_DISK_SIZE", make=with_disk(b"", capacity="0"))
    udf = patched(bytes(80 << 10), (0x8001, b"BEA01"), (0x8801, b"NSR02"), (0x9001, b"TEA01"))
    cds = {"UDF": udf, "ISO of an odd length": bytes(0x8001) + b"CD001" + bytes(3001), "a byte": b"x", "no bytes": b""}
    for name, data in cds.items():
        yield Recipe(case="D17", name=f"a CD, {name}", make=_cd(data), then=partial(_has_cd, data))
    yield Recipe(case="D17", name="a CD, qcow2", code="E_DISK_CAPACITY", make=_qcow2_cd)


def _cd(data: bytes) -> Make:
    """A package that has `data` in a CD drive besides its disk."""
    members = edited(small_members(), "<References>", '<References><File ovf:id="cd" ovf:href="cd.iso"/>')
    drive = (
        "<Item><rasd:InstanceID>20</rasd:InstanceID><rasd:ResourceType>5</rasd:ResourceType></Item>"
        "<Item><rasd:AddressOnParent>0</rasd:AddressOnParent><rasd:HostResource>ovf:/file/cd</rasd:HostResource>"
        "<rasd:InstanceID>21</rasd:InstanceID><rasd:Parent>20</rasd:Parent><rasd:ResourceType>15</rasd:ResourceType></Item>"
    )
    end = "</VirtualHardwareSection>"
    return packed([*edited(members, end, drive + end), ("cd.iso", data)])


def _qcow2_cd(stage: Stage) -> Path | str:
    return _cd(made("qcow2"))(stage)


def _has_cd(data: bytes, machines: Path) -> bool:
    """Whether the CD is there byte for byte, in whole sectors."""
    return (machines / "vm" / "vm-cdrom1.iso").read_bytes() == data + bytes(-len(data) % SECTOR_BYTES)


def _blank(attributes: str) -> Make:
    old = f'ovf:fileRef="file1" ovf:capacity="{CAPACITY}"'
    return packed(edited(small_members(), old, attributes))


def _plain() -> Iterator[Recipe]:
    """D14: VHD, VDI and VHDX."""
    header, footer = 512, -512
    structs: dict[str, Sequence[tuple[int, bytes]]] = {
        "block size 0": [(header + 32, bytes(4))],
        "block size 3": [(header + 32, struct.pack(">I", 3))],
        "block size 2^31": [(header + 32, struct.pack(">I", 1 << 31))],
        "table outside": [(header + 16, struct.pack(">Q", 1 << 40))],
        "table of 2^64": [(header + 16, b"\xff" * 8)],
        "too few entries": [(header + 28, struct.pack(">I", 1))],
        "header outside": [(16, struct.pack(">Q", 1 << 40))],
        "header of 2^64": [(16, b"\xff" * 8)],
        "version 2": [(12, struct.pack(">I", 2 << 16))],
        "type 7": [(60, struct.pack(">I", 7))],
    }
    makes = [(f"VHD, {name}", lazy(partial(_vhd, *changes))) for name, changes in structs.items()]
    yield from rows("D14", "E_DISK_STRUCT", makes)
    broken: list[tuple[str, Make]] = [
        ("VHD, checksum", lazy(lambda: patched(made("vpc", "force_size=on"), (footer + 70, b"evil")))),
        ("VHD, copies differ", lazy(lambda: patched(made("vpc", "force_size=on"), (20, b"\1")))),
        ("VHD, block outside", lazy(lambda: patched(made("vpc", "force_size=on"), (1536, b"\x7f\xff\xff\xff")))),
        ("VHD, block in the tables", lazy(lambda: patched(made("vpc", "force_size=on"), (1536, bytes(4))))),
        ("VHD, cut", lazy(lambda: made("vpc", "subformat=fixed,force_size=on")[512:])),
    ]
    yield from rows("D14", "E_DISK_STRUCT", broken)
    differencing = lazy(partial(_vhd, (60, struct.pack(">I", 4))))
    yield Recipe(case="D14", name="VHD, differencing", code="E_DISK_PARENT", make=differencing)
    for name, code, change in (
        ("image type 4", "E_DISK_PARENT", (0x4C, struct.pack("<I", 4))),
        ("a parent's id", "E_DISK_PARENT", (0x1B8, b"\1" * 16)),
        ("a linked image", "E_DISK_PARENT", (0x1A8, b"\1" * 16)),
        ("version 2", "E_DISK_STRUCT", (0x44, struct.pack("<I", 2 << 16))),
        ("block size 0", "E_DISK_STRUCT", (0x178, bytes(4))),
        ("block size 3", "E_DISK_STRUCT", (0x178, struct.pack("<I", 3))),
        ("no blocks", "E_DISK_STRUCT", (0x180, bytes(4))),
        ("map outside", "E_DISK_STRUCT", (0x154, struct.pack("<I", 1 << 30))),
        ("data outside", "E_DISK_STRUCT", (0x158, struct.pack("<I", 1 << 30))),
        ("extra bytes", "E_DISK_STRUCT", (0x17C, struct.pack("<I", 1))),
    ):
        yield Recipe(case="D14", name=f"VDI, {name}", code=code, make=lazy(partial(_vdi, change)))
    for name, code, change in (
        ("both headers", "E_DISK_STRUCT", (0x10000, bytes(0x11000))),
        ("region table", "E_DISK_STRUCT", (0x30000, b"evil")),
        ("regions", "E_DISK_STRUCT", (0x30008, b"\xff\xff\xff\xff")),
        ("no BAT", "E_DISK_STRUCT", (0x30010, b"\0")),
    ):
        yield Recipe(case="D14", name=f"VHDX, {name}", code=code, make=lazy(partial(_vhdx, change)))


def _vhd(*changes: tuple[int, bytes]) -> bytes:
    """A dynamic VHD with changes in its first part, right checksums, and a footer that fits."""
    data = bytearray(patched(made("vpc", "force_size=on"), *changes))
    for start, size in ((0, 512), (512, 1024)):
        part = bytes(data[start : start + size])
        struct.pack_into(">i", data, start + vhd.CHECKSUM_OFFSETS[part[:8]], vhd.checksum_of(part))
    data[-512:] = data[:512]
    return bytes(data)


def _vdi(*changes: tuple[int, bytes], disk_size: int | None = None) -> bytes:
    size = () if disk_size is None else ((0x170, struct.pack("<Q", disk_size)),)
    return patched(made("vdi"), *changes, *size)


def _vhdx(*changes: tuple[int, bytes]) -> bytes:
    return patched(made("vhdx"), *changes)


def _compressed() -> Iterator[Recipe]:
    """D15, D16: files that are compressed, or in chunks."""
    gz = 'ovf:compression="gzip"'
    whole = gzip.compress(small_vmdk())
    damaged: dict[str, Callable[[], bytes]] = {
        "no gzip": small_vmdk,
        "cut": lambda: whole[:-100],
        "no length": lambda: whole[:-8],
        "junk behind": lambda: whole + b"junk",
        "another checksum": lambda: patched(whole, (-8, b"evil")),
        "another length": lambda: patched(whole, (-4, b"evil")),
        "zeros of 1 GiB": lambda: gzip.compress(small_disk()) + b"".join([gzip.compress(bytes(64 * MIB))] * 16),
        "a VMDK and zeros": lambda: gzip.compress(small_vmdk() + bytes(64 * MIB)),
    }
    yield from rows("D15", "E_DISK_COMPRESSION", [(name, lazy(make, attributes=gz)) for name, make in damaged.items()])
    yield Recipe(case="D15", name="a good one", make=with_disk(whole, attributes=gz))
    yield Recipe(case="D15", name="in capitals", make=with_disk(whole, attributes='ovf:compression="GZIP"'))
    for word in ("bzip2", "xz", "deflate", "../x"):
        make = with_disk(whole, attributes=f'ovf:compression="{word}"')
        yield Recipe(case="D15", name=f"said to be {word}", code="E_NOT_SUPPORTED", make=make)
    chunked = 'ovf:chunkSize="30000"'
    image = small_vmdk()
    pieces = [image[at : at + 30000] for at in range(0, len(image), 30000)]
    for name, names in {
        "one missing": {0: 0, 2: 2},
        "one too many": {0: 0, 1: 1, 2: 2, 3: 0},
        "two swapped": {0: 2, 1: 1, 2: 0},
        "a gap": {0: 0, 1: 1, 5: 2},
    }.items():
        files = [(f"a1.vmdk.{number:09}", pieces[piece]) for number, piece in names.items()]
        yield Recipe(case="D16", name=name, code="E_PKG_CHUNK", make=_chunked(chunked, files))
    good = [(f"a1.vmdk.{number:09}", piece) for number, piece in enumerate(pieces)]
    yield Recipe(case="D16", name="all there", make=_chunked(chunked, good))
    yield Recipe(
        case="D16", name="and the file", code="E_PKG_CHUNK", make=_chunked(chunked, [("a1.vmdk", image), *good])
    )
    tiny = _chunked('ovf:chunkSize="1"', good[:1])
    yield Recipe(case="D16", name="of one byte", code="E_PKG_CHUNK", make=tiny)
    parent = described('ovf:diskId="disk1"', 'ovf:diskId="disk1" ovf:parentRef="disk9"')
    yield Recipe(case="D16", name="a parent that is not there", code="E_OVF_REF", make=parent)


def _chunked(attributes: str, files: Sequence[tuple[str, bytes]]) -> Make:
    members = edited(small_members(), '<File ovf:id="file1"', f'<File ovf:id="file1" {attributes}')
    return lambda stage: build_ova(stage.ova, with_manifest([members[0], *files]))


RECIPES: Final = (*_ambiguous(), *_bombs(), *_capacities(), *_plain(), *_compressed())
