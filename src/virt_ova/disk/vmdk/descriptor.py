"""The text descriptor of a VMDK: embedded in a sparse extent, or a file of its own.

It can name other files: flat extents, a parent disk, a change-tracking file. A reader that follows such a name hands
the package's author any file of the host, so every key is on an allow-list, there is exactly one extent, and no name
in it is ever opened. Where the package itself declares a disk to be a difference, the parent's name is passed over: it
is the package that says which disk that is.

A descriptor that is a file of its own lists the files of the disk (`read_extents`). Their names are handed on as text:
whoever asks must find them among the members of the package.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from virt_ova.disk.vmdk.layout import MAX_CAPACITY_SECTORS
from virt_ova.errors import DiskError
from virt_ova.text import quoted

MAX_BYTES: Final = 128 << 10
"""Writers reserve 10 KiB, VirtualBox 100 KiB for disks that may be split; they use less than 1 KiB."""

_SPARSE_TYPES: Final = {"streamOptimized", "monolithicSparse"}
_KEYS: Final = {"version", "encoding", "CID", "parentCID", "isNativeSnapshot", "createType"}
_SETTING: Final = re.compile(r"(?P<key>[A-Za-z][A-Za-z0-9_.]*)\s*=\s*(?P<quote>\"?)(?P<value>[^\"]*)(?P=quote)\s*")
_EXTENT: Final = re.compile(
    r"(?P<access>RW|RDONLY|NOACCESS)\s+(?P<sectors>[0-9]{1,19})\s+(?P<type>[A-Z0-9]+)"
    r"(?:\s+\"(?P<name>[^\"]*)\"(?:\s+(?P<offset>[0-9]{1,19}))?)?\s*"
)
_NO_PARENT: Final = "ffffffff"

LISTING_MAGIC: Final = b"# Disk DescriptorFile"
"""How a descriptor begins that is a file of its own."""

MAX_EXTENTS: Final = 4096
"""Most files of one disk: 8 TiB in pieces of 2 GiB."""

_LISTED_TYPES: Final = {
    "monolithicFlat": "FLAT",
    "twoGbMaxExtentFlat": "FLAT",
    "vmfs": "VMFS",
    "twoGbMaxExtentSparse": "SPARSE",
}
"""createType of disks in files of their own, and the type of each extent."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Extent:
    """A file of a disk; `name` is as written."""

    name: str
    sectors: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Extents:
    """The files of a disk in their order, each sparse or each flat."""

    is_sparse: bool
    extents: tuple[Extent, ...]


def read_extents(data: bytes) -> Extents:
    """The files that a descriptor lists which is a file of its own.

    Raises:
        DiskError: a kind of disk that is not read so (``E_DISK_TYPE``), a disk of differences (``E_DISK_PARENT``), a
            disk that is empty or too large (``E_DISK_SIZE``), or a descriptor that is not understood
            (``E_DISK_DESCRIPTOR``).
    """
    settings, found = _parse(data)
    _check_parent(settings)
    create_type = settings.get("createType", "")
    if create_type not in _LISTED_TYPES:
        raise DiskError(
            f"the VMDK descriptor says {quoted(create_type)}, expected one of {', '.join(_LISTED_TYPES)}",
            code="E_DISK_TYPE",
            hint="Make it a single file with 'vmware-vdiskmanager -r OLD.vmdk -t 0 NEW.vmdk', or export the machine.",
        )
    for extent in found:
        is_plain = extent["access"] == "RW" and extent["type"] == _LISTED_TYPES[create_type]
        if not is_plain or int(extent["offset"] or 0) or int(extent["sectors"]) == 0:
            raise _unknown(f"the extent {quoted(extent[0])}")
    names = [extent["name"] or "" for extent in found]
    if not 1 <= len(found) <= MAX_EXTENTS or len({name.casefold() for name in names}) != len(names):
        raise _unknown(f"{len(found)} extents in {len(set(names))} files")
    extents = tuple(Extent(name=extent["name"] or "", sectors=int(extent["sectors"])) for extent in found)
    if (sectors := sum(extent.sectors for extent in extents)) > MAX_CAPACITY_SECTORS:
        raise DiskError(
            f"the VMDK descriptor says {sectors} sectors, expected 1 to {MAX_CAPACITY_SECTORS}", code="E_DISK_SIZE"
        )
    return Extents(is_sparse=_LISTED_TYPES[create_type] == "SPARSE", extents=extents)


def check_descriptor(data: bytes, *, is_delta: bool = False) -> str:
    """Refuse a descriptor that names anything outside its own file.

    Args:
        data: the descriptor, zero-padded.
        is_delta: whether it may say that it has a parent.

    Returns:
        The createType, or the empty string when the descriptor is empty.

    Raises:
        DiskError: a kind of disk that spans files (``E_DISK_TYPE``), a parent (``E_DISK_PARENT``), or a descriptor
            that is not understood (``E_DISK_DESCRIPTOR``).
    """
    settings, extents = _parse(data, is_delta=is_delta)
    if settings or extents:
        _check_type(settings, extents)
    if not is_delta:
        _check_parent(settings)
    return settings.get("createType", "")


def _parse(data: bytes, *, is_delta: bool = False) -> tuple[dict[str, str], list[re.Match[str]]]:
    """The settings and the extents of a descriptor. Raises `DiskError` for what is not understood."""
    text = data.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")
    settings: dict[str, str] = {}
    extents: list[re.Match[str]] = []
    for line in text.splitlines():
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        if extent := _EXTENT.fullmatch(stripped):
            extents.append(extent)
        else:
            _add_setting(settings, stripped, is_delta=is_delta)
    return settings, extents


def _add_setting(settings: dict[str, str], line: str, *, is_delta: bool) -> None:
    setting = _SETTING.fullmatch(line)
    if setting is None:
        raise _unknown(f"the line {quoted(line)}")
    key = setting["key"]
    if is_delta and key == "parentFileNameHint":
        return
    if key in {"parentFileNameHint", "changeTrackPath"}:
        raise DiskError(
            f"the VMDK descriptor sets {key}, expected a disk that names no other file",
            code="E_DISK_PARENT",
            hint="Consolidate the snapshots and export the machine again.",
        )
    if key not in _KEYS and not key.lower().startswith("ddb."):
        raise _unknown(f"the key {quoted(key)}")
    if settings.setdefault(key, setting["value"].strip()) != setting["value"].strip():
        raise _unknown(f"two values for the key {quoted(key)}")


def _check_type(settings: dict[str, str], extents: list[re.Match[str]]) -> None:
    create_type = settings.get("createType", "")
    if create_type not in _SPARSE_TYPES or any(extent["type"] != "SPARSE" for extent in extents):
        found = quoted(create_type if create_type not in _SPARSE_TYPES else "an extent that is not SPARSE")
        raise DiskError(
            f"the VMDK descriptor says {found}, expected streamOptimized or monolithicSparse with a SPARSE extent",
            code="E_DISK_TYPE",
            hint="Export the machine as OVF or OVA again; other kinds of VMDK keep their data in further files.",
        )
    if len(extents) != 1:
        raise _unknown(f"{len(extents)} extents")
    name = extents[0]["name"] or ""
    if "/" in name or "\\" in name:
        raise _unknown(f"the extent name {quoted(name)}")


def _check_parent(settings: dict[str, str]) -> None:
    parent = settings.get("parentCID", _NO_PARENT)
    if parent.lower() != _NO_PARENT:
        raise DiskError(
            f"the VMDK descriptor has the parent {quoted(parent)}, expected none ({_NO_PARENT})",
            code="E_DISK_PARENT",
            hint="Consolidate the snapshots and export the machine again.",
        )


def _unknown(found: str) -> DiskError:
    return DiskError(
        f"the VMDK descriptor holds {found}, expected one extent and only the keys of a plain sparse disk",
        code="E_DISK_DESCRIPTOR",
        hint="The disk may be damaged, or made to read files of this host; export the machine again.",
    )
