"""As much of a Windows as libguestfs needs to know it: an NTFS with the folders of the system, and its registry.

The hives begin as the smallest that there can be (https://github.com/msuhanov/regf), a root without anything; keys and
values are written by libguestfs's own library.
"""

from __future__ import annotations

import ctypes
import struct
import subprocess
import tempfile
from collections.abc import Mapping
from functools import reduce
from pathlib import Path
from typing import Final, TypeAlias

_PAGE: Final = 4096
_NONE: Final = 0xFFFFFFFF
_ROOT_OFFSET: Final = 0x20
_PROGRAM: Final = "/Windows/System32/cmd.exe"
_CONFIG: Final = "/Windows/System32/config"
_FOR_WRITING: Final = 4
_NAME: Final = "Windows Server 2019 Standard"
_CAPACITY_BYTES: Final = 64 << 20
_DISK: Final = (
    *("run", "part-disk /dev/sda mbr", "part-set-mbr-id /dev/sda 1 7", "mkfs ntfs /dev/sda1", "mount /dev/sda1 /"),
    *(f"mkdir-p {_CONFIG}",),
)
_WORD, _STRING = 4, 1


_Keys: TypeAlias = dict[tuple[str, ...], dict[str, int | str]]
"""Values by path of the key."""


class _Value(ctypes.Structure):
    """``hive_set_value`` of hivex.h."""

    _fields_ = (
        ("key", ctypes.c_char_p),
        ("type", ctypes.c_int),
        ("length", ctypes.c_size_t),
        ("value", ctypes.c_char_p),
    )


def build_windows(disk: Path, services: Mapping[str, int], environment: Mapping[str, str]) -> Path:
    """Write a raw disk with a Windows that has `services`, by name, each with its ``Start``; returns `disk`."""
    software: _Keys = {("Microsoft", "Windows NT", "CurrentVersion"): {"ProductName": _NAME, "CurrentVersion": "6.3"}}
    system: _Keys = {("Select",): {"Current": 1}}
    system |= {("ControlSet001", "Services", name): {"Start": start} for name, start in services.items()}
    with disk.open("wb") as file:
        file.truncate(_CAPACITY_BYTES)
    with tempfile.TemporaryDirectory() as folder:
        hives = [
            _write_hive(Path(folder, "SOFTWARE"), software),
            _write_hive(Path(folder, "SYSTEM"), system),
        ]
        program = Path(folder, "cmd.exe")
        program.write_bytes(_program())
        script = "\n".join(
            [*_DISK, *(f"upload {hive} {_CONFIG}/{hive.name}" for hive in hives), f"upload {program} {_PROGRAM}"]
        )
        command = ["guestfish", "--rw", "--format=raw", "-a", str(disk)]
        subprocess.run(command, input=script, text=True, env=environment, check=True)
    return disk


def _write_hive(path: Path, keys: _Keys) -> Path:
    """Make the hive `path` with `keys` and their values, by libguestfs's own library; returns `path`."""
    path.write_bytes(_empty_hive())
    library = ctypes.CDLL("libhivex.so.0", use_errno=True)
    for name in ("open", "root", "node_get_child", "node_add_child"):
        getattr(library, f"hivex_{name}").restype = ctypes.c_size_t
    hive = ctypes.c_void_p(library.hivex_open(bytes(path), _FOR_WRITING))
    for names, values in keys.items():
        node = ctypes.c_size_t(library.hivex_root(hive))
        for name in names:
            child = library.hivex_node_get_child(hive, node, name.encode())
            node = ctypes.c_size_t(child or library.hivex_node_add_child(hive, node, name.encode()))
        for key, value in values.items():
            data = struct.pack("<I", value) if isinstance(value, int) else f"{value}\0".encode("utf-16-le")
            kind = _WORD if isinstance(value, int) else _STRING
            setting = _Value(key.encode(), kind, len(data), data)
            assert library.hivex_node_set_value(hive, node, ctypes.byref(setting), 0) == 0
    assert library.hivex_commit(hive, None, 0) == 0
    library.hivex_close(hive)
    return path


def _empty_hive() -> bytes:
    """A header and one bin, with the root key and its (empty) security descriptor."""
    name = b"$$$PROTO.HIV"
    root_bytes, security_bytes = 4 + 76 + len(name) + -(4 + 76 + len(name)) % 8, 32
    security_offset = _ROOT_OFFSET + root_bytes
    root = struct.pack("<i2sHQII", -root_bytes, b"nk", 0x2C, 0, 0, 0)
    root += struct.pack("<IIIIIIII", 0, 0, _NONE, _NONE, 0, _NONE, security_offset, _NONE)
    root += struct.pack("<IIIIIHH", 0, 0, 0, 0, 0, len(name), 0) + name
    security = struct.pack("<i2sHIIII", -security_bytes, b"sk", 0, security_offset, security_offset, 1, 4)
    cells = root.ljust(root_bytes, b"\0") + security.ljust(security_bytes, b"\0")
    free = _PAGE - _ROOT_OFFSET - len(cells)
    cells += struct.pack("<i", free)
    hbin = struct.pack("<4sIIQQI", b"hbin", 0, _PAGE, 0, 0, 0) + cells
    header = struct.pack("<4sIIQIIIIIII", b"regf", 1, 1, 0, 1, 3, 0, 1, _ROOT_OFFSET, _PAGE, 1).ljust(508, b"\0")
    checksum = reduce(int.__xor__, struct.unpack("<127I", header))
    return (header + struct.pack("<I", checksum)).ljust(_PAGE, b"\0") + hbin.ljust(_PAGE, b"\0")


def _program() -> bytes:
    """The headers of a program for x86-64, by which the architecture is told."""
    coff = struct.pack("<4sHHIIIHH", b"PE\0\0", 0x8664, 1, 0, 0, 0, 240, 0x22)
    return b"MZ".ljust(60, b"\0") + struct.pack("<I", 64) + coff + struct.pack("<H", 0x20B).ljust(240 + 40, b"\0")
