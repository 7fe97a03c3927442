"""Which kernel modules are in an initramfs: a bounded reader of names.

An initramfs is a row of cpio archives ("newc"), with zeros in between; from some place on it may be compressed
(``Documentation/driver-api/early-userspace/buffer-format.rst`` of Linux). So microcode comes first, as it is, and the
rest compressed behind it. What it holds is a stranger's: nothing is kept of it but names of modules that are known.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Final

from virt_ova.errors import ToolError
from virt_ova.plan.insight import DRIVERS
from virt_ova.process import started

MAX_BYTES: Final = 2 << 30
"""Most bytes that an initramfs may have when it is unpacked."""

MOST_MEMBERS: Final = 200_000
"""Most files and folders that an initramfs may have; those of distributions have some thousands."""

_TIMEOUT_SECONDS: Final = 120
_MAGIC_BYTES: Final = 6
_UNPACKERS: Final = (
    (b"\x1f\x8b", ("gzip", "-dc"), "gzip"),
    (b"\x28\xb5\x2f\xfd", ("zstd", "-dc", "--memory=256MB"), "zstd"),
    (b"\xfd7zXZ\0", ("xz", "-dc", "--memlimit-decompress=256MiB"), "xz-utils"),
    (b"\x5d\0\0", ("xz", "-dc", "--format=lzma", "--memlimit-decompress=256MiB"), "xz-utils"),
    (b"BZh", ("bzip2", "-dc"), "bzip2"),
    (b"\x02\x21\x4c\x18", ("lz4", "-dc"), "lz4"),
    (b"\x04\x22\x4d\x18", ("lz4", "-dc"), "lz4"),
    (b"\x89LZO", ("lzop", "-dc"), "lzop"),
)
"""First bytes, what unpacks it, and the Debian package that has that."""

_NEWC: Final = (b"070701", b"070702")
_HEADER_BYTES: Final = 110
_FILE_SIZE, _NAME_SIZE = slice(54, 62), slice(94, 102)
_LONGEST_NAME: Final = 4096
_TRAILER: Final = b"TRAILER!!!"
_MODULE: Final = re.compile(rb"(?:.*/)?([A-Za-z0-9_-]+)\.ko(?:\.(?:gz|xz|zst|bz2))?")


def modules_in(path: Path) -> frozenset[str]:
    """Those of `DRIVERS` that the initramfs in the file `path` has.

    Raises:
        ToolError: it is none, is damaged or too large (``E_INITRAMFS``), or what unpacks it is missing
            (``E_TOOL_MISSING``), fails or takes too long (``E_TOOL_FAILED``).
    """
    with path.open("rb", buffering=0) as file:
        stream = _Stream(lambda: file.read(65536))
        found = set(_modules(stream))
        packed_at = stream.position
        file.seek(packed_at)
        magic = file.read(_MAGIC_BYTES)
        if not magic:
            return frozenset(found)
        file.seek(packed_at)
        return frozenset(found | _unpacked(file, magic))


def _unpacked(file: IO[bytes], magic: bytes) -> set[str]:
    """The modules in what is compressed from the place of `file` on."""
    for first, command, package in _UNPACKERS:
        if magic.startswith(first):
            with started(command, package=package, timeout_seconds=_TIMEOUT_SECONDS, stdin=file) as unpacker:
                stream = _Stream(unpacker.read)
                found = set(_modules(stream))
                if not stream.archives:
                    raise _damaged("what is packed in it is no archive") if stream.peek(1) else unpacker.failure()
                return found
    raise _damaged(f"it goes on with {magic.hex()}, which is no known format")


class _Stream:
    """Bytes in order, `position` from the beginning."""

    def __init__(self, read: Callable[[], bytes]) -> None:
        """Take them from `read`, which gives none at the end."""
        self._read, self._ahead = read, b""
        self.position = 0
        self.members = 0
        """How many files and folders began."""
        self.archives = 0
        """How many archives ended."""

    def peek(self, size: int) -> bytes:
        """The next `size` bytes, fewer at the end; they stay."""
        while len(self._ahead) < size and (chunk := self._read()):
            self._ahead += chunk
        return self._ahead[:size]

    def skip(self, size: int) -> None:
        """Leave `size` bytes out. Raises `ToolError` when there are not so many."""
        self.position += size
        if self.position > MAX_BYTES:
            raise _damaged(f"it has more than {MAX_BYTES} bytes")
        while len(self._ahead) < size:
            size -= len(self._ahead)
            if not (chunk := self._read()):
                raise _damaged("it is cut short")
            self._ahead = chunk
        self._ahead = self._ahead[size:]

    def take(self, size: int) -> bytes:
        """The next `size` bytes. Raises `ToolError` when there are not so many."""
        taken = self.peek(size)
        self.skip(size)
        return taken

    def skip_zeros(self) -> None:
        """Go to the next byte that is not zero."""
        while self.peek(1) == b"\0":
            self.skip(len(self._ahead) - len(self._ahead.lstrip(b"\0")))


def _modules(stream: _Stream) -> Iterator[str]:
    """Known modules in the archives that `stream` begins with; it stands behind them at the end."""
    while stream.peek(_MAGIC_BYTES) in _NEWC:
        name = _member(stream)
        if name == _TRAILER:
            stream.archives += 1
            stream.skip_zeros()
        elif (found := _MODULE.fullmatch(name)) and (module := known_module(found[1].decode())):
            yield module


def known_module(name: str) -> str:
    """`name` of a module as `DRIVERS` has it; empty for one that is not there."""
    plain = name.replace("-", "_").lower()
    return plain if plain in DRIVERS else ""


def _member(stream: _Stream) -> bytes:
    """The name of the next member, whose content is left out."""
    stream.members += 1
    if stream.members > MOST_MEMBERS:
        raise _damaged(f"it has more than {MOST_MEMBERS} files")
    header = stream.take(_HEADER_BYTES)
    try:
        file_size, name_size = int(header[_FILE_SIZE], 16), int(header[_NAME_SIZE], 16)
    except ValueError as exc:
        raise _damaged("a header has no numbers") from exc
    if not 0 < name_size <= _LONGEST_NAME or file_size < 0:
        raise _damaged(f"a name has {name_size} bytes")
    name = stream.take(name_size)
    stream.skip(-(_HEADER_BYTES + name_size) % 4)
    stream.skip(file_size + -file_size % 4)
    return name.rstrip(b"\0")


def _damaged(problem: str) -> ToolError:
    return ToolError(f"the initramfs cannot be read: {problem}", code="E_INITRAMFS")
