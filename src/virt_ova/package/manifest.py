"""The manifest: one digest for each file of a package (DSP0243 5.1, ``SHA256(disk1.vmdk)= 9f86d0...``).

Writers disagree on blanks, line ends and letter case, and all of that is read. What would leave a file unchecked is
refused: a line that is not understood, an algorithm that is unknown or broken, a second digest for one file. Digests
prove that the bytes are those the manifest's writer meant; who that was, only a certificate can tell.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from virt_ova.errors import DigestError, PackageError, SourceError
from virt_ova.findings import Finding, Severity
from virt_ova.source.base import MemberName
from virt_ova.source.names import check_member_name, duplicate_key
from virt_ova.text import quoted

MAX_MANIFEST_BYTES = 1 << 20
MAX_LINES = 4096

_LINE = re.compile(
    r"[ \t]*(?P<algorithm>[A-Za-z0-9-]{1,20})[ \t]*\((?P<name>.*)\)[ \t]*=[ \t]*(?P<digest>[0-9A-Fa-f]+)[ \t]*"
)
_DIGEST_BYTES = {"SHA1": 20, "SHA256": 32, "SHA384": 48, "SHA512": 64}
_EXPECTED_LINE = "expected a line such as 'SHA256(disk1.vmdk)= 9f86d0...'"
_MAKE_AGAIN = "Ask whoever made the package for SHA-256 digests."


@dataclass(frozen=True, kw_only=True, slots=True)
class Digest:
    """What a file's bytes must hash to.

    Attributes:
        algorithm: ``SHA1``, ``SHA256``, ``SHA384`` or ``SHA512``.
        hex: lower-case hexadecimal.
    """

    algorithm: str
    hex: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """A manifest that was read; it has at least one entry.

    Attributes:
        entries: digest by member, in the order of the lines.
        findings: what is weak about it.
    """

    entries: Mapping[MemberName, Digest]
    findings: tuple[Finding, ...] = ()

    @property
    def algorithm(self) -> str:
        """The algorithm; several in one manifest are joined by a comma."""
        return ", ".join(sorted({digest.algorithm for digest in self.entries.values()}))


def parse_manifest(data: bytes, *, where: str) -> Manifest | None:
    """The manifest in `data`; None when it has no entries, which is as good as no manifest.

    Args:
        data: bytes of the ``.mf`` member.
        where: its name, for messages.

    Raises:
        PackageError: it is too long (``E_MANIFEST_LIMIT``), a line is not understood (``E_MANIFEST_SYNTAX``), a name
            could not be a member's (``E_MANIFEST_NAME``), an algorithm is not accepted (``E_MANIFEST_ALGORITHM``), or a
            file is listed twice (``E_MANIFEST_DUP``).
    """
    entries: dict[MemberName, Digest] = {}
    seen: dict[str, MemberName] = {}
    for number, line in _lines(data, where):
        try:
            name, digest = _parse_line(line)
        except PackageError as exc:
            exc.at(f"{where}: line {number}")
            raise
        first = seen.setdefault(duplicate_key(name), name)
        if first in entries:
            raise PackageError(
                f"found a digest for {quoted(name)} after one for {quoted(first)}, expected one for each file",
                code="E_MANIFEST_DUP",
                where=f"{where}: line {number}",
                hint="Do not trust this package.",
            )
        entries[name] = digest
    return Manifest(entries=entries, findings=_weaknesses(entries, where)) if entries else None


def digest_mismatch(name: str, expected: Digest, found_hex: str) -> DigestError:
    """The error for bytes that are not those of the manifest."""
    return DigestError(
        f"the {expected.algorithm} of {quoted(name)} is {found_hex}, expected {expected.hex} as the manifest says",
        code="E_DIGEST",
        hint="The file is damaged or was changed: copy or download the package again.",
    )


def _lines(data: bytes, where: str) -> Iterator[tuple[int, str]]:
    """Number and text of each line that is not blank."""
    lines = data.removeprefix(b"\xef\xbb\xbf").split(b"\n", MAX_LINES)
    if len(lines) > MAX_LINES:
        raise PackageError(
            f"the manifest has more than {MAX_LINES} lines, expected one for each file",
            code="E_MANIFEST_LIMIT",
            where=where,
        )
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield number, line.removesuffix(b"\r").decode()
        except UnicodeDecodeError as exc:
            raise PackageError(
                "the line is not UTF-8 text", code="E_MANIFEST_SYNTAX", where=f"{where}: line {number}"
            ) from exc


def _parse_line(line: str) -> tuple[MemberName, Digest]:
    match = _LINE.fullmatch(line)
    if match is None:
        raise PackageError(f"found {quoted(line)}, {_EXPECTED_LINE}", code="E_MANIFEST_SYNTAX")
    algorithm = match["algorithm"].upper().replace("-", "")
    if algorithm not in _DIGEST_BYTES:
        raise PackageError(
            f"found the algorithm {quoted(match['algorithm'])}, expected one of {', '.join(_DIGEST_BYTES)}",
            code="E_MANIFEST_ALGORITHM",
            hint=_MAKE_AGAIN,
        )
    digits, expected = len(match["digest"]), 2 * _DIGEST_BYTES[algorithm]
    if digits != expected:
        raise PackageError(
            f"found a digest of {digits} digits, expected {expected} for {algorithm}", code="E_MANIFEST_SYNTAX"
        )
    try:
        name = check_member_name(match["name"])
    except SourceError as exc:
        raise PackageError(exc.message, code="E_MANIFEST_NAME") from exc
    return name, Digest(algorithm=algorithm, hex=match["digest"].lower())


def _weaknesses(entries: Mapping[MemberName, Digest], where: str) -> tuple[Finding, ...]:
    if all(digest.algorithm != "SHA1" for digest in entries.values()):
        return ()
    message = "the manifest uses SHA-1: it shows damage, but no longer keeps out someone who forges a file"
    return (Finding(code="MANIFEST_SHA1", severity=Severity.WARNING, message=message, where=where),)
