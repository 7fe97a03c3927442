"""Certificates and signatures of packages, made here.

root = authority("Root")
signer = person("Signer", by=root)
members = [*with_manifest(members), ("a.cert", certificate_file(signer, manifest))]
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509.oid import NameOID

from tests.build.ova import manifest_for
from virt_ova.package.certificate import Certificate, read_certificate
from virt_ova.policy import TrustAnchor, TrustPolicy

BEGIN: Final = datetime(2025, 1, 1, tzinfo=UTC)
END: Final = datetime(2095, 1, 1, tzinfo=UTC)
PAST: Final = datetime(2025, 6, 1, tzinfo=UTC)
FUTURE: Final = datetime(2090, 1, 1, tzinfo=UTC)

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
HASHES: Final[dict[str, hashes.HashAlgorithm]] = {
    "SHA1": hashes.SHA1(),  # noqa: S303 - to see it refused
    "SHA256": hashes.SHA256(),
    "SHA384": hashes.SHA384(),
    "SHA512": hashes.SHA512(),
}


@dataclass(frozen=True, kw_only=True)
class Identity:
    """A key, and a certificate for it."""

    key: Key
    raw: x509.Certificate

    @property
    def certificate(self) -> Certificate:
        """As the package reads it."""
        return read_certificate(self.raw.public_bytes(serialization.Encoding.DER))

    @property
    def pem(self) -> bytes:
        """The certificate."""
        return self.raw.public_bytes(serialization.Encoding.PEM)

    def key_pem(self) -> bytes:
        """The key, for openssl."""
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def sign(self, data: bytes, algorithm: str = "SHA256") -> bytes:
        """As ``openssl dgst -sign`` does."""
        if isinstance(self.key, rsa.RSAPrivateKey):
            return self.key.sign(data, padding.PKCS1v15(), HASHES[algorithm])
        return self.key.sign(data, ec.ECDSA(HASHES[algorithm]))


@cache
def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    """Always the same one, for they take long."""
    return rsa.generate_private_key(65537, bits)


def usage(*names: str) -> x509.KeyUsage:
    """A key usage that allows just `names`."""
    fields = (
        *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
        *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
    )
    return x509.KeyUsage(**{field: field in names for field in fields})


def identity(
    name: str,
    *extensions: x509.ExtensionType,
    by: Identity | None = None,
    key: Key | None = None,
    begin: datetime = BEGIN,
    end: datetime = END,
    critical: bool = True,
) -> Identity:
    """A certificate for `name` with `extensions`, issued `by` another or by itself."""
    own = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.raw.subject if by else subject)
        .public_key(own.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return Identity(key=own, raw=builder.sign(by.key if by else own, hashes.SHA256()))


def authority(
    name: str,
    *extensions: x509.ExtensionType,
    by: Identity | None = None,
    path_length: int | None = None,
    key: Key | None = None,
    end: datetime = END,
    begin: datetime = BEGIN,
) -> Identity:
    """One that may issue certificates."""
    basic = x509.BasicConstraints(ca=True, path_length=path_length)
    return identity(name, basic, *extensions, by=by, key=key, begin=begin, end=end)


def statement(signature: bytes, *, name: str = "a.mf", algorithm: str = "SHA256") -> bytes:
    """The line in front of a certificate."""
    return f"{algorithm}({name})= {signature.hex()}\n".encode()


def certificate_file(
    signer: Identity, manifest: bytes, *others: Identity, name: str = "a.mf", algorithm: str = "SHA256"
) -> bytes:
    """A ``.cert`` for `manifest`."""
    line = statement(signer.sign(manifest, algorithm), name=name, algorithm=algorithm)
    return line + b"".join(each.pem for each in (signer, *others))


def message(signer: Identity, data: bytes, *others: Identity) -> bytes:
    """The block that VirtualBox appends: a detached CMS signature with certificates."""
    builder = pkcs7.PKCS7SignatureBuilder().set_data(data).add_signer(signer.raw, signer.key, hashes.SHA256())
    for other in others:
        builder = builder.add_certificate(other.raw)
    options = [pkcs7.PKCS7Options.DetachedSignature, pkcs7.PKCS7Options.Binary]
    pem = builder.sign(serialization.Encoding.PEM, options)
    return pem.replace(b" PKCS7-----", b" CMS-----")


def signed_members(
    members: Sequence[tuple[str, bytes]], signer: Identity, *others: Identity, algorithm: str = "SHA256"
) -> list[tuple[str, bytes]]:
    """`members` with manifest and certificate behind the descriptor, in the order of DSP0243."""
    stem = members[0][0].removesuffix(".ovf")
    manifest = manifest_for(members, algorithm)
    certificate = certificate_file(signer, manifest, *others, name=f"{stem}.mf")
    return [members[0], (f"{stem}.mf", manifest), (f"{stem}.cert", certificate), *members[1:]]


def trusting(*anchors: Identity, require_signature: bool = False) -> TrustPolicy:
    """A policy with these anchors."""
    pem = b"".join(anchor.pem for anchor in anchors)
    named = (TrustAnchor(name="anchors.pem", pem=pem),) if anchors else ()
    return TrustPolicy(anchors=named, require_signature=require_signature, demanded_by="the test")


def openssl(folder: Path, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """The real one, in `folder`."""
    return subprocess.run(["openssl", *words], cwd=folder, capture_output=True, text=True, check=check)


def files(folder: Path, identities: Iterable[tuple[str, Identity]]) -> None:
    """``NAME.pem`` and ``NAME.key`` for openssl."""
    for name, each in identities:
        (folder / f"{name}.pem").write_bytes(each.pem)
        (folder / f"{name}.key").write_bytes(each.key_pem())
