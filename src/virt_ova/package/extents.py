"""Disks in several files: a VMDK descriptor beside the extents that it lists, as VMware keeps them in a folder.

An extent is looked for where the descriptor lies, among the members of the package, by a checked name; nothing else is
ever opened. Sizes must be those that the descriptor says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from virt_ova.disk.base import DiskFormat
from virt_ova.disk.probe import probe
from virt_ova.disk.vmdk.descriptor import LISTING_MAGIC, MAX_BYTES, Extent, Extents, read_extents
from virt_ova.disk.vmdk.layout import MAGIC, SPARSE_HEADER, parse_header
from virt_ova.errors import DiskError, PackageError, SourceError
from virt_ova.package.chunks import find_member
from virt_ova.package.files import Obstacle, PackageFile
from virt_ova.source.base import Member, MemberName
from virt_ova.source.joined import JoinedSource
from virt_ova.source.names import check_member_name
from virt_ova.text import quoted
from virt_ova.units import SECTOR_BYTES

_FINDINGS = {"E_PKG_FILE": "PKG_FILE_MISSING", "E_REF_OUTSIDE": "PKG_REF_OUTSIDE"}
_GET_ALL = "Get the complete machine, with all files of its folder."


def with_extents(files: Sequence[PackageFile], members: Mapping[MemberName, Member]) -> list[PackageFile]:
    """`files`, each descriptor that lists extents with these in its place. What is wrong is the file's `Obstacle`.

    A member has the bytes of one file only: a small package could else make many large disks.

    Raises:
        SourceError: a file cannot be read.
    """
    resolved: list[PackageFile] = []
    owners: dict[MemberName, str] = {}
    for file in files:
        try:
            whole = _with_extents(file, members)
            _check_owners(whole, owners)
        except (DiskError, PackageError) as exc:
            finding = _FINDINGS.get(exc.code, "PKG_DISK_FORMAT")
            obstacle = Obstacle(code=exc.code, finding=finding, message=exc.message, hint=exc.hint, kind=type(exc))
            whole = replace(file, obstacle=obstacle)
        resolved.append(whole)
    return resolved


def _with_extents(file: PackageFile, members: Mapping[MemberName, Member]) -> PackageFile:
    """Raises `DiskError`, `PackageError`, `SourceError`."""
    member = file.member
    if member is None or member.size > MAX_BYTES:
        return file
    data = member.read()
    if not data.startswith(LISTING_MAGIC):
        return file
    listing = read_extents(data)
    found = [_find(extent, member.name, members) for extent in listing.extents]
    return _joined(file, data, found, listing)


def _check_owners(file: PackageFile, owners: dict[MemberName, str]) -> None:
    """Raises `DiskError` when a member of `file` is one of another file, which `owners` names."""
    for member in file.stored:
        if (owner := owners.setdefault(member.name, file.id)) != file.id:
            raise DiskError(
                f"{quoted(member.name)} has the bytes of {quoted(owner)} and of {quoted(file.id)}, expected one disk",
                code="E_DISK_OVERLAP",
                hint="Let each disk of the VMX, and each VMDK descriptor, name files of its own.",
            )


def told_capacity(file: PackageFile) -> int | None:
    """Size of the guest's disk in `file`, as the headers of its VMDK say; None when they do not, or make no sense.

    Raises:
        SourceError: the file cannot be read.
    """
    if file.obstacle or file.member is None:
        return None
    if file.listing and not file.member.extents:
        return file.size
    extents = file.chunks or (file.member,)
    heads = [extent.read_at(0, min(extent.size, SPARSE_HEADER.size)) for extent in extents]
    if not all(head.startswith(MAGIC) and len(head) == SPARSE_HEADER.size for head in heads):
        return None
    try:
        return sum(parse_header(head).capacity_sectors for head in heads) * SECTOR_BYTES
    except DiskError:
        return None


def _find(extent: Extent, listing: MemberName, members: Mapping[MemberName, Member]) -> Member:
    """The member that is the extent. Raises `PackageError`."""
    folder, slash, _ = listing.rpartition("/")
    try:
        name = check_member_name(folder + slash + check_member_name(extent.name.replace("/", "\\")))
    except SourceError as exc:
        raise PackageError(
            f"{quoted(listing)} names the extent {quoted(extent.name)}, which could lie outside the package, "
            "expected the plain name of a file beside it",
            code="E_REF_OUTSIDE",
            hint="Move all files of the disk into one folder with VMware, or export the machine.",
        ) from exc
    if (member := find_member(members, name)) is None:
        raise PackageError(
            f"{quoted(listing)} names the extent {quoted(name)}, which is not in the package",
            code="E_PKG_FILE",
            hint=_GET_ALL,
        )
    return member


def _joined(file: PackageFile, data: bytes, found: list[Member], listing: Extents) -> PackageFile:
    """The extents as the bytes of `file`. Raises `DiskError` when one is not what the descriptor says."""
    for member, extent in zip(found, listing.extents, strict=True):
        if listing.is_sparse:
            _check_sparse(member, extent)
        elif member.size != extent.sectors * SECTOR_BYTES:
            raise _unfit(member, f"{member.size} bytes", f"{extent.sectors * SECTOR_BYTES} bytes")
    whole = found[0]
    if len(found) > 1 or listing.is_sparse:
        source = JoinedSource(file.name, found)
        sizes = tuple(member.size for member in found) if listing.is_sparse else ()
        whole = Member(name=MemberName(file.name), source=source, offset=0, size=source.size, extents=sizes)
    if not listing.is_sparse and (kind := probe(whole)) not in {DiskFormat.RAW, DiskFormat.ISO}:
        raise _unfit(found[0], f"the marks of {kind}", "the bytes of a disk as they are")
    return replace(
        file,
        name=whole.name,
        size=whole.size,
        offset=whole.offset if len(found) == 1 else None,
        member=whole,
        chunks=tuple(found) if len(found) > 1 or listing.is_sparse else (),
        listing=file.member,
        listing_data=data,
    )


def _check_sparse(member: Member, extent: Extent) -> None:
    head = member.read_at(0, min(member.size, SPARSE_HEADER.size))
    if len(head) < SPARSE_HEADER.size or not head.startswith(MAGIC):
        raise _unfit(member, "no sparse extent", f"one of {extent.sectors} sectors")
    if (sectors := parse_header(head).capacity_sectors) != extent.sectors:
        raise _unfit(member, f"an extent of {sectors} sectors", f"one of {extent.sectors} sectors")


def _unfit(member: Member, found: str, expected: str) -> DiskError:
    return DiskError(
        f"the extent {quoted(member.name)} is not as the VMDK descriptor says: found {found}, expected {expected}",
        code="E_DISK_STRUCT",
        hint="The disk is damaged or incomplete: copy all files of the machine's folder again.",
    )
