"""Chains of certificates: ours against ``openssl verify``, and each rule against its words."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.build.signing import PAST, Identity, authority, files, identity, openssl, rsa_key, usage
from virt_ova.package.certificate import read_certificate
from virt_ova.package.chain import Chain, find_chain

NOW: Final = datetime(2026, 7, 1, tzinfo=UTC)
Way = tuple[Identity, ...]


def find(signer: Identity, *others: Identity, anchors: tuple[Identity, ...], at: datetime = NOW) -> Chain:
    return find_chain(
        signer.certificate,
        [other.certificate for other in others],
        [anchor.certificate for anchor in anchors],
        at=at,
    )


def _constrained(root: Identity, *, critical: bool) -> Identity:
    names = x509.NameConstraints(permitted_subtrees=[x509.DNSName("example.org")], excluded_subtrees=None)
    return identity("Between", x509.BasicConstraints(ca=True, path_length=None), names, by=root, critical=critical)


# What stands between, made for a root; whether openssl takes the way to the signer; and what we say when we do not.
CASES: Final[dict[str, tuple[Callable[[Identity], Way], bool, str]]] = {
    "nothing": (lambda _: (), True, ""),
    "an authority": (lambda root: (authority("Between", by=root),), True, ""),
    "two": (lambda root: _two(root, None), True, ""),
    "two, of which one was allowed below": (lambda root: _two(root, 1), True, ""),
    "two, of which none was allowed below": (
        lambda root: _two(root, 0),
        False,
        "the certificate of its authority 'CN=One' allows 0 authorities below it, found 1",
    ),
    "with a key usage": (lambda root: (authority("Between", usage("key_cert_sign"), by=root),), True, ""),
    "with another key usage": (
        lambda root: (authority("Between", usage("digital_signature"), by=root),),
        False,
        "the certificate of its authority 'CN=Between' does not let it issue others",
    ),
    "not an authority": (
        lambda root: (identity("Between", x509.BasicConstraints(ca=False, path_length=None), by=root),),
        False,
        "the certificate of its authority 'CN=Between' does not let it issue others",
    ),
    "without constraints": (
        lambda root: (identity("Between", by=root),),
        False,
        "the certificate of its authority 'CN=Between' does not let it issue others",
    ),
    "expired": (
        lambda root: (authority("Between", by=root, end=PAST),),
        False,
        "the certificate of its authority 'CN=Between' expired on 2025-06-01",
    ),
    "not yet valid": (
        lambda root: (authority("Between", by=root, begin=datetime(2090, 1, 1, tzinfo=UTC)),),
        False,
        "the certificate of its authority 'CN=Between' is not valid before 2090-01-01",
    ),
    "an odd critical extension": (
        lambda root: (authority("Between", x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), b""), by=root),),
        False,
        "the certificate of its authority 'CN=Between' has an extension that is not understood: 1.2.3",
    ),
}


def _two(root: Identity, path_length: int | None) -> Way:
    one = authority("One", by=root, path_length=path_length)
    return authority("Two", by=one), one


@pytest.mark.parametrize("name", CASES)
def test_the_same_chains_as_openssl(name: str, tmp_path: Path) -> None:
    make, is_good, fault = CASES[name]
    root = authority("Root")
    between = make(root)
    signer = identity("Signer", usage("digital_signature"), by=between[0] if between else root)
    chain = find(signer, *between, anchors=(root,))
    assert (chain.anchor == root.certificate, chain.fault) == (is_good, fault)
    files(tmp_path, [("root", root), ("signer", signer)])
    (tmp_path / "between.pem").write_bytes(b"".join(each.pem for each in between))
    untrusted = ("-untrusted", "between.pem") if between else ()
    seconds = str(int(NOW.timestamp()))
    done = openssl(
        tmp_path,
        *("verify", "-attime", seconds, "-no-CApath", "-no-CAstore", "-CAfile", "root.pem", *untrusted, "signer.pem"),
        check=False,
    )
    assert (done.returncode == 0) == is_good, done.stderr


def test_rules_that_are_stricter_than_openssl() -> None:
    root = authority("Root")
    small = authority("Between", by=root, key=rsa_key(1024))
    server = authority("Between", x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), by=root)
    for between, fault in (
        (_constrained(root, critical=True), "has an extension that is not understood: name constraints"),
        (_constrained(root, critical=False), "has an extension that is not understood: name constraints"),
        (small, "has an RSA key of 1024 bits, expected at least 2048"),
        (server, "is not for signing software"),
    ):
        chain = find(identity("Signer", by=between), between, anchors=(root,))
        assert chain == Chain(anchor=None, fault=f"the certificate of its authority 'CN=Between' {fault}")


def test_an_anchor_is_held_to_the_same_rules() -> None:
    for root, fault in (
        (identity("Root"), "does not let it issue others"),
        (authority("Root", end=PAST), "expired on 2025-06-01"),
    ):
        chain = find(identity("Signer", by=root), anchors=(root,))
        assert chain == Chain(anchor=None, fault=f"the certificate of its authority 'CN=Root' {fault}")


def test_an_anchor_may_stand_in_the_middle() -> None:
    root = authority("Root")
    between = authority("Between", by=root)
    signer = identity("Signer", by=between)
    assert find(signer, anchors=(between,)).anchor == between.certificate
    assert find(signer, between, root, anchors=(between,)).anchor == between.certificate
    assert find(signer, between, root, anchors=()) == Chain(anchor=None)


def test_a_certificate_that_is_signed_with_sha1(tmp_path: Path) -> None:
    """The library makes none, so openssl does."""
    root = authority("Root", key=rsa_key())
    files(tmp_path, [("root", root)])
    openssl(tmp_path, "req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=S", "-keyout", "k", "-out", "r")
    by_root = ("-CA", "root.pem", "-CAkey", "root.key")
    openssl(tmp_path, "x509", "-req", "-sha1", "-in", "r", *by_root, "-out", "s.der", "-outform", "DER")
    signer = read_certificate((tmp_path / "s.der").read_bytes())
    chain = find_chain(signer, [], [root.certificate], at=datetime.now(UTC))
    assert chain == Chain(anchor=None, fault="the certificate of 'CN=S' is signed with SHA1")


def test_a_way_round_a_bad_certificate_is_found() -> None:
    """Two certificates for one authority, as when it was renewed."""
    root = authority("Root")
    key = authority("x").key
    expired, renewed = (authority("Between", by=root, key=key, end=end) for end in (PAST, root.raw.not_valid_after_utc))
    signer = identity("Signer", by=renewed)
    assert find(signer, expired, renewed, anchors=(root,)).anchor == root.certificate


def test_a_long_way() -> None:
    root = authority("Root")
    way = [root]
    for number in range(8):
        way.append(authority(f"{number}", by=way[-1]))
    assert find(identity("Signer", by=way[7]), *way[1:], anchors=(root,)).anchor == root.certificate
    chain = find(identity("Signer", by=way[8]), *way[1:], authority("Far"), anchors=(authority("Else"),))
    assert chain == Chain(anchor=None)
    way.append(authority("last", by=way[-1]))
    chain = find(identity("Signer", by=way[9]), *way[1:], anchors=(root,))
    assert chain == Chain(anchor=None, fault="there are more than 8 authorities above the signer")


def test_a_maze_of_like_names_is_left_in_time() -> None:
    """Every certificate issued every other: there are 15! ways, and none leads out."""
    key = authority("x").key
    first = authority("Maze", key=key)
    maze = [authority("Maze", by=first, key=key) for _ in range(15)]
    begun = time.monotonic()
    chain = find(identity("Signer", by=first), *maze, anchors=(authority("Root"),))
    assert chain.anchor is None
    assert time.monotonic() - begun < 5
