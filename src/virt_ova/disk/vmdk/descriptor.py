"""The text descriptor embedded in a sparse extent.

It can name other files: flat extents, a parent disk, a change-tracking file. A reader that follows such a name hands
the package's author any file of the host, so every key is on an allow-list, there is exactly one extent, and no name
in it is ever opened.
"""

from __future__ import annotations

import re
from typing import Final

from virt_ova.errors import DiskError
from virt_ova.text import quoted

MAX_BYTES: Final = 64 << 10
"""Writers reserve 10 KiB and use less than 1 KiB."""

_SPARSE_TYPES: Final = {"streamOptimized", "monolithicSparse"}
_KEYS: Final = {"version", "encoding", "CID", "parentCID", "isNativeSnapshot", "createType"}
_SETTING: Final = re.compile(r"(?P<key>[A-Za-z][A-Za-z0-9_.]*)\s*=\s*(?P<quote>\"?)(?P<value>[^\"]*)(?P=quote)\s*")
_EXTENT: Final = re.compile(
    r"(?:RW|RDONLY|NOACCESS)\s+[0-9]+\s+(?P<type>[A-Z0-9]+)(?:\s+\"(?P<name>[^\"]*)\"(?:\s+[0-9]+)?)?\s*"
)
_NO_PARENT: Final = "ffffffff"


def check_descriptor(data: bytes) -> str:
    """Refuse a descriptor that names anything outside its own file.

    Args:
        data: the descriptor, zero-padded.

    Returns:
        The createType, or the empty string when the descriptor is empty.

    Raises:
        DiskError: a kind of disk that spans files (``E_DISK_TYPE``), a parent (``E_DISK_PARENT``), or a descriptor
            that is not understood (``E_DISK_DESCRIPTOR``).
    """
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
            _add_setting(settings, stripped)
    if settings or extents:
        _check_type(settings, extents)
        _check_parent(settings)
    return settings.get("createType", "")


def _add_setting(settings: dict[str, str], line: str) -> None:
    setting = _SETTING.fullmatch(line)
    if setting is None:
        raise _unknown(f"the line {quoted(line)}")
    key = setting["key"]
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
