"""X.509 certificates as values: the border to the library ``cryptography``, which reads DER and verifies signatures.

Everything that is asked of a certificate is read once, here, so that one that makes no sense is refused as a whole, and
whatever the library raises or warns of does not go further.
"""

from __future__ import annotations

import binascii
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from virt_ova.text import printable

MIN_RSA_BITS: Final = 2048
MAX_RSA_BITS: Final = 16384
"""OpenSSL does not go further either."""
MIN_CURVE_BITS: Final = 256

_Kind = TypeVar("_Kind", bound=x509.ExtensionType)

_BEGIN: Final = b"-----BEGIN "
_BLOCK: Final = re.compile(
    rb"^-----BEGIN (?P<label>[A-Z0-9 ]{1,40})-----[ \t]*\r?\n"
    rb"(?P<body>[A-Za-z0-9+/=\s]*)"
    rb"^-----END (?P=label)-----[ \t]*\r?$",
    re.MULTILINE,
)
_UNDERSTOOD: Final = {
    ExtensionOID.BASIC_CONSTRAINTS,
    ExtensionOID.KEY_USAGE,
    ExtensionOID.EXTENDED_KEY_USAGE,
    ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
    ExtensionOID.CERTIFICATE_POLICIES,
}
"""Extensions that may be critical (RFC 5280 4.2): no names of hosts and no policies are asked for."""
_NAMES: Final = {
    ExtensionOID.NAME_CONSTRAINTS: "name constraints",
    ExtensionOID.POLICY_CONSTRAINTS: "policy constraints",
    ExtensionOID.INHIBIT_ANY_POLICY: "inhibit any policy",
}
_CODE_SIGNING: Final = {ExtendedKeyUsageOID.CODE_SIGNING, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}
_HASHES: Final[dict[str, type[hashes.HashAlgorithm]]] = {
    "SHA1": hashes.SHA1,
    "SHA256": hashes.SHA256,
    "SHA384": hashes.SHA384,
    "SHA512": hashes.SHA512,
}
_ERRORS: Final = (
    *(ValueError, TypeError, KeyError, OverflowError, UnsupportedAlgorithm),
    *(x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType),
)
"""What the library raises for DER that makes no sense."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PemBlock:
    """One block of a PEM file (RFC 7468): its `label`, such as ``CERTIFICATE``, and what it holds."""

    label: str
    der: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Certificate:
    """A certificate (RFC 5280). Two are equal when their bytes are.

    Attributes:
        sha256: of its DER, in lower-case hexadecimal.
        subject: distinguished name (RFC 4514), as its author wrote it.
        issuer: as `subject`.
        is_self_issued: whether both are the same.
        not_before: when it begins to be valid.
        not_after: when it ends.
        is_authority: whether it may issue certificates (basic constraints, and key usage if there is one).
        path_length: how many authorities may stand below it; None when that is not said.
        may_sign: whether its key may sign data (key usage, if there is one).
        may_sign_code: whether its key may sign software (extended key usage, if there is one).
        not_understood: name of an extension that must be understood, and is not; else empty.
        weak_key: what is wrong with its key; else empty.
        hash_name: what its own signature hashes with (``SHA256``); empty for algorithms that name none.
        raw: the library's.
    """

    sha256: str
    subject: str = field(compare=False)
    issuer: str = field(compare=False)
    is_self_issued: bool = field(compare=False)
    not_before: datetime = field(compare=False)
    not_after: datetime = field(compare=False)
    is_authority: bool = field(compare=False)
    path_length: int | None = field(compare=False)
    may_sign: bool = field(compare=False)
    may_sign_code: bool = field(compare=False)
    not_understood: str = field(compare=False)
    weak_key: str = field(compare=False)
    hash_name: str = field(compare=False)
    raw: x509.Certificate = field(compare=False, repr=False)

    def is_named_as_issuer_of(self, other: Certificate) -> bool:
        """Whether `other` says that it was issued by one of this name."""
        return self.raw.subject == other.raw.issuer

    def has_issued(self, other: Certificate) -> bool:
        """Whether the signature in `other` was made with this one's key."""
        try:
            with warnings.catch_warnings(action="ignore"):
                other.raw.verify_directly_issued_by(self.raw)
        except (*_ERRORS, InvalidSignature):
            return False
        return True


def pem_blocks(data: bytes) -> list[PemBlock]:
    """The blocks of a PEM file; text around them says nothing (RFC 7468 2).

    Raises:
        ValueError: a block is not complete, or holds no base64; a sentence.
    """
    blocks = []
    for match in _BLOCK.finditer(data):
        label = match["label"].decode()
        try:
            der = binascii.a2b_base64(b"".join(match["body"].split()), strict_mode=True)
        except binascii.Error as exc:
            raise ValueError(f"what stands in the block '{label}' is not base64") from exc
        blocks.append(PemBlock(label=label, der=der))
    if data.count(_BEGIN) != len(blocks):
        raise ValueError("found a block that begins but does not end, or holds more than base64")
    return blocks


def read_certificate(der: bytes) -> Certificate:
    """The certificate in `der`. Raises `ValueError` when it makes no sense, a sentence."""
    with _bounded():
        return _read(x509.load_der_x509_certificate(der))


def read_bundle(der: bytes) -> list[Certificate]:
    """The certificates that a PKCS#7 or CMS message carries (RFC 5652 5.1). Raises as `read_certificate`."""
    with _bounded():
        return [_read(raw) for raw in pkcs7.load_der_pkcs7_certificates(der)]


def is_signed(signer: Certificate, signature: bytes, data: bytes, hash_name: str) -> bool:
    """Whether `signature` was made over `data` with the key of `signer`, hashing with `hash_name`.

    RSA is PKCS #1 v1.5, and ECDSA is DER, as ``openssl dgst -sign`` writes both.

    Raises:
        ValueError: a key of this kind cannot have made it; a sentence.
    """
    with _bounded():
        key = signer.raw.public_key()
    if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
        raise ValueError(f"the certificate has {_kind(key)}, expected RSA or ECDSA")  # noqa: TRY004 - of the input, not ours
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, data, padding.PKCS1v15(), _HASHES[hash_name]())
        else:
            key.verify(signature, data, ec.ECDSA(_HASHES[hash_name]()))
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        return False
    return True


@contextmanager
def _bounded() -> Iterator[None]:
    """What the library raises becomes a `ValueError`; its warnings of odd certificates are for developers."""
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    except _ERRORS as exc:
        raise ValueError(f"the certificate makes no sense: {printable(str(exc)) or type(exc).__name__}") from exc


def _read(raw: x509.Certificate) -> Certificate:
    extensions = raw.extensions
    basic = _extension(extensions, x509.BasicConstraints)
    usage = _extension(extensions, x509.KeyUsage)
    extended = _extension(extensions, x509.ExtendedKeyUsage)
    return Certificate(
        sha256=raw.fingerprint(hashes.SHA256()).hex(),
        subject=raw.subject.rfc4514_string(),
        issuer=raw.issuer.rfc4514_string(),
        is_self_issued=raw.subject == raw.issuer,
        not_before=raw.not_valid_before_utc.astimezone(UTC),
        not_after=raw.not_valid_after_utc.astimezone(UTC),
        is_authority=basic is not None and basic.ca and (usage is None or usage.key_cert_sign),
        path_length=basic.path_length if basic else None,
        may_sign=usage is None or usage.digital_signature,
        may_sign_code=extended is None or not _CODE_SIGNING.isdisjoint(extended),
        not_understood=_not_understood(extensions),
        weak_key=_weak_key(raw.public_key()),
        hash_name=_hash_name(raw.signature_hash_algorithm),
        raw=raw,
    )


def _extension(extensions: x509.Extensions, kind: type[_Kind]) -> _Kind | None:
    try:
        return extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _not_understood(extensions: x509.Extensions) -> str:
    """Constraints of names bind even when they are not marked; we do not evaluate them."""
    for extension in extensions:
        oid: x509.ObjectIdentifier = extension.oid
        if (extension.critical or oid == ExtensionOID.NAME_CONSTRAINTS) and oid not in _UNDERSTOOD:
            return _NAMES.get(oid, oid.dotted_string)
    return ""


def _weak_key(key: object) -> str:
    match key:
        case rsa.RSAPublicKey(key_size=bits) if bits > MAX_RSA_BITS:
            raise ValueError(f"found an RSA key of {bits} bits, expected at most {MAX_RSA_BITS}")
        case rsa.RSAPublicKey(key_size=bits):
            return f"an RSA key of {bits} bits, expected at least {MIN_RSA_BITS}" if bits < MIN_RSA_BITS else ""
        case ec.EllipticCurvePublicKey(key_size=bits):
            return f"an ECDSA key of {bits} bits, expected at least {MIN_CURVE_BITS}" if bits < MIN_CURVE_BITS else ""
        case ed25519.Ed25519PublicKey() | ed448.Ed448PublicKey():
            return ""
        case _:
            return f"{_kind(key)}, expected one of RSA or ECDSA"


def _kind(key: object) -> str:
    """What to call a key of another kind."""
    return f"a key of the kind {type(key).__name__.removesuffix('PublicKey').lstrip('_')}"


def _hash_name(algorithm: hashes.HashAlgorithm | None) -> str:
    return algorithm.name.upper() if algorithm else ""
