"""From an open package to a plan; of its images only those are looked into whose size nothing else tells.

Of the two planners, the one that is needed is loaded.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

from virt_ova.disk.gzipped import examine_gzipped
from virt_ova.disk.opener import open_delta, open_disk
from virt_ova.errors import PlanError
from virt_ova.interrupt import held_back
from virt_ova.osinfo import known_guests
from virt_ova.ovf.references import drive_files, systems_of, variables_files
from virt_ova.package.package import Package, PackageDisk, PackageFile
from virt_ova.plan.efivars import MAX_BYTES, VariableStore, examine
from virt_ova.plan.host import HostCapabilities
from virt_ova.plan.inputs import DiskSource
from virt_ova.plan.options import InstallOptions
from virt_ova.plan.plan import InstallPlan, PackageIdentity
from virt_ova.source.base import Member
from virt_ova.source.pipe import SAVE_FIRST
from virt_ova.text import printable, quoted


def plan_install(
    package: Package, options: InstallOptions | None = None, *, host: HostCapabilities | None = None
) -> InstallPlan:
    """Decide what an install of `package` would do; writes nothing.

    Args:
        package: an open package.
        options: choices; the defaults when None.
        host: what the target offers (`Target.capabilities`); a host that has everything when None.

    Raises:
        DiskError: a disk whose size only its image tells cannot be read.
        PackageError: a file that the machine needs is not in the package.
        PlanError: an option cannot be realised.
    """
    digest = hashlib.sha256(package.descriptor).hexdigest()
    identity = PackageIdentity(name=printable(package.name), descriptor_sha256=digest)
    if host and host.makes_hardware:
        with held_back():
            from virt_ova.plan.importing import make_import_plan  # noqa: PLC0415
        return make_import_plan(package.envelope, identity=identity, host=host, options=options or InstallOptions())
    with held_back():
        from virt_ova.plan.from_ovf import make_plan  # noqa: PLC0415
    with_variables = variables_files(package.envelope)
    in_drives = drive_files(package.envelope)
    return make_plan(
        package.envelope,
        identity=identity,
        disks={disk.id: _disk_source(package, disk) for disk in package.disks},
        files={
            file.id: replace(
                _file_source(file, fills_drive=file.id in in_drives),
                variables=_variables(file) if file.id in with_variables else None,
            )
            for file in package.files
        },
        host=host or HostCapabilities(),
        options=options or InstallOptions(),
        guests=known_guests(each.os for each in systems_of(package.envelope)),
    )


def _disk_source(package: Package, disk: PackageDisk) -> DiskSource:
    """A disk as the planner needs it; an image tells its size when the descriptor does not."""
    capacity = disk.capacity_bytes
    if capacity is None and disk.file and disk.file.is_awaited:
        raise PlanError(
            f"the descriptor does not say how large disk {quoted(disk.id)} is, and its image has not come yet",
            code="E_PIPE_ORDER",
            hint=SAVE_FIRST,
        )
    if capacity is None and disk.file and disk.file.member and not disk.file.obstacle:
        capacity = _capacity(disk.file, disk.file.member, is_delta=bool(disk.parent_id))
    return DiskSource(
        id=disk.id,
        member=disk.file_name,
        file_format=disk.format,
        capacity_bytes=capacity or 0,
        file_size=disk.file_size or 0,
        file_offset=disk.file.position if disk.file else 0,
        parents=tuple(parent.file_name for parent in package.parents_of(disk)),
    )


def _file_source(file: PackageFile, *, fills_drive: bool) -> DiskSource:
    """A file as content of a drive: a CD or floppy, byte for byte; a compressed one must be measured."""
    is_measured = fills_drive and file.compression and not file.obstacle
    return DiskSource(
        id=file.id,
        member=file.name,
        file_format="",
        capacity_bytes=_capacity(file, file.require_member()) if is_measured else file.size or 0,
        file_size=file.size or 0,
        file_offset=file.position,
    )


def _variables(file: PackageFile) -> VariableStore:
    """What EFI variables are in `file`. Raises `SourceError`."""
    problem = file.obstacle.message if file.obstacle else ""
    if file.compression:
        problem = "their file is compressed, expected it as it is"
    size = file.size or 0
    if size > MAX_BYTES:
        problem = f"their file has {size} bytes, expected {MAX_BYTES} at most"
    if problem:
        return VariableStore(size_bytes=size, problem=problem)
    return examine(file.require_member().read())


def _capacity(file: PackageFile, member: Member, *, is_delta: bool = False) -> int:
    """Size of the disk in `file`, whose bytes are `member`."""
    if file.compression:
        return examine_gzipped(member, declared_bytes=None).block_map.capacity_bytes
    return (open_delta if is_delta else open_disk)(member).block_map.capacity_bytes
