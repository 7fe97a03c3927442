"""The few whole packages, manifests and signatures of the corpus, and what they give."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest

from tests.corpus.index import CORPUS
from virt_ova.errors import PackageError
from virt_ova.package.manifest import parse_manifest
from virt_ova.package.package import open_package
from virt_ova.package.verify import Trust
from virt_ova.policy import TrustAnchor, TrustPolicy

OPEN_OVF: Final = CORPUS / "Awingu+open-ovf/py/tests/test_files"
TTYLINUX: Final = CORPUS / "vmware+govmomi/vapi/library/testdata/ttylinux-pc_i486-16.1.ova"

MANIFESTS: Final = {
    "Awingu+open-ovf/py/tests/test_files/ourOVF.mf": ("SHA1", 3),
    "Awingu+open-ovf@60966e85ab30/py/tests/test_files/ourOVF.mf": ("SHA1", 3),
    "glennmatthews+cot/COT/tests/input.mf": ("SHA1", 4),
    "glennmatthews+cot/COT/tests/ubuntu.2.0.mf": ("SHA256", 2),
    "glennmatthews+cot@7318d2bf63a8/COT/tests/input.mf": ("SHA1", 3),
    "glennmatthews+cot@e9366f32a38f/COT/tests/input.mf": ("SHA1", 3),
}


def test_every_manifest_is_read() -> None:
    found = {}
    for path in CORPUS.rglob("*.mf"):
        manifest = parse_manifest(path.read_bytes(), where=path.name)
        assert manifest is not None
        found[str(path.relative_to(CORPUS))] = (manifest.algorithm, len(manifest.entries))
    assert found == MANIFESTS


def test_a_signature_of_2008_fits_and_is_doubted_for_all_that_is_wrong_with_it() -> None:
    """Another program made it: SHA-1, RSA with 512 bits, self-signed for a year."""
    certificate = OPEN_OVF / "ourOVF.cert"
    assert list(CORPUS.rglob("*.cert")) == [certificate]
    with open_package(OPEN_OVF / "ourOVF.ovf") as package:
        report = package.verify()
        assert (report.trust, report.is_sound) == (Trust.SIGNED_UNTRUSTED, True)
        assert [finding.code for finding in report.findings] == [
            *("MANIFEST_SHA1", "CERT_SIGNER"),
            *("CERT_WEAK", "CERT_WEAK", "CERT_WEAK", "CERT_EXPIRED", "CERT_SELF_SIGNED"),
        ]
        assert package.signature is not None
        pem = certificate.read_bytes()
        own = TrustPolicy(anchors=(TrustAnchor(name="own", pem=pem),))
        then = package.signature.appraise(own, at=datetime(2008, 12, 1, tzinfo=UTC))
        assert [finding.code for finding in then.findings] == ["CERT_WEAK", "CERT_WEAK", "CERT_WEAK", "CERT_ANCHOR"]


def test_the_packages() -> None:
    with open_package(TTYLINUX) as package:
        report = package.verify()
        assert (report.trust, [file.ok for file in report.files]) == (Trust.DIGESTS, [True, True])
    packages: list[Path] = sorted(CORPUS.rglob("*.ova"))
    assert packages == [OPEN_OVF / "ourOVF.ova", TTYLINUX]
    with pytest.raises(PackageError, match=r"found a digest for 'Ubuntu1\.vmdk' after one for") as caught:
        open_package(packages[0])
    assert caught.value.code == "E_MANIFEST_DUP"
