"""Quantities as OVF writes them.

`DSP0004 C.1` programmatic units (``byte * 2^20``, ``hertz * 10^6``) and the words that older writers use
(``MegaBytes``, ``MB``). Numbers are parsed by a bounded integer parser: no sign tricks, no exponents, no digits outside
ASCII, so that a descriptor cannot ask for a number that later arithmetic would choke on.
"""

from __future__ import annotations

import re

from virt_ova.errors import DescriptorError
from virt_ova.text import quoted

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30

SECTOR_BYTES = 512
"""The unit of VMDK and tar offsets."""

MAX_COUNT = (1 << 63) - 1
"""Largest number accepted anywhere in a descriptor."""

_WORDS = {
    "": 1, "byte": 1, "bytes": 1, "b": 1,
    "kilobytes": KIB, "kilobyte": KIB, "kb": KIB, "kib": KIB,
    "megabytes": MIB, "megabyte": MIB, "mb": MIB, "mib": MIB,
    "gigabytes": GIB, "gigabyte": GIB, "gb": GIB, "gib": GIB,
    "terabytes": 1 << 40, "terabyte": 1 << 40, "tb": 1 << 40, "tib": 1 << 40,
}  # fmt: skip
_BASES = frozenset({"byte", "bytes", "hertz"})
_FACTOR = re.compile(r"(?P<base>[0-9]{1,19})\s*(?:\^\s*(?P<exponent>\+?[0-9]{1,4}))?", re.ASCII)
_MAX_FACTORS = 8
_COUNT = re.compile(r"[0-9]{1,19}")
_MAX_EXPONENT = 62


def parse_count(text: str) -> int:
    """A non-negative decimal integer of at most 19 ASCII digits, surrounding blanks allowed.

    Raises:
        DescriptorError: anything else (``E_OVF_VALUE``).
    """
    digits = text.strip(" \t\r\n")
    if not _COUNT.fullmatch(digits) or (count := int(digits)) > MAX_COUNT:
        raise DescriptorError(f"found {quoted(text)}, expected a whole number up to 2^63-1", code="E_OVF_VALUE")
    return count


def parse_unit(text: str | None) -> int:
    """The number of bytes (or hertz) that one of `text` stands for; None and blank mean 1.

    Raises:
        DescriptorError: the unit is not known (``E_OVF_UNIT``), or not 1 to 2^63-1 (``E_OVF_VALUE``).
    """
    unit = (text or "").strip()
    if (bytes_per_unit := _WORDS.get(unit.lower())) is not None:
        return bytes_per_unit
    base, *factors = (part.strip() for part in unit.split("*", _MAX_FACTORS))
    matches = [_FACTOR.fullmatch(factor) for factor in factors]
    if base.lower() not in _BASES or not all(matches):
        raise DescriptorError(
            f"found the unit {quoted(unit)}, expected one like 'byte * 2^20' or 'MegaBytes'",
            code="E_OVF_UNIT",
        )
    scale = 1
    for match in filter(None, matches):
        scale *= _power(int(match["base"]), int(match["exponent"] or 1))
    if not 1 <= scale <= MAX_COUNT:
        raise DescriptorError(f"found the unit {quoted(unit)}, expected one of 1 to 2^63-1", code="E_OVF_VALUE")
    return scale


def _power(base: int, exponent: int) -> int:
    """``base ** exponent``, or a number that is surely too large when the exponent is."""
    return base**exponent if exponent <= _MAX_EXPONENT else MAX_COUNT + 1


def format_bytes(size: int) -> str:
    """`size` for people, in binary units: ``512 B``, ``1.5 GiB``."""
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < KIB:
            return f"{size} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= KIB
    return f"{value:.1f} TiB"
