"""EFI firmware images on this host.

QEMU's firmware descriptors (``docs/interop/firmware.json`` of QEMU) say which file holds code, which holds fresh
variables, and what it can do. A descriptor in a later folder replaces one of the same name; names decide the order.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import product
from pathlib import Path
from typing import Any, Final

FOLDERS: Final = (Path("/usr/share/qemu/firmware"), Path("/etc/qemu/firmware"))

_MACHINES: Final = {"pc": "pc-i440fx-1.0", "q35": "pc-q35-1.0"}
"""A full machine type for each short one, to be matched by the patterns in a descriptor."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EfiFirmware:
    """One EFI firmware for x86-64.

    Attributes:
        code: file with the code, shared by machines.
        variables: file with fresh variables; each machine gets a copy.
        machines: patterns of machine types.
        features: ``secure-boot``, ``enrolled-keys``, ``requires-smm``...
    """

    code: Path
    variables: Path
    machines: tuple[str, ...]
    features: frozenset[str]


def find_firmware(chipset: str, *, secure_boot: bool, folders: Iterable[Path] = FOLDERS) -> EfiFirmware | None:
    """The firmware to boot a machine of `chipset` (``pc``, ``q35``) with; None when there is none.

    Secure boot means that it is enforced: the firmware has it, with the usual keys enrolled. Without it, the firmware
    must not have it either.
    """
    machine = _MACHINES.get(chipset, chipset)
    for firmware in _installed(folders):
        enforces = {"secure-boot", "enrolled-keys"} <= firmware.features
        suits = enforces if secure_boot else "secure-boot" not in firmware.features
        if suits and any(fnmatchcase(machine, pattern) for pattern in firmware.machines):
            return firmware
    return None


def variables_bytes(chipsets: Iterable[str]) -> dict[tuple[str, bool], int]:
    """How many bytes the firmware has for variables, by chipset and whether it enforces secure boot."""
    found = ((key, find_firmware(key[0], secure_boot=key[1])) for key in product(chipsets, (False, True)))
    return {key: firmware.variables.stat().st_size for key, firmware in found if firmware is not None}


def _installed(folders: Iterable[Path]) -> list[EfiFirmware]:
    """Every usable firmware, in order of preference."""
    descriptors = {path.name: path for folder in folders for path in sorted(folder.glob("*.json"))}
    found = (_read(descriptors[name]) for name in sorted(descriptors))
    return [firmware for firmware in found if firmware is not None]


def _read(path: Path) -> EfiFirmware | None:
    """The firmware that a descriptor describes; None when it is of another kind, unreadable or not installed."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return _interpret(document)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _interpret(document: Mapping[str, Any]) -> EfiFirmware | None:
    """As `_read`, of the parsed descriptor. Raises KeyError or TypeError when it is not one."""
    mapping = document["mapping"]
    if "uefi" not in document["interface-types"] or mapping["device"] != "flash" or "nvram-template" not in mapping:
        return None
    code, variables = mapping["executable"], mapping["nvram-template"]
    firmware = EfiFirmware(
        code=Path(code["filename"]),
        variables=Path(variables["filename"]),
        machines=tuple(
            pattern
            for target in document["targets"]
            if target["architecture"] == "x86_64"
            for pattern in target["machines"]
        ),
        features=frozenset(document["features"]),
    )
    is_usable = code["format"] == variables["format"] == "raw" and firmware.code.is_file()
    return firmware if is_usable and firmware.variables.is_file() else None
