"""The certificate of a package (``.cert``): a signature over its manifest, and who made it.

::

    SHA256(appliance.mf)= 3d1f...        made as by ``openssl dgst -sha256 -sign``, over the manifest's bytes
    -----BEGIN CERTIFICATE-----          of the signer; then those of the authorities above it, if any
    -----BEGIN CMS-----                  VirtualBox: the same signature once more, with the authorities

A signature that does not fit the manifest is an error, whoever is trusted. Whether one that fits is worth something is
asked in `Signature.appraise`. DSP0243 has no time stamps, so nothing tells whether it was made before a certificate
expired; expired is expired.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from virt_ova.errors import PackageError, VirtOvaError
from virt_ova.findings import Finding, Severity
from virt_ova.package.certificate import (
    Certificate,
    PemBlock,
    is_signed,
    pem_blocks,
    read_bundle,
    read_certificate,
)
from virt_ova.package.chain import WEAK_HASHES, day, find_chain
from virt_ova.package.manifest import Manifest
from virt_ova.package.verify import Appraisal, Signer, Trust
from virt_ova.policy import MAX_ANCHOR_BYTES, TrustAnchor, TrustPolicy
from virt_ova.source.base import MemberName
from virt_ova.text import printable, quoted

MAX_CERTIFICATES: Final = 16

_LINE: Final = re.compile(
    r"[ \t]*(?P<algorithm>[A-Za-z0-9-]{1,20})[ \t]*\((?P<name>.*)\)[ \t]*=[ \t]*(?P<hex>[0-9A-Fa-f]+)[ \t]*"
)
_HEX: Final = re.compile(r"[ \t]*[0-9A-Fa-f]+[ \t]*")
_EXPECTED_LINE: Final = "expected a line such as 'SHA256(appliance.mf)= 3d1f...'"
_ALGORITHMS: Final = ("SHA1", "SHA256", "SHA384", "SHA512")
_CERTIFICATE: Final = "CERTIFICATE"
_MESSAGES: Final = ("CMS", "PKCS7")
_DO_NOT_TRUST: Final = (
    "The manifest was changed after it was signed, or the certificate belongs to another package: "
    "do not trust it. Who changed it on purpose removes the certificate too."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Statement:
    """The line in front: which manifest was signed, by which algorithm, and the signature."""

    algorithm: str
    name: str
    signature: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """Why a signature is none of this manifest: codes of the error and of the finding, message and hint."""

    code: str
    finding: str
    message: str
    hint: str = _DO_NOT_TRUST


@dataclass(frozen=True, kw_only=True, slots=True)
class Signature:
    """A signature that was read, and held against the manifest.

    Attributes:
        where: name of the certificate's member, escaped.
        certificate: the signer's.
        others: authorities that came with it.
        weaknesses: why it could be forged, as sentences.
        has_message: whether there is a CMS message too, which is read for its certificates alone.
        problem: why it does not fit the manifest; None when it does.
    """

    where: str
    certificate: Certificate
    others: tuple[Certificate, ...] = ()
    weaknesses: tuple[str, ...] = ()
    has_message: bool = False
    problem: Problem | None = None

    def check(self) -> None:
        """Raise `PackageError` when it does not fit the manifest (``E_CERT_SIGNATURE``, ``E_CERT_NAME``...)."""
        if self.problem:
            raise PackageError(self.problem.message, code=self.problem.code, where=self.where, hint=self.problem.hint)

    def findings(self) -> Iterator[Finding]:
        """Who signed, or what is wrong; nothing that depends on whom one trusts."""
        if self.problem:
            problem = self.problem
            yield Finding(code=problem.finding, severity=Severity.ERROR, message=problem.message, where=self.where)
            return
        by = self.certificate
        issuer = "itself" if by.is_self_issued else quoted(by.issuer)
        message = f"the manifest is signed by {quoted(by.subject)}, issued by {issuer}, valid until {day(by.not_after)}"
        yield Finding(code="CERT_SIGNER", severity=Severity.INFO, message=message, where=self.where)
        if self.has_message:
            message = "a second signature (CMS) is not checked; only its certificates are looked at"
            yield Finding(code="CERT_CMS", severity=Severity.INFO, message=message, where=self.where)

    def appraise(self, policy: TrustPolicy, *, at: datetime | None = None) -> Appraisal:
        """What the signature is worth to somebody with this `policy`, `at` a time, by default now.

        Raises:
            PackageError: it does not fit the manifest, as `check`.
            VirtOvaError: an anchor cannot be read (``E_TRUST_ANCHOR``).
        """
        self.check()
        reasons = tuple(self._reasons(policy, at or datetime.now(UTC)))
        doubts = any(reason.severity is Severity.WARNING for reason in reasons)
        return Appraisal(
            trust=Trust.SIGNED_UNTRUSTED if doubts else Trust.SIGNED_TRUSTED,
            signer=_signer(self.certificate),
            findings=reasons,
        )

    def _reasons(self, policy: TrustPolicy, at: datetime) -> Iterator[Finding]:
        """Why it is not trusted; or the one who makes it trusted."""
        signer = self.certificate
        for weakness in self.weaknesses:
            yield self._doubt("CERT_WEAK", weakness)
        if signer.weak_key:
            yield self._doubt("CERT_WEAK", f"the signer has {signer.weak_key}")
        if at < signer.not_before:
            yield self._doubt("CERT_NOT_YET_VALID", f"the certificate is not valid before {day(signer.not_before)}")
        if at > signer.not_after:
            yield self._doubt(
                "CERT_EXPIRED",
                f"the certificate expired on {day(signer.not_after)}, and nothing tells when the signature was made",
            )
        if not signer.may_sign:
            yield self._doubt("CERT_USAGE", "the certificate is not for signing (its key usage)")
        if not signer.may_sign_code:
            yield self._doubt("CERT_USAGE", "the certificate is not for signing software (its extended key usage)")
        if signer.not_understood:
            message = f"the certificate has an extension that is not understood: {signer.not_understood}"
            yield self._doubt("CERT_CHAIN", message)
        yield self._chain_finding(policy, at)

    def _chain_finding(self, policy: TrustPolicy, at: datetime) -> Finding:
        signer, anchors = self.certificate, read_anchors(policy.anchors)
        chain = find_chain(signer, self.others, anchors, at=at)
        if chain.anchor:
            message = f"the signer is trusted because of the trust anchor {quoted(chain.anchor.subject)}"
            return Finding(code="CERT_ANCHOR", severity=Severity.INFO, message=message, where=self.where)
        if chain.fault:
            return self._doubt("CERT_CHAIN", chain.fault)
        if signer.is_self_issued:
            known = f"is none of the {len(anchors)} trust anchors" if anchors else "no trust anchor was given"
            return self._doubt("CERT_SELF_SIGNED", f"the certificate is signed by itself alone, and {known}")
        known = f"none of the {len(anchors)} trust anchors leads to it" if anchors else "no trust anchor was given"
        return self._doubt("CERT_UNKNOWN_ISSUER", f"the signer's authority is not known: {known}")

    def _doubt(self, code: str, message: str) -> Finding:
        return Finding(code=code, severity=Severity.WARNING, message=message, where=self.where)


def read_signature(data: bytes, *, where: str, manifest: Manifest, name: MemberName, signed: bytes) -> Signature:
    """The signature in `data`, held against the manifest.

    Args:
        data: bytes of the ``.cert`` member.
        where: its name, escaped.
        manifest: what is said to be signed.
        name: of the manifest's member.
        signed: its bytes.

    Raises:
        PackageError: it makes no sense (``E_CERT_SYNTAX``), has too many certificates (``E_CERT_LIMIT``), or hashes in
            a way that is unknown or broken (``E_CERT_ALGORITHM``).
    """
    try:
        statement = _read_statement(data)
        blocks = pem_blocks(data)
        signer, *others = _certificates(blocks)
    except ValueError as exc:
        raise PackageError(str(exc), code="E_CERT_SYNTAX", where=where, hint="Get the package again.") from exc
    except PackageError as exc:
        exc.at(where)
        raise
    return Signature(
        where=where,
        certificate=signer,
        others=tuple(others),
        weaknesses=tuple(_weaknesses(statement, manifest)),
        has_message=any(block.label in _MESSAGES for block in blocks),
        problem=_problem(statement, signer, name, signed),
    )


def read_anchors(anchors: tuple[TrustAnchor, ...]) -> list[Certificate]:
    """The certificates of `anchors`, each once.

    Raises:
        VirtOvaError: there is none in one of them, or one that makes no sense (``E_TRUST_ANCHOR``).
    """
    found: dict[Certificate, None] = {}
    for anchor in anchors:
        try:
            found |= dict.fromkeys(_anchor_certificates(anchor.pem))
        except ValueError as exc:
            raise VirtOvaError(
                str(exc),
                code="E_TRUST_ANCHOR",
                where=printable(anchor.name),
                hint="Give certificates in PEM, of authorities or of signers that you trust.",
            ) from exc
    return list(found)


def _anchor_certificates(pem: bytes) -> list[Certificate]:
    """The certificates in a file; a package is none, though the certificate of its signer stands in it."""
    if len(pem) > MAX_ANCHOR_BYTES:
        raise ValueError(f"found {len(pem)} bytes, expected at most {MAX_ANCHOR_BYTES}")
    if b"\0" in pem:
        raise ValueError("found a file that is no text, expected PEM")
    if not (blocks := pem_blocks(pem)):
        raise ValueError(f"found no '-----BEGIN {_CERTIFICATE}-----', expected one certificate or several")
    return [read_certificate(_expect(block, _CERTIFICATE)) for block in blocks]


def _read_statement(data: bytes) -> Statement:
    """The line in front. Some writers break its digits into several lines."""
    lines = [line.rstrip("\r") for line in data.removeprefix(b"\xef\xbb\xbf").decode(errors="replace").split("\n")]
    lines = lines[next((number for number, line in enumerate(lines) if line.strip()), 0) :]
    match = _LINE.fullmatch(lines[0])
    if match is None:
        raise ValueError(f"found {quoted(lines[0])}, {_EXPECTED_LINE}")
    end = next((number for number, line in enumerate(lines[1:], 1) if not _HEX.fullmatch(line)), len(lines))
    digits = match["hex"] + "".join(line.strip() for line in lines[1:end])
    if any(_LINE.fullmatch(line) for line in lines[end:]):
        raise ValueError("found two signatures, expected one")
    if len(digits) % 2:
        raise ValueError(f"found a signature of {len(digits)} digits, expected an even number")
    return Statement(algorithm=_algorithm(match["algorithm"]), name=match["name"], signature=bytes.fromhex(digits))


def _algorithm(word: str) -> str:
    algorithm = word.upper().replace("-", "")
    if algorithm not in _ALGORITHMS:
        raise PackageError(
            f"found the algorithm {quoted(word)}, expected one of {', '.join(_ALGORITHMS)}",
            code="E_CERT_ALGORITHM",
            hint="Ask whoever signed the package to sign it with SHA-256.",
        )
    return algorithm


def _certificates(blocks: list[PemBlock]) -> list[Certificate]:
    """The signer's, and all others; those of a CMS message come last."""
    found, bundles = [], []
    for block in blocks:
        der = _expect(block, _CERTIFICATE, *_MESSAGES)
        if block.label == _CERTIFICATE:
            found.append(read_certificate(der))
        else:
            bundles.append(der)
    if not found:
        raise ValueError(f"found no '-----BEGIN {_CERTIFICATE}-----', expected the signer's certificate")
    found = list(dict.fromkeys((*found, *(each for der in bundles for each in read_bundle(der)))))
    if len(found) > MAX_CERTIFICATES:
        raise PackageError(f"found {len(found)} certificates, expected at most {MAX_CERTIFICATES}", code="E_CERT_LIMIT")
    return found


def _expect(block: PemBlock, *labels: str) -> bytes:
    if block.label not in labels:
        raise ValueError(f"found a block {quoted(block.label)}, expected {' or '.join(map(quoted, labels))}")
    return block.der


def _weaknesses(statement: Statement, manifest: Manifest) -> Iterator[str]:
    if statement.algorithm in WEAK_HASHES:
        yield f"the signature uses {statement.algorithm}, which no longer keeps out a forger"
    weak = {digest.algorithm for digest in manifest.entries.values()} & WEAK_HASHES
    if weak:
        yield f"the manifest that is signed uses {', '.join(sorted(weak))}, which no longer keeps out a forger"


def _problem(statement: Statement, signer: Certificate, name: MemberName, signed: bytes) -> Problem | None:
    if statement.name.removeprefix("./") != name:
        return Problem(
            code="E_CERT_NAME",
            finding="CERT_NAME",
            message=f"the signature is one of {quoted(statement.name)}, expected one of {quoted(name)}",
        )
    try:
        if is_signed(signer, statement.signature, signed, statement.algorithm):
            return None
    except ValueError as exc:
        hint = "Ask whoever signed the package to sign it with an RSA key."
        return Problem(code="E_CERT_KEY", finding="CERT_KEY", message=str(exc), hint=hint)
    return Problem(
        code="E_CERT_SIGNATURE",
        finding="CERT_SIGNATURE",
        message=f"the signature is not one of {quoted(name)} by {quoted(signer.subject)}, whose certificate is with it",
    )


def _signer(certificate: Certificate) -> Signer:
    return Signer(
        subject=certificate.subject,
        issuer=certificate.issuer,
        not_before=certificate.not_before.isoformat(),
        not_after=certificate.not_after.isoformat(),
        sha256=certificate.sha256,
    )
