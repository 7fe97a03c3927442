import gzip
import io
import os
import tarfile
from pathlib import Path

import pytest

from tests.build.ova import build_ova
from tests.build.pipes import Pipe, reader_of
from tests.build.tar import BLOCK, END, header, long_name, member, pax
from virt_ova.errors import SourceError
from virt_ova.source.base import Archive, MemberName
from virt_ova.source.file import OpenFile
from virt_ova.source.opener import open_archive
from virt_ova.source.pipe import (
    MAX_KEPT_BYTES,
    MAX_KEPT_MEMBER_BYTES,
    FileReader,
    InflatedReader,
    PipeSource,
    open_passing,
)
from virt_ova.source.tar import MAX_PADDING_BYTES, index_tar

MEMBERS = [("a.ovf", b"<Envelope/>"), ("a.mf", b"mf"), ("a.vmdk", b"0123" * 999), ("b.vmdk", b""), ("b.mf", b"last")]
SAVE = "Save the package to a file and give the file's path."


def is_text(name: MemberName) -> bool:
    return name.endswith((".ovf", ".mf"))


def ova_bytes(tmp_path: Path, members: list[tuple[str, bytes]] = MEMBERS) -> bytes:
    return build_ova(tmp_path / "x.ova", members).read_bytes()


def opened(data: bytes, *, piece: int = 1 << 16) -> Archive:
    return open_passing(reader_of(data, piece=piece), keeps=is_text)


def passed(archive: Archive) -> Archive:
    """The archive once all has passed."""
    assert archive.rest is not None
    for _ in archive.rest:
        continue
    return archive.rest.archive()


def refusal(data: bytes) -> SourceError:
    def read_all() -> None:
        archive = opened(data)
        if archive.rest:
            passed(archive)

    with pytest.raises(SourceError) as caught:
        read_all()
    return caught.value


class TestFileReader:
    @pytest.mark.parametrize("piece", [1, 7, 4096])
    def test_gives_all_that_was_asked_for_until_the_end(self, piece: int) -> None:
        reader = reader_of(bytes(range(100)), piece=piece)
        assert [reader.read(60), reader.read(0), reader.read(60), reader.read(60)] == [
            bytes(range(60)),
            b"",
            bytes(range(60, 100)),
            b"",
        ]

    def test_a_failure_says_where(self) -> None:
        reader = FileReader(Pipe(bytes(100), piece=10, fail_at=30), "net")  # type: ignore[arg-type]
        assert reader.read(15) == bytes(15)
        with pytest.raises(SourceError) as caught:
            reader.read(50)
        assert caught.value.code == "E_SOURCE_READ"
        assert caught.value.message == "'net' cannot be read behind byte 15: Connection reset by peer"

    def test_a_pipe_that_does_not_wait_is_refused(self) -> None:
        here, there = os.pipe()
        os.set_blocking(here, False)
        with os.fdopen(here, "rb", buffering=0) as file, os.fdopen(there, "wb"):
            with pytest.raises(SourceError) as caught:
                FileReader(file, "pipe").read(1)
            expected = (
                "'pipe' cannot be read behind byte 0: it does not wait for its bytes (it is in non-blocking mode)"
            )
            assert (caught.value.code, caught.value.message) == ("E_SOURCE_READ", expected)


class TestPipeSource:
    def test_takes_and_skips(self) -> None:
        source = PipeSource(reader_of(bytes(range(100))))
        assert (source.take(10, 5), source.take(15, 5), source.take(90, 20)) == (
            bytes(range(10, 15)),
            bytes(range(15, 20)),
            bytes(range(90, 100)),
        )
        assert (source.size, source.read_at(3, 0)) == (100, b"")

    def test_skipping_beyond_the_end(self) -> None:
        with pytest.raises(SourceError) as caught:
            PipeSource(reader_of(bytes(100))).take(101, 1)
        assert caught.value.code == "E_SOURCE_TRUNCATED"
        assert caught.value.message == "'pipe' ends at byte 100, expected at least 101 bytes"

    def test_only_what_was_kept_can_be_read_again(self) -> None:
        source = PipeSource(reader_of(bytes(100)))
        source.keep(10, b"0123456789")
        assert (source.read_at(10, 10), source.read_at(15, 2)) == (b"0123456789", b"56")
        for offset, size in ((9, 2), (15, 6), (40, 1)):
            with pytest.raises(SourceError) as caught:
                source.read_at(offset, size)
            assert (caught.value.code, caught.value.hint) == ("E_PIPE_ORDER", SAVE)
            expected = f"byte {offset} of 'pipe' is needed out of turn, and it can only be read from front to back"
            assert caught.value.message == expected

    def test_keeps_no_more_than_its_limit(self) -> None:
        source = PipeSource(reader_of(b""))
        piece = bytes(MAX_KEPT_BYTES // 4)
        for number in range(5):
            source.keep(number * len(piece), piece)
        assert source.read_at(3 * len(piece), 1) == b"\0"
        with pytest.raises(SourceError, match="is needed out of turn"):
            source.read_at(4 * len(piece), 1)


class TestWalk:
    @pytest.mark.parametrize("piece", [17, 512, 1 << 16])
    def test_the_head_holds_what_is_kept_and_comes_first(self, tmp_path: Path, piece: int) -> None:
        archive = opened(ova_bytes(tmp_path), piece=piece)
        assert [(name, each.read()) for name, each in archive.members.items()] == MEMBERS[:2]
        assert archive.rest is not None
        assert archive.rest.waiting is not None
        assert (archive.rest.waiting.name, archive.rest.waiting.size) == ("a.vmdk", 3996)

    @pytest.mark.parametrize("piece", [17, 512, 1 << 16])
    def test_members_pass_in_order_and_once(self, tmp_path: Path, piece: int) -> None:
        archive = opened(ova_bytes(tmp_path), piece=piece)
        assert archive.rest is not None
        taken = [(each.name, each.read(10), each.read(1 << 20), each.read(1)) for each in archive.rest]
        assert taken == [("a.vmdk", b"0123012301", (b"0123" * 999)[10:], b""), ("b.vmdk", b"", b"", b"")]
        assert list(archive.rest) == []

    def test_in_the_end_all_is_known_as_of_a_file(self, tmp_path: Path) -> None:
        data = ova_bytes(tmp_path)
        whole, file = passed(opened(data)), index_tar(OpenFile(io.BytesIO(data), "pipe"))
        assert whole.rest is None
        assert (dict(whole.members), whole.findings) == (dict(file.members), file.findings)
        assert whole.members[MemberName("b.mf")].read() == b"last"

    def test_both_ends_of_what_passed_are_kept(self) -> None:
        body = os.urandom(300_000)
        whole = passed(opened(member("a.bin", body) + END))
        disk = whole.members[MemberName("a.bin")]
        assert disk.read_at(0, 100_000) == body[:100_000]
        assert disk.read_at(len(body) - 512, 512) == body[-512:]
        with pytest.raises(SourceError, match="is needed out of turn") as caught:
            disk.read_at(200_000, 1)
        assert caught.value.code == "E_PIPE_ORDER"

    def test_what_is_too_long_is_not_kept(self) -> None:
        data = member("a.ovf", bytes(MAX_KEPT_MEMBER_BYTES + 1)) + member("b.ovf", b"b") + END
        archive = opened(data)
        assert archive.rest is None
        assert archive.members[MemberName("b.ovf")].read() == b"b"
        with pytest.raises(SourceError, match="is needed out of turn"):
            archive.members[MemberName("a.ovf")].read()

    @pytest.mark.parametrize(
        "data",
        [
            pytest.param(pax({"path": "é.ovf"}) + member("x.ovf", b"x" * 600) + END, id="pax"),
            pytest.param(long_name("y" * 120) + member("y" * 100, b"123") + END, id="long name"),
            pytest.param(header("d/", type_flag=b"5") + member("d/a", b"1") + END, id="folder"),
            pytest.param(member("._a", b"1" * 600) + member("a", b"1") + END, id="macOS"),
            pytest.param(member("a", b"1"), id="no end"),
            pytest.param(member("a", b"1") + bytes(BLOCK), id="half an end"),
            pytest.param(member("a", b"1") + END + bytes(9000), id="padding"),
        ],
    )
    def test_is_the_index_of_a_file(self, data: bytes) -> None:
        for piece in (17, 1 << 16):
            archive = opened(data, piece=piece)
            whole = passed(archive) if archive.rest else archive
            file = index_tar(OpenFile(io.BytesIO(data), "pipe"))
            assert (dict(whole.members), whole.findings) == (dict(file.members), file.findings)

    def test_truncated_anywhere_is_an_error_or_a_missing_end(self, tmp_path: Path) -> None:
        data = ova_bytes(tmp_path)
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            ends = {(info.offset_data + info.size + BLOCK - 1) // BLOCK * BLOCK for info in tar}
        for size in range(0, max(ends), 97):
            error = refusal(data[:size])
            expected = {"E_NOT_OVA"} if size == 0 else {"E_TAR_TRUNCATED", "E_SOURCE_TRUNCATED"}
            assert error.code in expected, size
        for size in ends:
            archive = opened(data[:size])
            whole = passed(archive) if archive.rest else archive
            assert [finding.code for finding in whole.findings] == ["TAR_NO_END"]

    def test_messages_of_what_is_cut(self) -> None:
        data = member("a.bin", b"1" * 1000) + END
        cut = refusal(data[:1000])
        assert str(cut) == "'pipe' ends at byte 1000, expected at least 1512 bytes"
        in_padding = refusal(data[:1520])
        assert str(in_padding) == "pipe: 'pipe' ends at byte 1520, expected at least 1536 bytes"
        in_header = refusal(data[:512] + bytes(1024) + data[:100])
        assert str(in_header) == "pipe: found 100 bytes at byte 1536, expected a tar header of 512"
        in_extension = refusal(pax({"path": "a" * 600})[:700])
        assert str(in_extension) == "pipe: an extension header ends at byte 1536, but the file at byte 700"
        assert {each.code for each in (cut, in_padding)} == {"E_SOURCE_TRUNCATED"}
        assert {each.code for each in (in_header, in_extension)} == {"E_TAR_TRUNCATED"}

    def test_data_behind_the_end(self) -> None:
        error = refusal(member("a", b"1") + END + b"x")
        assert error.code == "E_TAR_TRAILING"
        assert error.message == "found data at byte 2048, behind the end of the tar; expected nothing but zeros"

    def test_zeros_without_end(self) -> None:
        error = refusal(member("a", b"1") + END + bytes(MAX_PADDING_BYTES + BLOCK))
        assert error.code == "E_TAR_TRAILING"
        assert error.message.endswith(f" bytes behind the last tar member, expected at most {MAX_PADDING_BYTES}")

    def test_other_formats_are_named(self) -> None:
        assert refusal(b"").message == "'pipe' is empty, expected an OVA (a tar)"
        assert refusal(b"<html>" + bytes(600)).message == "'pipe' is a web page, expected an OVA (a tar)"


class TestGzip:
    @pytest.mark.parametrize("piece", [17, 1 << 16])
    def test_a_gzipd_ova_is_walked_as_a_plain_one(self, tmp_path: Path, piece: int) -> None:
        data = ova_bytes(tmp_path)
        for packed in (gzip.compress(data), gzip.compress(data[:700]) + gzip.compress(data[700:])):
            whole = passed(opened(packed, piece=piece))
            assert dict(whole.members) == dict(index_tar(OpenFile(io.BytesIO(data), "pipe")).members)

    def test_a_file_is_known_by_its_bytes_and_closed(self, tmp_path: Path) -> None:
        path = tmp_path / "appliance"
        path.write_bytes(gzip.compress(ova_bytes(tmp_path)))
        fds = Path("/proc/self/fd")
        before = len(list(fds.iterdir()))
        archive = open_archive(path, keeps=is_text)
        assert list(archive.members) == ["a.ovf", "a.mf"]
        archive.check_unchanged()
        os.utime(path, ns=(0, 0))
        with pytest.raises(SourceError, match="changed while it was in use"):
            archive.check_unchanged()
        archive.close()
        assert len(list(fds.iterdir())) == before

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda data: data[:200], "it ends at byte 200, expected the rest of its gzip data"),
            (lambda data: data[:-1], "expected the rest of its gzip data"),
            (lambda data: data + b"junk", "found other bytes behind the gzip data that end at byte"),
            (lambda data: data[:-8] + bytes(8), "its gzip data are damaged before byte"),
            (gzip.compress, "'pipe' is a gzip file, expected an OVA (a tar)"),
        ],
    )
    def test_damage_is_refused(self, tmp_path: Path, change: object, message: str) -> None:
        assert callable(change)
        noise = [("a.ovf", b"<Envelope/>"), ("a.bin", os.urandom(10_000))]
        error = refusal(change(gzip.compress(ova_bytes(tmp_path, noise))))
        assert message in error.message
        assert error.code == ("E_NOT_OVA" if "a gzip file" in message else "E_GZIP")

    def test_no_gzip_at_all(self) -> None:
        with pytest.raises(SourceError) as caught:
            InflatedReader(reader_of(b"nothing")).read(1)
        assert caught.value.code == "E_GZIP"
        assert str(caught.value) == "pipe: found no gzip data, expected a gzip file and nothing else"


class TestOpening:
    def test_an_object_that_cannot_seek(self, tmp_path: Path) -> None:
        archive = open_archive(Pipe(ova_bytes(tmp_path)), keeps=is_text)  # type: ignore[arg-type]
        assert (archive.name, list(archive.members)) == ("open file", ["a.ovf", "a.mf"])
        archive.close()

    def test_standard_input(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = build_ova(tmp_path / "x.ova", MEMBERS)
        with path.open() as stdin:
            monkeypatch.setattr("sys.stdin", stdin)
            archive = open_archive("-")
            assert (archive.name, len(archive.members), archive.rest) == ("standard input", 5, None)
            archive.close()

    def test_no_standard_input(self, monkeypatch: pytest.MonkeyPatch) -> None:
        there, here = os.openpty()
        for stdin, found in ((None, "closed"), (os.fdopen(here), "a terminal")):
            monkeypatch.setattr("sys.stdin", stdin)
            with pytest.raises(SourceError) as caught:
                open_archive("-")
            assert caught.value.code == "E_SOURCE_KIND"
            assert caught.value.message == f"standard input is {found}, expected a package"
            expected = "Pipe one in ('curl -fsS URL | virt-ova install -'), or give its path."
            assert caught.value.hint == expected
            if stdin:
                stdin.close()
        os.close(there)
