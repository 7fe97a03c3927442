"""T: what a tar can be, and what is no tar."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import socket
import tarfile
import unicodedata
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.build import tar
from tests.build.ova import build_folder, with_manifest
from tests.build.small import edited, small_members, small_vmdk
from tests.hostile.recipe import ACCEPTED, Make, Members, Recipe, Stage, blocks, packed, raw_bytes, rows
from virt_ova.units import GIB, KIB, MIB

_EIB: Final = 1 << 60
_GOOD: Final = b"".join(tar.member(name, data) for name, data in small_members())
_NFD: Final = unicodedata.normalize("NFD", "é.vmdk")


def _names() -> Iterator[Recipe]:
    up = ("../x", "../../etc/cron.d/x", "a/../../x", "./../x", "..", "a/..", "a//x", "a/./x")
    yield from rows("T01", "E_TAR_NAME", [(name, blocks(tar.member(name, b"x"))) for name in up])
    absolute = ("/x", "/etc/x", "/", "C:\\x", "C:x", "\\\\srv\\x", "//srv/x", "a\\..\\x", "file:x")
    yield from rows("T02", "E_TAR_NAME", [(name, blocks(tar.member(name, b"x"))) for name in absolute])
    yield from rows(
        "T02", "E_TAR_NAME", [("the canary", lambda stage: blocks(tar.member(str(stage.secret), b"x"))(stage))]
    )
    odd = {
        "NUL in pax path": tar.pax({"path": b"a\0" + b"b" * 100}) + tar.member("a", b"x"),
        "pax path that leads out": tar.pax({"path": "../" + "x" * 100}) + tar.member("x", b"x"),
        "short pax path that leads out": tar.pax({"path": "../x"}) + tar.member("../x", b"x"),
        "long name that leads out": tar.long_name("../" + "x" * 100) + tar.member("x", b"x"),
        "not UTF-8": tar.member(b"\xff\xfe.vmdk", b"x"),
        "a surrogate": tar.member(b"\xed\xa0\x80.vmdk", b"x"),
        "a newline": tar.member("a\nb", b"x"),
        "an escape sequence": tar.member("\x1b]0;x\x07", b"x"),
        "256 bytes": tar.long_name("y" * 256) + tar.member("y" * 100, b"x"),
        "no name": tar.member("", b"x"),
        "a line separator": tar.member("a\u2028b", b"x"),
    }
    yield from rows("T07", "E_TAR_NAME", [(name, blocks(data)) for name, data in odd.items()])
    renamed = {
        "pax path beside a name": tar.pax({"path": "evil.vmdk"}) + tar.member("a9.vmdk", b"x"),
        "long name beside pax path": tar.long_name("y" * 120) + tar.pax({"path": "z" * 120}) + tar.member("y" * 100),
        "prefix and pax path": tar.pax({"path": "b/x"}) + tar.header("x", prefix=b"a"),
        "global pax path": tar.pax({"path": "evil.ovf"}, type_flag=b"g") + tar.member("a9.vmdk", b"x"),
    }
    yield from rows("T06", "E_TAR_AMBIGUOUS", [(name, blocks(data)) for name, data in renamed.items()])


def _types() -> Iterator[Recipe]:
    yield Recipe(case="T03", name="link to the secret", code="E_TAR_TYPE", make=_link_to_secret)
    yield Recipe(
        case="T03", name="link with data", code="E_TAR_TYPE", make=blocks(tar.member("l", b"x", type_flag=b"2"))
    )
    pax_link = tar.pax({"linkpath": "/etc/shadow"}) + tar.member("l", type_flag=b"2")
    yield Recipe(case="T03", name="pax linkpath", code="E_TAR_TYPE", make=blocks(pax_link))
    pax_file = tar.pax({"linkpath": "/etc/shadow"}) + tar.member("l", b"x")
    yield Recipe(case="T03", name="pax linkpath of a file", code="E_TAR_TYPE", make=blocks(pax_file))
    flags = {
        "hard link": b"1",
        "character device": b"3",
        "block device": b"4",
        "fifo": b"6",
        "contiguous": b"7",
        "long link": b"K",
        "volume label": b"V",
        "multi-volume": b"M",
        "dump": b"D",
        "old name": b"N",
        "unknown": b"Z",
        "a control character": b"\x1b",
    }
    makes = [(name, blocks(tar.member("l", type_flag=flag))) for name, flag in flags.items()]
    yield from rows("T04", "E_TAR_TYPE", makes)
    carrying = blocks(tar.member("d/", b"hidden", type_flag=b"5"))
    yield Recipe(case="T04", name="folder with data", code="E_TAR_AMBIGUOUS", make=carrying)


def _link_to_secret(stage: Stage) -> Path:
    """The disk is a symbolic link to the secret."""
    with tarfile.open(stage.ova, "w", format=tarfile.USTAR_FORMAT) as archive:
        name, text = small_members()[0]
        info = tarfile.TarInfo(name)
        info.size = len(text)
        archive.addfile(info, io.BytesIO(text))
        link = tarfile.TarInfo("a1.vmdk")
        link.type, link.linkname = tarfile.SYMTYPE, "secret"
        archive.addfile(link)
    return stage.ova


def _duplicates() -> Iterator[Recipe]:
    twins = {
        "good then evil": "a1.vmdk",
        "upper case": "A1.VMDK",
        "behind ./": "./a1.vmdk",
        "the descriptor": "a.ovf",
        "the manifest": "a.mf",
    }
    good = with_manifest(small_members())
    yield from rows(
        "T05", "E_TAR_DUP", [(name, packed([*good, (twin, b"x")], manifest=False)) for name, twin in twins.items()]
    )
    pairs = {"another Unicode form": ("é.vmdk", _NFD), "folded case": ("ß.vmdk", "SS.vmdk"), "dotted i": ("İ", "i̇")}
    for name, (first, second) in pairs.items():
        data = tar.member(first, b"x") + tar.member(second, b"y")
        yield Recipe(case="T05", name=name, code="E_TAR_DUP", make=blocks(data))


def _sizes() -> Iterator[Recipe]:
    hidden = tar.member("evil.ovf", b"x")
    two = {
        "pax size above": tar.pax({"size": str(len(hidden))}) + tar.header("a9.vmdk") + hidden,
        "pax size below": tar.pax({"size": "0"}) + tar.header("a9.vmdk", len(hidden)) + hidden,
        "pax size twice": tar.member("p", tar.pax_record("size", "1") + tar.pax_record("size", "2"), type_flag=b"x")
        + tar.member("a9.vmdk", b"x"),
        "global pax size": tar.pax({"size": "1"}, type_flag=b"g") + tar.member("a9.vmdk", b"x"),
    }
    yield from rows("T06", "E_TAR_AMBIGUOUS", [(name, blocks(data)) for name, data in two.items()])
    fields = {
        "negative": tar.base256(-1024),
        "most negative": b"\xff" + b"\x80" + bytes(10),
        "a minus sign": b"-0000000001\0",
        "no digits": b"abcdefghijk\0",
        "spaces": b" " * 12,
        "octal with an 8": b"00000000008\0",
    }
    makes = [(name, blocks(tar.header("a9", size_field=field))) for name, field in fields.items()]
    yield from rows("T10", "E_TAR_SIZE", makes)
    huge = {"2^63": 1 << 63, "1 EiB": _EIB, "2^86": 1 << 86}
    makes = [(name, blocks(tar.header("a9", size_field=tar.base256(size)))) for name, size in huge.items()]
    yield from rows("T10", "E_TAR_TRUNCATED", makes)
    pax_sizes = {"pax size below zero": "-1", "pax size 1e9": "1e9", "pax size of 40 digits": "9" * 40}
    makes = [(name, blocks(tar.pax({"size": size}) + tar.header("a9"))) for name, size in pax_sizes.items()]
    yield from rows("T10", "E_TAR_SIZE", makes)


def _extensions() -> Iterator[Recipe]:
    for flag, kind in ((b"L", "long name"), (b"x", "pax header"), (b"g", "global pax header")):
        for size, words in ((4 * GIB, "4 GiB"), (_EIB, "1 EiB")):
            block = tar.header("e", type_flag=flag, size_field=tar.base256(size), magic=tar.GNU)
            yield Recipe(case="T08", name=f"{kind} of {words}", code="E_TAR_LIMIT", make=raw_bytes(block))
    for flag, kind in ((b"L", "long name"), (b"x", "pax header")):
        yield Recipe(case="T09", name=f"{kind} of 200 MB", code="E_TAR_LIMIT", make=_real_extension(flag))
    records = {
        "200,000 digits": b"1" * 60_000 + b" a=b\n",
        "length 0": b"0 a=b\n",
        "no newline": b"6 a=b ",
        "no equals sign": b"5 ab\n",
        "beyond the header": b"99 a=b\n",
        "negative": b"-6 a=b\n",
        "no key": b"5 =b\n",
        "inside itself": b"2 a=b\n",
        "blank": b"   ",
    }
    makes = [(name, blocks(tar.member("p", data, type_flag=b"x") + tar.member("a9"))) for name, data in records.items()]
    yield from rows("T11", "E_TAR_SYNTAX", makes)
    chains = {
        "long names": tar.long_name("y" * 120) * 3000,
        "pax headers": tar.pax({"mtime": "1"}) * 3000,
        "both in turn": (tar.long_name("y" * 120) + tar.pax({"mtime": "1"})) * 1500,
        "global pax headers": tar.pax({"mtime": "1"}, type_flag=b"g") * 3000,
    }
    yield from rows("T12", "E_TAR_LIMIT", [(name, raw_bytes(data + _GOOD + tar.END)) for name, data in chains.items()])
    folders, files = tar.member("d/", type_flag=b"5") * 20_000, b"".join(tar.member(f"f{n}") for n in range(2049))
    yield from rows("T13", "E_TAR_LIMIT", [("folders", raw_bytes(folders)), ("files", raw_bytes(files + tar.END))])
    sparse = {
        "old GNU": tar.header("s", type_flag=b"S", magic=tar.GNU),
        "GNU 0.0": tar.pax({"GNU.sparse.size": str(_EIB), "GNU.sparse.numblocks": "1"}) + tar.member("s"),
        "GNU 0.1": tar.pax({"GNU.sparse.map": f"0,{_EIB}"}) + tar.member("s"),
        "GNU 1.0": tar.pax({"GNU.sparse.major": "1", "GNU.sparse.realsize": str(_EIB)}) + tar.member("s"),
        "GNU name": tar.pax({"GNU.sparse.name": "../x"}) + tar.member("s"),
        "star": tar.pax({"SCHILY.realsize": str(_EIB)}) + tar.member("s"),
    }
    yield from rows("T14", "E_TAR_SPARSE", [(name, blocks(data)) for name, data in sparse.items()])


def _real_extension(flag: bytes) -> Make:
    """An extension header whose bytes are there, as a hole."""

    def make(stage: Stage) -> Path:
        with stage.ova.open("wb") as file:
            file.write(tar.header("e", 200 * MIB, type_flag=flag, magic=tar.GNU))
            file.truncate(200 * MIB + 4 * KIB)
        return stage.ova

    return make


def _ends() -> Iterator[Recipe]:
    whole = _GOOD + tar.END
    cuts = {
        "within a block": 511,
        "in the descriptor": 600,
        "in the disk": len(_GOOD) - 700,
        "one byte": len(_GOOD) - 1,
    }
    yield from rows("T15", "E_TAR_TRUNCATED", [(name, raw_bytes(whole[:cut])) for name, cut in cuts.items()])
    kept = (1, 99, 100, 124, 148, 156, 257, 500)
    third = _GOOD.rindex(b"a1.vmdk")
    makes = [(f"after {count} bytes of a header", raw_bytes(whole[: third + count])) for count in kept]
    yield from rows("T15", "E_TAR_TRUNCATED", makes)
    second = b"".join(tar.member(name, data) for name, data in edited(small_members(), "2 CPUs", "9 CPUs"))
    trailing = {
        "junk": b"junk",
        "a byte": b"\1",
        "a second archive": second + tar.END,
        "a second archive behind zeros": bytes(9 * KIB) + second + tar.END,
        "17 MiB of zeros": bytes(17 * MIB),
    }
    yield from rows("T16", "E_TAR_TRAILING", [(name, raw_bytes(whole + data)) for name, data in trailing.items()])
    one_zero_block = raw_bytes(_GOOD + bytes(512) + second + tar.END)
    yield Recipe(case="T16", name="behind one block of zeros", code="E_TAR_TRAILING", make=one_zero_block)
    damaged = bytearray(whole)
    damaged[third + 10] ^= 1
    yield Recipe(case="T15", name="wrong checksum", code="E_TAR_SYNTAX", make=raw_bytes(bytes(damaged)))
    magic = tar.member("m", magic=b"evil\0\0\0\0")
    yield Recipe(case="T15", name="wrong magic", code="E_TAR_SYNTAX", make=blocks(magic))


def _others() -> Iterator[Recipe]:
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("../../etc/passwd", b"x")
    files = {
        "zip": zipped.getvalue(),
        "empty zip": b"PK\5\6" + bytes(18),
        "xz": lzma.compress(_GOOD),
        "7z": b"7z\xbc\xaf\x27\x1c",
        "bzip2": bz2.compress(_GOOD),
        "zstd": b"\x28\xb5\x2f\xfd" + bytes(600),
        "Windows program": b"MZ" + bytes(600),
        "program": b"\x7fELF" + bytes(600),
        "empty file": b"",
        "RAR": b"Rar!\x1a\x07",
        "cpio": b"070701" + bytes(600),
        "PDF": b"%PDF-1.7\n" + bytes(600),
        "web page": b"<!DOCTYPE html><html>" + bytes(600),
        "a disk": small_vmdk(),
        "zeros": bytes(10 * KIB),
        "text": b"root:x:0:0\n" * 100,
        "XML": b"<?xml version='1.0'?><Envelope/>",
    }
    yield from rows("T17", "E_NOT_OVA", [(name, raw_bytes(data)) for name, data in files.items()])
    devices: list[tuple[str, Make]] = [("/dev/zero", lambda _: "/dev/zero"), ("/dev/null", lambda _: "/dev/null")]
    yield from rows("T17", "E_NOT_OVA", [*devices, ("fifo", _fifo)])
    yield Recipe(case="T17", name="socket", code="E_SOURCE_OPEN", make=_socket)
    yield Recipe(case="T17", name="empty folder", code="E_PKG_OVF", make=lambda stage: stage.folder)
    yield from rows(
        "T17", "E_NOT_OVA", [("gzip of zeros", _bomb), ("gzip of gzip", raw_bytes(gzip.compress(gzip.compress(_GOOD))))]
    )
    yield Recipe(case="T17", name="cut gzip", code="E_GZIP", make=raw_bytes(gzip.compress(_GOOD + tar.END)[:-500]))
    yield Recipe(
        case="T17", name="gzip and junk", code="E_GZIP", make=raw_bytes(gzip.compress(_GOOD + tar.END) + b"junk")
    )


def _bomb(stage: Stage) -> Path:
    return stage.write(gzip.compress(bytes(64 * MIB)))


def _fifo(stage: Stage) -> Path:
    os.mkfifo(stage.ova)
    return stage.ova


def _socket(stage: Stage) -> Path:
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(stage.folder)
        listener.bind(stage.ova.name)
        os.chdir(here)
    return stage.ova


def _descriptors() -> Iterator[Recipe]:
    descriptor, *disks = small_members()
    two: Members = [descriptor, ("b.ovf", descriptor[1]), *disks]
    folder = [(f"x/{name}", data) for name, data in (descriptor, *disks)]
    found = {
        "two": packed(two),
        "none": packed(disks, manifest=False),
        "two in another case": packed([descriptor, ("b.OVF", descriptor[1]), *disks]),
        "in a folder": packed(folder, manifest=False),
        "a folder called so": blocks(tar.member("b.ovf/", type_flag=b"5"), tar.member("c.ovf", b"x")),
    }
    yield from rows("T18", "E_PKG_OVF", found.items())
    fine = {
        "not first": packed([*disks, descriptor], manifest=False),
        "AppleDouble": packed([descriptor, ("._a.ovf", b"x"), *disks], manifest=False),
        "upper case": packed([("A.OVF", descriptor[1]), *disks], manifest=False),
        "a folder beside": blocks(tar.member("d/", type_flag=b"5")),
    }
    yield from rows("T18", ACCEPTED, fine.items())
    yield Recipe(case="T18", name="a folder's own link", code="E_REF_OUTSIDE", make=_linked_folder)


def _linked_folder(stage: Stage) -> Path:
    """A folder in which the disk is a link to the secret."""
    build_folder(stage.folder, small_members()[:1])
    (stage.folder / "a1.vmdk").symlink_to(stage.secret)
    return stage.folder


RECIPES: Final = (
    *_names(),
    *_types(),
    *_duplicates(),
    *_sizes(),
    *_extensions(),
    *_ends(),
    *_others(),
    *_descriptors(),
)
