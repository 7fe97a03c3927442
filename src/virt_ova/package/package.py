"""A package: its descriptor, its manifest, its files and disks, over one archive that is read in place.

with open_package("appliance.ova") as package:
    for disk in package.disks:
        print(disk.file_name, disk.file_size, disk.file_offset)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from types import TracebackType
from typing import TYPE_CHECKING, Self

from virt_ova.errors import PackageError
from virt_ova.findings import Finding, Severity
from virt_ova.ovf.envelope import Envelope
from virt_ova.package.companions import find_companion, read_capped
from virt_ova.package.descriptor import describes, is_vmx, read_descriptor
from virt_ova.package.disks import PackageDisk, resolve_disk
from virt_ova.package.extents import told_capacity, with_extents
from virt_ova.package.files import PackageFile, awaited, resolve_file
from virt_ova.package.manifest import MAX_MANIFEST_BYTES, Digest, Manifest, parse_manifest
from virt_ova.package.passing import PassingHashes
from virt_ova.package.remarks import order_findings, reassured, rest_findings
from virt_ova.package.verify import (
    UNVERIFIED,
    Appraisal,
    ByteCheck,
    DigestCheck,
    JoinedCheck,
    MemberCheck,
    Trust,
    VerifyReport,
    coverage_problems,
    hash_member,
    verify_members,
)
from virt_ova.policy import TrustPolicy
from virt_ova.progress import Monitor, SilentMonitor
from virt_ova.source.base import Archive, Member, MemberName
from virt_ova.source.joined import JoinedSource
from virt_ova.source.opener import PackageSource, open_archive
from virt_ova.text import printable, quoted

if TYPE_CHECKING:
    from virt_ova.package.signature import Signature

__all__ = ["Package", "PackageDisk", "PackageFile", "PackageSource", "open_package"]

MAX_CERTIFICATE_BYTES = 64 << 10

_WHOM_TO_TRUST = "Get a package whose signer is trusted here, or name the signer's authority as a trust anchor."


@dataclass(frozen=True, kw_only=True, slots=True)
class Package:
    """An open package; a context manager that closes its archive.

    Attributes:
        kind: ``ova`` for a tar; ``ovf`` or ``vmx`` for a folder, by its descriptor.
        name: file or folder name, for people.
        archive: where the bytes are.
        descriptor: the OVF or VMX, byte for byte.
        descriptor_member: where it lies.
        envelope: what it says; its own findings are `Envelope.findings`.
        manifest: None when there is none, or an empty one.
        manifest_member: the ``.mf``; None when there is none.
        certificate: bytes of the ``.cert``; None when there is none.
        certificate_member: the ``.cert``; None when there is none.
        signature: what the certificate says of the manifest; None when there is none.
        locale: language that was asked for; empty for the descriptor's own.
        strings: the files that the descriptor's texts were read from, by name.
        files: of References, in order.
        disks: of DiskSection, in order.
        findings: what was noticed about the package, apart from the descriptor's text.
    """

    kind: str
    name: str
    archive: Archive
    descriptor: bytes
    descriptor_member: Member
    envelope: Envelope
    manifest: Manifest | None = None
    manifest_member: Member | None = None
    certificate: bytes | None = None
    certificate_member: Member | None = None
    signature: Signature | None = None
    locale: str = ""
    strings: Mapping[MemberName, bytes] = field(default_factory=dict)
    files: tuple[PackageFile, ...] = ()
    disks: tuple[PackageDisk, ...] = ()
    findings: tuple[Finding, ...] = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def whole(self) -> Package:
        """The package with everything known: itself, or what is left of a pipe is passed over first.

        Raises:
            VirtOvaError: as `open_package`.
        """
        if (rest := self.archive.rest) is None:
            return self
        for _ in rest:
            continue
        archive = rest.archive()
        findings = tuple(dict.fromkeys((*self.archive.findings, *archive.findings)))
        return _read_package(replace(archive, findings=findings), self.locale)

    def close(self) -> None:
        """Close the archive."""
        self.archive.close()

    def member(self, name: str) -> Member:
        """The member of the file that References calls `name`, to use its bytes.

        Raises:
            PackageError: there is no such file (``E_PKG_FILE``), or as `PackageFile.require_member`.
        """
        for file in self.files:
            if file.name == name:
                return file.require_member()
        raise self.no_file(name)

    def parents_of(self, disk: PackageDisk) -> tuple[PackageDisk, ...]:
        """The disks that `disk` lies on, the nearest first; none for a whole disk."""
        by_id = {each.id: each for each in self.disks}
        parents: list[PackageDisk] = []
        while disk.parent_id:
            disk = by_id[disk.parent_id]
            parents.append(disk)
        return tuple(parents)

    def no_file(self, name: str) -> PackageError:
        """The error for a file `name` that References does not have."""
        return PackageError(f"the descriptor refers to no file {quoted(name)}", code="E_PKG_FILE", where=self.name)

    def expected_digest(self, member: Member) -> Digest | None:
        """What `member` must hash to; None when the manifest, if any, does not say."""
        return self.manifest.entries.get(member.name) if self.manifest else None

    def compression_of(self, member: Member) -> str:
        """How the bytes of `member`, which `member` found, are compressed: ``gzip``, or empty when they are not."""
        return next((file.compression for file in self.files if file.member == member), "")

    def digest_check(self, member: Member) -> ByteCheck | None:
        """A check to feed with every byte of `member` while it is used; None when there is no manifest.

        A member that is joined of others is checked piece by piece.

        Raises:
            PackageError: there is a manifest, and it does not list the member (``E_MANIFEST_COVERAGE``).
        """
        if self.manifest is None:
            return None
        chunks = member.source.parts if isinstance(member.source, JoinedSource) else (member,)
        checks = []
        for chunk in chunks:
            if (expected := self.expected_digest(chunk)) is None:
                raise _not_covered(f"the manifest does not list {quoted(chunk.name)}", self.name)
            checks.append(DigestCheck(chunk.name, expected))
        return checks[0] if len(checks) == 1 else JoinedCheck(checks, [chunk.size for chunk in chunks])

    def check_manifest(self, policy: TrustPolicy | None = None) -> Appraisal:
        """Check what was read already: signature and manifest, the descriptor, and the files of its texts.

        Of a package whose files have not passed yet, the manifest cannot be held against them, and a signature may
        still come.

        Returns the trust that an install can claim once the digest of every byte it used matched as well.

        Raises:
            PackageError: the signature is not one of the manifest (``E_CERT_*``), manifest and files do not cover each
                other (``E_MANIFEST_COVERAGE``), or `policy` demands more (``E_UNTRUSTED``).
            DigestError: one of them is not that of the manifest (``E_DIGEST``).
            VirtOvaError: an anchor of `policy` cannot be read (``E_TRUST_ANCHOR``).
        """
        wanted = policy or TrustPolicy()
        appraisal = self._appraise(wanted)
        may_be_signed_yet = self.archive.rest is not None and self.signature is None
        if (shortfall := appraisal.shortfall(wanted)) and not may_be_signed_yet:
            raise PackageError(shortfall, code="E_UNTRUSTED", where=self.name, hint=_WHOM_TO_TRUST)
        if self.manifest is not None:
            self._check_coverage(self.manifest)
        return appraisal

    def _appraise(self, policy: TrustPolicy) -> Appraisal:
        if self.signature:
            return self.signature.appraise(policy)
        return Appraisal(trust=Trust.DIGESTS) if self.manifest else UNVERIFIED

    def _check_coverage(self, manifest: Manifest) -> None:
        there = self.archive.members if self.archive.rest is None else manifest.entries
        for problem in coverage_problems(manifest, self.covered_names, there):
            raise _not_covered(problem, self.name)
        texts = {file.listing.name: file.listing_data for file in self.files if file.listing}
        for name, content in {self.descriptor_member.name: self.descriptor, **self.strings, **texts}.items():
            check = DigestCheck(name, manifest.entries[name])
            check.update(content)
            check.finish()

    def verify(self, monitor: Monitor | None = None, *, policy: TrustPolicy | None = None) -> VerifyReport:
        """Check the signature, hash every file that has a digest, and report; a pipe is read to its end.

        Raises:
            SourceError: a file cannot be read, or changed meanwhile (``E_CHANGED``).
            VirtOvaError: an anchor of `policy` cannot be read (``E_TRUST_ANCHOR``).
        """
        listener, wanted = monitor or SilentMonitor(), policy or TrustPolicy()
        if self.archive.rest is None:
            return self._report(hash_member, listener, wanted)
        hashes = PassingHashes(self.manifest)
        for passing in self.archive.rest:
            hashes.pass_over(passing, listener)
        return self.whole()._report(hashes.check, listener, wanted)  # noqa: SLF001 - of this class

    def _report(self, check: MemberCheck, monitor: Monitor, policy: TrustPolicy) -> VerifyReport:
        notes = tuple(finding for finding in self.findings if finding.code == "MANIFEST_EMPTY")
        notes = (*notes, *self.signature_findings)
        is_broken = self.signature is not None and self.signature.problem is not None
        appraisal = UNVERIFIED if is_broken else self._appraise(policy)
        if self.manifest is None:
            return appraisal.report((), notes, policy)
        files, wrong = verify_members(self.manifest, self.covered_names, self.archive.members, monitor, check=check)
        self.archive.check_unchanged()
        return appraisal.report(files, (*wrong, *self.manifest.findings, *notes), policy)

    @property
    def signature_findings(self) -> tuple[Finding, ...]:
        """Who signed the manifest, or what is wrong with the signature; empty when there is none."""
        return tuple(self.signature.findings()) if self.signature else ()

    @property
    def covered_names(self) -> tuple[MemberName, ...]:
        """The members that the manifest must list: of an OVA all, of a folder those in use; never itself."""
        apart = {member.name for member in (self.manifest_member, self.certificate_member) if member}
        stored = (member.name for file in self.files for member in file.stored)
        names = self.archive.members if self.kind == "ova" else dict.fromkeys((self.descriptor_member.name, *stored))
        return tuple(name for name in names if name not in apart)


def open_package(source: PackageSource, *, locale: str = "") -> Package:
    """Open the package at `source`: a path of an OVA, a folder or a descriptor, a URL, ``-``, or an open file.

    An open file is read from its current position, and stays open. Of what can only be read from front to back (a
    pipe, a gzip'd OVA) the beginning is read, up to the first disk; `Package.whole` and `Package.verify` read on.

    Args:
        source: where it is.
        locale: language of the descriptor's texts (``de-DE``), where it has them; its own language when empty.

    Raises:
        SourceError: there is no package, or it cannot be read.
        PackageError: the package has not exactly one descriptor (``E_PKG_OVF``), or its manifest or certificate is
            refused (``E_MANIFEST_*``, ``E_CERT_*``).
        DescriptorError: the descriptor cannot be read or makes no sense.
    """
    archive = open_archive(source, keeps=describes)
    try:
        return _read_package(archive, locale)
    except BaseException:
        archive.close()
        raise


def _read_package(archive: Archive, locale: str) -> Package:
    found = read_descriptor(archive, locale)
    package = Package(
        kind="vmx" if archive.kind == "ovf" and found.is_vmx else archive.kind,
        name=PurePath(archive.name).name or archive.name,
        archive=archive,
        descriptor=found.data,
        descriptor_member=found.member,
        envelope=found.envelope,
        locale=locale,
        strings=found.strings,
        findings=(*archive.findings, *rest_findings(archive), *order_findings(archive, found)),
    )
    return _with_disks(_with_files(_with_manifest(package)))


def _with_manifest(package: Package) -> Package:
    """`package` with its manifest, and with what its certificate says of the very bytes that were parsed."""
    member = _companion(package, ".mf")
    if member is None:
        return _with_certificate(package, b"")
    where = printable(member.name)
    data = read_capped(member, MAX_MANIFEST_BYTES, "E_MANIFEST_LIMIT")
    manifest = parse_manifest(data, where=where)
    findings = reassured(package.findings, package.archive, manifest)
    if manifest is None:
        message = "the manifest is empty: nothing can be verified"
        findings = (
            *findings,
            Finding(code="MANIFEST_EMPTY", severity=Severity.WARNING, message=message, where=where),
        )
    return _with_certificate(replace(package, manifest=manifest, manifest_member=member, findings=findings), data)


def _with_certificate(package: Package, signed: bytes) -> Package:
    member = _companion(package, ".cert")
    if member is None:
        return package
    where = printable(member.name)
    if package.manifest is None and package.archive.rest:
        return package
    if package.manifest is None or package.manifest_member is None:
        raise PackageError(
            "found a certificate, but no manifest that it could have signed",
            code="E_CERT_MANIFEST",
            where=where,
            hint="Get the complete package; if the manifest was removed on purpose, remove the certificate too.",
        )
    from virt_ova.package.signature import read_signature  # noqa: PLC0415 - loads slowly, and few packages need it

    certificate, name = read_capped(member, MAX_CERTIFICATE_BYTES, "E_CERT_LIMIT"), package.manifest_member.name
    signature = read_signature(certificate, where=where, manifest=package.manifest, name=name, signed=signed)
    return replace(
        package,
        certificate=certificate,
        certificate_member=member,
        signature=signature,
        findings=(*package.findings, *signature.findings()),
    )


def _with_files(package: Package) -> Package:
    declared = package.envelope.files
    files = [resolve_file(file, package.archive.members) for file in declared]
    if is_vmx(package.descriptor_member):
        files = with_extents(files, package.archive.members)
    if package.archive.rest:
        files = [awaited(resolved, file) for resolved, file in zip(files, declared, strict=True)]
    pairs = zip(files, declared, strict=True)
    findings = [finding for resolved, file in pairs for finding in resolved.findings(file.size_bytes)]
    return replace(package, files=tuple(files), findings=(*package.findings, *findings))


def _with_disks(package: Package) -> Package:
    by_id = {file.id: file for file in package.files}
    disks, findings = [], list(package.findings)
    for disk in package.envelope.disks:
        file = by_id[disk.file_ref] if disk.file_ref else None
        if file and is_vmx(package.descriptor_member):
            disk = replace(disk, capacity_bytes=told_capacity(file))  # noqa: PLW2901 - a VMX leaves it to the image
        resolved, noticed = resolve_disk(disk, file)
        disks.append(resolved)
        findings += noticed
    return replace(package, disks=tuple(disks), findings=tuple(findings))


def _companion(package: Package, suffix: str) -> Member | None:
    return find_companion(package.archive, package.descriptor_member, suffix, where=package.name)


def _not_covered(problem: str, where: str) -> PackageError:
    return PackageError(
        problem,
        code="E_MANIFEST_COVERAGE",
        where=where,
        hint="Files were added to or removed from the package after it was made.",
    )
