"""D: what a disk image can be."""

from __future__ import annotations

import gzip
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Final

from tests.build.disks import convert, sparse_vmdk, vmdk_descriptor
from tests.build.ova import build_ova, with_manifest
from tests.build.small import CAPACITY, edited, small_disk, small_grains, small_members, small_vmdk
from tests.hostile.recipe import ACCEPTED, Make, Recipe, Stage, described, pack_disk, packed, rows, with_disk
from virt_ova.disk.vhd import layout as vhd
from virt_ova.disk.vmdk import layout as vmdk
from virt_ova.units import GIB, KIB, MIB, SECTOR_BYTES

_SECTORS: Final = CAPACITY // SECTOR_BYTES
_GRAIN: Final = 64 * KIB
_VMDK: Final = {
    "version": (4, "<I"), "flags": (8, "<I"), "capacity": (12, "<Q"), "grain": (20, "<Q"), "descriptor": (28, "<Q"),
    "descriptor_size": (36, "<Q"), "entries": (44, "<I"), "directory": (56, "<Q"), "overhead": (64, "<Q"),
    "newlines": (73, "4s"), "compression": (77, "<H"),
}  # fmt: skip
_QCOW2: Final = {
    "version": (4, ">I"), "backing": (8, ">Q"), "backing_size": (16, ">I"), "cluster_bits": (20, ">I"),
    "size": (24, ">Q"), "crypt": (32, ">I"), "l1_size": (36, ">I"), "l1": (40, ">Q"), "snapshots": (60, ">I"),
    "incompatible": (72, ">Q"), "header_length": (100, ">I"), "compression": (104, ">B"),
}  # fmt: skip
_LAST: Final = (1 << 64) - 1


def patched(image: bytes, *changes: tuple[int, bytes]) -> bytes:
    """`image` with other bytes at some offsets; a negative one counts from the end."""
    data = bytearray(image)
    for offset, new in changes:
        start = offset % len(data)
        data[start : start + len(new)] = new
    return bytes(data)


def _field(fields: dict[str, tuple[int, str]], name: str, value: int | bytes, base: int = 0) -> tuple[int, bytes]:
    offset, form = fields[name]
    return base + offset, struct.pack(form, value)


def _vmdk(*, footer: bool = True, **values: int | bytes) -> bytes:
    """A VMDK with other fields in its header, and in its footer if it has one."""
    image = sparse_vmdk(_SECTORS, small_grains(), footer=footer)
    bases = (0, len(image) - 2 * SECTOR_BYTES) if footer else (0,)
    return patched(image, *(_field(_VMDK, name, value, base) for base in bases for name, value in values.items()))


@cache
def _made(driver: str, *options: str) -> bytes:
    """The usual disk as another format, by qemu-img."""
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder, "raw")
        raw.write_bytes(small_disk())
        return convert(raw, Path(folder, "image"), driver, *options).read_bytes()


def _lazy(make: Callable[[], bytes], **arguments: str) -> Make:
    """As `with_disk`, of an image that is made when it is needed."""
    return lambda stage: pack_disk(stage, make(), **arguments)


def _other_files() -> Iterator[Recipe]:
    """D01 to D03: VMDKs that name other files."""
    for kind in ("monolithicFlat", "vmfs", "twoGbMaxExtentFlat", "twoGbMaxExtentSparse", "fullDevice", "custom",
                 "vmfsRawDeviceMap", "partitionedDevice", "vmfsSparse", "streamoptimized"):  # fmt: skip
        yield Recipe(case="D01", name=kind, code="E_DISK_TYPE", make=_naming_the_secret('createType="streamOptimized"', f'createType="{kind}"'))
    for extent in ('RW 8192 FLAT "{}" 0', 'RW 8192 VMFS "{}"', 'RW 8192 ZERO', 'RW 8192 VMFSRDM "{}"'):
        make = _naming_the_secret(f'RW {_SECTORS} SPARSE "disk.vmdk"', extent)
        yield Recipe(case="D01", name=extent.split()[2], code="E_DISK_TYPE", make=make)
    yield Recipe(case="D01", name="a descriptor alone", code="E_DISK_TYPE", make=_descriptor_alone)
    for line in ('parentFileNameHint="{}"', 'changeTrackPath="{}"', 'parentCID=12345678'):
        old = "parentCID=ffffffff" if line.startswith("parentCID") else "version=1"
        new = line if line.startswith("parentCID") else f"version=1\n{line}"
        yield Recipe(case="D02", name=line.split("=")[0], code="E_DISK_PARENT", make=_naming_the_secret(old, new))
    lines = {
        "two extents": f'RW 1 SPARSE "a.vmdk"\nRW {_SECTORS} SPARSE "b.vmdk"', "a path": 'RW 8192 SPARSE "../x"',
        "an absolute path": 'RW 8192 SPARSE "{}"', "a backslash": 'RW 8192 SPARSE "a\\b"', "an unknown key": 'evil="{}"',
        "no key at all": "{}", "no extent": "", "a key twice": 'createType="x"', "an include": 'include "{}"',
    }  # fmt: skip
    for name, line in lines.items():
        make = _naming_the_secret(f'RW {_SECTORS} SPARSE "disk.vmdk"', line)
        yield Recipe(case="D03", name=name, code="E_DISK_DESCRIPTOR", make=make)
    large = vmdk_descriptor(_SECTORS) + "# comment\n" * 7000
    makes: list[tuple[str, Make]] = [
        ("64 KiB and more", _lazy(lambda: sparse_vmdk(_SECTORS, small_grains(), descriptor=large))),
        ("at sector 0", _lazy(lambda: _vmdk(descriptor=0))),
        ("2 GiB", _lazy(lambda: _vmdk(descriptor_size=1 << 22))),
        ("2^64 sectors", _lazy(lambda: _vmdk(descriptor_size=_LAST))),
    ]
    yield from rows("D03", "E_DISK_DESCRIPTOR", makes)


def _naming_the_secret(old: str, new: str) -> Make:
    """A VMDK whose descriptor has `new` for `old`, with the path of the secret for ``{}``."""

    def make(stage: Stage) -> Path:
        text = vmdk_descriptor(_SECTORS)
        assert old in text, old
        text = text.replace(old, new.replace("{}", str(stage.secret)))
        return pack_disk(stage, sparse_vmdk(_SECTORS, small_grains(), descriptor=text))

    return make


def _descriptor_alone(stage: Stage) -> Path:
    text = f'# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\ncreateType="monolithicFlat"\nRW 8192 FLAT "{stage.secret}" 0\n'
    return pack_disk(stage, text.encode())


def _vmdk_structure() -> Iterator[Recipe]:
    """D04, D10 and D12: headers, footers and tables of a VMDK."""
    image = small_vmdk()
    footer = len(image) - 2 * SECTOR_BYTES
    changes: dict[str, int | bytes] = {
        "version": 1, "flags": 0x10001, "capacity": _SECTORS - 1, "grain": 64, "descriptor": 2, "descriptor_size": 1,
    }  # fmt: skip
    for name, value in changes.items():
        yield Recipe(case="D04", name=name, code="E_DISK_FOOTER", make=with_disk(patched(image, _field(_VMDK, name, value, footer))))
    others = {
        "names a footer": patched(image, _field(_VMDK, "directory", _LAST, footer)),
        "is missing": image[:footer],
        "is zeros": patched(image, (footer, bytes(SECTOR_BYTES))),
        "is behind 200 KiB of zeros": image + bytes(200 * KIB),
        "is behind junk": image + b"junk".ljust(SECTOR_BYTES, b"\1"),
    }
    yield from rows("D04", "E_DISK_FOOTER", [(name, with_disk(data)) for name, data in others.items()])
    yield Recipe(case="D04", name="other magic", code="E_DISK_FOOTER", make=with_disk(patched(image, (footer, b"EVIL"))))
    for name, sectors in {"2^41": 1 << 41, "2^53": 1 << 53, "2^63-1": (1 << 63) - 1, "2^64-1": _LAST, "0": 0}.items():
        yield Recipe(case="D10", name=f"VMDK of {name} sectors", code="E_DISK_SIZE", make=_lazy(partial(_vmdk, capacity=sectors)))
    fields: dict[str, Sequence[int | bytes]] = {
        "grain": (0, 3, 4, 8192, 1 << 62), "entries": (0, 1, 511, (1 << 32) - 1), "version": (0, 4, 1 << 31),
        "flags": (0x30001 | 8, 0x70003), "newlines": (b"\n \n\n",), "compression": (0, 2),
    }  # fmt: skip
    for name, values in fields.items():
        for value in values:
            make = _lazy(partial(_vmdk, **{name: value}))
            yield Recipe(case="D12", name=f"{name} {value!r}", code="E_DISK_STRUCT", make=make)
    yield from rows("D12", "E_DISK_STRUCT", _wild_tables())


def _wild_tables() -> Iterator[tuple[str, Make]]:
    """Grain directory and tables that point where nothing is."""
    image = sparse_vmdk(_SECTORS, small_grains(), footer=False)
    (directory,) = struct.unpack_from("<Q", image, 56)
    (table,) = struct.unpack_from("<I", image, directory * SECTOR_BYTES)
    end = len(image) // SECTOR_BYTES
    for sector in (0, 1, 2, end, 1 << 40, _LAST - 1):
        yield f"directory at sector {sector}", with_disk(patched(image, _field(_VMDK, "directory", sector)))
    for sector in (1, end, (1 << 32) - 1):
        yield f"table at sector {sector}", with_disk(patched(image, (directory * SECTOR_BYTES, struct.pack("<I", sector))))
    for sector in (1, 2, end, (1 << 32) - 1):
        yield f"grain at sector {sector}", with_disk(patched(image, (table * SECTOR_BYTES, struct.pack("<I", sector))))
    beyond = patched(image, (table * SECTOR_BYTES + 4 * 100, struct.pack("<I", end - 2)))
    yield "a grain behind the disk", with_disk(beyond)


def _bombs() -> Iterator[Recipe]:
    """D09, D10: small files that say they are huge."""
    yield Recipe(case="D09", name="VMDK of 1 GiB in one grain", code="E_DISK_OVERLAP", make=_lazy(partial(_grain_bomb, 32), capacity=str(GIB)))
    yield Recipe(
        case="D09", name="VMDK of 1 TiB in one table", code="E_DISK_OVERLAP",
        make=_lazy(partial(_table_bomb, 1 << 15), capacity=str(1 << 40)),
    )  # fmt: skip
    yield Recipe(case="D09", name="qcow2 of 64 TiB", code="E_DISK_OVERLAP", make=_lazy(_qcow2_bomb, capacity=str(64 << 40)))
    yield Recipe(case="D09", name="qcow2 of one cluster", code="E_DISK_OVERLAP", make=_lazy(_cluster_bomb, capacity=str(GIB)))
    yield Recipe(case="D09", name="VHD of one block", code="E_DISK_OVERLAP", make=_lazy(partial(_block_bomb, "vpc"), capacity=str(GIB)))
    yield Recipe(case="D09", name="VDI of one block", code="E_DISK_OVERLAP", make=_lazy(partial(_block_bomb, "vdi"), capacity=str(GIB)))
    for size in (1 << 50, (1 << 63) - 512, _LAST, 0, CAPACITY + 1):
        yield Recipe(case="D10", name=f"qcow2 of {size} bytes", code="E_DISK_SIZE", make=_qcow2(size=size))
    for size in (0, 1 << 62):
        make = _lazy(partial(_vdi, disk_size=size))
        yield Recipe(case="D10", name=f"VDI of {size} bytes", code="E_DISK_SIZE", make=make)
    for size in (0, 1 << 62):
        make = _lazy(partial(_vhd, (40, struct.pack(">QQ", size, size))))
        yield Recipe(case="D10", name=f"VHD of {size} bytes", code="E_DISK_SIZE", make=make)
    yield Recipe(case="D10", name="L1 of 16 MiB", code="E_DISK_LIMIT", make=_qcow2(size=1 << 40, cluster_bits=9, l1_size=1 << 25))


def _grain_bomb(tables: int) -> bytes:
    """Every grain of `tables` tables is one and the same grain."""
    sectors = tables * 512 * 128
    image = sparse_vmdk(sectors, {n * 512: bytes(_GRAIN) for n in range(tables)}, footer=False)
    (directory,) = struct.unpack_from("<Q", image, 56)
    places = struct.unpack_from(f"<{tables}I", image, directory * SECTOR_BYTES)
    (grain,) = struct.unpack_from("<I", image, places[0] * SECTOR_BYTES)
    return patched(image, *((place * SECTOR_BYTES, struct.pack("<512I", *[grain] * 512)) for place in places))


def _table_bomb(entries: int) -> bytes:
    """All entries of the directory name one and the same table."""
    sectors = entries * 512 * 128
    image = sparse_vmdk(sectors, {0: b"x" * _GRAIN}, footer=False)
    (directory,) = struct.unpack_from("<Q", image, 56)
    (table,) = struct.unpack_from("<I", image, directory * SECTOR_BYTES)
    return patched(image, (directory * SECTOR_BYTES, struct.pack(f"<{entries}I", *[table] * entries)))


def _qcow2_bomb() -> bytes:
    """All entries of the L1 table name one and the same L2 table."""
    entries = 1 << 17
    table = 2 * MIB
    header = patched(_made("qcow2")[:_GRAIN], _field(_QCOW2, "size", 64 << 40), _field(_QCOW2, "l1_size", entries))
    header = patched(header, _field(_QCOW2, "l1", _GRAIN))
    l1 = struct.pack(">Q", 1 << 63 | table) * entries
    return (header + l1).ljust(table, b"\0") + struct.pack(">Q", 1 << 63 | table + _GRAIN) * 8192 + bytes(_GRAIN)


def _cluster_bomb() -> bytes:
    """All entries of an L2 table name one and the same cluster."""
    header = patched(_made("qcow2")[:_GRAIN], _field(_QCOW2, "size", GIB), _field(_QCOW2, "l1_size", 2), _field(_QCOW2, "l1", _GRAIN))
    l1 = struct.pack(">QQ", 1 << 63 | 2 * _GRAIN, 1 << 63 | 3 * _GRAIN).ljust(_GRAIN, b"\0")
    return header + l1 + struct.pack(">Q", 1 << 63 | 4 * _GRAIN) * (2 * 8192) + b"x" * _GRAIN


def _block_bomb(driver: str) -> bytes:
    """All entries of the table name the first block."""
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder, "raw")
        with raw.open("wb") as file:
            file.write(b"x" * MIB)
            file.truncate(GIB)
        image = convert(raw, Path(folder, "image"), driver, *(["force_size=on"] if driver == "vpc" else [])).read_bytes()
    if driver == "vdi":
        (table,) = struct.unpack_from("<I", image, 0x154)
        return patched(image, (table, bytes(4 * 1024)))
    (table,) = struct.unpack_from(">Q", image, 512 + 16)
    return patched(image, (table, image[table : table + 4] * 512))


def _qcow2_features() -> Iterator[Recipe]:
    """D05, D06: what a qcow2 can ask for."""
    names = ("/etc/shadow", "../../etc/shadow", 'json:{"driver":"file","filename":"/etc/shadow"}', "nbd://127.0.0.1/x",
             "fat:/etc", "a\0b", "a1.vmdk", "http://127.0.0.1/x", "{}")  # fmt: skip
    for name in names:
        yield Recipe(case="D05", name=repr(name)[1:-1], code="E_DISK_BACKING", make=_backed_by(name))
    yield Recipe(case="D05", name="a size without a name", code="E_DISK_BACKING", make=_qcow2(backing_size=10))
    yield Recipe(case="D05", name="behind the end", code="E_DISK_BACKING", make=_qcow2(backing=1 << 60, backing_size=10))
    features: tuple[dict[str, int], ...] = (
        {"incompatible": 2}, {"incompatible": 4}, {"incompatible": 16}, {"incompatible": 32}, {"incompatible": 1 << 63},
        {"version": 0}, {"version": 1}, {"version": 4}, {"crypt": 1}, {"crypt": 2}, {"crypt": 99}, {"snapshots": 1},
        {"compression": 2, "incompatible": 8},
    )  # fmt: skip
    for values in features:
        name = " ".join(f"{key} {value:#x}" for key, value in values.items())
        yield Recipe(case="D06", name=name, code="E_DISK_FEATURE", make=_qcow2(**values))
    structures: tuple[dict[str, int], ...] = (
        {"header_length": 0}, {"header_length": 90}, {"header_length": 105}, {"cluster_bits": 0}, {"cluster_bits": 8},
        {"cluster_bits": 22}, {"cluster_bits": (1 << 32) - 1}, {"l1_size": 0}, {"l1": 0x1234}, {"l1": 1 << 60},
        {"l1": _LAST & ~0xFFFF}, {"compression": 1},
    )  # fmt: skip
    for values in structures:
        name = " ".join(f"{key} {value:#x}" for key, value in values.items())
        yield Recipe(case="D12", name=f"qcow2 {name}", code="E_DISK_STRUCT", make=_qcow2(**values))
    yield Recipe(case="D06", name="dirty", make=_qcow2(incompatible=1))
    for name, entry in {"reserved bits": 1 << 61, "beyond": 1 << 63 | 1 << 50, "odd": 1 << 63 | 0x200}.items():
        yield Recipe(case="D12", name=f"L1 entry {name}", code="E_DISK_STRUCT", make=_lazy(partial(_qcow2_entry, 1, entry)))
        yield Recipe(case="D12", name=f"L2 entry {name}", code="E_DISK_STRUCT", make=_lazy(partial(_qcow2_entry, 2, entry)))


def _qcow2(**values: int) -> Make:
    """A qcow2 with other fields in its header."""
    return _lazy(lambda: patched(_made("qcow2"), *(_field(_QCOW2, name, value) for name, value in values.items())))


def _backed_by(name: str) -> Make:
    """A qcow2 on a backing file."""

    def make(stage: Stage) -> Path:
        text = name.replace("{}", str(stage.secret)).encode()
        header = (_field(_QCOW2, "backing", 1024), _field(_QCOW2, "backing_size", len(text)), (1024, text))
        return pack_disk(stage, patched(_made("qcow2"), *header))

    return make


def _qcow2_entry(level: int, entry: int) -> bytes:
    """A qcow2 with another first entry in its L1 or (first) L2 table."""
    image = _made("qcow2")
    (place,) = struct.unpack_from(">Q", image, 40)
    if level > 1:
        place = struct.unpack_from(">Q", image, place)[0] & 0xFF_FFFF_FFFF_FE00
    return patched(image, (place, struct.pack(">Q", entry)))


def _ambiguous() -> Iterator[Recipe]:
    """D07, D08: one format in the clothes of another."""
    iso = patched(bytes(CAPACITY), (0x8001, b"CD001"))
    two = {
        "ISO and qcow2": patched(iso, (0, _made("qcow2")[:512])), "ISO and VMDK": patched(iso, (0, small_vmdk()[:512])),
        "qcow2 and VHD": patched(_made("qcow2"), (-512, b"conectix")), "VMDK and VHD": small_vmdk() + b"conectix".ljust(512, b"\0"),
        "ISO and VHDX": patched(iso, (0, b"vhdxfile")), "ISO and VDI": patched(iso, (0x40, b"\x7f\x10\xda\xbe")),
        "qcow2 and VDI": patched(_made("qcow2"), (0x40, b"\x7f\x10\xda\xbe")),
        "ISO and VHD": patched(iso, (-512, b"conectix")),
    }  # fmt: skip
    yield from rows("D07", "E_DISK_AMBIGUOUS", [(name, with_disk(data)) for name, data in two.items()])
    refused = {
        "QED": b"QED\0", "LUKS": b"LUKS\xba\xbe", "COWD": b"COWD", "Bochs": b"Bochs Virtual HD Image",
        "Parallels": b"WithoutFreeSpace", "gzip": b"\x1f\x8b\x08", "xz": b"\xfd7zXZ\0", "zip": b"PK\3\4",
    }  # fmt: skip
    yield from rows("D07", "E_DISK_TYPE", [(name, with_disk(data.ljust(CAPACITY, b"\0"))) for name, data in refused.items()])
    yield from rows("D08", ACCEPTED, [(f"{driver} called VMDK", _lazy(partial(_made, *options))) for driver, options in _FORMATS.items()])
    cut = _lazy(lambda: _made("qcow2")[:4], capacity="512")
    yield Recipe(case="D08", name="a magic and nothing else", code="E_DISK_FEATURE", make=cut)


_FORMATS: Final = {
    "qcow2": ("qcow2",), "VHD": ("vpc", "force_size=on"), "VDI": ("vdi",), "VHDX": ("vhdx",), "VMDK": ("vmdk",),
    "compressed qcow2": ("qcow2", "-c"), "raw": ("raw",),
}  # fmt: skip


def _capacities() -> Iterator[Recipe]:
    """D11, D17: sizes that disagree."""
    for declared in (CAPACITY * 2, CAPACITY // 2, 1 << 40):
        yield Recipe(case="D11", name=f"declared {declared}", code="E_DISK_CAPACITY", make=with_disk(small_vmdk(), capacity=str(declared)))
    for declared, code in (("-1", "E_OVF_VALUE"), ("1e9", "E_OVF_VALUE"), (str(1 << 70), "E_OVF_VALUE"), ("0x1000", "E_OVF_VALUE")):
        yield Recipe(case="D11", name=f"declared {declared}", code=code, make=with_disk(small_vmdk(), capacity=declared))
    yield Recipe(case="D11", name="a blank disk without size", code="E_OVF_VALUE", make=_blank(""))
    yield Recipe(case="D11", name="a blank disk of 8 EiB", code="E_DISK_SIZE", make=_blank(f'ovf:capacity="{(1 << 63) - 1}"'))
    yield Recipe(case="D17", name="no bytes", code="E_DISK_SIZE", make=with_disk(b"", capacity="0"))


def _blank(attributes: str) -> Make:
    old = f'ovf:fileRef="file1" ovf:capacity="{CAPACITY}"'
    return packed(edited(small_members(), old, attributes))


def _grains() -> Iterator[Recipe]:
    """D13: grains that are not what they should be."""
    image = sparse_vmdk(_SECTORS, small_grains(), footer=False)
    offset = image.index(zlib.compress(small_grains()[0], 1)) - vmdk.GRAIN_MARKER.size
    room = 3 * SECTOR_BYTES

    def grain(data: bytes, lba: int = 0, size: int | None = None) -> bytes:
        marker = vmdk.GRAIN_MARKER.pack(lba, len(data) if size is None else size)
        assert len(marker + data) <= room
        return patched(image, (offset, marker + data))

    good = zlib.compress(small_grains()[0], 1)
    damaged = {
        "a byte too many": zlib.compress(bytes(_GRAIN + 1)), "too few": zlib.compress(bytes(_GRAIN - 1)),
        "1 MiB": zlib.compress(bytes(MIB)), "no stream": b"\xff" * 100, "an empty stream": zlib.compress(b""),
        "another checksum": good[:-1] + bytes([good[-1] ^ 1]), "a cut stream": good[:-8], "a dictionary": b"\x78\xbb" + good[2:],
    }  # fmt: skip
    makes = [(name, with_disk(grain(data))) for name, data in damaged.items()]
    yield from rows("D13", "E_DISK_GRAIN", makes)
    markers = {"another sector": grain(good, lba=128), "an odd sector": grain(good, lba=1), "2^64 sectors": grain(good, lba=_LAST),
               "a size of 0": grain(good, size=0), "a size of 4 GiB": grain(good, size=(1 << 32) - 1)}  # fmt: skip
    yield from rows("D13", "E_DISK_GRAIN", [(name, with_disk(data)) for name, data in markers.items()])
    backwards = sparse_vmdk(_SECTORS, small_grains(), order=lambda numbers: sorted(numbers, reverse=True))
    yield Recipe(case="D13", name="out of order", make=with_disk(backwards))


def _plain() -> Iterator[Recipe]:
    """D14: VHD, VDI and VHDX."""
    header, footer = 512, -512
    structs: dict[str, Sequence[tuple[int, bytes]]] = {
        "block size 0": [(header + 32, bytes(4))], "block size 3": [(header + 32, struct.pack(">I", 3))],
        "block size 2^31": [(header + 32, struct.pack(">I", 1 << 31))], "table outside": [(header + 16, struct.pack(">Q", 1 << 40))],
        "table of 2^64": [(header + 16, b"\xff" * 8)], "too few entries": [(header + 28, struct.pack(">I", 1))],
        "header outside": [(16, struct.pack(">Q", 1 << 40))],
        "header of 2^64": [(16, b"\xff" * 8)],
        "version 2": [(12, struct.pack(">I", 2 << 16))],
        "type 7": [(60, struct.pack(">I", 7))],
    }  # fmt: skip
    makes = [(f"VHD, {name}", _lazy(partial(_vhd, *changes))) for name, changes in structs.items()]
    yield from rows("D14", "E_DISK_STRUCT", makes)
    broken: list[tuple[str, Make]] = [
        ("VHD, checksum", _lazy(lambda: patched(_made("vpc", "force_size=on"), (footer + 70, b"evil")))),
        ("VHD, copies differ", _lazy(lambda: patched(_made("vpc", "force_size=on"), (20, b"\1")))),
        ("VHD, block outside", _lazy(lambda: patched(_made("vpc", "force_size=on"), (1536, b"\x7f\xff\xff\xff")))),
        ("VHD, block in the tables", _lazy(lambda: patched(_made("vpc", "force_size=on"), (1536, bytes(4))))),
        ("VHD, cut", _lazy(lambda: _made("vpc", "subformat=fixed,force_size=on")[512:])),
    ]
    yield from rows("D14", "E_DISK_STRUCT", broken)
    differencing = _lazy(partial(_vhd, (60, struct.pack(">I", 4))))
    yield Recipe(case="D14", name="VHD, differencing", code="E_DISK_PARENT", make=differencing)
    for name, code, change in (
        ("image type 4", "E_DISK_PARENT", (0x4C, struct.pack("<I", 4))), ("a parent's id", "E_DISK_PARENT", (0x1B8, b"\1" * 16)),
        ("a linked image", "E_DISK_PARENT", (0x1A8, b"\1" * 16)), ("version 2", "E_DISK_STRUCT", (0x44, struct.pack("<I", 2 << 16))),
        ("block size 0", "E_DISK_STRUCT", (0x178, bytes(4))), ("block size 3", "E_DISK_STRUCT", (0x178, struct.pack("<I", 3))),
        ("no blocks", "E_DISK_STRUCT", (0x180, bytes(4))), ("map outside", "E_DISK_STRUCT", (0x154, struct.pack("<I", 1 << 30))),
        ("data outside", "E_DISK_STRUCT", (0x158, struct.pack("<I", 1 << 30))), ("extra bytes", "E_DISK_STRUCT", (0x17C, struct.pack("<I", 1))),
    ):  # fmt: skip
        yield Recipe(case="D14", name=f"VDI, {name}", code=code, make=_lazy(partial(_vdi, change)))
    for name, code, change in (
        ("both headers", "E_DISK_STRUCT", (0x10000, bytes(0x11000))), ("region table", "E_DISK_STRUCT", (0x30000, b"evil")),
        ("regions", "E_DISK_STRUCT", (0x30008, b"\xff\xff\xff\xff")), ("no BAT", "E_DISK_STRUCT", (0x30010, b"\0")),
    ):  # fmt: skip
        yield Recipe(case="D14", name=f"VHDX, {name}", code=code, make=_lazy(partial(_vhdx, change)))


def _vhd(*changes: tuple[int, bytes]) -> bytes:
    """A dynamic VHD with changes in its first part, right checksums, and a footer that fits."""
    data = bytearray(patched(_made("vpc", "force_size=on"), *changes))
    for start, size in ((0, 512), (512, 1024)):
        part = bytes(data[start : start + size])
        struct.pack_into(">i", data, start + vhd.CHECKSUM_OFFSETS[part[:8]], vhd.checksum_of(part))
    data[-512:] = data[:512]
    return bytes(data)


def _vdi(*changes: tuple[int, bytes], disk_size: int | None = None) -> bytes:
    size = () if disk_size is None else ((0x170, struct.pack("<Q", disk_size)),)
    return patched(_made("vdi"), *changes, *size)


def _vhdx(*changes: tuple[int, bytes]) -> bytes:
    return patched(_made("vhdx"), *changes)


def _compressed() -> Iterator[Recipe]:
    """D15, D16: files that are compressed, or in chunks."""
    gz = 'ovf:compression="gzip"'
    whole = gzip.compress(small_vmdk())
    damaged: dict[str, Callable[[], bytes]] = {
        "no gzip": small_vmdk, "cut": lambda: whole[:-100], "no length": lambda: whole[:-8],
        "junk behind": lambda: whole + b"junk", "another checksum": lambda: patched(whole, (-8, b"evil")),
        "another length": lambda: patched(whole, (-4, b"evil")),
        "zeros of 1 GiB": lambda: gzip.compress(small_disk()) + b"".join([gzip.compress(bytes(64 * MIB))] * 16),
        "a VMDK and zeros": lambda: gzip.compress(small_vmdk() + bytes(64 * MIB)),
    }  # fmt: skip
    yield from rows("D15", "E_DISK_COMPRESSION", [(name, _lazy(make, attributes=gz)) for name, make in damaged.items()])
    yield Recipe(case="D15", name="a good one", make=with_disk(whole, attributes=gz))
    yield Recipe(case="D15", name="in capitals", make=with_disk(whole, attributes='ovf:compression="GZIP"'))
    for word in ("bzip2", "xz", "deflate", "../x"):
        make = with_disk(whole, attributes=f'ovf:compression="{word}"')
        yield Recipe(case="D15", name=f"said to be {word}", code="E_NOT_SUPPORTED", make=make)
    chunked = 'ovf:chunkSize="30000"'
    image = small_vmdk()
    pieces = [image[at : at + 30000] for at in range(0, len(image), 30000)]
    for name, names in {
        "one missing": {0: 0, 2: 2}, "one too many": {0: 0, 1: 1, 2: 2, 3: 0}, "two swapped": {0: 2, 1: 1, 2: 0},
        "a gap": {0: 0, 1: 1, 5: 2},
    }.items():  # fmt: skip
        files = [(f"a1.vmdk.{number:09}", pieces[piece]) for number, piece in names.items()]
        yield Recipe(case="D16", name=name, code="E_PKG_CHUNK", make=_chunked(chunked, files))
    good = [(f"a1.vmdk.{number:09}", piece) for number, piece in enumerate(pieces)]
    yield Recipe(case="D16", name="all there", make=_chunked(chunked, good))
    yield Recipe(case="D16", name="and the file", code="E_PKG_CHUNK", make=_chunked(chunked, [("a1.vmdk", image), *good]))
    tiny = _chunked('ovf:chunkSize="1"', good[:1])
    yield Recipe(case="D16", name="of one byte", code="E_PKG_CHUNK", make=tiny)
    parent = described('ovf:diskId="disk1"', 'ovf:diskId="disk1" ovf:parentRef="disk9"')
    yield Recipe(case="D16", name="a parent that is not there", code="E_OVF_REF", make=parent)


def _chunked(attributes: str, files: Sequence[tuple[str, bytes]]) -> Make:
    members = edited(small_members(), '<File ovf:id="file1"', f'<File ovf:id="file1" {attributes}')
    return lambda stage: build_ova(stage.ova, with_manifest([members[0], *files]))


RECIPES: Final = (
    *_other_files(), *_vmdk_structure(), *_bombs(), *_qcow2_features(), *_ambiguous(), *_capacities(), *_grains(),
    *_plain(), *_compressed(),
)  # fmt: skip
