import io

import pytest

from virt_ova.errors import SourceError
from virt_ova.source.base import Member, MemberName
from virt_ova.source.file import OpenFile


@pytest.fixture
def member() -> Member:
    return Member(name=MemberName("a.vmdk"), source=OpenFile(io.BytesIO(b"0123456789"), "x.ova"), offset=2, size=5)


def test_a_member_is_a_range_of_its_source(member: Member) -> None:
    assert member.read() == b"23456"
    assert member.read_at(1, 2) == b"34"
    assert member.read_at(5, 0) == b""


@pytest.mark.parametrize(("offset", "size"), [(0, 6), (5, 1), (-1, 2), (2, -1)])
def test_a_read_never_leaves_the_member(member: Member, offset: int, size: int) -> None:
    with pytest.raises(SourceError) as caught:
        member.read_at(offset, size)
    assert caught.value.code == "E_SOURCE_TRUNCATED"
    assert caught.value.message == f"'a.vmdk' ends at byte 5, expected at least {offset + size} bytes"
