"""Whether the bytes of a package are those of its manifest.

`verify_members` reads everything and tells; an install instead takes a `DigestCheck` for each member it copies, and
feeds it the very bytes it uses. Trust has four words and not one, because "the digests match" and "this comes from whom
it says" are different claims.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from virt_ova.findings import Finding, Severity
from virt_ova.package.manifest import Digest, Manifest, digest_mismatch
from virt_ova.policy import TrustPolicy
from virt_ova.progress import Monitor
from virt_ova.source.base import Member, MemberName
from virt_ova.text import printable, quoted
from virt_ova.units import MIB

_READ_BYTES = MIB


class Trust(StrEnum):
    """How far a package was verified; the value is the word in JSON."""

    SIGNED_TRUSTED = "signed-trusted"
    SIGNED_UNTRUSTED = "signed-untrusted"
    DIGESTS = "digests"
    UNVERIFIED = "unverified"


@dataclass(frozen=True, kw_only=True, slots=True)
class Signer:
    """Who signed a manifest, as the certificate says.

    Attributes:
        subject: distinguished name (RFC 4514), as its author wrote it.
        issuer: the authority's; the same for one who vouches for nobody but himself.
        not_before: ISO 8601, in UTC.
        not_after: as `not_before`.
        sha256: of the certificate, in lower-case hexadecimal.
    """

    subject: str
    issuer: str
    not_before: str
    not_after: str
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Appraisal:
    """What a package is worth, as long as its files are those of the manifest.

    Attributes:
        trust: the word.
        signer: who signed the manifest; None when nobody did.
        findings: the reasons for the word.
    """

    trust: Trust
    signer: Signer | None = None
    findings: tuple[Finding, ...] = ()

    def shortfall(self, policy: TrustPolicy) -> str:
        """Why this is less than `policy` demands, as a sentence; empty when it is enough."""
        if self.trust is Trust.SIGNED_TRUSTED or not policy.require_signature:
            return ""
        doubts = [finding.message for finding in self.findings if finding.severity is Severity.WARNING]
        why = "; ".join(doubts) or "it has no signature"
        return f"the package's trust is {self.trust} ({why}), and {policy.demanded_by} demands {Trust.SIGNED_TRUSTED}"

    def report(self, files: Iterable[FileCheck], findings: Iterable[Finding], policy: TrustPolicy) -> VerifyReport:
        """What is known now that the `files` were hashed, and `findings` told what else there is."""
        told = (*findings, *self.findings)
        is_sound = all(finding.severity is not Severity.ERROR for finding in told)
        if shortfall := self.shortfall(policy):
            told = (*told, Finding(code="CERT_REQUIRED", severity=Severity.ERROR, message=shortfall))
        return VerifyReport(
            trust=self.trust if is_sound else Trust.UNVERIFIED,
            signer=self.signer if is_sound else None,
            files=tuple(files),
            findings=told,
        )


UNVERIFIED: Final = Appraisal(trust=Trust.UNVERIFIED)
"""Of a package that was not looked at, or has no manifest."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FileCheck:
    """One file against its digest: the member's `name`, the `algorithm`, and whether the bytes are `ok`."""

    name: MemberName
    algorithm: str
    ok: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class VerifyReport:
    """What a verification saw.

    Attributes:
        trust: `Trust.UNVERIFIED` as soon as one thing is wrong.
        signer: who signed the manifest; None when nobody did, or one thing is wrong.
        files: each file that has a digest and is there.
        findings: what is wrong (`Severity.ERROR`), why nobody is trusted, and what else is worth knowing.
    """

    trust: Trust
    signer: Signer | None = None
    files: tuple[FileCheck, ...]
    findings: tuple[Finding, ...]

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong; a package without manifest is not wrong, only unverified."""
        return all(finding.severity is not Severity.ERROR for finding in self.findings)


class ByteCheck(Protocol):
    """Takes the bytes of a file as they pass, to compare at the end."""

    def update(self, data: bytes | bytearray | memoryview, /) -> None:
        """Take the next bytes."""

    def finish(self) -> None:
        """All bytes were taken.

        Raises:
            DigestError: they are not those of the manifest (``E_DIGEST``).
        """


class DigestCheck:
    """Hashes the bytes of one member as they pass, to compare at the end.

    Attributes:
        name: of the member.
        expected: its digest in the manifest.
    """

    def __init__(self, name: MemberName, expected: Digest) -> None:
        self.name = name
        self.expected = expected
        self._hash = hashlib.new(expected.algorithm.lower(), usedforsecurity=False)

    def update(self, data: bytes | bytearray | memoryview, /) -> None:
        """Take the next bytes."""
        self._hash.update(data)

    @property
    def found_hex(self) -> str:
        """Digest of what was taken so far, in lower-case hexadecimal."""
        return self._hash.hexdigest()

    @property
    def matches(self) -> bool:
        """Whether what was taken so far has the expected digest."""
        return self.found_hex == self.expected.hex

    def finish(self) -> None:
        """All bytes were taken.

        Raises:
            DigestError: they are not those of the manifest (``E_DIGEST``).
        """
        if not self.matches:
            raise digest_mismatch(self.name, self.expected, self.found_hex)


class JoinedCheck:
    """A `ByteCheck` of a chunked file, each of whose chunks has a digest of its own."""

    def __init__(self, checks: Sequence[DigestCheck], sizes: Sequence[int]) -> None:
        """Take the `checks` of the chunks, in order, and how many bytes each chunk has."""
        self._checks, self._sizes = checks, sizes
        self._index = self._done = 0

    def update(self, data: bytes | bytearray | memoryview, /) -> None:
        """Take the next bytes, of as many chunks as they belong to."""
        rest = memoryview(data)
        while rest:
            taken = rest[: self._sizes[self._index] - self._done]
            self._checks[self._index].update(taken)
            self._done += len(taken)
            rest = rest[len(taken) :]
            if self._done == self._sizes[self._index]:
                self._index, self._done = self._index + 1, 0

    def finish(self) -> None:
        """See `ByteCheck.finish`; the error names the first chunk that differs."""
        for check in self._checks:
            check.finish()


def coverage_problems(
    manifest: Manifest, required: Iterable[MemberName], members: Container[MemberName]
) -> Iterator[str]:
    """What is wrong between the manifest and the files, as sentences.

    Args:
        manifest: lists digests.
        required: the members that must have one (DSP0243 5.1: the descriptor and every file).
        members: what is there.
    """
    for name in manifest.entries:
        if name not in members:
            yield f"the manifest lists {quoted(name)}, which is not in the package"
    for name in required:
        if name not in manifest.entries:
            yield f"the manifest does not list {quoted(name)}"


MemberCheck = Callable[[Member, Digest, Monitor], DigestCheck]
"""Makes a check that has taken the whole of a member."""


def verify_members(
    manifest: Manifest,
    required: Iterable[MemberName],
    members: Mapping[MemberName, Member],
    monitor: Monitor,
    *,
    check: MemberCheck,
) -> tuple[list[FileCheck], list[Finding]]:
    """Read and hash every member that has a digest; what is wrong is returned as findings, not raised.

    Args:
        manifest: lists digests.
        required: the members that must have one.
        members: what is there.
        monitor: is told of each member.
        check: hashes a member.

    Raises:
        SourceError: a member cannot be read.
    """
    problems = coverage_problems(manifest, required, members)
    findings = [Finding(code="MANIFEST_COVERAGE", severity=Severity.ERROR, message=problem) for problem in problems]
    files = []
    for name, expected in manifest.entries.items():
        member = members.get(name)
        if member is None:
            continue
        checked = check(member, expected, monitor)
        files.append(FileCheck(name=name, algorithm=expected.algorithm, ok=checked.matches))
        if not checked.matches:
            findings.append(_mismatch(checked))
    return files, findings


def hash_member(member: Member, expected: Digest, monitor: Monitor) -> DigestCheck:
    """A check that has taken the whole of `member`."""
    check = DigestCheck(member.name, expected)
    step = f"Verifying {printable(member.name)}"
    monitor.begin(step, member.size)
    for offset in range(0, member.size, _READ_BYTES):
        data = member.read_at(offset, min(_READ_BYTES, member.size - offset))
        check.update(data)
        monitor.advance(step, len(data))
    monitor.end(step)
    return check


def _mismatch(check: DigestCheck) -> Finding:
    return Finding(
        code="DIGEST",
        severity=Severity.ERROR,
        message=digest_mismatch(check.name, check.expected, check.found_hex).message,
        where=printable(check.name),
    )
