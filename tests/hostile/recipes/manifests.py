"""M: what a manifest can be, and what it can leave out."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Final

from tests.build import tar
from tests.build.ova import manifest_for
from tests.build.small import damaged_vmdk, small_members
from tests.hostile.recipe import ACCEPTED, Make, Members, Recipe, blocks, packed, rows

_GOOD: Final = manifest_for(small_members())
_LINES: Final = _GOOD.splitlines(keepends=True)
_DISK: Final = small_members()[1][1]


def _with(manifest: bytes, members: Members | None = None, name: str = "a.mf") -> Make:
    """A package with this manifest."""
    there = small_members() if members is None else members
    return packed([there[0], (name, manifest), *there[1:]], manifest=False)


def _flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def _digests() -> Iterator[Recipe]:
    descriptor, disk = small_members()
    flipped = {
        "the descriptor": [("a.ovf", descriptor[1].replace(b"A machine", b"A Machine")), disk],
        "the disk's text": [descriptor, ("a1.vmdk", damaged_vmdk())],
        "a grain of the disk": [descriptor, ("a1.vmdk", _flipped(_DISK, 0x10000 + 40))],
    }
    yield from rows("M01", "E_DIGEST", [(name, _with(_GOOD, members)) for name, members in flipped.items()])
    hexes = _GOOD.rindex(b"= ") + 2
    digit = b"0" if _GOOD[hexes : hexes + 1] != b"0" else b"1"
    yield Recipe(
        case="M01",
        name="the manifest's last digest",
        code="E_DIGEST",
        make=_with(_GOOD[:hexes] + digit + _GOOD[hexes + 1 :]),
    )
    swapped = _LINES[0].replace(b"a.ovf", b"x").replace(b"x", b"a1.vmdk") + _LINES[1].replace(b"a1.vmdk", b"a.ovf")
    yield Recipe(case="M01", name="two digests swapped", code="E_DIGEST", make=_with(swapped))
    zeros = b"SHA256(a.ovf)= " + b"0" * 64 + b"\n" + _LINES[1]
    yield Recipe(case="M01", name="a digest of zeros", code="E_DIGEST", make=_with(zeros))


def _coverage() -> Iterator[Recipe]:
    missing = b"SHA256(b.vmdk)= " + b"0" * 64 + b"\n"
    extra = [*small_members(), ("evil.sh", b"#!/bin/sh")]
    makes: list[tuple[str, Make]] = [
        ("the disk is not listed", _with(_LINES[0])),
        ("the descriptor is not listed", _with(_LINES[1])),
        ("a file that is not there", _with(_GOOD + missing)),
        ("a file that nobody listed", _with(_GOOD, extra)),
        ("another case", _with(_GOOD.replace(b"a1.vmdk", b"A1.vmdk"))),
    ]
    yield from rows("M02", "E_MANIFEST_COVERAGE", makes)
    twin = _LINES[1].replace(hashlib.sha256(_DISK).hexdigest().encode(), b"0" * 64)
    doubles = {
        "good then bad": _GOOD + twin,
        "bad then good": _LINES[0] + twin + _LINES[1],
        "the same": _GOOD + _LINES[1],
        "behind ./": _GOOD + twin.replace(b"a1.", b"./a1."),
        "another case": _GOOD + twin.replace(b"a1.", b"A1."),
        "another algorithm": _GOOD + manifest_for(small_members()[1:], "SHA512"),
    }
    yield from rows("M03", "E_MANIFEST_DUP", [(name, _with(data)) for name, data in doubles.items()])
    names = {
        "a path": b"../a1.vmdk",
        "an absolute path": b"/a1.vmdk",
        "a backslash": b"a\\b",
        "nothing": b"",
        "a URL": b"http://x",
    }
    yield from rows(
        "M03",
        "E_MANIFEST_NAME",
        [(name, _with(_GOOD + missing.replace(b"b.vmdk", text))) for name, text in names.items()],
    )
    two = [*small_members(), ("b.mf", _GOOD), ("c.mf", _GOOD)]
    yield Recipe(
        case="M02", name="two manifests of other names", code="E_PKG_COMPANION", make=packed(two, manifest=False)
    )


def _algorithms() -> Iterator[Recipe]:
    for algorithm in ("SHA1", "SHA256", "SHA384", "SHA512"):
        yield Recipe(case="M04", name=algorithm, make=_with(manifest_for(small_members(), algorithm)))
    mixed = manifest_for(small_members()[:1], "SHA512") + manifest_for(small_members()[1:], "SHA1")
    yield Recipe(case="M04", name="mixed", make=_with(mixed))
    for algorithm in ("MD5", "SHA3-256", "SHA224", "CRC32", "NONE", "SHA-0", "BLAKE2B"):
        line = _GOOD.replace(b"SHA256", algorithm.encode())
        yield Recipe(case="M04", name=algorithm, code="E_MANIFEST_ALGORITHM", make=_with(line))
    yield Recipe(
        case="M04",
        name="SHA512 of 64 digits",
        code="E_MANIFEST_SYNTAX",
        make=_with(_GOOD.replace(b"SHA256", b"SHA512")),
    )
    yield Recipe(
        case="M04",
        name="MD5 behind a good one",
        code="E_MANIFEST_ALGORITHM",
        make=_with(_GOOD + b"MD5(x)= " + b"0" * 32),
    )


def _syntax() -> Iterator[Recipe]:
    good = {
        "CR LF": _GOOD.replace(b"\n", b"\r\n"),
        "no blanks": _GOOD.replace(b"= ", b"="),
        "more blanks": _GOOD.replace(b"= ", b" =  "),
        "capitals": _GOOD.replace(_GOOD.split(b"= ")[1][:64], _GOOD.split(b"= ")[1][:64].upper()),
        "a mark": b"\xef\xbb\xbf" + _GOOD,
        "blank lines": b"\n\n" + _GOOD + b"\n \n",
        "empty": b"",
        "no last newline": _GOOD.rstrip(),
    }
    yield from rows("M05", ACCEPTED, [(name, _with(data)) for name, data in good.items()])
    bad = {
        "a comment": b"# x\n" + _GOOD,
        "text": b"hello\n" + _GOOD,
        "no equals sign": _GOOD.replace(b"= ", b" "),
        "a digit too few": _GOOD[:-2],
        "an odd digit": _GOOD[:-2] + b"g\n",
        "not UTF-8": b"\xff\n" + _GOOD,
        "a NUL": b"\0\n" + _GOOD,
        "UTF-16": _GOOD.decode().encode("utf-16"),
        "sha256sum": hashlib.sha256(_DISK).hexdigest().encode() + b"  a1.vmdk\n",
        "one long line": b"x" * 100_000,
        "an escape sequence": b"\x1b]0;x\x07\n" + _GOOD,
        "no digest": b"SHA256(a.ovf)= \n",
        "a digest of 100,000 digits": b"SHA256(a.ovf)= " + b"0" * 100_000,
    }
    yield from rows("M05", "E_MANIFEST_SYNTAX", [(name, _with(data)) for name, data in bad.items()])
    limits = {
        "a million lines": b"\n" * 1_000_000,
        "2 MiB": b" " * (2 << 20),
        "10,000 files": b"".join(b"SHA1(f%d)= %040d\n" % (n, n) for n in range(10_000)),
    }
    yield from rows("M05", "E_MANIFEST_LIMIT", [(name, _with(data)) for name, data in limits.items()])
    alone = [*small_members(), ("a.cert", b"x")]
    yield Recipe(
        case="M05", name="a certificate without one", code="E_CERT_MANIFEST", make=packed(alone, manifest=False)
    )
    hidden = blocks(tar.member("a.mf", _GOOD), tar.member("A.MF", b""))
    yield Recipe(case="M05", name="a second one in capitals", code="E_TAR_DUP", make=hidden)


RECIPES: Final = (*_digests(), *_coverage(), *_algorithms(), *_syntax())
