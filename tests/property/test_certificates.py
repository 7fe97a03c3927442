"""Whatever stands in a certificate's file: it is read or refused, by an error of ours, and nothing warns."""

from __future__ import annotations

import base64
import random
from collections import Counter
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.build.ova import manifest_for
from tests.build.signing import Identity, authority, certificate_file, identity, message, rsa_key, trusting, usage
from virt_ova.errors import PackageError
from virt_ova.package.manifest import parse_manifest
from virt_ova.package.signature import read_signature
from virt_ova.package.verify import Trust
from virt_ova.source.base import MemberName

MANIFEST: Final = manifest_for([("a.ovf", b"1")])
ROOT: Final = authority("Root")
BETWEEN: Final = authority("Between", usage("key_cert_sign"), by=ROOT, path_length=1)
SIGNER: Final = identity(
    "Signer",
    *(usage("digital_signature"), x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING])),
    x509.SubjectAlternativeName([x509.DNSName("example.org")]),
    by=BETWEEN,
    key=rsa_key(),
)
WHOLE: Final = certificate_file(SIGNER, MANIFEST, BETWEEN) + message(SIGNER, MANIFEST, BETWEEN)


def outcome(data: bytes, anchor: Identity) -> str:
    parsed = parse_manifest(MANIFEST, where="a.mf")
    assert parsed is not None
    try:
        signature = read_signature(data, where="a.cert", manifest=parsed, name=MemberName("a.mf"), signed=MANIFEST)
        assert all(finding.message.isprintable() for finding in signature.findings())
        return signature.appraise(trusting(anchor)).trust
    except PackageError as exc:
        return exc.code if str(exc).isprintable() else "not printable"


@given(
    edits=st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), min_size=1, max_size=3),
    cut=st.none() | st.integers(0, len(WHOLE)),
)
@settings(max_examples=200, deadline=None)
def test_a_damaged_file(edits: list[tuple[int, int]], cut: int | None) -> None:
    data = bytearray(WHOLE)
    for place, value in edits:
        data[place] = value
    assert outcome(bytes(data[:cut]), ROOT) != "not printable"


def test_damaged_certificates(mutations: int) -> None:
    """Damage below the base64, in each certificate; the chain never leads from another one to the root."""
    assert outcome(WHOLE, ROOT) == Trust.SIGNED_TRUSTED
    chance, outcomes = random.Random(7), Counter[str]()  # noqa: S311 - always the same
    ders = [each.raw.public_bytes(serialization.Encoding.DER) for each in (SIGNER, BETWEEN)]
    line = WHOLE[: WHOLE.index(b"-----BEGIN")]
    for _ in range(mutations):
        damaged = [bytearray(der) for der in ders]
        which = chance.randrange(2)
        for _ in range(chance.randint(1, 3)):
            damaged[which][chance.randrange(len(damaged[which]))] = chance.randrange(256)
        is_same = bytes(damaged[which]) == ders[which]
        blocks = b"".join(
            b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(der) + b"-----END CERTIFICATE-----\n"
            for der in damaged
        )
        result = outcome(line + blocks, ROOT)
        outcomes[result] += 1
        assert is_same or result not in {Trust.SIGNED_TRUSTED, "not printable"}
    assert {Trust.SIGNED_UNTRUSTED, "E_CERT_SYNTAX", "E_CERT_SIGNATURE"} <= set(outcomes)
