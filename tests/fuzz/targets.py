"""What is fuzzed: functions that take bytes of a stranger, each with seeds to begin from.

A target may raise an error of ours, whose text must be fit to be shown. Everything else is a finding, and becomes a
recipe in `tests/hostile`.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from tests.build import tar
from tests.build.disks import sparse_vmdk, vmdk_descriptor
from tests.build.efivars import empty_store, with_variables
from tests.build.ova import descriptor, manifest_for
from tests.build.plans import machine, plan
from tests.build.vmware import vmx
from virt_ova.disk.opener import open_disk
from virt_ova.disk.qcow2 import layout as qcow2
from virt_ova.disk.vdi import layout as vdi
from virt_ova.disk.vhd import layout as vhd
from virt_ova.disk.vhdx import layout as vhdx
from virt_ova.disk.vmdk.descriptor import check_descriptor, read_extents
from virt_ova.errors import DiskError, VirtOvaError
from virt_ova.ovf.reader import read_envelope
from virt_ova.package.manifest import parse_manifest
from virt_ova.package.signature import read_signature
from virt_ova.plan.codec import from_json, to_json
from virt_ova.plan.efivars import examine
from virt_ova.source.base import Member, MemberName
from virt_ova.source.file import OpenFile
from virt_ova.source.tar import index_tar
from virt_ova.text import printable
from virt_ova.units import KIB, SECTOR_BYTES, parse_count, parse_unit
from virt_ova.vmx.reader import read_vmx

_MEMBERS: Final = [("a.ovf", descriptor([("a.vmdk", 1)])), ("a.vmdk", b"x")]
_MANIFEST: Final = manifest_for(_MEMBERS)
_MOST_DECODED: Final = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """A function that takes bytes, `seeds` for it, and how often it is run in every test."""

    take: Callable[[bytes], object]
    seeds: tuple[bytes, ...]
    runs: int = 2000

    def __call__(self, data: bytes) -> None:
        """Let the function take `data`; raises whatever is a finding."""
        try:
            self.take(data)
        except VirtOvaError as exc:
            text = f"{exc}{exc.hint}"
            if printable(text, limit=len(text)) != text or len(text) > 4 * KIB:
                raise AssertionError(ascii(text)) from exc


def _tar(data: bytes) -> None:
    source = OpenFile(io.BytesIO(data), "x")
    for member in index_tar(source).members.values():
        assert member.offset + member.size <= source.size


def _disk(data: bytes) -> None:
    source = OpenFile(io.BytesIO(data), "x")
    member = Member(name=MemberName("x"), source=source, offset=0, size=len(data))
    reader = open_disk(member)
    blocks = reader.block_map
    assert len(blocks) * SECTOR_BYTES <= max(len(data), blocks.capacity_bytes)
    for ordinal, offset in enumerate(blocks.offsets[:_MOST_DECODED]):
        stored = member.read_at(offset, min(blocks.max_stored_bytes, member.size - offset))
        (block,) = reader.decode(memoryview(stored), offset, range(ordinal, ordinal + 1))
        assert len(block) == blocks.block_size(ordinal)


def _vmdk_descriptor(data: bytes) -> None:
    with suppress(DiskError):
        check_descriptor(data)
    read_extents(data)


def _vhd(data: bytes) -> None:
    footer = bytearray(data[:512].ljust(512, b"\0"))
    header = bytearray(data[512:1536].ljust(1024, b"\0"))
    for part, cookie in ((footer, vhd.FOOTER_COOKIE), (header, vhd.HEADER_COOKIE)):
        part[:8] = cookie
        struct.pack_into(">i", part, vhd.CHECKSUM_OFFSETS[cookie], vhd.checksum_of(bytes(part)))
    vhd.parse_footer(bytes(footer))
    vhd.parse_header(bytes(header))


def _vhdx(data: bytes) -> None:
    table = bytearray(data[:2048].ljust(vhdx.REGION_TABLE_BYTES, b"\0"))
    table[:4] = b"regi"
    struct.pack_into("<I", table, 4, vhdx.checksum_of(bytes(table)))
    vhdx.parse_header(data[:4096].ljust(4096, b"\0"))
    vhdx.parse_regions(bytes(table))


def _vhdx_metadata(data: bytes) -> None:
    vhdx.parse_geometry(data[:8].ljust(8, b"\0"), data[8:16].ljust(8, b"\0"), data[16:20].ljust(4, b"\0"))
    vhdx.parse_metadata((b"metadata" + data[20:]).ljust(vhdx.METADATA_TABLE_BYTES, b"\0")[: vhdx.METADATA_TABLE_BYTES])


def _variables(data: bytes) -> None:
    store = bytearray(data.ljust(72, b"\0"))
    words = sum(struct.unpack_from("<36H", store)) - int.from_bytes(store[50:52], "little")
    struct.pack_into("<H", store, 50, -words & 0xFFFF)
    assert examine(bytes(store)).size_bytes == len(store)


def _units(data: bytes) -> None:
    text = data.decode(errors="replace")
    assert parse_unit(text) > 0
    assert parse_count(text) >= 0


def _certificate(data: bytes) -> None:
    manifest = parse_manifest(_MANIFEST, where="a.mf")
    assert manifest
    read_signature(data, where="a.cert", manifest=manifest, name=MemberName("a.mf"), signed=_MANIFEST)


def _small_qcow2() -> bytes:
    """A qcow2 of four clusters of 512 bytes: header, L1 table, L2 table, data."""
    header = qcow2.HEADER.pack(
        qcow2.MAGIC, qcow2.VERSION, 0, 0, 9, 4096, 0, 1, 512, 0, 0, 0, 0, 0, 0, 0, 4, qcow2.HEADER_BYTES
    )
    tables = (struct.pack(">Q", qcow2.COPIED | place).ljust(512, b"\0") for place in (1024, 1536))
    return header.ljust(512, b"\0") + b"".join(tables) + b"data" * 128


_GRAINS: Final = {0: b"grain" * 800, 2: bytes(4096)}
_TAR: Final = (
    tar.pax({"path": "é.ovf", "mtime": "1"})
    + tar.member("a.ovf", b"x" * 600)
    + tar.member("d/", type_flag=b"5")
    + tar.END
)
_LONG: Final = tar.long_name("y" * 120) + tar.header("y" * 100, 3) + b"abc".ljust(512, b"\0") + tar.END
_PAX: Final = tar.pax({"size": "5"}) + tar.member("a", b"12345") + tar.pax({"GNU.sparse.major": "1"}) + tar.member("s")

TARGETS: Final[Mapping[str, Target]] = {
    "tar": Target(take=_tar, seeds=(_TAR, _LONG, _PAX)),
    "ovf": Target(take=read_envelope, seeds=(_MEMBERS[0][1], b"<Envelope/>")),
    "vmx": Target(take=read_vmx, seeds=(vmx("disk.vmdk"), b'.encoding = "UTF-8"\n')),
    "manifest": Target(take=lambda data: parse_manifest(data, where="a.mf"), seeds=(_MANIFEST, b"SHA1 (a) = 0")),
    "certificate": Target(
        take=_certificate, seeds=(b"SHA256(a.mf)= 00\n-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",)
    ),
    "vmdk": Target(
        take=_disk,
        seeds=tuple(sparse_vmdk(24, _GRAINS, grain_sectors=8, compressed=kind, footer=kind) for kind in (True, False)),
    ),
    "qcow2": Target(take=_disk, seeds=(_small_qcow2(),)),
    "vmdk-descriptor": Target(take=_vmdk_descriptor, seeds=(vmdk_descriptor(8192).encode(),)),
    "vhd": Target(take=_vhd, seeds=(bytes(1536),)),
    # its checksums take a while, in Python
    "vhdx": Target(take=_vhdx, seeds=(b"regi" + bytes(60), b"head" + bytes(76)), runs=10),
    "vhdx-metadata": Target(take=_vhdx_metadata, seeds=(bytes(100),)),
    "vdi": Target(
        take=lambda data: vdi.parse_header(data[:512].ljust(512, b"\0")),
        seeds=(b"<<< virt >>>\n".ljust(64) + struct.pack("<I", vdi.SIGNATURE),),
    ),
    "efivars": Target(take=_variables, seeds=(with_variables(empty_store(4096), {"PK": b"key", "Boot0000": b"x"}),)),
    "units": Target(take=_units, seeds=(b"byte * 2^20", b"MegaBytes", b"4096")),
    "plan": Target(take=from_json, seeds=(to_json(plan(machine())).encode(),)),
}
