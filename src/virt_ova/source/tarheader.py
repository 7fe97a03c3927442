"""The layout of a tar header block, and of the records that extend it.

Sources: POSIX.1-2017 ``pax`` (ustar and pax interchange formats), the GNU tar manual ("Basic Tar Format"). Only what an
OVA needs: regular files and folders; a size in octal or base-256; long names by pax ``path`` or a GNU ``L`` header.
What could make two readers see two different archives is refused (CVE-2025-62518).
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from virt_ova.errors import SourceError
from virt_ova.text import quoted

BLOCK_BYTES = 512
ZERO_BLOCK = bytes(BLOCK_BYTES)

REGULAR_TYPES = (b"0", b"\0")
DIRECTORY_TYPE = b"5"
PAX_TYPE = b"x"
PAX_GLOBAL_TYPE = b"g"
GNU_LONG_NAME_TYPE = b"L"

_NAME = slice(0, 100)
_SIZE = slice(124, 136)
_CHECKSUM = slice(148, 156)
_TYPE = slice(156, 157)
_MAGIC = slice(257, 265)
_PREFIX = slice(345, 500)

_POSIX_MAGIC = b"ustar\x0000"
_GNU_MAGIC = b"ustar  \0"
_V7_MAGIC = bytes(8)

_HEADER = struct.Struct("100s8s8s8s12s12s8s1s100s8s32s32s8s8s155s12x")
"""name, mode, uid, gid, size, mtime, checksum, type, linkname, magic with version, uname, gname, devmajor, devminor,
prefix."""

_OCTAL = re.compile(rb" *([0-7]{1,12})[ \0]*")
_PAX_LENGTH = re.compile(rb"([1-9][0-9]{0,5}) ")
_PAX_KEY_LIMIT = 255
_OCTAL_LIMIT = 1 << 33
"""A size from here on, 8 GiB, does not fit the eleven octal digits of the field."""

_SPARSE_KEYS = ("GNU.sparse.", "SCHILY.realsize")
_MEANINGFUL_KEYS = ("path", "linkpath", "size")


@dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """One header block.

    Attributes:
        name: prefix and name joined, undecoded.
        size: bytes of data that follow, before padding.
        type: the type flag, one byte.
    """

    name: bytes
    size: int
    type: bytes


def is_header(block: bytes) -> bool:
    """Whether `block` has the checksum of a tar header."""
    stored = _OCTAL.fullmatch(block[_CHECKSUM])
    if stored is None:
        return False
    field_as_blanks = 8 * ord(" ")
    return int(stored[1], 8) == sum(block) - sum(block[_CHECKSUM]) + field_as_blanks


def parse_header(block: bytes) -> Header:
    """The header in `block`, 512 bytes.

    Raises:
        SourceError: checksum or magic are wrong (``E_TAR_SYNTAX``), the size is negative or no number (``E_TAR_SIZE``).
    """
    if not is_header(block):
        raise SourceError("the tar header's checksum is wrong", code="E_TAR_SYNTAX")
    magic = block[_MAGIC]
    if magic not in {_POSIX_MAGIC, _GNU_MAGIC, _V7_MAGIC}:
        raise SourceError(f"found the tar magic {_shown(magic)}, expected 'ustar'", code="E_TAR_SYNTAX")
    name = _text(block[_NAME])
    if magic == _POSIX_MAGIC and (prefix := _text(block[_PREFIX])):
        name = prefix + b"/" + name
    return Header(name=name, size=_parse_size(block[_SIZE]), type=block[_TYPE])


def make_header(name: str, size: int, *, modified: int) -> bytes:
    """The header of a regular file: ustar, and for 8 GiB or more GNU's, which has room for the size in base-256.

    Args:
        name: ASCII, at most 100 characters.
        size: bytes of data that follow, before padding.
        modified: seconds since 1970.
    """
    is_large = size >= _OCTAL_LIMIT
    field = b"\x80" + size.to_bytes(11, "big") if is_large else b"%011o\0" % size
    magic = _GNU_MAGIC if is_large else _POSIX_MAGIC
    nobody = b"%07o\0" % 0
    block = _HEADER.pack(name.encode("ascii"), b"%07o\0" % 0o644, nobody, nobody, field, b"%011o\0" % modified,
                         b" " * 8, REGULAR_TYPES[0], b"", magic, b"root", b"root", nobody, nobody, b"")  # fmt: skip
    return block[: _CHECKSUM.start] + b"%06o\0 " % sum(block) + block[_CHECKSUM.stop :]


def decode_name(raw: bytes) -> str:
    """A name's bytes as text.

    Raises:
        SourceError: they are not UTF-8 (``E_TAR_NAME``).
    """
    try:
        return raw.decode()
    except UnicodeDecodeError as exc:
        raise SourceError(f"found the name {_shown(raw)}, expected UTF-8", code="E_TAR_NAME") from exc


def parse_pax(data: bytes) -> dict[str, bytes]:
    """The records of a pax header that change how the archive is read: ``path``, ``linkpath``, ``size``.

    Raises:
        SourceError: a record is malformed (``E_TAR_SYNTAX``), one of these keys comes twice (``E_TAR_AMBIGUOUS``), or
            the member is sparse (``E_TAR_SPARSE``).
    """
    records: dict[str, bytes] = {}
    position = 0
    while position < len(data):
        key, value, position = _parse_record(data, position)
        if key.startswith(_SPARSE_KEYS):
            raise sparse()
        if key not in _MEANINGFUL_KEYS:
            continue
        if key in records:
            raise SourceError(f"found the pax record {quoted(key)} twice in one header", code="E_TAR_AMBIGUOUS")
        records[key] = value
    return records


def effective_name(header: Header, long_name: bytes | None, pax_path: bytes | None) -> bytes:
    """The member's name; an extension may give one only where the header had no room for it.

    Raises:
        SourceError: the names contradict each other (``E_TAR_AMBIGUOUS``).
    """
    given = [name for name in (long_name, pax_path) if name is not None]
    if not given:
        return header.name
    name = given[0]
    fits_header = len(name) <= _NAME.stop and name.isascii()
    if given[-1] != name or (fits_header and header.name != name):
        raise SourceError(
            f"found two names for one tar member, {_shown(header.name)} and {_shown(given[-1])}",
            code="E_TAR_AMBIGUOUS",
        )
    return name


def effective_size(header: Header, pax_size: bytes | None) -> int:
    """The member's size in bytes; pax may give it only where the header had no room for it.

    GNU tar and Python write 0 in the header then, libarchive the same number in base-256.

    Raises:
        SourceError: the pax size is no number (``E_TAR_SIZE``) or contradicts the header (``E_TAR_AMBIGUOUS``).
    """
    if pax_size is None:
        return header.size
    if not re.fullmatch(rb"[0-9]{1,19}", pax_size):
        raise SourceError(f"found the pax size {_shown(pax_size)}, expected a number", code="E_TAR_SIZE")
    size = int(pax_size)
    if size != header.size and not (header.size == 0 and size >= _OCTAL_LIMIT):
        raise SourceError(
            f"found two sizes for one tar member, {header.size} in its header and {size} in its pax record",
            code="E_TAR_AMBIGUOUS",
        )
    return size


def sparse() -> SourceError:
    """The error for a member with holes: its bytes do not lie in one piece."""
    return SourceError("found a sparse tar member, which no OVA writer makes", code="E_TAR_SPARSE")


def _shown(raw: bytes) -> str:
    return quoted(raw.decode(errors="backslashreplace"))


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _parse_size(field: bytes) -> int:
    if field[0] & 0x80:
        is_negative = bool(field[0] & 0x40)
        if not is_negative:
            return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
    elif octal := _OCTAL.fullmatch(field):
        return int(octal[1], 8)
    raise SourceError(
        f"found the tar member size {_shown(field)}, expected a number that is not negative",
        code="E_TAR_SIZE",
    )


def _parse_record(data: bytes, position: int) -> tuple[str, bytes, int]:
    """Key, value and the position behind the pax record ``LENGTH KEY=VALUE`` at `position`."""
    length = _PAX_LENGTH.match(data, position)
    end = position + int(length[1]) if length else 0
    if length is None or end > len(data) or end <= length.end() or data[end - 1 : end] != b"\n":
        raise SourceError(
            f"found a malformed pax record at byte {position} of its header, expected 'LENGTH KEY=VALUE'",
            code="E_TAR_SYNTAX",
        )
    key, equals, value = data[length.end() : end - 1].partition(b"=")
    if not key or not equals or len(key) > _PAX_KEY_LIMIT:
        raise SourceError(
            f"found a pax record without a key at byte {position} of its header, expected 'LENGTH KEY=VALUE'",
            code="E_TAR_SYNTAX",
        )
    return key.decode(errors="backslashreplace"), value, end
