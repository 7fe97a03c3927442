"""Tar blocks by hand, for archives that no honest program writes."""

from __future__ import annotations

from collections.abc import Mapping

BLOCK = 512
END = bytes(2 * BLOCK)
POSIX = b"ustar\x0000"
GNU = b"ustar  \0"
V7 = bytes(8)


def header(
    name: bytes | str,
    size: int = 0,
    *,
    type_flag: bytes = b"0",
    magic: bytes = POSIX,
    prefix: bytes = b"",
    size_field: bytes | None = None,
) -> bytes:
    """One header block; `size_field` overrides how `size` is written."""
    raw_name = name.encode() if isinstance(name, str) else name
    field = b"%011o\0" % size if size_field is None else size_field
    start = raw_name.ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2 + field + b"00000000000\0"
    rest = type_flag + bytes(100) + magic + bytes(64) + b"0000000\0" * 2 + prefix.ljust(155, b"\0")
    block = (start + b" " * 8 + rest).ljust(BLOCK, b"\0")
    assert len(block) == BLOCK
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def base256(size: int) -> bytes:
    """The twelve bytes of a size field in GNU's binary form; negative numbers as GNU tar writes them."""
    return (b"\x80" if size >= 0 else b"\xff") + size.to_bytes(11, "big", signed=True)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % BLOCK)


def member(name: bytes | str, data: bytes = b"", *, type_flag: bytes = b"0", magic: bytes = POSIX) -> bytes:
    """Header and data of one member."""
    return header(name, len(data), type_flag=type_flag, magic=magic) + padded(data)


def pax_record(key: str, value: bytes | str) -> bytes:
    body = b" " + key.encode() + b"=" + (value.encode() if isinstance(value, str) else value) + b"\n"
    length = len(body) + 1
    while length != len(body) + len(str(length)):
        length = len(body) + len(str(length))
    return str(length).encode() + body


def pax(records: Mapping[str, bytes | str], *, type_flag: bytes = b"x") -> bytes:
    """A pax extension header with `records`."""
    return member("PaxHeaders/x", b"".join(pax_record(*item) for item in records.items()), type_flag=type_flag)


def long_name(name: bytes | str) -> bytes:
    """A GNU long-name header."""
    raw = name.encode() if isinstance(name, str) else name
    return member("././@LongLink", raw + b"\0", type_flag=b"L", magic=GNU)
