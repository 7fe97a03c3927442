"""The certificate of a package: what each thing that can be wrong with it is called."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.build.ova import build_folder, build_ova, descriptor, manifest_for, with_manifest
from tests.build.signing import (
    END,
    FUTURE,
    PAST,
    Identity,
    authority,
    certificate_file,
    files,
    identity,
    message,
    openssl,
    rsa_key,
    signed_members,
    statement,
    trusting,
    usage,
)
from virt_ova.errors import PackageError, VirtOvaError
from virt_ova.package.manifest import parse_manifest
from virt_ova.package.package import open_package
from virt_ova.package.signature import Signature, read_anchors, read_signature
from virt_ova.package.verify import Appraisal, Trust
from virt_ova.policy import TrustAnchor, TrustPolicy
from virt_ova.source.base import MemberName

MANIFEST: Final = manifest_for([("a.ovf", b"1"), ("a.vmdk", b"2")])
NOW: Final = datetime(2026, 7, 1, tzinfo=UTC)
DAMAGED: Final = "do not trust it"


@pytest.fixture(scope="module")
def root() -> Identity:
    return authority("Root")


@pytest.fixture(scope="module")
def signer(root: Identity) -> Identity:
    return identity("Signer", usage("digital_signature"), by=root, key=rsa_key())


def read(data: bytes, manifest: bytes = MANIFEST, name: str = "a.mf") -> Signature:
    parsed = parse_manifest(manifest, where=name)
    assert parsed is not None
    return read_signature(data, where="a.cert", manifest=parsed, name=MemberName(name), signed=manifest)


def refusal(data: bytes, manifest: bytes = MANIFEST) -> PackageError:
    """The error for a `.cert`, raised when it is read or when it is held against the manifest."""
    with pytest.raises(PackageError) as caught:
        read(data, manifest).check()
    assert caught.value.where == "a.cert"
    assert len(str(caught.value)) < 1000
    assert str(caught.value).isprintable()
    return caught.value


def appraise(signer: Identity, *others: Identity, policy: TrustPolicy | None = None, at: datetime = NOW) -> Appraisal:
    return read(certificate_file(signer, MANIFEST, *others)).appraise(policy or TrustPolicy(), at=at)


def doubts(appraisal: Appraisal) -> list[tuple[str, str]]:
    assert appraisal.trust is Trust.SIGNED_UNTRUSTED
    return [(each.code, each.message) for each in appraisal.findings if each.severity == "warning"]


def test_a_signature_of_somebody_who_is_trusted(root: Identity, signer: Identity) -> None:
    signature = read(certificate_file(signer, MANIFEST))
    (who,) = signature.findings()
    assert (who.code, who.severity, who.where) == ("CERT_SIGNER", "info", "a.cert")
    assert who.message == "the manifest is signed by 'CN=Signer', issued by 'CN=Root', valid until 2095-01-01"
    appraisal = signature.appraise(trusting(root), at=NOW)
    assert appraisal.trust is Trust.SIGNED_TRUSTED
    (why,) = appraisal.findings
    assert (why.code, why.severity) == ("CERT_ANCHOR", "info")
    assert why.message == "the signer is trusted because of the trust anchor 'CN=Root'"
    assert appraisal.signer is not None
    assert (appraisal.signer.subject, appraisal.signer.issuer) == ("CN=Signer", "CN=Root")
    assert (appraisal.signer.not_before, appraisal.signer.not_after) == (
        "2025-01-01T00:00:00+00:00",
        "2095-01-01T00:00:00+00:00",
    )
    assert (
        appraisal.signer.sha256 == signer.raw.fingerprint(signer.raw.signature_hash_algorithm or NotImplemented).hex()
    )


@pytest.mark.parametrize("algorithm", ["SHA256", "SHA384", "SHA512"])
@pytest.mark.parametrize("kind", ["RSA", "P-256", "P-384", "P-521"])
def test_keys_and_hashes_that_are_strong(kind: str, algorithm: str) -> None:
    curves = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}
    own = identity("Signer", key=ec.generate_private_key(curves[kind]) if kind in curves else rsa_key())
    signature = read(certificate_file(own, MANIFEST, algorithm=algorithm))
    assert signature.appraise(trusting(own), at=NOW).trust is Trust.SIGNED_TRUSTED


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha384", "sha512"])
def test_what_openssl_signs_is_read(algorithm: str, signer: Identity, tmp_path: Path) -> None:
    files(tmp_path, [("signer", signer)])
    (tmp_path / "a.mf").write_bytes(MANIFEST)
    openssl(tmp_path, "dgst", f"-{algorithm}", "-sign", "signer.key", "-out", "a.sig", "a.mf")
    line = statement((tmp_path / "a.sig").read_bytes(), algorithm=algorithm.upper())
    text = openssl(tmp_path, "x509", "-in", "signer.pem", "-text").stdout  # openssl puts an explanation in front
    assert text.startswith("Certificate:\n")
    signature = read(line + text.encode())
    assert signature.problem is None
    assert bool(signature.weaknesses) == (algorithm == "sha1")


def test_our_builder_signs_as_openssl_verifies(signer: Identity, tmp_path: Path) -> None:
    (tmp_path / "a.mf").write_bytes(MANIFEST)
    (tmp_path / "a.sig").write_bytes(signer.sign(MANIFEST))
    (tmp_path / "a.pem").write_bytes(signer.pem)
    (tmp_path / "a.pub").write_text(openssl(tmp_path, "x509", "-in", "a.pem", "-noout", "-pubkey").stdout)
    done = openssl(tmp_path, "dgst", "-sha256", "-verify", "a.pub", "-signature", "a.sig", "a.mf")
    assert done.stdout == "Verified OK\n"


def test_lines_are_read_leniently(signer: Identity) -> None:
    digits = signer.sign(MANIFEST).hex()
    for line in (
        f"SHA256(a.mf)={digits}\n",
        f"  sha-256 (a.mf) = {digits.upper()}  \r\n",
        f"\ufeff\n\nSHA256(a.mf)= {digits[:60]}\n{digits[60:200]}\r\n  {digits[200:]}\n",
        f"SHA256(./a.mf)= {digits}\nBag Attributes\n    friendlyName: signer\nsubject=CN = Signer\n",
    ):
        assert read(line.encode() + signer.pem).problem is None, line
    assert read(certificate_file(signer, MANIFEST).replace(b"\n", b"\r\n")).problem is None


# What is refused: it is no signature, or none of this manifest.


def test_another_key_than_the_certificates(root: Identity, signer: Identity) -> None:
    other = identity("Other", by=root)
    error = refusal(statement(other.sign(MANIFEST)) + signer.pem)
    assert error.code == "E_CERT_SIGNATURE"
    assert error.message == "the signature is not one of 'a.mf' by 'CN=Signer', whose certificate is with it"
    assert DAMAGED in error.hint


def test_a_manifest_that_was_changed(signer: Identity) -> None:
    data = certificate_file(signer, MANIFEST)
    for changed in (MANIFEST + b"\n", MANIFEST.replace(b"\n", b"\r\n"), MANIFEST.upper()):
        assert read(data, MANIFEST).problem is None
        assert refusal(data, changed).code == "E_CERT_SIGNATURE"


def test_another_hash_than_the_line_says(signer: Identity) -> None:
    data = statement(signer.sign(MANIFEST, "SHA512"), algorithm="SHA256") + signer.pem
    assert refusal(data).code == "E_CERT_SIGNATURE"


def test_a_certificate_that_signed_another_manifest(signer: Identity) -> None:
    error = refusal(certificate_file(signer, MANIFEST, name="b.mf"))
    assert (error.code, error.message) == ("E_CERT_NAME", "the signature is one of 'b.mf', expected one of 'a.mf'")
    assert DAMAGED in error.hint


@pytest.mark.parametrize("word", ["MD5", "SHA3-256", "SHA224", "RIPEMD160"])
def test_hashes_that_are_broken_or_unknown(word: str, signer: Identity) -> None:
    error = refusal(statement(b"12", algorithm=word) + signer.pem)
    assert error.code == "E_CERT_ALGORITHM"
    assert error.message == f"found the algorithm '{word}', expected one of SHA1, SHA256, SHA384, SHA512"
    assert error.hint == "Ask whoever signed the package to sign it with SHA-256."


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "found '', expected a line such as 'SHA256(appliance.mf)= 3d1f...'"),
        (b"garbage\x1b[2J\n", "found 'garbage\\x1b[2J', expected a line such as 'SHA256(appliance.mf)= 3d1f...'"),
        (b"\xff\x00\xfe", "found '\ufffd\\x00\ufffd', expected a line such as 'SHA256(appliance.mf)= 3d1f...'"),
        (b"SHA256(a.mf)= 00", "found no '-----BEGIN CERTIFICATE-----', expected the signer's certificate"),
        (b"SHA256(a.mf)= 000\n", "found a signature of 3 digits, expected an even number"),
        (b"SHA256(a.mf)= 00\n\nSHA1(a.mf)= 00\n", "found two signatures, expected one"),
        (
            b"SHA256(a.mf)= 00\n-----BEGIN CERTIFICATE-----\nAAAA\n",
            "found a block that begins but does not end, or holds more than base64",
        ),
        (
            b"SHA256(a.mf)= 00\n-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----\n",
            "what stands in the block 'CERTIFICATE' is not base64",
        ),
        (
            b"SHA256(a.mf)= 00\n-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
            "found a block 'PRIVATE KEY', expected 'CERTIFICATE' or 'CMS' or 'PKCS7'",
        ),
    ],
)
def test_what_is_no_certificate(data: bytes, message: str) -> None:
    error = refusal(data)
    assert (error.code, error.message, error.hint) == ("E_CERT_SYNTAX", message, "Get the package again.")


@pytest.mark.parametrize("label", ["CERTIFICATE", "CMS", "PKCS7"])
def test_der_that_makes_no_sense(label: str, signer: Identity) -> None:
    block = f"-----BEGIN {label}-----\nMAMCAQA=\n-----END {label}-----\n".encode()
    error = refusal(certificate_file(signer, MANIFEST) + block)
    assert error.code == "E_CERT_SYNTAX"
    assert error.message.startswith("the certificate makes no sense: ")


def test_too_many_certificates(signer: Identity) -> None:
    others = [identity(f"{number}") for number in range(15)]
    assert read(certificate_file(signer, MANIFEST, *others)).others[-1].subject == "CN=14"
    error = refusal(certificate_file(signer, MANIFEST, *others, identity("one more")))
    assert (error.code, error.message) == ("E_CERT_LIMIT", "found 17 certificates, expected at most 16")


def test_a_key_of_another_kind() -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    name = x509.Name.from_rfc4514_string("CN=Signer")
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).serial_number(1)
    raw = builder.not_valid_before(PAST).not_valid_after(END).public_key(key.public_key()).sign(key, None)
    pem = Identity(key=rsa_key(), raw=raw).pem
    error = refusal(statement(key.sign(MANIFEST)) + pem)
    assert error.code == "E_CERT_KEY"
    assert error.message == "the certificate has a key of the kind Ed25519, expected RSA or ECDSA"
    assert error.hint == "Ask whoever signed the package to sign it with an RSA key."


# What fits, and is not trusted.


def test_nobody_is_trusted_unasked(signer: Identity) -> None:
    assert doubts(appraise(signer)) == [
        ("CERT_UNKNOWN_ISSUER", "the signer's authority is not known: no trust anchor was given")
    ]


def test_self_signed(root: Identity) -> None:
    own = identity("Signer")
    assert doubts(appraise(own)) == [
        ("CERT_SELF_SIGNED", "the certificate is signed by itself alone, and no trust anchor was given")
    ]
    assert doubts(appraise(own, policy=trusting(root))) == [
        ("CERT_SELF_SIGNED", "the certificate is signed by itself alone, and is none of the 1 trust anchors")
    ]
    assert appraise(own, policy=trusting(root, own)).trust is Trust.SIGNED_TRUSTED


def test_unknown_issuer(signer: Identity) -> None:
    namesake = authority("Root")  # of the same name, with another key
    assert doubts(appraise(signer, policy=trusting(namesake))) == [
        ("CERT_UNKNOWN_ISSUER", "the signer's authority is not known: none of the 1 trust anchors leads to it")
    ]


def test_two_certificates_the_first_of_which_is_the_signers(root: Identity) -> None:
    between = authority("Between", by=root)
    own = identity("Signer", by=between)
    assert appraise(own, between, policy=trusting(root)).trust is Trust.SIGNED_TRUSTED
    assert doubts(appraise(own, policy=trusting(root)))[0][0] == "CERT_UNKNOWN_ISSUER"
    swapped = statement(own.sign(MANIFEST)) + between.pem + own.pem
    assert refusal(swapped).code == "E_CERT_SIGNATURE"


@pytest.mark.parametrize("label", ["CMS", "PKCS7"])
def test_the_message_of_virtualbox_gives_its_authorities_and_is_told(label: str, root: Identity) -> None:
    between = authority("Between", by=root)
    own = identity("Signer", by=between, key=rsa_key())
    block = message(own, MANIFEST, between).replace(b" CMS-", f" {label}-".encode())
    assert block.startswith(f"-----BEGIN {label}-----".encode())
    signature = read(certificate_file(own, MANIFEST) + block)
    assert [finding.code for finding in signature.findings()] == ["CERT_SIGNER", "CERT_CMS"]
    assert list(signature.findings())[1].message == (
        "a second signature (CMS) is not checked; only its certificates are looked at"
    )
    assert signature.appraise(trusting(root), at=NOW).trust is Trust.SIGNED_TRUSTED


def test_a_message_that_openssl_made(root: Identity, tmp_path: Path) -> None:
    between = authority("Between", by=root)
    own = identity("Signer", by=between)
    files(tmp_path, [("own", own), ("between", between)])
    (tmp_path / "a.mf").write_bytes(MANIFEST)
    sign = ("cms", "-sign", "-binary", "-in", "a.mf", "-signer", "own.pem", "-inkey", "own.key", "-outform", "PEM")
    openssl(tmp_path, *sign, "-certfile", "between.pem", "-out", "a.cms")
    signature = read(certificate_file(own, MANIFEST) + (tmp_path / "a.cms").read_bytes())
    assert signature.has_message
    assert signature.appraise(trusting(root), at=NOW).trust is Trust.SIGNED_TRUSTED


def test_expired_and_not_yet_valid(root: Identity) -> None:
    expired = identity("Signer", by=root, end=PAST)
    assert doubts(appraise(expired, policy=trusting(root))) == [
        ("CERT_EXPIRED", "the certificate expired on 2025-06-01, and nothing tells when the signature was made")
    ]
    early = identity("Signer", by=root, begin=FUTURE)
    assert doubts(appraise(early, policy=trusting(root))) == [
        ("CERT_NOT_YET_VALID", "the certificate is not valid before 2090-01-01")
    ]
    assert doubts(appraise(expired, policy=trusting(expired)))[0][0] == "CERT_EXPIRED"


def test_the_last_second_is_valid(root: Identity) -> None:
    own = identity("Signer", by=root, begin=PAST, end=FUTURE)
    for at in (PAST, FUTURE):
        assert appraise(own, policy=trusting(root), at=at).trust is Trust.SIGNED_TRUSTED


def test_a_signature_with_sha1(root: Identity, signer: Identity) -> None:
    signature = read(certificate_file(signer, MANIFEST, algorithm="SHA1"))
    assert doubts(signature.appraise(trusting(root), at=NOW)) == [
        ("CERT_WEAK", "the signature uses SHA1, which no longer keeps out a forger")
    ]


def test_a_manifest_with_sha1(root: Identity, signer: Identity) -> None:
    manifest = manifest_for([("a.ovf", b"1")], "SHA256") + manifest_for([("a.vmdk", b"2")], "SHA1")
    signature = read(certificate_file(signer, manifest), manifest)
    assert doubts(signature.appraise(trusting(root), at=NOW)) == [
        ("CERT_WEAK", "the manifest that is signed uses SHA1, which no longer keeps out a forger")
    ]


def test_small_keys(root: Identity) -> None:
    own = identity("Signer", by=root, key=rsa_key(1024))
    assert doubts(appraise(own, policy=trusting(root))) == [
        ("CERT_WEAK", "the signer has an RSA key of 1024 bits, expected at least 2048")
    ]
    curve = identity("Signer", by=root, key=ec.generate_private_key(ec.SECP224R1()))
    assert doubts(appraise(curve, policy=trusting(root))) == [
        ("CERT_WEAK", "the signer has an ECDSA key of 224 bits, expected at least 256")
    ]


def test_a_key_of_512_bits_as_openssl_still_makes_it(tmp_path: Path) -> None:
    openssl(
        tmp_path, "req", "-x509", "-newkey", "rsa:512", "-nodes", "-subj", "/CN=Signer", "-keyout", "k", "-out", "c"
    )
    (tmp_path / "a.mf").write_bytes(MANIFEST)
    openssl(tmp_path, "dgst", "-sha256", "-sign", "k", "-out", "a.sig", "a.mf")
    pem = (tmp_path / "c").read_bytes()
    signature = read(statement((tmp_path / "a.sig").read_bytes()) + pem)
    policy = TrustPolicy(anchors=(TrustAnchor(name="c", pem=pem),))
    assert doubts(signature.appraise(policy)) == [
        ("CERT_WEAK", "the signer has an RSA key of 512 bits, expected at least 2048")
    ]


def test_certificates_for_something_else(root: Identity) -> None:
    encipher = identity("Signer", usage("key_encipherment"), by=root)
    assert doubts(appraise(encipher, policy=trusting(root))) == [
        ("CERT_USAGE", "the certificate is not for signing (its key usage)")
    ]
    server = identity("Signer", x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), by=root)
    assert doubts(appraise(server, policy=trusting(root))) == [
        ("CERT_USAGE", "the certificate is not for signing software (its extended key usage)")
    ]
    for allowed in (ExtendedKeyUsageOID.CODE_SIGNING, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE):
        good = identity("Signer", x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, allowed]), by=root)
        assert appraise(good, policy=trusting(root)).trust is Trust.SIGNED_TRUSTED


def test_an_extension_that_must_be_understood(root: Identity) -> None:
    odd = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")
    own = identity("Signer", odd, by=root)
    assert doubts(appraise(own, policy=trusting(root))) == [
        ("CERT_CHAIN", "the certificate has an extension that is not understood: 1.3.6.1.4.1.99999.1")
    ]
    harmless = identity("Signer", odd, by=root, critical=False)
    assert appraise(harmless, policy=trusting(root)).trust is Trust.SIGNED_TRUSTED


def test_all_doubts_are_told(root: Identity) -> None:
    own = identity("Signer", usage("crl_sign"), key=rsa_key(1024), end=PAST)
    signature = read(certificate_file(own, MANIFEST, algorithm="SHA1"))
    codes = [code for code, _ in doubts(signature.appraise(trusting(root), at=NOW))]
    assert codes == ["CERT_WEAK", "CERT_WEAK", "CERT_EXPIRED", "CERT_USAGE", "CERT_SELF_SIGNED"]


def test_names_in_certificates_are_escaped() -> None:
    own = identity("Evil\x1b[2J\u202e" + "x" * 40)
    (who,) = read(certificate_file(own, MANIFEST)).findings()
    assert "\\x1b[2J\\u202e" in who.message
    assert who.message.isprintable()


# Anchors.


@pytest.mark.parametrize(
    ("pem", "problem"),
    [
        (b"", "found no '-----BEGIN CERTIFICATE-----', expected one certificate or several"),
        (b"-----BEGIN CERTIFICATE-----\n", "found a block that begins but does not end, or holds more than base64"),
        (
            b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
            "found a block 'PUBLIC KEY', expected 'CERTIFICATE'",
        ),
        (b"\0", "found a file that is no text, expected PEM"),
        (b" " * ((4 << 20) + 1), "found 4194305 bytes, expected at most 4194304"),
    ],
)
def test_anchors_that_are_none(pem: bytes, problem: str) -> None:
    with pytest.raises(VirtOvaError) as caught:
        read_anchors((TrustAnchor(name="my\nanchors.pem", pem=pem),))
    assert (caught.value.code, str(caught.value)) == ("E_TRUST_ANCHOR", f"my\\nanchors.pem: {problem}")
    assert caught.value.hint == "Give certificates in PEM, of authorities or of signers that you trust."


def test_the_systems_authorities_can_be_read() -> None:
    pem = Path("/etc/ssl/certs/ca-certificates.crt").read_bytes()
    anchors = read_anchors((TrustAnchor(name="system", pem=pem), TrustAnchor(name="again", pem=pem)))
    assert len(anchors) == pem.count(b"-----BEGIN CERTIFICATE-----")
    assert all(anchor.is_authority for anchor in anchors)


# In a package.

DISK: Final = b"disk" * 1000
MEMBERS: Final = [("a.ovf", descriptor([("a.vmdk", len(DISK))])), ("a.vmdk", DISK)]


def test_a_signed_package(root: Identity, signer: Identity, tmp_path: Path) -> None:
    build_ova(tmp_path / "a.ova", signed_members(MEMBERS, signer))
    with open_package(tmp_path / "a.ova") as package:
        assert [finding.code for finding in package.findings] == ["CERT_SIGNER"]
        assert package.check_manifest().trust is Trust.SIGNED_UNTRUSTED
        assert package.check_manifest(trusting(root)).trust is Trust.SIGNED_TRUSTED
        report = package.verify(policy=trusting(root))
        assert (report.trust, report.is_sound) == (Trust.SIGNED_TRUSTED, True)
        assert [finding.code for finding in report.findings] == ["CERT_SIGNER", "CERT_ANCHOR"]
        assert report.signer is not None
        assert report.signer.subject == "CN=Signer"


def test_a_signature_that_is_wrong_stops_no_look_but_a_use(signer: Identity, tmp_path: Path) -> None:
    manifest = manifest_for(MEMBERS)
    wrong = ("a.cert", certificate_file(signer, manifest + b"\n"))
    build_folder(tmp_path, [*with_manifest(MEMBERS), wrong])
    with open_package(tmp_path) as package:
        (finding,) = package.findings
        assert (finding.code, finding.severity, finding.where) == ("CERT_SIGNATURE", "error", "a.cert")
        with pytest.raises(PackageError, match=r"^a.cert: the signature is not one of 'a.mf' by 'CN=Signer'") as caught:
            package.check_manifest(trusting(signer))
        assert (caught.value.code, caught.value.where) == ("E_CERT_SIGNATURE", "a.cert")
        report = package.verify(policy=trusting(signer))
    assert (report.trust, report.is_sound, report.signer) == (Trust.UNVERIFIED, False, None)
    assert [finding.code for finding in report.findings] == ["CERT_SIGNATURE"]


def test_a_signed_package_whose_file_was_changed(root: Identity, signer: Identity, tmp_path: Path) -> None:
    members = signed_members(MEMBERS, signer)
    build_folder(tmp_path, [*members[:-1], ("a.vmdk", DISK[:-1] + b"X")])
    with open_package(tmp_path) as package:
        report = package.verify(policy=trusting(root))
    assert (report.trust, report.is_sound, report.signer) == (Trust.UNVERIFIED, False, None)
    assert [finding.code for finding in report.findings] == ["DIGEST", "CERT_SIGNER", "CERT_ANCHOR"]


def demand(path: Path, policy: TrustPolicy) -> PackageError:
    with open_package(path) as package, pytest.raises(PackageError) as caught:
        package.check_manifest(policy)
    assert caught.value.code == "E_UNTRUSTED"
    assert caught.value.hint == (
        "Get a package whose signer is trusted here, or name the signer's authority as a trust anchor."
    )
    with open_package(path) as package:
        report = package.verify(policy=policy)
    assert not report.is_sound
    (finding,) = [each for each in report.findings if each.severity == "error"]
    assert (finding.code, finding.message) == ("CERT_REQUIRED", caught.value.message)
    return caught.value


def test_a_signature_is_demanded(root: Identity, signer: Identity, tmp_path: Path) -> None:
    policy = trusting(root, require_signature=True)
    no_manifest = demand(build_ova(tmp_path / "n.ova", MEMBERS), policy)
    assert str(no_manifest) == (
        "n.ova: the package's trust is unverified (it has no signature), and the test demands signed-trusted"
    )
    digests = demand(build_ova(tmp_path / "d.ova", with_manifest(MEMBERS)), policy)
    assert (
        digests.message == "the package's trust is digests (it has no signature), and the test demands signed-trusted"
    )
    stranger = demand(build_ova(tmp_path / "s.ova", signed_members(MEMBERS, identity("Stranger"))), policy)
    assert stranger.message == (
        "the package's trust is signed-untrusted (the certificate is signed by itself alone, "
        "and is none of the 1 trust anchors), and the test demands signed-trusted"
    )
    with open_package(build_ova(tmp_path / "t.ova", signed_members(MEMBERS, signer))) as package:
        assert package.check_manifest(policy).trust is Trust.SIGNED_TRUSTED
        assert package.verify(policy=policy).is_sound
