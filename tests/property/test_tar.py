"""The index agrees with Python's tarfile on what tarfile writes, and fails only by its own errors on anything else."""

import io
import tarfile
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.build.pipes import reader_of
from tests.build.tar import END, header, long_name, member, pax
from virt_ova.errors import SourceError
from virt_ova.source.base import Archive, Member, MemberName
from virt_ova.source.file import OpenFile
from virt_ova.source.names import MAX_NAME_BYTES, duplicate_key
from virt_ova.source.pipe import open_passing
from virt_ova.source.tar import index_tar

PART = st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters="/\\:"), min_size=1, max_size=40)
NAMES = st.lists(
    PART.filter(lambda part: part not in {".", ".."} and not part.startswith("._")), min_size=1, max_size=4
)
MEMBERS = st.lists(
    st.tuples(NAMES.map("/".join).filter(lambda name: len(name.encode()) <= MAX_NAME_BYTES), st.binary(max_size=1500)),
    min_size=1,
    max_size=6,
    unique_by=lambda member: duplicate_key(MemberName(member[0])),
)


@given(members=MEMBERS, writer_format=st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]))
@settings(max_examples=60, deadline=None)
def test_what_tarfile_writes_is_found_where_tarfile_finds_it(
    members: list[tuple[str, bytes]], writer_format: int
) -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=writer_format) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    archive = index_tar(OpenFile(file, "x"))
    assert [(name, member.read()) for name, member in archive.members.items()] == members
    file.seek(0)
    with tarfile.open(fileobj=file) as tar:
        assert [member.offset for member in archive.members.values()] == [info.offset_data for info in tar]


SEED = (
    pax({"path": "é.ovf", "mtime": "1"})
    + member("a.ovf", b"x" * 600)
    + long_name("y" * 120)
    + header("y" * 100, 3)
    + b"abc".ljust(512, b"\0")
    + member("d/", type_flag=b"5")
    + END
)


@given(
    edits=st.lists(st.tuples(st.integers(0, len(SEED) - 1), st.binary(min_size=1, max_size=16)), max_size=4),
    length=st.integers(0, len(SEED)),
    fix_checksums=st.booleans(),
)
@settings(max_examples=300, deadline=None)
def test_damage_gives_members_inside_the_file_or_an_error_of_ours(
    edits: list[tuple[int, bytes]], length: int, *, fix_checksums: bool
) -> None:
    data = bytearray(SEED)
    for offset, junk in edits:
        data[offset : offset + len(junk)] = junk[: len(data) - offset]
    if fix_checksums:
        for start in range(0, len(data), 512):
            block = data[start : start + 148] + b" " * 8 + data[start + 156 : start + 512]
            data[start + 148 : start + 156] = b"%06o\0 " % sum(block)
    source = OpenFile(io.BytesIO(bytes(data[:length])), "x")
    members, problem = attempt(lambda: index_tar(source))
    assert problem is None or (problem.code.startswith(("E_TAR_", "E_NOT_OVA")) and str(problem).isprintable())
    for found in members:
        assert found.offset + found.size <= source.size
        assert len(found.read()) == found.size
    members_of_pipe, problem_of_pipe = attempt(lambda: passed(bytes(data[:length])))
    assert (members_of_pipe, problem_of_pipe is None) == (members, problem is None)


def attempt(index: Callable[[], Archive]) -> tuple[list[Member], SourceError | None]:
    try:
        return list(index().members.values()), None
    except SourceError as exc:
        return [], exc


def passed(data: bytes) -> Archive:
    """The archive that is seen while `data` passes once."""
    archive = open_passing(reader_of(data, piece=100), keeps=lambda name: name.endswith(".ovf"))
    if archive.rest is None:
        return archive
    for _ in archive.rest:
        continue
    return archive.rest.archive()
