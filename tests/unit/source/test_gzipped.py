import gzip
import io
import tracemalloc
import zlib
from pathlib import Path

import pytest

from virt_ova.errors import DiskError, SourceError
from virt_ova.source.base import Member, MemberName
from virt_ova.source.file import LocalFile
from virt_ova.source.gzipped import GzipReader, MemberReader

PLAIN = bytes(range(256)) * 4000 + bytes(1_000_000) + b"the end"
PACKED = gzip.compress(PLAIN)
AGAIN = "The file is incomplete or damaged: copy or download the package again."


class Bytes:
    """A source of `data`, at most `most` bytes at a time, until its end."""

    name = "a.gz"

    def __init__(self, data: bytes, most: int = 1 << 30) -> None:
        self._file, self._most = io.BytesIO(data), most

    def read(self, size: int) -> bytes:
        return self._file.read(min(size, self._most))


def read_all(data: bytes, step: int = 1 << 20, **limit: int) -> bytes:
    reader = GzipReader(Bytes(data), **limit)
    return b"".join(iter(lambda: reader.read(step), b""))


def refusal(data: bytes, **limit: int) -> DiskError:
    with pytest.raises(DiskError) as caught:
        read_all(data, **limit)
    assert (caught.value.code, caught.value.where) == ("E_DISK_COMPRESSION", "a.gz")
    return caught.value


@pytest.mark.parametrize("step", [512, 65_537, 1 << 20, 1 << 30])
def test_reads_of_any_size_give_the_same(step: int) -> None:
    reader = GzipReader(Bytes(PACKED))
    found = []
    while data := reader.read(step):
        found.append(data)
    assert {len(data) for data in found[:-1]} <= {step}
    assert b"".join(found) == PLAIN
    assert (reader.name, reader.read(1)) == ("a.gz", b"")


@pytest.mark.parametrize("most", [1, 7, 4096])
def test_a_source_that_gives_little_at_a_time(most: int) -> None:
    small = PLAIN[:5000]
    assert GzipReader(Bytes(gzip.compress(small) * 2, most)).read(20_000) == small * 2


def test_nothing_is_read_before_it_is_needed() -> None:
    taken: list[bytes] = []

    class Watched(Bytes):
        def read(self, size: int) -> bytes:
            taken.append(super().read(size))
            return taken[-1]

    reader = GzipReader(Watched(gzip.compress(PLAIN, 0), 1000))
    assert taken == []
    assert reader.read(100) == PLAIN[:100]
    assert len(b"".join(taken)) < 5000


def test_a_header_may_have_all_its_parts() -> None:
    compressor = zlib.compressobj(wbits=-15)
    body = compressor.compress(PLAIN) + compressor.flush()
    parts = b"\x02\0ab" + b"disk.vmdk\0" + b"a comment\0"
    trailer = zlib.crc32(PLAIN).to_bytes(4, "little") + len(PLAIN).to_bytes(4, "little")
    assert read_all(b"\x1f\x8b\x08\x1c\0\0\0\0\0\x03" + parts + body + trailer) == PLAIN


def test_members_in_a_row_are_one_file() -> None:
    packed = gzip.compress(b"one") + gzip.compress(b"") + gzip.compress(PLAIN)
    assert read_all(packed) == b"one" + PLAIN


def test_an_empty_file_can_be_compressed() -> None:
    assert read_all(gzip.compress(b"")) == b""


@pytest.mark.parametrize("data", [b"", b"\x1e", PLAIN, zlib.compress(PLAIN), b"BZh91AY&SY"])
def test_what_is_no_gzip_file(data: bytes) -> None:
    error = refusal(data)
    assert error.message == "found no gzip data, expected a gzip file and nothing else"
    assert error.hint == "It is not compressed as its package says: export the package again."


@pytest.mark.parametrize("junk", [b"\0", b"junk", bytes(512), b"\x1f!", b"BZh91AY&SY"])
def test_junk_behind_the_end(junk: bytes) -> None:
    error = refusal(PACKED + junk)
    found = f"other bytes behind the gzip data that end at byte {len(PACKED)}"
    assert error.message == f"found {found}, expected a gzip file and nothing else"


def test_junk_that_begins_like_another_member() -> None:
    error = refusal(PACKED + b"\x1f\x8b\x09 and so on")
    assert error.message == f"its gzip data are damaged before byte {len(PACKED) + 13}: unknown compression method"
    assert error.hint == AGAIN


def test_every_cut_is_noticed() -> None:
    small = gzip.compress(PLAIN[:300])
    for end in range(2, len(small)):
        error = refusal(small[:end])
        assert error.message == f"it ends at byte {end}, expected the rest of its gzip data"
        assert error.hint == AGAIN


def test_a_second_member_that_is_cut() -> None:
    small = gzip.compress(b"x")
    for end in range(1, len(small)):
        assert refusal(small + small[:end]).message.startswith(f"it ends at byte {len(small) + end}, expected the rest")


@pytest.mark.parametrize(
    ("place", "reason"), [(-1, "incorrect length check"), (-4, "incorrect length check"), (-5, "incorrect data check")]
)
def test_checksum_and_size_must_be_right(place: int, reason: str) -> None:
    damaged = bytearray(PACKED)
    damaged[place] ^= 1
    error = refusal(bytes(damaged))
    assert error.message == f"its gzip data are damaged before byte {len(PACKED)}: {reason}"
    assert error.hint == AGAIN


def test_damage_in_the_middle() -> None:
    damaged = gzip.compress(PLAIN[:300])[:10] + b"\xff" * 300
    assert refusal(damaged).message == "its gzip data are damaged before byte 310: invalid block type"


def test_it_may_inflate_to_its_limit_and_not_a_byte_further() -> None:
    assert read_all(PACKED, limit_bytes=len(PLAIN)) == PLAIN
    error = refusal(PACKED, limit_bytes=len(PLAIN) - 1)
    expected = "expected no more for the disk it is said to hold"
    assert error.message == f"it inflates to more than {len(PLAIN) - 1} bytes, {expected}"
    assert error.hint == "The sizes that its package declares are wrong, or it is made to fill your disks."


def test_a_bomb_takes_little_memory_and_stops_at_the_limit() -> None:
    compressor = zlib.compressobj(9, wbits=31)
    bomb = b"".join(compressor.compress(bytes(1 << 20)) for _ in range(256)) + compressor.flush()
    assert len(bomb) < 1 << 18
    source = Bytes(bomb)
    reader = GzipReader(source, limit_bytes=16 << 20)
    tracemalloc.start()
    try:
        assert sum(len(reader.read(1 << 20)) for _ in range(16)) == 16 << 20
        with pytest.raises(DiskError, match=r"^a\.gz: it inflates to more than 16777216 bytes"):
            reader.read(1)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
    assert len(source.read(1 << 20)) > len(bomb) // 4


def test_a_member_is_read_once_from_front_to_back(tmp_path: Path) -> None:
    path = tmp_path / "a.ova"
    path.write_bytes(b"before" + PACKED + b"behind")
    taken: list[bytes] = []
    member = Member(name=MemberName("d.gz"), source=LocalFile.open(str(path)), offset=6, size=len(PACKED))
    reader = MemberReader(member, taken=taken.append)
    assert reader.name == "d.gz"
    assert GzipReader(reader).read(1 << 30) == PLAIN
    assert b"".join(taken) == PACKED
    path.write_bytes(b"before")
    with pytest.raises(SourceError, match="expected at least") as caught:
        GzipReader(MemberReader(member)).read(1)
    assert caught.value.code == "E_SOURCE_TRUNCATED"
