"""The descriptor of a package: the one member that says what the others are. It is an OVF, or VMware's VMX instead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from virt_ova.errors import DescriptorError, PackageError, SourceError
from virt_ova.ovf.envelope import Envelope
from virt_ova.ovf.reader import read_envelope
from virt_ova.ovf.xml import MAX_BYTES
from virt_ova.package.strings import read_strings
from virt_ova.source.base import Archive, Member, MemberName
from virt_ova.source.opener import DESCRIPTORS
from virt_ova.source.pipe import SAVE_FIRST
from virt_ova.text import printable, quoted

_HINTS: Final = {
    ("ova", False): "This is another kind of tar, or an OVA that was packed with a folder around its files.",
    ("ova", True): "Unpack it, and give the path of one descriptor.",
    ("ovf", False): "Give the folder that holds the descriptor, or the path of an .ova.",
    ("ovf", True): "Give the path of the descriptor.",
}
"""What to do about no or several descriptors, by kind of archive and whether there are any."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Descriptor:
    """A descriptor that was read.

    Attributes:
        member: where it lies.
        data: its bytes.
        envelope: what it says.
        strings: contents of the files that hold its texts, by name.
    """

    member: Member
    data: bytes
    envelope: Envelope
    strings: Mapping[MemberName, bytes] = field(default_factory=dict)

    @property
    def is_vmx(self) -> bool:
        """Whether it is a VMX."""
        return is_vmx(self.member)


def is_vmx(member: Member) -> bool:
    """Whether a descriptor is a VMX, by its name."""
    return member.name.lower().endswith(".vmx")


def describes(name: MemberName) -> bool:
    """Whether a member says something of the package, so that it is kept when it comes from a pipe."""
    return "/" not in name and name.lower().endswith((*DESCRIPTORS, ".mf", ".cert"))


def read_descriptor(archive: Archive, locale: str) -> Descriptor:
    """The descriptor of `archive`, with its texts in `locale` as far as it has them.

    Raises:
        PackageError: there is not exactly one (``E_PKG_OVF``).
        SourceError: it cannot be read, or has not come yet (``E_PIPE_ORDER``).
        DescriptorError: it makes no sense.
    """
    member = _find(archive)
    try:
        return _read_vmx(member) if is_vmx(member) else _read_ovf(archive, member, locale)
    except DescriptorError as exc:
        exc.at(printable(member.name))
        raise


def _read_vmx(member: Member) -> Descriptor:
    from virt_ova.vmx.reader import read_vmx  # noqa: PLC0415 - few packages need it
    from virt_ova.vmx.settings import MAX_BYTES as MOST_BYTES  # noqa: PLC0415

    data = _read(member, MOST_BYTES, "E_VMX_LIMIT")
    return Descriptor(member=member, data=data, envelope=read_vmx(data))


def _read_ovf(archive: Archive, member: Member, locale: str) -> Descriptor:
    """Read twice where its texts are in other files, which only the first reading tells."""
    data = _read(member, MAX_BYTES, "E_OVF_LIMIT")
    envelope = read_envelope(data, locale=locale)
    strings = read_strings(archive, envelope)
    if strings:
        contents = {file_id: file.content for file_id, file in strings.items()}
        envelope = read_envelope(data, locale=locale, strings=contents)
    contents_by_name = {file.name: file.content for file in strings.values()}
    return Descriptor(member=member, data=data, envelope=envelope, strings=contents_by_name)


def _read(member: Member, limit: int, code: str) -> bytes:
    if member.size > limit:
        raise DescriptorError(f"the descriptor has {member.size} bytes, expected at most {limit}", code=code)
    return member.read()


def _find(archive: Archive) -> Member:
    """The only OVF, else the only VMX; those in sub-folders do not count, as names in it are relative to it.

    A VMX beside an OVF is not looked at, as if it were any other file.
    """
    top = [name for name in archive.members if "/" not in name]
    by_kind = ([name for name in top if name.lower().endswith(kind)] for kind in DESCRIPTORS)
    names = next(filter(None, by_kind), [])
    if len(names) == 1:
        return archive.members[names[0]]
    if not names and archive.rest and archive.rest.waiting:
        raise SourceError(
            f"found {quoted(archive.rest.waiting.name)} before any descriptor, "
            "expected the descriptor (.ovf or .vmx) first where a package can only be read from front to back",
            code="E_PIPE_ORDER",
            where=printable(archive.name),
            hint=SAVE_FIRST,
        )
    found = ", ".join(map(quoted, names)) if names else "none"
    raise PackageError(
        f"found {found}, expected exactly one descriptor (.ovf or .vmx) at the top of the package",
        code="E_PKG_OVF",
        where=printable(archive.name),
        hint=_HINTS[archive.kind, bool(names)],
    )
