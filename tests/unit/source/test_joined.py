from itertools import pairwise
from pathlib import Path

import pytest

from tests.build.ova import build_folder
from virt_ova.errors import SourceError
from virt_ova.source.base import ByteSource, Member, MemberName
from virt_ova.source.file import LocalFile
from virt_ova.source.joined import JoinedSource

WHOLE = bytes(range(20))
CUTS = (0, 1, 7, 7, 15, 20)


@pytest.fixture
def members(tmp_path: Path) -> list[Member]:
    """The chunks of `WHOLE`, each somewhere in a file of its own."""
    chunks = [(str(n), b"before" + WHOLE[start:end]) for n, (start, end) in enumerate(pairwise(CUTS))]
    folder = build_folder(tmp_path / "chunks", chunks)
    return [
        Member(name=MemberName(name), source=LocalFile.open(str(folder / name)), offset=6, size=len(data) - 6)
        for name, data in chunks
    ]


def test_every_range_reads_as_that_of_the_whole(members: list[Member]) -> None:
    joined = JoinedSource("whole", members)
    source: ByteSource = joined
    assert (joined.name, joined.size, source.fileno()) == ("whole", 20, None)
    assert joined.parts == tuple(members)
    for start in range(21):
        for end in range(start, 21):
            assert joined.read_at(start, end - start) == WHOLE[start:end]


@pytest.mark.parametrize(("offset", "size"), [(0, 21), (20, 1), (21, 0), (-1, 2)])
def test_a_range_outside_is_refused(members: list[Member], offset: int, size: int) -> None:
    with pytest.raises(SourceError) as caught:
        JoinedSource("whole", members).read_at(offset, size)
    assert caught.value.code == "E_SOURCE_TRUNCATED"
    assert caught.value.message == f"'whole' ends at byte 20, expected at least {offset + size} bytes"


def test_a_part_that_was_cut_is_named(members: list[Member], tmp_path: Path) -> None:
    joined = JoinedSource("whole", members)
    (tmp_path / "chunks" / "1").write_bytes(b"before")
    with pytest.raises(SourceError, match=r"chunks/1' ends at byte 6, expected at least 12 bytes$") as caught:
        joined.read_at(0, 20)
    assert caught.value.code == "E_SOURCE_TRUNCATED"


def test_a_part_that_changed_is_noticed(members: list[Member], tmp_path: Path) -> None:
    joined = JoinedSource("whole", members)
    joined.check_unchanged()
    (tmp_path / "chunks" / "4").write_bytes(b"other bytes, and more of them")
    with pytest.raises(SourceError) as caught:
        joined.check_unchanged()
    assert caught.value.code == "E_CHANGED"


def test_the_parts_stay_open_for_those_who_opened_them(members: list[Member]) -> None:
    JoinedSource("whole", members).close()
    assert members[1].read() == WHOLE[1:7]


def test_no_parts_are_an_empty_file() -> None:
    joined = JoinedSource("none", [])
    assert (joined.size, joined.read_at(0, 0)) == (0, b"")


def test_what_is_joined_of_joined_ones_has_the_parts_of_all(members: list[Member]) -> None:
    inner = JoinedSource("inner", members[1:3])
    middle = Member(name=MemberName("inner"), source=inner, offset=0, size=inner.size)
    joined = JoinedSource("whole", [members[0], middle, *members[3:]])
    assert joined.parts == tuple(members)
    assert joined.read_at(0, 20) == WHOLE
