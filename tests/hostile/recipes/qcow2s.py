"""D: what a qcow2 can be."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

from tests.build.small import CAPACITY
from tests.hostile.recipe import Make, Recipe, Stage, pack_disk
from tests.hostile.recipes.making import GRAIN, LAST, Fields, field, lazy, made, patched
from virt_ova.units import GIB, MIB

_QCOW2: Final[Fields] = {
    "version": (4, ">I"),
    "backing": (8, ">Q"),
    "backing_size": (16, ">I"),
    "cluster_bits": (20, ">I"),
    "size": (24, ">Q"),
    "crypt": (32, ">I"),
    "l1_size": (36, ">I"),
    "l1": (40, ">Q"),
    "snapshots": (60, ">I"),
    "incompatible": (72, ">Q"),
    "header_length": (100, ">I"),
    "compression": (104, ">B"),
}


def _qcow2_features() -> Iterator[Recipe]:
    """D05, D06: what a qcow2 can ask for."""
    names = (
        "/etc/shadow",
        "../../etc/shadow",
        'json:{"driver":"file","filename":"/etc/shadow"}',
        "nbd://127.0.0.1/x",
        "fat:/etc",
        "a\0b",
        "a1.vmdk",
        "http://127.0.0.1/x",
        "{}",
    )
    for name in names:
        yield Recipe(case="D05", name=repr(name)[1:-1], code="E_DISK_BACKING", make=_backed_by(name))
    yield Recipe(case="D05", name="a size without a name", code="E_DISK_BACKING", make=_qcow2(backing_size=10))
    yield Recipe(
        case="D05", name="behind the end", code="E_DISK_BACKING", make=_qcow2(backing=1 << 60, backing_size=10)
    )
    features: tuple[dict[str, int], ...] = (
        {"incompatible": 2},
        {"incompatible": 4},
        {"incompatible": 16},
        {"incompatible": 32},
        {"incompatible": 1 << 63},
        {"version": 0},
        {"version": 1},
        {"version": 4},
        {"crypt": 1},
        {"crypt": 2},
        {"crypt": 99},
        {"snapshots": 1},
        {"compression": 2, "incompatible": 8},
    )
    for values in features:
        name = " ".join(f"{key} {value:#x}" for key, value in values.items())
        yield Recipe(case="D06", name=name, code="E_DISK_FEATURE", make=_qcow2(**values))
    structures: tuple[dict[str, int], ...] = (
        {"header_length": 0},
        {"header_length": 90},
        {"header_length": 105},
        {"cluster_bits": 0},
        {"cluster_bits": 8},
        {"cluster_bits": 22},
        {"cluster_bits": (1 << 32) - 1},
        {"l1_size": 0},
        {"l1": 0x1234},
        {"l1": 1 << 60},
        {"l1": LAST & ~0xFFFF},
        {"compression": 1},
    )
    for values in structures:
        name = " ".join(f"{key} {value:#x}" for key, value in values.items())
        yield Recipe(case="D12", name=f"qcow2 {name}", code="E_DISK_STRUCT", make=_qcow2(**values))
    yield Recipe(case="D06", name="dirty", make=_qcow2(incompatible=1))
    for name, entry in {"reserved bits": 1 << 61, "beyond": 1 << 63 | 1 << 50, "odd": 1 << 63 | 0x200}.items():
        yield Recipe(
            case="D12", name=f"L1 entry {name}", code="E_DISK_STRUCT", make=lazy(partial(_qcow2_entry, 1, entry))
        )
        yield Recipe(
            case="D12", name=f"L2 entry {name}", code="E_DISK_STRUCT", make=lazy(partial(_qcow2_entry, 2, entry))
        )


def _qcow2(**values: int) -> Make:
    """A qcow2 with other fields in its header."""
    return lazy(lambda: patched(made("qcow2"), *(field(_QCOW2, name, value) for name, value in values.items())))


def _backed_by(name: str) -> Make:
    """A qcow2 on a backing file."""

    def make(stage: Stage) -> Path:
        text = name.replace("{}", str(stage.secret)).encode()
        header = (field(_QCOW2, "backing", 1024), field(_QCOW2, "backing_size", len(text)), (1024, text))
        return pack_disk(stage, patched(made("qcow2"), *header))

    return make


def _qcow2_entry(level: int, entry: int) -> bytes:
    """A qcow2 with another first entry in its L1 or (first) L2 table."""
    image = made("qcow2")
    (place,) = struct.unpack_from(">Q", image, 40)
    if level > 1:
        place = struct.unpack_from(">Q", image, place)[0] & 0xFF_FFFF_FFFF_FE00
    return patched(image, (place, struct.pack(">Q", entry)))


def _bombs() -> Iterator[Recipe]:
    """D09, D10: small files that say they are huge."""
    bombs = {"qcow2 of 64 TiB": (_table_bomb, 64 << 40), "qcow2 of one cluster": (_cluster_bomb, GIB)}
    for name, (make, capacity) in bombs.items():
        yield Recipe(case="D09", name=name, code="E_DISK_OVERLAP", make=lazy(make, capacity=str(capacity)))
    for size in (1 << 50, (1 << 63) - 512, LAST, 0, CAPACITY + 1):
        yield Recipe(case="D10", name=f"qcow2 of {size} bytes", code="E_DISK_SIZE", make=_qcow2(size=size))
    large = _qcow2(size=1 << 40, cluster_bits=9, l1_size=1 << 25)
    yield Recipe(case="D10", name="L1 of 16 MiB", code="E_DISK_LIMIT", make=large)


def _table_bomb() -> bytes:
    """All entries of the L1 table name one and the same L2 table."""
    entries = 1 << 17
    table = 2 * MIB
    header = patched(made("qcow2")[:GRAIN], field(_QCOW2, "size", 64 << 40), field(_QCOW2, "l1_size", entries))
    header = patched(header, field(_QCOW2, "l1", GRAIN))
    l1 = struct.pack(">Q", 1 << 63 | table) * entries
    return (header + l1).ljust(table, b"\0") + struct.pack(">Q", 1 << 63 | table + GRAIN) * 8192 + bytes(GRAIN)


def _cluster_bomb() -> bytes:
    """All entries of an L2 table name one and the same cluster."""
    header = patched(
        made("qcow2")[:GRAIN], field(_QCOW2, "size", GIB), field(_QCOW2, "l1_size", 2), field(_QCOW2, "l1", GRAIN)
    )
    l1 = struct.pack(">QQ", 1 << 63 | 2 * GRAIN, 1 << 63 | 3 * GRAIN).ljust(GRAIN, b"\0")
    return header + l1 + struct.pack(">Q", 1 << 63 | 4 * GRAIN) * (2 * 8192) + b"x" * GRAIN


RECIPES: Final = (*_qcow2_features(), *_bombs())
