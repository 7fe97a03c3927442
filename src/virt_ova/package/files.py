"""From what References and DiskSection say to the members that hold it.

An ``href`` is resolved inside the package or not at all: a URL is never fetched, a path never leaves the package
(CVE-2026-34881). What cannot be resolved does not stop a look at the package; it is remembered as an `Obstacle`, told
as a finding, and raised when something needs the bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from urllib.parse import unquote

from virt_ova.errors import DiskError, PackageError, SourceError
from virt_ova.findings import Finding, Severity
from virt_ova.ovf.envelope import File
from virt_ova.package.chunks import find_chunks, find_member
from virt_ova.source.base import Member, MemberName
from virt_ova.source.joined import JoinedSource
from virt_ova.source.names import check_member_name
from virt_ova.source.pipe import SAVE_FIRST
from virt_ova.text import quoted

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:|//")
"""A URL has a scheme of two letters or more (one is a Windows drive), or names a host."""
_AS_IT_IS = ("", "identity")
"""Values of ``ovf:compression`` that mean none."""
_READ = ("", "gzip")
"""Compressions that are read."""
_GET_ALL = "Get the complete package, with its files beside the descriptor."


@dataclass(frozen=True, kw_only=True, slots=True)
class Obstacle:
    """Why the bytes of a file cannot be used.

    Attributes:
        code: of the error that `PackageFile.require_member` raises.
        finding: code of the finding that tells it beforehand; empty when nothing is wrong with the package.
        message: as in an error.
        hint: as in an error.
        kind: of the error.
    """

    code: str
    finding: str
    message: str
    hint: str = ""
    kind: type[PackageError | DiskError] = PackageError


@dataclass(frozen=True, kw_only=True, slots=True)
class PackageFile:
    """A File of References, and where it lies.

    Attributes:
        id: ``ovf:id``.
        name: the member's name; the href as written when no member was found.
        size: stored bytes; what the descriptor claims when they are not there, or None.
        offset: where the bytes begin in the package; None when they are not there or in chunks.
        member: the bytes as stored, perhaps compressed; the chunks joined.
        chunks: the members of a chunked file, in order.
        compression: ``gzip``... or empty.
        listing: a VMDK descriptor in a file of its own, when it lists the files that the bytes are in.
        listing_data: its bytes.
        obstacle: why the bytes cannot be used; None when they can.
    """

    id: str
    name: str
    size: int | None
    offset: int | None = None
    member: Member | None = None
    chunks: tuple[Member, ...] = ()
    compression: str = ""
    listing: Member | None = None
    listing_data: bytes = b""
    obstacle: Obstacle | None = None

    @property
    def stored(self) -> tuple[Member, ...]:
        """Every member that holds bytes of this file."""
        listing = (self.listing,) if self.listing else ()
        return (*listing, *(self.chunks or ((self.member,) if self.member else ())))

    @property
    def position(self) -> int:
        """Where in the package it is come across; 0 when it is not there."""
        return self.stored[0].offset if self.stored else 0

    @property
    def is_awaited(self) -> bool:
        """Whether it may still come: its package is read once, from front to back."""
        return self.obstacle is not None and self.obstacle.code == "E_PIPE_ORDER"

    def require_member(self) -> Member:
        """The member, to use its bytes; what they hold is compressed as `compression` says.

        Raises:
            PackageError: it is missing (``E_PKG_FILE``), remote (``E_REF_REMOTE``), outside the package
                (``E_REF_OUTSIDE``), in chunks that do not fit (``E_PKG_CHUNK``), or compressed by anything but gzip
                (``E_NOT_SUPPORTED``).
            DiskError: its VMDK descriptor, or an extent that this lists, is not to be used (``E_DISK_*``).
        """
        if self.obstacle is None and self.member is not None:
            return self.member
        reason = self.obstacle or _missing(self.name)
        raise reason.kind(reason.message, code=reason.code, hint=reason.hint)

    def findings(self, declared_size: int | None) -> Iterator[Finding]:
        """What is wrong with it, `declared_size` being the descriptor's ``ovf:size``."""
        where = f"References/File {quoted(self.id)}"
        if self.obstacle and self.obstacle.finding:
            yield Finding(
                code=self.obstacle.finding, severity=Severity.ERROR, message=self.obstacle.message, where=where
            )
        if self.stored and declared_size not in {None, self.size}:
            yield Finding(
                code="PKG_FILE_SIZE",
                severity=Severity.WARNING,
                message=f"{quoted(self.name)} has {self.size} bytes, the descriptor says {declared_size}",
                where=where,
            )


def resolve_file(file: File, members: Mapping[MemberName, Member]) -> PackageFile:
    """Find the member that `file` refers to. Raises nothing: what is wrong becomes the file's `Obstacle`."""
    try:
        member, chunks = _find(file, members)
    except PackageError as exc:
        obstacle = Obstacle(code=exc.code, finding=_finding_code(exc.code), message=exc.message, hint=exc.hint)
        return PackageFile(id=file.id, name=file.href or file.id, size=file.size_bytes, obstacle=obstacle)
    compression = "" if file.compression in _AS_IT_IS else file.compression
    return PackageFile(
        id=file.id,
        name=member.name,
        size=member.size,
        offset=None if chunks else member.offset,
        member=member,
        chunks=chunks,
        compression=compression,
        obstacle=None if compression in _READ else _unsupported(compression, member.name),
    )


def awaited(resolved: PackageFile, file: File) -> PackageFile:
    """`resolved` as it is before the members of its package have passed: what is missing may still come."""
    if resolved.obstacle is None or resolved.obstacle.code != "E_PKG_FILE":
        return resolved
    compression = "" if file.compression in _AS_IT_IS else file.compression
    obstacle = Obstacle(
        code="E_PIPE_ORDER",
        finding="",
        message=f"the file {quoted(resolved.name)} has not come yet, and will come once only",
        hint=SAVE_FIRST,
    )
    return replace(resolved, compression=compression, obstacle=obstacle)


def _find(file: File, members: Mapping[MemberName, Member]) -> tuple[Member, tuple[Member, ...]]:
    """The member of `file`, and the chunks that it was joined of."""
    if _SCHEME.match(file.href):
        raise PackageError(
            f"the file {quoted(file.href)} is elsewhere on a network, expected one in the package",
            code="E_REF_REMOTE",
            hint="Download it, put it beside the descriptor, and change its href to the file's name.",
        )
    for href in hrefs(file):
        name = _checked(href)
        if chunks := find_chunks(file, name, members):
            joined = JoinedSource(name, chunks)
            return Member(name=name, source=joined, offset=0, size=joined.size), chunks
        if member := find_member(members, name):
            return member, ()
    missing = _missing(file.href)
    raise PackageError(missing.message, code=missing.code, hint=missing.hint)


def hrefs(file: File) -> tuple[str, ...]:
    """The names that the file may have, best first: as written, and with what is escaped decoded."""
    return tuple(dict.fromkeys((file.href, _unescaped(file.href))))


def _unescaped(href: str) -> str:
    """`href` with %20 and the like decoded (RFC 3986 2.1), as it is where that gives no text."""
    try:
        return unquote(href, errors="strict")
    except UnicodeDecodeError:
        return href


def _checked(href: str) -> MemberName:
    try:
        return check_member_name(href)
    except SourceError as exc:
        raise PackageError(
            f"the file {quoted(href)} could lie outside the package, expected a plain name such as 'disk1.vmdk'",
            code="E_REF_OUTSIDE",
            hint="Put it beside the descriptor, and change its href (or fileName, in a VMX) to the file's name.",
        ) from exc


def _missing(href: str) -> Obstacle:
    return Obstacle(
        code="E_PKG_FILE",
        finding="PKG_FILE_MISSING",
        message=f"the file {quoted(href)} is not in the package",
        hint=_GET_ALL,
    )


def _unsupported(compression: str, name: str) -> Obstacle:
    return Obstacle(
        code="E_NOT_SUPPORTED",
        finding="PKG_NOT_SUPPORTED",
        message=f"the file {quoted(name)} is compressed ({quoted(compression)}), expected gzip or no compression",
        hint="Export the package again without compression.",
    )


_FINDINGS = {"E_REF_REMOTE": "PKG_REF_REMOTE", "E_REF_OUTSIDE": "PKG_REF_OUTSIDE", "E_PKG_CHUNK": "PKG_CHUNK"}


def _finding_code(error_code: str) -> str:
    return _FINDINGS.get(error_code, "PKG_FILE_MISSING")
