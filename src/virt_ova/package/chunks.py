"""Files that are in chunks (``ovf:chunkSize``, DSP0243 7.1): ``disk.vmdk.000000000``, ``disk.vmdk.000000001``...

Every chunk has ``ovf:chunkSize`` bytes, the last one what is left. They must fit exactly, so that a lost chunk is not
taken for the end of the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count

from virt_ova.errors import PackageError, SourceError
from virt_ova.ovf.envelope import File
from virt_ova.source.base import Member, MemberName
from virt_ova.text import quoted

_DIGITS = 9


def find_member(members: Mapping[MemberName, Member], name: MemberName) -> Member | None:
    """The member `name`, if it is there.

    Raises:
        PackageError: it is there and cannot be used, as it is a link in a folder (``E_REF_OUTSIDE``).
    """
    try:
        return members.get(name)
    except SourceError as exc:
        raise PackageError(exc.message, code=exc.code, hint=exc.hint) from exc


def find_chunks(file: File, name: MemberName, members: Mapping[MemberName, Member]) -> tuple[Member, ...]:
    """The chunks of `file`, whose members are called after `name`; none when it is not chunked.

    Raises:
        PackageError: one is missing, one too many, or of the wrong size (``E_PKG_CHUNK``).
    """
    if not file.chunk_bytes:
        return ()
    found = tuple(_consecutive(name, members))
    strays = sorted(number for other in members if (number := _number(name, other)) >= len(found))
    if not (found or strays):
        return ()
    if find_member(members, name):
        raise _misfit(f"found both {quoted(name)} and chunks of it, expected one or the other")
    if file.size_bytes is None:
        expected = strays[-1] + 1 if strays else len(found)
    else:
        expected = max(1, -(-file.size_bytes // file.chunk_bytes))
    if len(found) < expected:
        raise _misfit(f"the chunk {quoted(_chunk(name, len(found)))} is not in the package, expected {expected} chunks")
    if len(found) > expected or strays:
        extra = expected if len(found) > expected else strays[0]
        raise _misfit(f"found the chunk {quoted(_chunk(name, extra))}, expected {expected} chunks")
    _check_sizes(file.chunk_bytes, file.size_bytes, found)
    return found


def _consecutive(name: MemberName, members: Mapping[MemberName, Member]) -> Iterator[Member]:
    for number in count():
        chunk = find_member(members, _chunk(name, number))
        if chunk is None:
            return
        yield chunk


def _chunk(name: MemberName, number: int) -> MemberName:
    return MemberName(f"{name}.{number:0{_DIGITS}}")


def _number(name: MemberName, other: MemberName) -> int:
    """Which chunk of `name` the member `other` is; -1 when it is none."""
    digits = other.removeprefix(f"{name}.")
    is_chunk = digits != other and len(digits) == _DIGITS and digits.isascii() and digits.isdecimal()
    return int(digits) if is_chunk else -1


def _check_sizes(chunk_bytes: int, file_bytes: int | None, chunks: tuple[Member, ...]) -> None:
    *full, last = chunks
    for chunk in full:
        if chunk.size != chunk_bytes:
            raise _wrong_size(chunk, str(chunk_bytes))
    if file_bytes is None:
        if not 0 < last.size <= chunk_bytes:
            raise _wrong_size(last, f"1 to {chunk_bytes}")
    elif last.size != (left := file_bytes - len(full) * chunk_bytes):
        raise _wrong_size(last, str(left))


def _wrong_size(chunk: Member, expected: str) -> PackageError:
    return _misfit(f"the chunk {quoted(chunk.name)} has {chunk.size} bytes, expected {expected}")


def _misfit(message: str) -> PackageError:
    return PackageError(
        message, code="E_PKG_CHUNK", hint="Get the complete package, with all chunks beside the descriptor."
    )
