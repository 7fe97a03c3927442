import io
import itertools
import os
import re
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.build import tar as blocks
from tests.build.ova import build_ova
from tests.build.tar import END, header, long_name, member, pax
from virt_ova.errors import SourceError
from virt_ova.source.base import Archive, MemberName
from virt_ova.source.file import LocalFile, OpenFile
from virt_ova.source.tar import MAX_EXTENSION_BYTES, MAX_MEMBERS, MAX_PADDING_BYTES, index_tar

OVF = member("a.ovf", b"<Envelope/>")
GIB = 1 << 30


def index(data: bytes, start: int = 0) -> Archive:
    return index_tar(OpenFile(io.BytesIO(data), "x.ova"), start=start)


def refusal(data: bytes) -> SourceError:
    with pytest.raises(SourceError) as caught:
        index(data)
    assert len(str(caught.value)) < 1000
    return caught.value


def layout(archive: Archive) -> list[tuple[str, int, int]]:
    return [(name, member.offset, member.size) for name, member in archive.members.items()]


def contents(archive: Archive) -> dict[str, bytes]:
    return {name: member.read() for name, member in archive.members.items()}


def codes(archive: Archive) -> list[str]:
    return [finding.code for finding in archive.findings]


def gnu_tar_layout(path: Path) -> list[tuple[str, int, int]]:
    """What GNU tar says: name, offset of the data, size; its block number is that of the first header."""
    listing = subprocess.run(["tar", "-tRvf", path], capture_output=True, text=True, check=True).stdout
    lines = [line.split(None, 8) for line in listing.splitlines()]
    rows = [(int(re.sub(r"\D", "", line[1])), line) for line in lines if "Block of NULs" not in " ".join(line)]
    return [(line[7], block, int(line[4])) for block, line in rows]


# Real writers


@pytest.mark.parametrize("writer_format", ["ustar", "gnu", "posix", "v7"])
def test_offsets_are_those_of_gnu_tar(tmp_path: Path, writer_format: str) -> None:
    names = ["a.ovf", "a.mf", "disk1.vmdk", "empty.iso"]
    for number, name in enumerate(names):
        (tmp_path / name).write_bytes(b"x" * 700 * (3 - number))
    path = tmp_path / "a.ova"
    subprocess.run(["tar", "-cf", path, f"--format={writer_format}", "-C", tmp_path, *names], check=True)
    archive = index_tar(LocalFile.open(str(path)))
    data = path.read_bytes()
    with tarfile.open(path) as oracle:
        assert layout(archive) == [(info.name, info.offset_data, info.size) for info in oracle]
    for (name, offset, size), (said_name, block, said_size) in zip(layout(archive), gnu_tar_layout(path), strict=True):
        assert (name, size) == (said_name, said_size)
        extension_blocks = 3 if writer_format == "posix" else 1
        assert offset // 512 in {block + 1, block + extension_blocks}
        assert data[offset : offset + size] == b"x" * size
    assert archive.kind == "ova"
    assert archive.findings == ()
    archive.close()


@pytest.mark.parametrize(
    ("writer_format", "name"),
    [
        *itertools.product(
            [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT],
            ["d/" * 70 + "a.vmdk", "x" * 100, "é.vmdk"],
        ),
        *itertools.product([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT], ["é" * 60, "x" * 99 + "é", "x" * 255]),
    ],
)
def test_long_and_foreign_names_are_read(tmp_path: Path, writer_format: int, name: str) -> None:
    members = [("a.ovf", b"1"), (name, b"2" * 600), ("b", b"3")]
    path = build_ova(tmp_path / "a.ova", members, format=writer_format)
    archive = index_tar(LocalFile.open(str(path)))
    assert contents(archive) == dict(members)
    archive.close()


@pytest.mark.parametrize("arguments", [["--format=gnu"], ["--format=posix"], ["--format=posix", "--blocking-factor=1"]])
def test_members_beyond_8_gib_are_indexed_without_being_read(tmp_path: Path, arguments: Sequence[str]) -> None:
    """GNU tar writes the size in base-256, or as pax record with zero in the header."""
    with (tmp_path / "disk").open("wb") as disk:
        disk.truncate(9 * GIB)
    (tmp_path / "z.ovf").write_bytes(b"<Envelope/>")
    path = tmp_path / "a.ova"
    packed = subprocess.Popen(["tar", "-cf", "-", *arguments, "-C", tmp_path, "disk", "z.ovf"], stdout=subprocess.PIPE)
    assert packed.stdout is not None
    start = packed.stdout.read(4096)
    packed.kill()
    packed.communicate()
    headers = start[: start.index(b"disk\0") + 512] if arguments == ["--format=gnu"] else start[:1536]
    headers = headers[: len(headers) // 512 * 512]
    with path.open("wb") as file:
        file.write(headers)
        file.seek(9 * GIB, os.SEEK_CUR)
        file.write(member("z.ovf", b"<Envelope/>") + END)
    archive = index_tar(LocalFile.open(str(path)))
    assert layout(archive) == [("disk", len(headers), 9 * GIB), ("z.ovf", len(headers) + 9 * GIB + 512, 11)]
    assert archive.members[MemberName("z.ovf")].read() == b"<Envelope/>"
    archive.close()


def test_libarchive_writes_both_sizes_and_both_agree(tmp_path: Path) -> None:
    path = tmp_path / "a.ova"
    size = 8 * GIB
    start = pax({"size": str(size)}) + header("disk", size, size_field=blocks.base256(size))
    with path.open("wb") as file:
        file.write(start)
        file.truncate(len(start) + size)
    archive = index_tar(LocalFile.open(str(path)))
    assert layout(archive) == [("disk", len(start), size)]
    archive.close()


def test_any_order_and_sub_folders(tmp_path: Path) -> None:
    """VirtualBox puts the manifest last, ovftool second; some put disks first."""
    members = [("disks/b.vmdk", b"b"), ("a.vmdk", b""), ("a.mf", b"m"), ("a.ovf", b"o"), ("a.cert", b"c")]
    archive = index_tar(LocalFile.open(str(build_ova(tmp_path / "a.ova", members))))
    assert list(contents(archive).items()) == members
    archive.close()


def test_a_folder_packed_from_inside_loses_its_dots(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.ovf").write_bytes(b"1")
    (folder / "sub" / "b").write_bytes(b"2")
    path = tmp_path / "a.ova"
    subprocess.run(["tar", "-cf", path, "-C", folder, "."], check=True)
    archive = index_tar(LocalFile.open(str(path)))
    assert contents(archive) == {"a.ovf": b"1", "sub/b": b"2"}
    archive.close()


def test_apple_double_files_are_ignored_and_told() -> None:
    archive = index(member("._a.ovf", b"junk") + OVF + member("._a.vmdk", b"junk") + END)
    assert list(archive.members) == ["a.ovf"]
    assert codes(archive) == ["TAR_APPLEDOUBLE", "TAR_APPLEDOUBLE"]
    assert archive.findings[0].message == "ignored '._a.ovf', which macOS added"


def test_a_package_may_begin_inside_a_file() -> None:
    archive = index(b"junk" + OVF + END, start=4)
    assert layout(archive) == [("a.ovf", 516, 11)]
    assert contents(archive) == {"a.ovf": b"<Envelope/>"}


def test_harmless_pax_records_are_ignored() -> None:
    records: dict[str, bytes | str] = {"mtime": "1.5", "SCHILY.xattr.user.a": b"\xff", "comment": "x"}
    archive = index(pax(records, type_flag=b"g") + pax(records) + OVF + END)
    assert list(archive.members) == ["a.ovf"]


# The end


def test_a_missing_end_is_accepted_as_gnu_tar_does_and_told() -> None:
    archive = index(OVF)
    assert codes(archive) == ["TAR_NO_END"]
    assert archive.findings[0].message == "the tar has no end marker; it may have been cut between two members"
    lone = index(OVF + bytes(512))
    assert codes(lone) == ["TAR_SHORT_END"]
    assert lone.findings[0].message == "the tar's end marker is one block of zeros instead of two"
    assert index(OVF + END + bytes(9999)).findings == ()


def test_every_other_cut_is_refused() -> None:
    data = pax({"path": "é.ovf"}) + member("a.ovf", b"x" * 600) + member("b", b"y" * 10) + END
    first_end = len(data) - len(END) - 1024
    second_end = len(data) - len(END)
    whole = {first_end, second_end, *range(second_end + 512, len(data))}
    for size in range(1, len(data)):
        if size in whole:
            index(data[:size])
        else:
            error = refusal(data[:size])
            assert (error.code, size) == ("E_TAR_TRUNCATED", size)
            assert error.hint == "The file is incomplete: copy or download it again."


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"ustar", "'x.ova' has 5 bytes, expected at least a tar header of 512"),
        (OVF[:600], "x.ova: 'a.ovf' ends at byte 1024, but the file at byte 600"),
        (OVF + b"x" * 7, "x.ova: found 7 bytes at byte 1024, expected a tar header of 512"),
        (OVF + pax({"a": "b"})[:600], "x.ova: an extension header ends at byte 2048, but the file at byte 1624"),
    ],
)
def test_truncation_is_told_exactly(data: bytes, message: str) -> None:
    error = refusal(data)
    assert (error.code, str(error)) == ("E_TAR_TRUNCATED", message)


@pytest.mark.parametrize("junk", [b"x", OVF, bytes(70_000) + b"x"])
def test_data_behind_the_end_are_refused(junk: bytes) -> None:
    error = refusal(OVF + END + junk)
    at = len(OVF + END) + len(junk) - len(junk.lstrip(b"\0"))
    assert error.code == "E_TAR_TRAILING"
    assert error.message == f"found data at byte {at}, behind the end of the tar; expected nothing but zeros"


def test_endless_padding_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.ova"
    path.write_bytes(OVF)
    os.truncate(path, len(OVF) + MAX_PADDING_BYTES + 512)
    source = LocalFile.open(str(path))
    with pytest.raises(
        SourceError, match="found 16777728 bytes behind the last tar member, expected at most"
    ) as caught:
        index_tar(source)
    assert caught.value.code == "E_TAR_TRAILING"
    source.close()


# What an OVA must not hold


@pytest.mark.parametrize(
    "name",
    ["../../etc/cron.d/x", "/etc/x", "C:\\x", "\\\\srv\\x", "a\x07b", "", "a/./b"],
)
@pytest.mark.parametrize("kind", [b"0", b"5"])
def test_names_that_lead_out_are_refused(name: str, kind: bytes) -> None:
    error = refusal(OVF + member(name, type_flag=kind) + END)
    assert error.code == "E_TAR_NAME"
    assert "expected a plain name such as 'disk1.vmdk'" in error.message


def test_pax_and_long_names_are_checked_alike() -> None:
    deep = "../" + "x" * 110
    for data in (pax({"path": deep}) + OVF, long_name(deep) + OVF, pax({"path": "a\0é"}) + OVF):
        assert refusal(data + END).code == "E_TAR_NAME"
    assert refusal(member(b"\xff.ovf") + END).message == "found the name '\\xff.ovf', expected UTF-8"
    assert refusal(pax({"path": b"\xff"}) + OVF + END).code == "E_TAR_NAME"
    assert refusal(long_name("y" * 300) + OVF + END).code == "E_TAR_NAME"


@pytest.mark.parametrize(
    ("type_flag", "kind"),
    [
        (b"1", "a hard link"),
        (b"2", "a symbolic link"),
        (b"3", "a character device"),
        (b"4", "a block device"),
        (b"6", "a pipe"),
        (b"7", "a contiguous file"),
        (b"K", "a link with a long target"),
        (b"Z", "of type 'Z'"),
        (b"\xff", "of type '\\xff'"),
    ],
)
def test_everything_but_files_and_folders_is_refused(type_flag: bytes, kind: str) -> None:
    error = refusal(OVF + member("disk.vmdk", type_flag=type_flag) + END)
    assert error.code == "E_TAR_TYPE"
    assert error.message == f"the tar member 'disk.vmdk' is {kind}, expected a regular file"


def test_a_pax_link_is_refused() -> None:
    error = refusal(pax({"linkpath": "/etc/shadow"}) + OVF + END)
    assert (error.code, error.message) == ("E_TAR_TYPE", "the tar member 'a.ovf' is a link, expected a regular file")


@pytest.mark.parametrize(
    ("first", "second"), [("d.vmdk", "d.vmdk"), ("d.vmdk", "D.VMDK"), ("\u00e9", "e\u0301"), ("a", "./a")]
)
def test_duplicates_are_refused(first: str, second: str) -> None:
    error = refusal(member(first, b"good") + member(second, b"evil") + END)
    assert error.code == "E_TAR_DUP"
    assert error.message.endswith("expected distinct names")


def test_two_sizes_are_refused() -> None:
    hidden = member("inner", b"evil")
    error = refusal(pax({"size": str(len(hidden))}) + header("a.ovf", 0) + hidden + END)
    assert error.code == "E_TAR_AMBIGUOUS"
    assert error.message == "found two sizes for one tar member, 0 in its header and 1024 in its pax record"
    assert refusal(pax({"size": "1"}) + OVF + END).code == "E_TAR_AMBIGUOUS"
    assert list(index(pax({"size": "11"}) + OVF + END).members) == ["a.ovf"]


def test_two_names_are_refused() -> None:
    error = refusal(pax({"path": "b.ovf"}) + OVF + END)
    assert error.code == "E_TAR_AMBIGUOUS"
    assert error.message == "found two names for one tar member, 'a.ovf' and 'b.ovf'"
    two = long_name("x" * 120) + pax({"path": "y" * 120}) + OVF + END
    assert refusal(two).code == "E_TAR_AMBIGUOUS"
    same = long_name("x" * 120) + pax({"path": "x" * 120}) + OVF + END
    assert list(index(same).members) == ["x" * 120]


def test_a_global_header_must_not_rename_or_resize() -> None:
    error = refusal(pax({"size": "0"}, type_flag=b"g") + OVF + END)
    assert error.code == "E_TAR_AMBIGUOUS"
    assert error.message == "found a global pax header that renames or resizes members"


def test_a_record_given_twice_is_refused() -> None:
    record = blocks.pax_record("path", "é")
    error = refusal(member("p", record + record, type_flag=b"x") + OVF + END)
    assert (error.code, error.message) == ("E_TAR_AMBIGUOUS", "found the pax record 'path' twice in one header")


def test_folders_must_not_carry_data() -> None:
    error = refusal(member("d/", member("inner"), type_flag=b"5") + END)
    assert (error.code, error.message) == ("E_TAR_AMBIGUOUS", "the folder 'd/' has 512 bytes of data, expected none")


@pytest.mark.parametrize(
    "data",
    [
        member("s", type_flag=b"S"),
        pax({"GNU.sparse.size": "1152921504606846976", "GNU.sparse.numblocks": "1"}) + OVF,
        pax({"GNU.sparse.map": "0,1", "GNU.sparse.name": "a"}) + OVF,
        pax({"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}) + OVF,
        pax({"SCHILY.realsize": "1152921504606846976"}) + OVF,
    ],
)
def test_sparse_members_are_refused(data: bytes) -> None:
    error = refusal(data + END)
    assert (error.code, error.message) == ("E_TAR_SPARSE", "found a sparse tar member, which no OVA writer makes")


# Damage and bombs


@pytest.mark.parametrize(
    "field", [blocks.base256(-512), b"-0000001000\0", b"            ", b"9" * 12, bytes(12), b"\xff" * 12]
)
def test_sizes_that_are_no_sizes_are_refused(field: bytes) -> None:
    error = refusal(OVF + header("x", size_field=field) + END)
    assert error.code == "E_TAR_SIZE"
    assert error.where == "x.ova: byte 1024"
    assert error.message.endswith("expected a number that is not negative")


@pytest.mark.parametrize("size", [2, 1 << 40, 1 << 80])
def test_sizes_beyond_the_file_are_refused(size: int) -> None:
    error = refusal(OVF + header("x", size_field=blocks.base256(size)))
    assert error.code == "E_TAR_TRUNCATED"
    assert error.message.startswith("'x' ends at byte ")


@pytest.mark.parametrize("value", ["-1", "1e9", "", "9" * 20, "0x10"])
def test_pax_sizes_that_are_no_sizes_are_refused(value: str) -> None:
    error = refusal(pax({"size": value}) + OVF + END)
    assert (error.code, error.message) == ("E_TAR_SIZE", f"found the pax size '{value}', expected a number")


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (b"1" * 60000, "found a malformed pax record at byte 0 of its header, expected 'LENGTH KEY=VALUE'"),
        (b"0 path=x\n", "found a malformed pax record at byte 0 of its header, expected 'LENGTH KEY=VALUE'"),
        (b"99 path=x\n", "found a malformed pax record at byte 0 of its header, expected 'LENGTH KEY=VALUE'"),
        (b"2 path=x\n", "found a malformed pax record at byte 0 of its header, expected 'LENGTH KEY=VALUE'"),
        (b"10 path=xyz", "found a malformed pax record at byte 0 of its header, expected 'LENGTH KEY=VALUE'"),
        (b"6 a=b\n-1 ", "found a malformed pax record at byte 6 of its header, expected 'LENGTH KEY=VALUE'"),
        (b"7 path\n", "found a pax record without a key at byte 0 of its header, expected 'LENGTH KEY=VALUE'"),
        (b"5 =b\n", "found a pax record without a key at byte 0 of its header, expected 'LENGTH KEY=VALUE'"),
    ],
)
def test_malformed_pax_records_are_refused(record: bytes, message: str) -> None:
    error = refusal(member("p", record, type_flag=b"x") + OVF + END)
    assert (error.code, error.message) == ("E_TAR_SYNTAX", message)


@pytest.mark.parametrize("size", [4 * GIB, 1 << 60, MAX_EXTENSION_BYTES + 1])
@pytest.mark.parametrize("type_flag", [b"L", b"x", b"g"])
def test_extension_headers_are_capped_before_they_are_read(size: int, type_flag: bytes) -> None:
    error = refusal(header("x", type_flag=type_flag, size_field=blocks.base256(size)))
    assert error.code == "E_TAR_LIMIT"
    assert error.message == f"found a tar extension header of {size} bytes, expected at most 65536"


@pytest.mark.parametrize("extension", [long_name("x"), pax({"a": "b"}), pax({"a": "b"}, type_flag=b"g")])
def test_chained_extension_headers_are_refused(extension: bytes) -> None:
    error = refusal(extension * 3000 + OVF + END)
    assert error.code == "E_TAR_LIMIT"
    assert re.fullmatch("found a second extension header of type '[Lxg]' for one tar member", error.message)


def test_an_extension_header_needs_a_member() -> None:
    error = refusal(OVF + pax({"a": "b"}) + END)
    assert error.code == "E_TAR_TRUNCATED"
    assert error.message == "the tar ends behind an extension header, expected a member"


def test_members_are_counted() -> None:
    entries = b"".join(member(f"{n}") for n in range(MAX_MEMBERS))
    assert len(index(entries + END).members) == MAX_MEMBERS
    error = refusal(entries + member("one more") + END)
    assert (error.code, error.message) == ("E_TAR_LIMIT", "found more than 2048 tar members")
    folders = b"".join(member(f"d{n}/", type_flag=b"5") for n in range(MAX_MEMBERS + 1))
    assert refusal(folders + END).code == "E_TAR_LIMIT"


def test_damaged_headers_are_refused_with_their_place() -> None:
    damaged = bytearray(member("b"))
    damaged[0] ^= 1
    error = refusal(OVF + damaged + END)
    assert (error.code, str(error)) == ("E_TAR_SYNTAX", "x.ova: byte 1024: the tar header's checksum is wrong")
    assert refusal(OVF + b"x" * 512).code == "E_TAR_SYNTAX"
    error = refusal(OVF + member("b", magic=b"ustar\x0099") + END)
    assert error.code == "E_TAR_SYNTAX"
    assert error.message == "found the tar magic 'ustar\\x0099', expected 'ustar'"


GIVE_VMX = "Give the path of the .vmx, which has its disks beside it; it must end in .vmx."
VMX = (b'.encoding = "UTF-8"\n', b'config.version = "8"\n', b"#!/usr/bin/vmware\n" + bytes(600))
FETCH_AGAIN = "Give an .ova, an .ovf, or a folder that holds one; if it is a download, fetch it again."


@pytest.mark.parametrize(
    ("data", "what", "hint"),
    [
        (b"", "is empty", FETCH_AGAIN),
        (bytes(1024), "begins with zeros", FETCH_AGAIN),
        (b"x" * 1024, "is of no known format", FETCH_AGAIN),
        (b"\x1f\x8b\x08" + bytes(600), "is a gzip file", "Unpack it first; an OVA is a plain tar."),
        (b"\xfd7zXZ\x00" + bytes(600), "is an xz file", "Unpack it first; an OVA is a plain tar."),
        (b"PK\x03\x04", "is a zip archive", "Unpack it first; an OVA is a plain tar."),
        (b"7z\xbc\xaf\x27\x1c" + bytes(600), "is a 7z archive", "Unpack it first; an OVA is a plain tar."),
        (b"MZ" + bytes(600), "is a Windows program", "Unpack it first; an OVA is a plain tar."),
        (b"KDMV" + bytes(600), "is a VMDK image", "It is a disk image, not a package."),
        (b"QFI\xfb" + bytes(600), "is a qcow2 image", "It is a disk image, not a package."),
        (b"\xef\xbb\xbf<?xml ?>", "is an XML document", "Give an OVF descriptor's path; it must end in .ovf."),
        *((begin, "is a VMX", GIVE_VMX) for begin in VMX),
        (b"\n<!DOCTYPE HTML><html>", "is a web page", "The download may have failed: fetch it again."),
    ],
)  # fmt: skip
def test_other_formats_are_named(data: bytes, what: str, hint: str) -> None:
    error = refusal(data)
    assert (error.code, error.hint) == ("E_NOT_OVA", hint)
    assert str(error) == f"'x.ova' {what}, expected an OVA (a tar)"


def test_a_name_of_200_mb_costs_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.ova"
    path.write_bytes(header("x", 200 << 20, type_flag=b"L", magic=blocks.GNU))
    os.truncate(path, 201 << 20)
    source = LocalFile.open(str(path))
    with pytest.raises(SourceError, match="extension header of 209715200 bytes, expected at most 65536"):
        index_tar(source)
    source.close()
