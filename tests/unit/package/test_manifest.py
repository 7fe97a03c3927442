import hashlib
import subprocess
from pathlib import Path

import pytest

from tests.build.ova import manifest_for
from virt_ova.errors import PackageError
from virt_ova.package.manifest import Digest, Manifest, digest_mismatch, parse_manifest

A = "a" * 64
MEMBERS = [("a.ovf", b"1"), ("a b.vmdk", b"2")]


def parse(data: bytes | str) -> Manifest:
    manifest = parse_manifest(data.encode() if isinstance(data, str) else data, where="a.mf")
    assert manifest is not None
    return manifest


def refusal(data: bytes | str) -> PackageError:
    with pytest.raises(PackageError) as caught:
        parse(data)
    assert len(str(caught.value)) < 600
    assert str(caught.value).isprintable()
    return caught.value


@pytest.mark.parametrize("algorithm", ["SHA256", "SHA384", "SHA512"])
def test_strong_digests(algorithm: str) -> None:
    manifest = parse(manifest_for(MEMBERS, algorithm))
    assert manifest.algorithm == algorithm
    assert {name: digest.hex for name, digest in manifest.entries.items()} == {
        name: hashlib.new(algorithm, data).hexdigest() for name, data in MEMBERS
    }
    assert manifest.findings == ()


def test_sha1_is_weak_and_said_to_be() -> None:
    manifest = parse(manifest_for(MEMBERS, "SHA1"))
    (finding,) = manifest.findings
    assert (finding.code, finding.severity, finding.where) == ("MANIFEST_SHA1", "warning", "a.mf")
    assert finding.message.startswith("the manifest uses SHA-1: it shows damage, but no longer keeps out")


def test_algorithms_may_differ_from_file_to_file() -> None:
    manifest = parse(manifest_for(MEMBERS[:1], "SHA512") + manifest_for(MEMBERS[1:], "SHA256"))
    assert manifest.algorithm == "SHA256, SHA512"


def test_the_output_of_sha256sum_tag_is_read(tmp_path: Path) -> None:
    for name, data in MEMBERS:
        (tmp_path / name).write_bytes(data)
    listing = subprocess.run(
        ["sha256sum", "--tag", *(name for name, _ in MEMBERS)], cwd=tmp_path, capture_output=True, check=True
    ).stdout
    assert parse(listing).entries == parse(manifest_for(MEMBERS)).entries


@pytest.mark.parametrize(
    "line",
    [
        f"SHA256(a.ovf)= {A}",
        f"SHA256(a.ovf)={A}",
        f"SHA256 (a.ovf) = {A}",
        f"  SHA256\t( a.ovf)= {A}".replace("( ", "("),
        f"sha256(a.ovf)= {A.upper()}",
        f"SHA-256(a.ovf)= {A}",
        f"SHA256(./a.ovf)= {A}",
        f"\ufeffSHA256(a.ovf)= {A}",
        f"\n\n  \r\nSHA256(a.ovf)= {A}\r\n\r\n",
        f"SHA256(a.ovf)= {A}   ",
    ],
)
def test_blanks_line_ends_and_case_are_read_leniently(line: str) -> None:
    assert parse(line).entries == {"a.ovf": Digest(algorithm="SHA256", hex=A)}


def test_parentheses_in_names_are_read_to_the_last_one() -> None:
    assert list(parse(f"SHA256(a (1).ovf)= {A}").entries) == ["a (1).ovf"]


@pytest.mark.parametrize("data", [b"", b"\n \r\n", b"\xef\xbb\xbf"])
def test_an_empty_manifest_is_none(data: bytes) -> None:
    assert parse_manifest(data, where="a.mf") is None


@pytest.mark.parametrize(
    "line",
    [
        "garbage",
        f"{A}  a.ovf",
        f"SHA256(a.ovf) {A}",
        f"SHA256 a.ovf = {A}",
        f"SHA256(a.ovf)= {A}zz",
        "SHA256(a.ovf)=",
        f"# SHA256(a.ovf)= {A}",
        "\x1b[2J" + "x" * 5000,
    ],
)
def test_lines_that_are_not_understood_are_refused(line: str) -> None:
    error = refusal(f"SHA256(first)= {A}\n{line}\n")
    assert (error.code, error.where) == ("E_MANIFEST_SYNTAX", "a.mf: line 2")
    assert error.message.startswith("found '")
    assert error.message.endswith("', expected a line such as 'SHA256(disk1.vmdk)= 9f86d0...'")


def test_bytes_that_are_no_text_are_refused() -> None:
    error = refusal(b"\xff\xfeS\0")
    assert (error.code, str(error)) == ("E_MANIFEST_SYNTAX", "a.mf: line 1: the line is not UTF-8 text")


@pytest.mark.parametrize("algorithm", ["MD5", "SHA3-256", "SHA224", "CRC32", "SHA"])
def test_broken_and_unknown_algorithms_are_refused(algorithm: str) -> None:
    error = refusal(f"{algorithm}(a.ovf)= {A}")
    assert (error.code, error.where) == ("E_MANIFEST_ALGORITHM", "a.mf: line 1")
    assert error.message == f"found the algorithm '{algorithm}', expected one of SHA1, SHA256, SHA384, SHA512"
    assert error.hint == "Ask whoever made the package for SHA-256 digests."


def test_a_digest_has_its_algorithms_length() -> None:
    error = refusal(f"SHA512(a.ovf)= {A}")
    assert (error.code, error.message) == ("E_MANIFEST_SYNTAX", "found a digest of 64 digits, expected 128 for SHA512")


@pytest.mark.parametrize(
    "name", ["../a.ovf", "/etc/passwd", "", "a\\b", f"a)= {A}\rSHA256(b", f"a)= {A}\u2028SHA256(b"]
)
def test_names_that_could_be_no_members_are_refused(name: str) -> None:
    error = refusal(f"SHA256({name})= {A}")
    assert (error.code, error.where) == ("E_MANIFEST_NAME", "a.mf: line 1")
    assert error.message.endswith("expected a plain name such as 'disk1.vmdk'")


@pytest.mark.parametrize("twin", ["a.ovf", "./a.ovf", "A.OVF"])
def test_a_file_listed_twice_is_refused_in_either_order(twin: str) -> None:
    good, evil = f"SHA256(a.ovf)= {A}", f"SHA256({twin})= {'b' * 64}"
    for lines in ((good, evil), (evil, good)):
        error = refusal("\n".join(lines))
        assert (error.code, error.where) == ("E_MANIFEST_DUP", "a.mf: line 2")
        assert error.message.endswith("expected one for each file")


def test_a_million_lines_are_refused_at_once() -> None:
    error = refusal(b"\n" * 1_000_000)
    assert (error.code, error.where) == ("E_MANIFEST_LIMIT", "a.mf")
    assert error.message == "the manifest has more than 4096 lines, expected one for each file"


def test_a_mismatch_shows_both_digests() -> None:
    error = digest_mismatch("a\n.vmdk", Digest(algorithm="SHA256", hex="00"), "ff")
    assert error.code == "E_DIGEST"
    assert error.message == "the SHA256 of 'a\\n.vmdk' is ff, expected 00 as the manifest says"
    assert error.hint.startswith("The file is damaged or was changed")
