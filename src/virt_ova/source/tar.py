"""The index of an OVA: one pass over the headers of a tar, which is never unpacked.

An OVA is a plain tar of a few large files (DSP0243 5.3). Only its headers are read, in rising order, so that a file
(through a small window) and a pipe are read alike; the result is where each member lies. Python's ``tarfile`` is not
used on purpose: it loops, recurses and allocates at the word of a hostile header (CVE-2025-8194, CVE-2024-6232), and
hides what two readers would read differently. Every quantity has a cap here, and whatever is not understood refuses the
package.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from virt_ova.errors import SourceError
from virt_ova.findings import Finding, Severity
from virt_ova.source import tarheader
from virt_ova.source.base import Archive, ByteSource, Member, MemberName
from virt_ova.source.foreign import not_an_ova
from virt_ova.source.names import check_member_name, duplicate_key, is_apple_double
from virt_ova.source.tarheader import BLOCK_BYTES, ZERO_BLOCK, Header
from virt_ova.text import printable, quoted

MAX_MEMBERS = 2048
MAX_EXTENSION_BYTES = 64 << 10
"""Longest pax or long-name header."""
MAX_PADDING_BYTES = 16 << 20
"""Most zeros accepted behind the last member; GNU tar pads to 10 KiB."""
CUT = "TAR_NO_END"
"""The finding of an archive that ends where another member could begin."""

_WINDOW_BYTES = 16 << 10

_REFUSED_TYPES = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a character device",
    b"4": "a block device",
    b"6": "a pipe",
    b"7": "a contiguous file",
    b"K": "a link with a long target",
}
_SPARSE_TYPE = b"S"
_FETCH_AGAIN = "Give an .ova, an .ovf, or a folder that holds one; if it is a download, fetch it again."
_EXTENSION_TYPES = (tarheader.PAX_TYPE, tarheader.PAX_GLOBAL_TYPE, tarheader.GNU_LONG_NAME_TYPE)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Entry:
    """A header with its extensions applied; its data are `size` bytes at `offset`."""

    name: str
    type: bytes
    offset: int
    size: int

    @property
    def end(self) -> int:
        """Where the next header stands: data are padded to whole blocks."""
        return self.offset + -(-self.size // BLOCK_BYTES) * BLOCK_BYTES


def index_tar(source: ByteSource, *, start: int = 0) -> Archive:
    """The members of the tar that begins at byte `start` of `source`.

    Member offsets count from the beginning of `source`, not from `start`.

    Raises:
        SourceError: it is no tar (``E_NOT_OVA``), is cut off (``E_TAR_TRUNCATED``), breaks a limit (``E_TAR_LIMIT``),
            or holds what an OVA must not (``E_TAR_NAME``, ``E_TAR_TYPE``, ``E_TAR_DUP``, ``E_TAR_SIZE``,
            ``E_TAR_SYNTAX``, ``E_TAR_SPARSE``, ``E_TAR_AMBIGUOUS``, ``E_TAR_TRAILING``).
    """
    walk = TarWalk(source, _Window(source).read, start=start)
    for _ in walk:
        continue
    return walk.archive()


def _check_first_block(source_name: str, head: bytes) -> None:
    name = quoted(source_name)
    if not head:
        raise SourceError(f"{name} is empty, expected an OVA (a tar)", code="E_NOT_OVA", hint=_FETCH_AGAIN)
    if len(head) == BLOCK_BYTES and tarheader.is_header(head):
        return
    if foreign := not_an_ova(source_name, head):
        raise foreign
    if len(head) < BLOCK_BYTES:
        raise _truncated(f"{name} has {len(head)} bytes, expected at least a tar header of {BLOCK_BYTES}")
    what = "begins with zeros" if head == ZERO_BLOCK else "is of no known format"
    raise SourceError(f"{name} {what}, expected an OVA (a tar)", code="E_NOT_OVA", hint=_FETCH_AGAIN)


class TarWalk:
    """Goes from header to header; iterating yields each member when its header was read."""

    def __init__(self, source: ByteSource, read: Callable[[int, int], bytes], *, start: int = 0) -> None:
        """Read the first block.

        Args:
            source: where the members lie.
            read: reads it: so many bytes from an offset, fewer only at the end; offsets only ever rise.
            start: where the tar begins.

        Raises:
            SourceError: it is no tar (``E_NOT_OVA``, ``E_TAR_TRUNCATED``).
        """
        self._source, self._read, self._position = source, read, start
        self._first_block = read(start, BLOCK_BYTES)
        _check_first_block(source.name, self._first_block)
        self._members: dict[MemberName, Member] = {}
        self._seen: dict[str, MemberName] = {}
        self._findings: list[Finding] = []

    def __iter__(self) -> Iterator[Member]:
        """The members; raises `SourceError` as `index_tar`."""
        try:
            yield from self._walk()
        except SourceError as exc:
            exc.at(printable(self._source.name))
            raise

    def archive(self) -> Archive:
        """What was seen so far."""
        return Archive(
            kind="ova",
            name=self._source.name,
            members=dict(self._members),
            findings=tuple(self._findings),
            sources=(self._source,),
        )

    def _walk(self) -> Iterator[Member]:
        count = 0
        while (entry := self._next_entry()) is not None:
            count += 1
            if count > MAX_MEMBERS:
                raise _limit(f"found more than {MAX_MEMBERS} tar members")
            self._position = entry.end
            if member := self._member(entry):
                yield member

    def _next_entry(self) -> _Entry | None:
        """The entry whose headers begin at the current position; None at the end of the archive."""
        extensions: dict[bytes, bytes] = {}
        while (header := self._next_header()) is not None:
            self._position += BLOCK_BYTES
            if header.type not in _EXTENSION_TYPES:
                return self._entry(header, extensions)
            if header.type in extensions:
                raise _limit(f"found a second extension header of type {_shown_type(header)} for one tar member")
            extensions[header.type] = self._extension(header)
        if extensions:
            raise _truncated("the tar ends behind an extension header, expected a member")
        return None

    def _next_header(self) -> Header | None:
        """The header at the current position; None where the archive ends."""
        block = self._first_block or self._read(self._position, BLOCK_BYTES)
        self._first_block = b""
        if not block:
            self._note(CUT, "the tar has no end marker; it may have been cut between two members")
            return None
        if len(block) < BLOCK_BYTES:
            found = f"found {len(block)} bytes at byte {self._position}"
            raise _truncated(f"{found}, expected a tar header of {BLOCK_BYTES}")
        if block == ZERO_BLOCK:
            self._check_padding(self._position + BLOCK_BYTES)
            return None
        try:
            return tarheader.parse_header(block)
        except SourceError as exc:
            exc.at(f"byte {self._position}")
            raise

    def _check_padding(self, offset: int) -> None:
        """Behind the end marker nothing but zeros may follow: another reader could find a second archive there."""
        start = self._position
        while piece := self._read(offset, MAX_EXTENSION_BYTES):
            if stripped := piece.lstrip(b"\0"):
                at = offset + len(piece) - len(stripped)
                raise _trailing(f"found data at byte {at}, behind the end of the tar; expected nothing but zeros")
            offset += len(piece)
            if offset - start > MAX_PADDING_BYTES:
                found = f"found {offset - start} bytes behind the last tar member"
                raise _trailing(f"{found}, expected at most {MAX_PADDING_BYTES}")
        if offset - start == BLOCK_BYTES:
            self._note("TAR_SHORT_END", "the tar's end marker is one block of zeros instead of two")

    def _extension(self, header: Header) -> bytes:
        """The data of an extension header; the position moves behind them."""
        if header.size > MAX_EXTENSION_BYTES:
            raise _limit(f"found a tar extension header of {header.size} bytes, expected at most {MAX_EXTENSION_BYTES}")
        span = _Entry(name="", type=header.type, offset=self._position, size=header.size)
        self._check_inside(span, "an extension header")
        self._position = span.end
        data = self._read(span.offset, span.size)
        if len(data) < span.size:
            end = span.offset + len(data)
            raise _truncated(f"an extension header ends at byte {span.end}, but the file at byte {end}")
        return data

    def _entry(self, header: Header, extensions: dict[bytes, bytes]) -> _Entry:
        if tarheader.parse_pax(extensions.get(tarheader.PAX_GLOBAL_TYPE, b"")):
            raise SourceError("found a global pax header that renames or resizes members", code="E_TAR_AMBIGUOUS")
        pax = tarheader.parse_pax(extensions.get(tarheader.PAX_TYPE, b""))
        if "linkpath" in pax:
            raise _refused_type(header, "a link")
        long_name = extensions.get(tarheader.GNU_LONG_NAME_TYPE)
        if long_name is not None:
            long_name = long_name.removesuffix(b"\0")
        raw_name = tarheader.effective_name(header, long_name, pax.get("path"))
        size = tarheader.effective_size(header, pax.get("size"))
        name = tarheader.decode_name(raw_name)
        return _Entry(name=name, type=header.type, offset=self._position, size=size)

    def _member(self, entry: _Entry) -> Member | None:
        """The entry as a member, or None for what means nothing."""
        if entry.type == tarheader.DIRECTORY_TYPE:
            self._check_directory(entry)
            return None
        if entry.type == _SPARSE_TYPE:
            raise tarheader.sparse()
        if entry.type not in tarheader.REGULAR_TYPES:
            raise _refused_type(entry, _REFUSED_TYPES.get(entry.type, f"of type {_shown_type(entry)}"))
        name = check_member_name(entry.name)
        self._check_inside(entry, quoted(name))
        if is_apple_double(name):
            self._note("TAR_APPLEDOUBLE", f"ignored {quoted(name)}, which macOS added")
            return None
        first = self._seen.setdefault(duplicate_key(name), name)
        if first in self._members:
            raise SourceError(f"found {quoted(name)} after {quoted(first)}, expected distinct names", code="E_TAR_DUP")
        self._members[name] = Member(name=name, source=self._source, offset=entry.offset, size=entry.size)
        return self._members[name]

    def _check_directory(self, entry: _Entry) -> None:
        """Folders are ignored, but must not carry data: readers differ in whether they skip them."""
        if entry.name.rstrip("/") != ".":
            check_member_name(entry.name.removesuffix("/"))
        if entry.size:
            raise SourceError(
                f"the folder {quoted(entry.name)} has {entry.size} bytes of data, expected none",
                code="E_TAR_AMBIGUOUS",
            )

    def _check_inside(self, entry: _Entry, what: str) -> None:
        if entry.end > self._source.size:
            raise _truncated(f"{what} ends at byte {entry.end}, but the file at byte {self._source.size}")

    def _note(self, code: str, message: str) -> None:
        severity = Severity.WARNING if code == CUT else Severity.INFO
        self._findings.append(
            Finding(code=code, severity=severity, message=message, where=printable(self._source.name))
        )


class _Window:
    """Reads ahead, so that small members beside each other cost one read."""

    def __init__(self, source: ByteSource) -> None:
        self._source = source
        self._offset = 0
        self._bytes = b""

    def read(self, offset: int, size: int) -> bytes:
        """`size` bytes at `offset`; fewer only at the end."""
        start = offset - self._offset
        if start < 0 or start + size > len(self._bytes):
            there = max(0, self._source.size - offset)
            self._bytes = self._source.read_at(min(offset, self._source.size), min(max(size, _WINDOW_BYTES), there))
            self._offset, start = offset, 0
        return self._bytes[start : start + size]


def _shown_type(entry: Header | _Entry) -> str:
    return quoted(entry.type.decode(errors="backslashreplace"))


def _refused_type(entry: Header | _Entry, kind: str) -> SourceError:
    name = entry.name if isinstance(entry.name, str) else entry.name.decode(errors="backslashreplace")
    return SourceError(
        f"the tar member {quoted(name)} is {kind}, expected a regular file",
        code="E_TAR_TYPE",
    )


def _limit(message: str) -> SourceError:
    return SourceError(message, code="E_TAR_LIMIT", hint="No appliance needs this; the file is damaged or hostile.")


def _trailing(message: str) -> SourceError:
    return SourceError(message, code="E_TAR_TRAILING")


def _truncated(message: str) -> SourceError:
    return SourceError(message, code="E_TAR_TRUNCATED", hint="The file is incomplete: copy or download it again.")
