"""Which members go with the descriptor of a package: its manifest and its certificate."""

from __future__ import annotations

from pathlib import PurePosixPath

from virt_ova.errors import PackageError
from virt_ova.source.base import Archive, Member, MemberName
from virt_ova.text import quoted


def find_companion(archive: Archive, descriptor: Member, suffix: str, *, where: str) -> Member | None:
    """The member with the descriptor's stem and `suffix`, or the only one with `suffix`.

    Raises:
        PackageError: which one is meant is not clear (``E_PKG_COMPANION``); `where` names the package.
    """
    names = _top_level(archive, suffix)
    stem = PurePosixPath(descriptor.name).stem
    matching = [name for name in names if PurePosixPath(name).stem == stem] or names
    if len(matching) > 1:
        found = ", ".join(map(quoted, matching))
        raise PackageError(
            f"found {found}, expected one that is named like the descriptor, {quoted(stem + suffix)}",
            code="E_PKG_COMPANION",
            where=where,
        )
    return archive.members[matching[0]] if matching else None


def read_capped(member: Member, limit: int, code: str) -> bytes:
    """All bytes of `member`; raises `PackageError` with `code` when they are more than `limit`."""
    if member.size > limit:
        raise PackageError(f"{quoted(member.name)} has {member.size} bytes, expected at most {limit}", code=code)
    return member.read()


def _top_level(archive: Archive, suffix: str) -> list[MemberName]:
    return [name for name in archive.members if "/" not in name and name.lower().endswith(suffix)]
